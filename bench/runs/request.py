"""What the Python side takes for each argument, and the line that says so when it gets something else."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UserError, unknown


@dataclass(frozen=True)
class Taken:
    """What an argument may be, in words, and how it is read; `read` raises TypeError or ValueError for others."""

    what: str
    read: Callable[[Any], Any]


def read_request(request: Mapping[str, Any], takes: Mapping[str, Taken], known: Iterable[str] = ()) -> dict[str, Any]:
    """The arguments of a call as they are used inside.

    Args:
        known: names that the caller takes besides, for the hint after an unknown one.

    Raises:
        UserError: an argument that there is not, or a value of another kind.
    """
    found = {}
    for name, value in request.items():
        if name not in takes:
            raise unknown("argument", name, {*takes, *known})
        try:
            found[name] = takes[name].read(value)
        except (TypeError, ValueError):
            shown = " ".join(repr(value).split())[:80]
            raise UserError(f"Expected {name} to be {takes[name].what}, but got {shown}.") from None
    return found


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


def _names(value: Any) -> str | list[str]:
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        raise TypeError
    return [_text(name, ()) for name in value]


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


def _path(value: Any) -> str | Path:
    if not isinstance(value, str | Path) or not str(value):
        raise TypeError
    return value


def _settings(value: Any) -> tuple[str, ...]:
    if isinstance(value, Mapping):
        return tuple(f"{_text(field, ())}={setting}" for field, setting in value.items())
    return (value,) if isinstance(value, str) else tuple(_names(value))


def _seeds(value: Any) -> Any:
    """Left as it is but for what is neither: `bench.runs.cell.parse_seeds` reads it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | Mapping):
        raise TypeError
    if not isinstance(value, Iterable):
        return operator.index(value)
    listed = list(value)
    if any(isinstance(seed, bool) for seed in listed):
        raise TypeError
    return [operator.index(seed) for seed in listed]


FLAG = Taken("True or False", _flag)
NUMBER = Taken("a number", _number)
FOLDER = Taken("a path", _path)
REPORT = Taken("a function", _call)
MODELS = names("names of models", "unet_s")
DEVICE = text("", "cpu", "cuda")
SEEDS = Taken("how many (2), which ([0, 1]) or None for the preset's number", _seeds)
JOBS = {
    "models": MODELS,
    "dataset": names("names of data sets", "acdc"),
    "preset": text(),
    "seeds": SEEDS,
    "split": or_none(text()),
    "folds": or_none(whole(3, 100)),
    "train_patients": or_none(whole()),
    "train_fraction": or_none(NUMBER),
    "data": text("", "auto", "real", "phantom"),
    "data_root": or_none(FOLDER),
    "results": FOLDER,
    "settings": Taken("texts ('lr=3e-4',) or a dict ({'lr': 3e-4})", _settings),
    "threads": or_none(whole()),
    "device": DEVICE,
    "pretrained": FLAG,
    "report": REPORT,
}
RUN = {"workers": whole(), "force": FLAG, "report": REPORT, "tune": or_none(whole())}
PROFILE = {
    "models": MODELS,
    "results": FOLDER,
    "seconds": NUMBER,
    "sweep": FLAG,
    "data_root": or_none(FOLDER),
    "report": REPORT,
    "task": text(),
    **dict.fromkeys(("image_size", "channels", "classes", "batch", "threads"), whole(-(2**31))),
    "device": text(),
    "precision": text(),
    "reference": or_none(text()),
    **dict.fromkeys(("fused", "step", "compiled"), FLAG),
    "preset": text(),
}
