"""What a table allows to be concluded and what it does not, in full sentences made from its records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from bench.analysis.captions import PHANTOM, SUBSTITUTE
from bench.analysis.certainty import unit_word
from bench.analysis.checklist import FEW
from bench.analysis.comparison import Table
from bench.analysis.short_budget import is_short
from bench.analysis.statistics import Interval


@dataclass(frozen=True)
class Conclusions:
    """Sentences about one table."""

    may: tuple[str, ...]
    may_not: tuple[str, ...]


def conclusions(table: Table) -> Conclusions:
    """What may and may not be concluded from a table: from its intervals, its split, its images and its checklist."""
    may = (*_differences(table), *_costs(table))
    may_not = (*_images(table), *_budget(table), *_ties(table), *_leaks(table), *_models(table), *_runs(table))
    return Conclusions(tuple(filter(None, may)), tuple(filter(None, may_not)))


def table_marks(table: Table) -> tuple[str, ...]:
    """What counts against all figures of a table, in a word or two each."""
    first = table.first
    marks = {
        f"{first['source']} images": first["source"] != "real",
        "short budget": is_short(first["images_seen"]),
        "leaky split": pd.notna(first.get("split_flag")),
        "partial": bool(first["partial"]),
    }
    return tuple(mark for mark, holds in marks.items() if holds)


def row_marks(table: Table, title: str) -> tuple[str, ...]:
    """What counts against one row, beside what counts against the table: `reduced width`, `reconstruction`, seeds."""
    row = table.figures[table.figures["title"] == title].iloc[0]
    marks = {
        "reduced width": title in table.reduced,
        "reconstruction": title in table.reconstructed,
        "chance": row["family"] == "chance",
        str(row["status"]): row["status"] != "complete",
        "lacks seeds": title in _lacking(table),
    }
    return tuple(mark for mark, holds in marks.items() if holds)


def _lacking(table: Table) -> set[str]:
    """The rows that have no interval though others have one: they lack seeds, or the figure."""
    shown = set(table.figures.loc[table.figures["family"] != "chance", "title"])
    return shown - set(table.sure.figures) if table.sure.figures else set()


def units_of(table: Table) -> str:
    """What was resampled beside seeds, in a word: `patients`, `units` where something else stands for them, `images`.

    Images each stand for themselves where nothing is known of whose they are.
    """
    return f"{unit_word(table.cells, table.sure.patients_known or table.task == 'segmentation')}s"


def listed(names: Sequence[str]) -> str:
    """`A`, `A and B`, `A, B and C`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def _differences(table: Table) -> list[str]:
    """Which models the reference is told apart from, and by how much."""
    sure = table.sure
    better = {title: gap for title, gap in sure.gaps.items() if gap.low > 0}
    worse = {title: gap for title, gap in sure.gaps.items() if gap.high < 0}
    here = "At this short budget, under this protocol," if _is_short(table) else "Under this protocol,"
    return [
        f"{here} {sure.reference} has a {word} {sure.measure} than {_with_gaps(gaps)}: the 95 % interval of the "
        f"difference excludes 0, over other seeds and other {units_of(table)} like these."
        for word, gaps in (("higher", better), ("lower", worse))
        if gaps
    ]


def _with_gaps(gaps: dict[str, Interval]) -> str:
    return listed([f"{title} (by {abs(gap.value):.1f})" for title, gap in gaps.items()])


def _costs(table: Table) -> list[str]:
    """What the reference costs beside the others, which is counted and not sampled."""
    known = table.figures[(table.figures["metric"] == "params") & (table.figures["family"] != "chance")]
    params = known.set_index("title")["value"].dropna()
    reference = table.sure.reference
    if reference not in params or len(params) < 2:
        return []
    more, others = int((params > params[reference]).sum()), len(params) - 1
    counted = "parameters and MACs are counted, and hold for the input that their column names."
    has = f"{reference} has {params[reference]:.2f} million parameters"
    return [f"{has}; {more} of the other {others} {'have' if others > 1 else 'has'} more; {counted}"]


def _images(table: Table) -> list[str]:
    first = table.cells.iloc[0]
    kind = {"phantom": PHANTOM, "substitute": SUBSTITUTE}.get(first["source"])
    partial = "The figures may not stand beside published ones: under 80 % of the official test list is present."
    return [
        f"The records say nothing about real patients ({kind})." if kind else "",
        partial if first["partial"] else "",
    ]


def _is_short(table: Table) -> bool:
    return bool(is_short(table.cells.iloc[0]["images_seen"]))


def _budget(table: Table) -> list[str]:
    if not _is_short(table):
        return []
    seen = f"each saw {table.cells.iloc[0]['images_seen']:,} images, a short budget"
    return [
        f"The records do not say how these networks do when they have converged: {seen}. Nothing is marked or ranked."
    ]


def _ties(table: Table) -> list[str]:
    """Whom the reference is not told apart from; or that nothing is claimed, and why."""
    sure = table.sure
    if not sure.reference:
        return [sure.caption]
    ties = [title for title, gap in sure.gaps.items() if not gap.excludes_zero]
    return [
        f"{sure.reference} may not be called better or worse than {listed(ties)}: their differences cannot be told "
        "from none, which is no proof that they are equal."
        if ties
        else ""
    ]


def _leaks(table: Table) -> list[str]:
    answer = _answer(table, "Leak")
    if pd.notna(table.first.get("split_flag")):
        return [f"The records do not say how these models do on patients not seen before: the split leaks ({answer})."]
    some = "Training or validation has seen something of the test cases" if answer.startswith("some") else ""
    unknown = "A patient may be both in training and test, for patients are unknown" * ("patients unknown" in answer)
    return [f"{words}: {answer}." for words in (some or unknown,) if words]


def _models(table: Table) -> list[str]:
    """What reduced and reconstructed networks say nothing about."""
    reduced, ours = list(dict.fromkeys(table.reduced.values())), list(table.reconstructed)
    return [
        f"The rows of reduced width say nothing about the published {listed(reduced)}." if reduced else "",
        f"{listed(ours)} need not do what the paper's own model does: it is reconstructed from an abstract."
        if ours
        else "",
    ]


def _runs(table: Table) -> list[str]:
    seeds, lacking = table.scores["seed"].nunique(), sorted(_lacking(table))
    few = f"How much training varies is not known: at the least {FEW} seeds tell methods apart, {seeds} are there."
    machine, tuning = _answer(table, "Same machine and code"), _answer(table, "Equal tuning")
    untold = "The records do not say how the models do when each is tuned:"
    return [
        few if seeds < FEW else "",
        f"Nothing may be said of {listed(lacking)}, whose runs are not all there." if lacking else "",
        f"Not the models alone differ: {machine.removeprefix('no: ')}." if machine.startswith("no") else "",
        f"{untold} one recipe holds for all." if tuning.startswith("one ") else "",
        f"{untold} {tuning.removeprefix('no: ')}." if tuning.startswith("no: ") else "",
    ]


def _answer(table: Table, question: str) -> str:
    """The checklist's answer; blank where it has no such question."""
    lines = (line.partition("? ") for line in table.checklist)
    return next((answer for asked, _, answer in lines if asked == question), "")
