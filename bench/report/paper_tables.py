"""A comparison as tables for a paper: accuracy, cost, single classes, differences; and any sheet of texts as one."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from textwrap import wrap
from typing import Any

from bench.analysis.apart import intervals_of, marks_of_habit, marks_told_apart
from bench.analysis.columns import Column
from bench.analysis.comparison import Table
from bench.analysis.folds import whole_seeds
from bench.analysis.literature import Published
from bench.analysis.sheet import BOLD, Sheet
from bench.analysis.throughput import FORMS
from bench.report.arrange import column_name
from bench.report.bibliography import source_key
from bench.report.paper_float import Entry, Float, Head
from bench.report.paper_words import Wishes, caption_of, conventions_of, short_sentences

FAMILIES = {
    "cnn": "CNNs",
    "transformer": "Transformers",
    "hybrid": "Hybrids",
    "other": "Others",
    "proposed": "Proposed",
}
SPEEDS = tuple(FORMS.values())
COSTS = ("params", "macs", *SPEEDS)
ABSENT = "--"
DAGGER = " \u2020"
UNSTATED = "\u2021"
_INTERVAL = re.compile(r"\(?([-+]?[\d,]*\.?\d+)\)?(?: ?%)?(?: (\[[^\]]*\]))?")
_WORDS = {"Balanced accuracy %": ("Balanced", "acc. (%)"), "Macro F1 %": ("Macro", "F1 (%)")}


def accuracy_float(table: Table, wishes: Wishes) -> Float:
    """The figures of merit, each with its spread, and what a network costs."""
    columns = table.columns if wishes.chosen else _usual(table)
    heads = tuple(_head(column, needed=wishes.chosen or k == 0) for k, column in enumerate(columns))
    fill = [_entries(table, column, head, wishes) for column, head in zip(columns, heads, strict=True)]
    return _float(table, wishes, heads, fill)


def with_published(table: Table, made: Float, wishes: Wishes, rows: Sequence[Sequence[Published]]) -> Float:
    """The table with published figures under a rule, in the columns that they have; a distance with another unit."""
    columns = table.columns if wishes.chosen else _usual(table)
    below, cites = [], []
    for row in rows:
        goal = " (goal)" if row[0].kind == "goal" else ""
        below.append((f"{row[0].model}{goal}", tuple(_published(row, columns))))
        cites.append(row[0].key or source_key(row[0]))
    unstated = any(UNSTATED in entry.spread for _, entries in below for entry in entries)
    kept = (*made.kept, *([f"{UNSTATED}: unit not stated."] if unstated else []))
    return replace(made, below=tuple(below), cites=tuple(cites), kept=kept)


def _published(row: Sequence[Published], columns: Sequence[Column]) -> list[Entry]:
    """The entries of a published row: a distance stands in the column of its unit, else in the first with its unit."""
    units = {column: column.metric.split("_")[1] for column in columns if column_name(column) == "hd95"}
    entries = []
    for column in columns:
        found = [figure for figure in row if figure.metric == column_name(column)]
        own = [figure for figure in found if column not in units or figure.length == units[column]]
        elsewhere = column != next(iter(units), None) or any(figure.length in units.values() for figure in found)
        if own:
            entries.append(Entry(own[-1].value))
        elif found and not elsewhere:
            entries.append(Entry(found[-1].value, spread=found[-1].length or UNSTATED))
        else:
            entries.append(Entry(words=ABSENT))
    return entries


def cost_float(table: Table, wishes: Wishes) -> Float:
    """Parameters, multiply-accumulates and relative speed."""
    columns = [column for column in table.columns if column.metric in COSTS]
    heads = tuple(_head(column, needed=k < 2) for k, column in enumerate(columns))
    return _float(table, wishes, heads, [_entries(table, c, h, wishes) for c, h in zip(columns, heads, strict=True)])


def class_float(table: Table, wishes: Wishes) -> Float:
    """The figure of each class: Dice, or sensitivity."""
    metric = "sensitivity" if table.task == "classification" else f"dice_{table.shown.policy}"
    figures = table.figures[table.figures["metric"] == metric]
    names = sorted(set(figures["class"]) - {"", "mean"}, key=list(figures["class"]).index)
    overall = [column for column in table.columns if column.merit and column.level in ("", "mean")][:1]
    heads = [Head(tuple(name.split()), 1, 1) for name in names] + [_head(column) for column in overall]
    by_place = figures.set_index(["title", "class"])
    fill: list[dict[str, Entry]] = []
    for name in names:
        of_class = {t: by_place.loc[(t, name)] for t in table.frame["Model"] if (t, name) in by_place.index}
        fill.append({t: Entry(row["value"], spread=_deviation(row["sd_seeds"], wishes)) for t, row in of_class.items()})
    fill += [_entries(table, column, head, wishes) for column, head in zip(overall, heads[len(names) :], strict=True)]
    return _float(table, wishes, tuple(heads), fill)


def significance_float(table: Table, wishes: Wishes) -> Float:
    """The reference's figure less each model's, its interval, the adjusted p, and how often each comes first."""
    sure = table.sure
    p_name = next((name for name in sure.frame if str(name).startswith("p, ")), None)
    heads = [Head(("Difference", "[95 %]"), 1)]
    gaps = {t: Entry(g.value, spread=_interval(g.low, g.high)) for t, g in sure.gaps.items()}
    fill: list[dict[str, Entry]] = [gaps]
    if p_name is not None:
        heads.append(Head(("p,", "Holm")))
        p_values = dict(zip(sure.frame["Model"], sure.frame[p_name].astype(str), strict=True))
        fill.append({t: Entry(words=p_values[t]) for t in gaps})
    told = {t: Entry(words="yes" if g.excludes_zero else "no") for t, g in sure.gaps.items()}
    heads.append(Head(("Told", "apart")))
    fill.append(told)
    if not sure.ranks.empty:
        heads.append(Head(("First", "(%)"), 0))
        fill.append({str(t): Entry(100 * share) for t, share in sure.ranks[1].items()})
    made = _float(table, wishes, tuple(heads), fill, kept=list(gaps))
    return replace(made, kept=(f"Difference: {sure.reference} less each.", *made.kept))


def sheet_float(sheet: Sheet, wishes: Wishes) -> Float:
    """A sheet of texts: columns of numbers, with their intervals beside them, and columns of words."""
    heads, columns = [], []
    for k, name in enumerate(list(sheet.frame.columns)[1:]):
        texts = ["" if text == "-" else str(text) for text in sheet.frame[name]]
        found = [_INTERVAL.fullmatch(text) for text in texts if text]
        bracketed = any(text.startswith("(") for text in texts)  # which says something: no number alone
        if not found or not all(found) or bracketed or name in sheet.left:
            heads.append(Head(_lines(str(name)), None, needed=k < 2))
            columns.append([Entry(words=text) for text in texts])
            continue
        decimals = max(len(match[1].partition(".")[2]) for match in found if match)
        unit = " (%)" if all(text.endswith("%") for text in texts if text) else ""
        heads.append(Head(_lines(f"{name}{unit}"), decimals, needed=k < 2))
        columns.append([_parsed(text) for text in texts])
    if sheet.bold is not None:
        for k, name in enumerate(list(sheet.frame.columns)[1:]):
            marks = [mark == BOLD for mark in sheet.marks[name]]
            columns[k] = [_marked(entry, bold) for entry, bold in zip(columns[k], marks, strict=True)]
    names = [str(name) for name in sheet.frame.iloc[:, 0]] if len(sheet.frame) else []
    rows = tuple((name, tuple(column[i] for column in columns)) for i, name in enumerate(names))
    sentences = [
        *short_sentences(sheet.caption),
        *(["[ ]: 95 % intervals."] if "[95 %]" in "".join(map(str, sheet.frame)) else []),
    ]
    first = str(sheet.frame.columns[0]) if len(sheet.frame.columns) else ""
    title = first[:1].upper() + first[1:]
    return Float(sheet.name or "table", tuple(sentences) or (title,), tuple(heads), (("", rows),), title)


def _lines(name: str) -> tuple[str, ...]:
    """A header of a sheet in three lines at most, as even as its words allow."""
    text = name.replace(" [95 %]", "").replace(" %", "\u00a0%")
    parts = wrap(text[:1].upper() + text[1:], max(9, math.ceil(len(text) / 3)), break_long_words=False)
    return tuple(part.replace("\u00a0", " ") for part in parts)


def _marked(entry: Entry, bold: bool) -> Entry:
    return Entry(entry.value, entry.words, entry.spread, "best") if bold else entry


def _parsed(text: str) -> Entry:
    match = _INTERVAL.fullmatch(text)
    if match is None:
        return Entry(words=text)
    return Entry(float(match[1].replace(",", "")), spread=match[2] or "")


def _usual(table: Table) -> list[Column]:
    """Figures of merit but for those of classes, and the costs: what a paper's main table has."""
    merit = [c for c in table.columns if c.merit and c.figure == "value" and column_name(c) != "classes"]
    if table.task == "segmentation":
        first = [merit[0], merit[-1]]  # HD95 in millimetres, where they are known
    else:
        first = [column for column in merit if column.metric in ("accuracy", "macro_f1", "auc")]
    return [*first, *(column for column in table.columns if column.metric in COSTS)]


