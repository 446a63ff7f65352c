"""Seeds as a user names them: how many, or which."""

from __future__ import annotations

from collections.abc import Sequence

from bench.errors import UserError


def parse_seeds(asked: str | int | Sequence[int] | None, default: int) -> list[int]:
    """`3` -> [0, 1, 2]; `0,4,7` -> [0, 4, 7], as texts or as a number and a list; None -> the preset's number."""
    if asked is None:
        return list(range(default))
    try:
        numbers = [int(part) for part in asked.split(",") if part] if isinstance(asked, str) else asked
    except ValueError:
        raise UserError(f"Expected --seeds to be a number (3) or a list (0,1,2,), but got {asked!r}.") from None
    if isinstance(asked, str) and "," not in asked and numbers:
        numbers = numbers[0]  # type: ignore[index]
    if isinstance(numbers, int):
        if 1 <= numbers <= 1000:
            return list(range(numbers))
    elif len(numbers) == len(set(numbers)) > 0 and min(numbers) >= 0 and max(numbers) < 2**32:
        return list(numbers)
    raise UserError(
        f"Expected --seeds to be a number from 1 to 1000, or distinct seeds below 2**32, but got {asked!r}."
    )
