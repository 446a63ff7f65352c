"""Figures that others published, to stand below a table: unranked, with where they are from and what differs."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from bench.analysis.comparison import Table
from bench.analysis.sheet import Sheet
from bench.errors import UserError, unknown

COLUMNS = (
    *("dataset", "model", "metric", "class", "value", "unit", "kind", "key"),
    *("split", "size", "pretraining", "convention", "flag", "source"),
)
REQUIRED = ("dataset", "model", "metric", "value", "source")
KINDS = ("goal", "authors", "copied", "rerun")
METRICS = {"segmentation": ("dice", "hd95"), "classification": ("accuracy",)}  # of a data set's short list
SHARES = ("dice", "accuracy", "f1", "sensitivity", "precision", "auc")
OVERALL = ("", "all", "mean", "test", "5-fold", "mean of 3 folds", "mean of 4 folds")
SHORT = 16  # networks, from which on only goals and those that are in the table are shown
FIGURES = {"dice": "Dice %", "hd95": "HD95", "accuracy": "Accuracy %"}
NOTE = (
    "Not measured here, not ranked: split, size, pretraining and conventions differ, and each source's own choice of "
    "weights. Goal: the headline figure of the paper that the proposed model is reconstructed from. Blank: not stated."
)
_DIFFERS = (("split", "split {}"), ("size", "{} px"), ("pretraining", "pretraining {}"), ("convention", "{}"))


@dataclass(frozen=True)
class Published:
    """One figure of a source.

    Attributes:
        dataset: as this project names it, else in the source's words; blank for costs.
        metric, level, value, unit: `dice`, `mean`, 79.45, `percent`.
        kind: `goal`, `authors` (their own log), `copied` (from a table of others) or `rerun`.
        key: of the citation, blank where only the source is known.
        differs: what of the set-up is known, in words. flag: why the figure is in doubt.
    """

    dataset: str
    model: str
    metric: str
    level: str
    value: float
    unit: str
    kind: str
    key: str
    differs: str
    flag: str
    source: str

    @property
    def is_overall(self) -> bool:
        """Whether it is of all classes together."""
        return self.level in OVERALL

    @property
    def length(self) -> str:
        """The unit of a distance: `vox`, `mm`, or in the source's words; blank where it is not stated."""
        words = self.unit.lower()
        return "" if "unspecified" in words else "vox" if words.startswith("vox") else self.unit


def published_figures(path: Path | None = None) -> list[Published]:
    """The figures of a file, by default those that the package ships, in their order.

    Raises:
        UserError: a file that cannot be read, lacks a column, or has a row that no figure can be.
    """
    where = "the package's published.csv" if path is None else str(path)
    try:
        data = (files("bench.analysis") / "published.csv").read_bytes() if path is None else path.read_bytes()
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"Cannot read {where}: {getattr(error, 'strerror', None) or 'it is no UTF-8'}.") from None
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        return _figures(reader, where)
    except csv.Error as error:
        raise UserError(f"Cannot read {where}: line {reader.line_num} is no CSV ({error}).") from None


def _figures(reader: csv.DictReader[str], where: str) -> list[Published]:
    names = [str(name).strip() for name in reader.fieldnames or ()]
    if missing := [name for name in REQUIRED if name not in names]:
        further = ", ".join(name for name in COLUMNS if name not in REQUIRED)
        raise UserError(
            f"Expected the columns {', '.join(REQUIRED)} in {where}, and maybe {further}, but {', '.join(missing)} is "
            "missing."
        )
    for name in names:
        if name not in COLUMNS:
            raise unknown(f"column of {where}", name, COLUMNS)
    reader.fieldnames = names
    return [_figure(row, f"{where}, line {reader.line_num}") for row in reader]


