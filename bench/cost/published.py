"""Ours beside the published: what each registered network costs, at the input that its published figures hold for."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from bench.cost.counters import CrossCheck, cross_check
from bench.zoo.entry import ModelEntry
from bench.zoo.registry import build_model, model_entry, model_names

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


def check_costs(task: str | None = None, family: str | None = None) -> Iterator[Check]:
    """Counts every network of a task and family in its default config, one by one."""
    for entry in map(model_entry, model_names()):
        if entry.family == "chance" or (task and task not in entry.tasks) or (family and family != entry.family):
            continue
        yield _check(entry, task if task in entry.tasks else entry.tasks[0])


def _check(entry: ModelEntry, task: str | None) -> Check:
    published = entry.published
    shape = (published.channels, published.image_size, published.classes) if published else (3, 224, 9)
    channels, size, classes = shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = build_model(entry.name, task or entry.tasks[0], channels, classes, size)
        counters = cross_check(model, (1, channels, size, size))
    found = counters.cost
    bare = published is not None and not published.attention
    macs = found.macs - found.attention_macs if bare else found.macs
    verdict = _verdict(entry, found.params, macs)
    return Check(entry, channels, size, classes, found.params, macs, verdict, counters)


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
