"""A search space that the user names: values of fields of any model's config, `width=8..64`, `se=true|false`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.errors import UserError, unknown
from bench.zoo.registry import parse_model, placed_name, split_outside_brackets, value_text, with_values

if TYPE_CHECKING:
    import optuna

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(?::({_NUMBER}))?")
FORMS = "width=8..64 (a range), width=8..64:8 (with a step) or se=true|false (choices)"


@dataclass(frozen=True)
class Dimension:
    """One field of a space: choices, as a name in brackets has them, or else a range.

    Attributes:
        step: between two values; None of whole numbers: 1, of others: any number between.
    """

    field: str
    choices: tuple[str, ...] = ()
    low: float = 0
    high: float = 0
    step: float | None = None
    is_whole: bool = True

    def draw(self, trial: optuna.Trial) -> str:
        """A value, as a name in brackets has it."""
        if self.choices:
            return str(trial.suggest_categorical(self.field, self.choices))
        if self.is_whole:
            return str(trial.suggest_int(self.field, int(self.low), int(self.high), step=int(self.step or 1)))
        value = trial.suggest_float(self.field, self.low, self.high, step=self.step)
        return repr(value if self.step is None else _tidy(value))

    def nearest(self, value: Any, default: Any) -> Any:
        """The value of the space that is nearest to one of the config; None where it has nothing to do with it."""
        if self.choices:
            text = value_text(value, default)
            return next((choice for choice in self.choices if choice.lower() == text.lower()), None)
        if not isinstance(value, int | float) or isinstance(value, bool):
            return None
        inside = max(self.low, min(self.high, value))
        if self.step or self.is_whole:
            step = self.step or 1
            last = math.floor((self.high - self.low) / step + 1e-9)  # 0.3 / 0.1 is 2.9999999999999996
            inside = self.low + step * min(round((inside - self.low) / step), last)
        return int(inside) if self.is_whole else inside if self.step is None else _tidy(inside)

    def __str__(self) -> str:
        if self.choices:
            return f"{self.field}={'|'.join(self.choices)}"
        step = "" if self.step is None else f":{self.step:g}"
        return f"{self.field}={self.low:g}..{self.high:g}{step}"


def _tidy(value: float) -> float:
    """Without what adding steps leaves in the last bits: 0.1 thrice is 0.3, the config that a user would write."""
    return float(f"{value:.12g}")


def read_space(texts: Sequence[str], model: str) -> list[Dimension]:
    """The dimensions of texts such as `width=8..64,se=true|false`, in the order of the config.

    Raises:
        UserError: a text of another form, an unknown field, one that is named twice, or values that it cannot have.
    """
    entry, _ = parse_model(model)
    found: dict[str, Dimension] = {}
    for item in (item for text in texts for item in split_outside_brackets(text)):
        field, equals, values = item.partition("=")
        if not equals or not values:
            raise UserError(f"Expected --space FIELD=VALUES, such as {FORMS}, but got {item!r}.")
        if field not in entry.defaults:
            raise unknown(f"config field of {entry.name}", field, entry.defaults)
        if field in found:
            raise UserError(f"Expected each field once in --space, but got {field} twice.")
        found[field] = _dimension(field, values, entry.defaults[field])
        for text in found[field].choices or _ends(found[field]):
            with_values(entry, entry.defaults, [f"{field}={text}"])
    return [found[field] for field in entry.defaults if field in found]


def _dimension(field: str, values: str, default: Any) -> Dimension:
    match = _RANGE.fullmatch(values)
    if match is None:
        choices = tuple(dict.fromkeys(part.strip() for part in values.split("|")))
        if ".." in values or not all(choices) or len(choices) < 2:
            raise UserError(f"Expected --space {field} with two values or more, such as {FORMS}, but got {values!r}.")
        return Dimension(field, choices)
    low, high, step = (None if text is None else float(text) for text in match.groups())
    is_whole = all(text is None or re.fullmatch(r"[-+]?\d+", text) for text in match.groups())
    is_whole = is_whole and not isinstance(default, float)
    assert low is not None
    assert high is not None
    if not low < high or (step is not None and not 0 < step <= high - low):
        raise UserError(f"Expected --space {field} to rise from low to high by steps, but got {values!r}.")
    return Dimension(field, (), low, high, step, is_whole)


def _ends(dimension: Dimension) -> list[str]:
    ends = (dimension.low, dimension.high)
    return [str(int(end)) if dimension.is_whole else repr(end) for end in ends]


def draw_from(trial: optuna.Trial, model: str, space: Sequence[Dimension]) -> str:
    """A model of a space, by its name: the model with other values of the space's fields."""
    entry, config = parse_model(model)
    items = [f"{dimension.field}={dimension.draw(trial)}" for dimension in space]
    return placed_name(entry, with_values(entry, config, items))


def start_in(model: str, space: Sequence[Dimension]) -> Mapping[str, Any]:
    """The model's own values, each moved to the nearest of the space; those that have none there are left out."""
    entry, config = parse_model(model)
    near = {one.field: one.nearest(config[one.field], entry.defaults[one.field]) for one in space}
    return {field: value for field, value in near.items() if value is not None}