def _figure(row: Mapping[str | None, str | None], place: str) -> Published:
    if None in row:
        raise UserError(f"Expected as many values as columns in {place}, but there are more.")
    of = {str(name): (value or "").strip() for name, value in row.items()}
    if lacking := [name for name in REQUIRED if name != "dataset" and not of[name]]:
        raise UserError(f"Expected a {lacking[0]} in {place}, but it is blank.")
    try:
        value = float(of["value"])
    except ValueError:
        value = math.nan
    most = 100.0 if of["metric"] in SHARES else math.inf
    if not 0 <= value <= most or math.isinf(value):
        allowed = "a share in % from 0 to 100" if most == 100 else "a number from 0 on"
        raise UserError(
            f"Expected the value of {of['metric']} in {place} to be {allowed}, but got {of['value'][:40]!r}."
        )
    kind = of.get("kind") or "copied"
    if kind not in KINDS:
        raise unknown(f"kind in {place}", kind, KINDS)
    differs = ", ".join(words.format(of[name]) for name, words in _DIFFERS if of.get(name))
    first = (of["dataset"], of["model"], of["metric"], of.get("class", ""), value, of.get("unit", ""), kind)
    return Published(*first, of.get("key", ""), differs, of.get("flag", ""), of["source"])


def beside(table: Table, figures: Iterable[Published], keys: Sequence[str] = ()) -> tuple[list[list[Published]], str]:
    """The published rows of a table's data set, each a model of one source with its figures; and why there are none.

    Of a data set with many published networks the goals are shown, and those that the table has.

    Args:
        keys: citations of the table's networks.
    """
    if table.first["source"] != "real":
        return [], f"No published figures stand beside {table.first['source']} images."
    if table.first["partial"]:
        return [], "No published figures stand beside a partial data set."
    own = [f for f in figures if f.dataset == _dataset(table) and f.metric in METRICS[table.task] and f.is_overall]
    if not own:
        return [], "No published figures of this data set are known (--literature FILE adds yours)."
    rows: dict[tuple[str, str], list[Published]] = {}
    for figure in own:
        rows.setdefault((figure.model, figure.source), []).append(figure)
    main = METRICS[table.task][0]
    once: dict[str, list[Published]] = {}
    for found in sorted(rows.values(), key=lambda row: all(figure.metric != main for figure in row)):
        once.setdefault(found[0].model, found)
    goals = [row for row in once.values() if row[0].kind == "goal"]
    others = [row for row in once.values() if row[0].kind != "goal"]
    if len(once) > SHORT:
        others = [row for row in others if row[0].key in keys]
    left = len(once) - len(goals) - len(others)
    return [*goals, *others], f"{left} more published networks are in results/published.csv." if left else ""


def _dataset(table: Table) -> str:
    return table.name.removesuffix("-2class") if table.name.startswith("large-covid-ct") else table.name


def _text(figure: Published) -> str:
    """A figure as a table shows it: a share in %, a distance with its unit."""
    unit = f" {figure.length or '(unit not stated)'}" if figure.metric == "hd95" else ""
    return f"{figure.value:g}{unit}"


def literature_sheet(table: Table, figures: Iterable[Published], keys: Sequence[str] = ()) -> Sheet:
    """What stands below a table: published figures, none marked or ranked; the caption alone where there are none."""
    import pandas as pd

    rows, why = beside(table, figures, keys)
    name = f"{table.name}-{table.key}-published"
    if not rows:
        return Sheet(f"{table.where}. {why}", pd.DataFrame(), name=name)
    metrics = [metric for metric in METRICS[table.task] if any(f.metric == metric for row in rows for f in row)]
    texts = []
    for row in rows:
        by_metric = {figure.metric: figure for figure in row}
        first = row[0]
        texts.append(
            {
                "Published": f"{first.model} (goal)" if first.kind == "goal" else first.model,
                **{FIGURES[m]: _text(by_metric[m]) if m in by_metric else "" for m in metrics},
                "Differs": first.differs,
                "Doubt": first.flag,
                "Citation": first.key or first.source,
            }
        )
    frame = pd.DataFrame(texts)
    frame = frame.loc[:, [bool(frame[column].any()) for column in frame]]
    notes = (NOTE, why) if why else (NOTE,)
    words = ("Differs", "Doubt", "Citation")
    caption = f"{table.where}. Published figures, for orientation alone."
    return Sheet(caption, frame, notes, name=name, left=words, details=("Doubt", "Citation"))