def _head(column: Column, needed: bool = True) -> Head:
    decimals = (
        {0: 0, 1: 1, 2: 1, 3: 2}[column.decimals] if column.merit or column.figure != "value" else column.decimals
    )
    if column.metric in SPEEDS:
        return Head(("Speed,", "fused") if column.metric == "speed_fused" else ("Speed",), 2, 1, needed)
    if column.metric == "macs":
        return Head(("GMACs", column.header.partition("(1x")[2].removesuffix(")")), column.decimals, -1, needed)
    if column.metric == "params":
        return Head(("Params", "(M)"), 2, -1, needed)
    name = column_name(column)
    if name in ("dice", "hd95"):
        unit = column.metric.split("_")[1] if name == "hd95" else "%"
        return Head(({"dice": "Dice", "hd95": "HD95"}[name], f"({unit})"), decimals, column.merit, needed)
    words = _WORDS.get(column.header) or (
        *column.header.replace(" %", "").split(),
        *(["(%)"] * (" %" in column.header)),
    )
    return Head(words, decimals, column.merit, needed)


def _entries(table: Table, column: Column, head: Head, wishes: Wishes) -> dict[str, Entry]:
    """Title -> the figure of a column, its spread and its mark."""
    intervals = intervals_of(table.sure, column) if wishes.spread == "ci" else {}
    by_habit = wishes.mark == "best"
    marks = marks_of_habit(table, column, head.decimals or 0) if by_habit else {}
    marks = marks_told_apart(table, column) if wishes.mark == "apart" else marks
    deviations = _deviations(table, column) if wishes.spread == "sd" else {}
    found = {}
    for title, value in zip(table.frame["Model"], table.frame[column.header].astype(float), strict=True):
        spread = _deviation(deviations.get(title, math.nan), wishes)
        if title in intervals and not math.isnan(intervals[title].low):
            spread = _interval(intervals[title].low, intervals[title].high)
        absent = _absent(table, title) if column.merit else ABSENT
        found[title] = Entry(value, absent if math.isnan(value) else "", spread, marks.get(title, ""))
    return found


