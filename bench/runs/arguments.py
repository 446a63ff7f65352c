"""What the Python side takes for each argument, and the line that says so when it gets something else."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from bench.errors import UserError, unknown

Made = TypeVar("Made")


@dataclass(frozen=True)
class Taken:
    """What an argument may be, in words, and how it is read; `read` raises TypeError or ValueError for others."""

    what: str
    read: Callable[[Any], Any]


def read_arguments(arguments: Mapping[str, Any], takes: Mapping[str, Taken]) -> dict[str, Any]:
    """The arguments of a call as they are used inside. Raises UserError for a value of another kind."""
    read = {}
    for name, value in arguments.items():
        try:
            read[name] = takes[name].read(value)
        except (TypeError, ValueError, OverflowError):  # of `infk` images
            shown = " ".join(repr(value).split())[:80]
            raise UserError(f"Expected {name} to be {takes[name].what}, but got {shown}.") from None
    return read


def argument(default: Any, taken: Taken) -> Any:
    """A field of a request: its default, and what it takes."""
    return field(default=default, metadata={"taken": taken})


def taken_by(request: Any) -> dict[str, Taken]:
    """What each field of a request takes, of its class or an instance."""
    return {of_class.name: of_class.metadata["taken"] for of_class in fields(request)}


def check_fields(request: Any) -> None:
    """Reads all fields of a frozen request in place, once it is made. Raises UserError for a value of another kind."""
    given = {name: getattr(request, name) for name in taken_by(request)}
    for name, value in read_arguments(given, taken_by(request)).items():
        object.__setattr__(request, name, value)


def make_request(kind: type[Made], arguments: Mapping[str, Any], known: Iterable[str] = ()) -> Made:
    """A request of the arguments of a call.

    Args:
        known: names that the caller takes besides, for the hint after an unknown one.

    Raises:
        UserError: an argument that there is not, or what the request itself does not take.
    """
    takes = taken_by(kind)
    for name in arguments:
        if name not in takes:
            raise unknown("argument", name, {*takes, *known})
    return kind(**arguments)


def names(what: str, example: str) -> Taken:
    """Names in a text, by commas, or in a list, each as it stands."""
    return Taken(f"{what} by commas ({example!r}) or in a list ({[example]})", _names)


def text(what: str = "a text", *choices: str) -> Taken:
    """A text, one of the choices where there are any."""
    return Taken(f"one of {', '.join(choices)}" if choices else what, lambda value: _text(value, choices))


def whole(low: int = 1, high: int | None = None) -> Taken:
    """A whole number from `low` to `high`."""
    return Taken(f"a whole number, {low} or more" if high is None else f"a whole number from {low} to {high}",
                 lambda value: _whole(value, low, high))  # fmt: skip


def or_none(taken: Taken) -> Taken:
    """The same, or None."""
    return Taken(f"{taken.what}, or None", lambda value: None if value is None else taken.read(value))


def _names(value: Any) -> str | tuple[str, ...]:
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        raise TypeError
    return tuple(_text(name, ()) for name in value)


def _text(value: Any, choices: tuple[str, ...]) -> str:
    if not isinstance(value, str) or (choices and value not in choices):
        raise TypeError
    return value


def _whole(value: Any, low: int, high: int | None) -> int:
    if isinstance(value, bool) or not low <= operator.index(value) <= (math.inf if high is None else high):
        raise ValueError
    return operator.index(value)


def _number(value: Any) -> float:
    if isinstance(value, bool | str) or not math.isfinite(value):
        raise TypeError
    return float(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _call(value: Any) -> Any:
    if not callable(value):
        raise TypeError
    return value


def _device(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"cpu|auto|cuda(:\d{1,3})?", value):
        raise TypeError
    return value


def _path(value: Any) -> str | Path:
    if not isinstance(value, str | Path) or not str(value):
        raise TypeError
    return value


def _settings(value: Any) -> tuple[str, ...]:
    if isinstance(value, Mapping):
        return tuple(f"{_text(field, ())}={setting}" for field, setting in value.items())
    names_or_text = _names(value)
    return (names_or_text,) if isinstance(names_or_text, str) else names_or_text


def _seeds(value: Any) -> Any:
    """Left as it is but for what is neither: `bench.runs.protocol.parse_seeds` reads it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | Mapping):
        raise TypeError
    if not isinstance(value, Iterable):
        return operator.index(value)
    listed = list(value)
    if any(isinstance(seed, bool) for seed in listed):
        raise TypeError
    return tuple(operator.index(seed) for seed in listed)


def _budget(value: Any) -> int:
    """48000, `48000` or `48k` images."""
    if isinstance(value, str):
        thousands = value.lower().endswith("k")
        value = round(float(value[:-1]) * 1000) if thousands else int(value)
    return _whole(value, 1, None)


def _several(value: Any, read: Callable[[Any], int]) -> tuple[int, ...]:
    """Numbers by commas in a text, or in a list."""
    listed = value.split(",") if isinstance(value, str) else list(value)
    return tuple(read(part) for part in listed)


BUDGET = Taken("a number of images (48000, or '48k')", _budget)
BUDGETS = Taken("numbers of images by commas ('4k,16k') or in a list ([4000, 16000])", lambda v: _several(v, _budget))
COUNTS = Taken(
    "whole numbers from 1 on by commas ('5,15') or in a list ([5, 15])",
    lambda v: _several(v, lambda part: _whole(int(part) if isinstance(part, str) else part, 1, None)),
)
FLAG = Taken("True or False", _flag)
NUMBER = Taken("a number", _number)
FOLDER = Taken("a path", _path)
REPORT = Taken("a function", _call)
MODELS = names("names of models", "unet_s")
DEVICE = Taken("cpu, cuda, cuda:N or auto", _device)
SEEDS = Taken("how many (2), which ([0, 1]) or None for the preset's number", _seeds)
SETTINGS = Taken("texts ('lr=3e-4',) or a dict ({'lr': 3e-4})", _settings)
