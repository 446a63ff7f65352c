"""Ours beside the published: what each registered network costs, at the input that its published figures hold for."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bench.cost.counters import Count, CrossCheck, cross_check
from bench.zoo.catalogue import known_check, shape_key
from bench.zoo.complexity import Complexity
from bench.zoo.entry import ModelEntry
from bench.zoo.registry import model_entry, model_names

PARAMS, MACS = 0.02, 0.05  # how far ours may be from the published


@dataclass(frozen=True)
class Check:
    """One network's costs.

    Attributes:
        params, macs: ours, at (channels, image_size, classes); without attention's products where the figures are.
        verdict: `agrees`, `differs`, or why there is nothing to compare with.
        counters: how far two other counters are from ours.
    """

    entry: ModelEntry
    channels: int
    image_size: int
    classes: int
    params: int
    macs: int
    verdict: str
    counters: CrossCheck


def check_costs(task: str | None = None, family: str | None = None, recount: bool = False) -> Iterator[Check]:
    """Every network of a task and family in its default config: the counts stored with the package where they are.

    Args:
        recount: counts each anew.
    """
    for entry in map(model_entry, model_names()):
        if entry.family == "chance" or (task and task not in entry.tasks) or (family and family != entry.family):
            continue
        yield _check(entry, task or entry.tasks[0], recount)


def _check(entry: ModelEntry, task: str, recount: bool) -> Check:
    channels, size, classes = shape = check_shape(entry)
    stored = None if recount else known_check(entry, shape_key(entry.name, task, channels, classes, size))
    counters = count_three(entry, task, *shape) if stored is None else _of_stored(stored)
    params, macs = counters.cost.params, counters.cost.macs
    if entry.published and not entry.published.attention:
        macs -= counters.cost.attention_macs
    return Check(entry, channels, size, classes, params, macs, _verdict(entry, params, macs), counters)


def check_shape(entry: ModelEntry) -> tuple[int, int, int]:
    """Channels, image size and classes that a network's costs are checked at: those of its published figures."""
    figures = entry.published
    return (figures.channels, figures.image_size, figures.classes) if figures else (3, 224, 9)


def count_three(entry: ModelEntry, task: str, channels: int, size: int, classes: int) -> CrossCheck:
    """All three counters' counts of a network in its default config."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return cross_check(entry.build(task, channels, classes, size, **entry.defaults), (1, channels, size, size))


def _of_stored(stored: dict[str, Any]) -> CrossCheck:
    counts = {name: Count(**count) for name, count in stored["counts"].items()}
    return CrossCheck(Complexity(**stored["cost"]), stored["skipped"], counts, stored["failed"])


def _verdict(entry: ModelEntry, params: int, macs: int) -> str:
    if entry.published:
        figures = entry.published
        agrees = abs(params / figures.params - 1) <= PARAMS
        agrees = agrees and (figures.macs is None or abs(macs / figures.macs - 1) <= MACS)
        verdict = ("agrees" if agrees else "differs") + ("" if figures.macs else "; no MACs published")
        return verdict + ("" if figures.attention else "; both without attention's products")
    if entry.family == "proposed":
        return "reconstruction: the abstract gives no figures"
    if entry.reduced_from:
        return f"reduced width of {entry.reduced_from}"
    return entry.note or "nothing published"