def _absent(table: Table, title: str) -> str:
    """What stands in the place of a figure: `failed` or `diverged` where that is why there is none."""
    status = str(table.figures.loc[table.figures["title"] == title, "status"].iloc[0])
    return ABSENT if status == "complete" else status.partition(" ")[0]


def _deviations(table: Table, column: Column) -> Mapping[str, float]:
    """Title -> the deviation over seeds of a column's figure; costs have none."""
    level = table.figures[(table.figures["metric"] == column.metric) & (table.figures["class"] == column.level)]
    return dict(zip(level["title"], level["sd_seeds"].astype(float), strict=True)) if column.merit else {}


def _deviation(value: float, wishes: Wishes) -> str:
    return f"±{value:.1f}" if wishes.spread == "sd" and not math.isnan(value) else ""


def _interval(low: float, high: float) -> str:
    return "" if math.isnan(low) else f"[{low:.1f}, {high:.1f}]"


def _float(
    table: Table, wishes: Wishes, heads: tuple[Head, ...], fill: Sequence[Mapping[str, Entry]], kept: Any = None
) -> Float:
    """The rows in their order, by family; chance is no row of a paper. Rows that lack seeds carry a dagger."""
    of_title = table.figures.drop_duplicates("title").set_index("title")
    groups = []
    shown = [t for t in table.frame["Model"] if of_title["family"][t] != "chance" and (kept is None or t in kept)]
    lacking = {title for title in shown if _lacks_seeds(table, title)}
    families = [family for family in FAMILIES if any(of_title["family"][t] == family for t in shown)]
    for family in families:
        rows = tuple(
            (
                f"{t}{DAGGER * (t in lacking)}",
                tuple(column.get(t, Entry(words=ABSENT)) for column in fill),
            )
            for t in shown
            if of_title["family"][t] == family
        )
        groups.append((FAMILIES[family] if len(families) > 1 else "", rows))
    label = f"{table.name}-{table.key}-{wishes.kind}"
    spread = any(entry.spread for column in fill for entry in column.values())
    marked = any(entry.mark for column in fill for entry in column.values())
    caption = caption_of(table, wishes, spread, marked, bool(lacking))
    return Float(label, caption, heads, tuple(groups), kept=conventions_of(table, wishes))


def _lacks_seeds(table: Table, title: str) -> bool:
    """Whether a row has not all of the table's seeds, whichever others it has."""
    own = table.cells[(table.cells["shown_as"] == title) & table.cells["key"].isin(table.scores["key"])]
    return not set(table.seeds) <= whole_seeds(own)
