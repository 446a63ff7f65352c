"""Score against images seen, or against training patients: the headline figures of several comparisons side by side.

Each point is of whole runs of its own, and is what the table of its comparison shows (`analysis.comparison`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.analysis.aside import are_arms
from bench.analysis.captions import about, changes, image_marks, preset_words
from bench.analysis.checklist import PROVENANCE
from bench.analysis.comparison import Table, kinds_of_models, summarise
from bench.analysis.folds import pooled
from bench.analysis.short_budget import budget_mark, is_short
from bench.analysis.shown import DEFAULT, Shown, named_apart
from bench.analysis.statistics import Interval
from bench.analysis.units import with_units
from bench.errors import UserError, unknown
from bench.records.choice import ALL as ALL_CELLS
from bench.records.choice import Choice
from bench.records.store import load_cells_and_cases
from bench.runs.arguments import FLAG, REPORT, make_request, read_arguments, whole
from bench.runs.curves import CURVES, IMAGES, PATIENTS, CurveRuns, curve_runs
from bench.runs.job import Report, silent
from bench.runs.request import Request
from bench.runs.runner import run_jobs

if TYPE_CHECKING:
    import pandas as pd

# What a curve is over -> its name on an axis, a word for one number of it, and the key that its cells share.
AXES = {
    IMAGES: ("images seen in training", "images", "over_budgets"),
    PATIENTS: ("training patients or groups", "patients", "over_patients"),
}
BUDGET = {"workers": whole(), "force": FLAG, "report": REPORT, **CURVES}
WHOLE = "Each number of images seen is a whole schedule of its own, from warm-up to its end."
DRAWN = "Of fewer training patients or groups each seed draws its own; a larger number holds those of a smaller one."
ALL = "Runs on the whole training part are no point where their records do not say how many groups it is."

MEAN = "Where the folds of a point differ in this number, the point stands at their mean."


@dataclass(frozen=True)
class Point:
    """A model's figure at one place of a curve, without ends (nan) where nothing is claimed.

    Attributes:
        runs: what became of its seeds, as the table says it: `2`, `1 of 2; failed (1 of 2 seeds)`.
    """

    figure: Interval
    runs: str


@dataclass(frozen=True)
class Line:
    """One model's points by place; it has none where it was not run."""

    model: str
    title: str
    family: str
    points: dict[int, Point]


@dataclass(frozen=True, eq=False)
class Curve:
    """The lines of one data set, split and protocol.

    Attributes:
        axis: what it is over, of `AXES`.
        dataset: its name; phantoms have their own. preset: without the steps.
        name: what no other curve of the folder is called: with the steps, or the training patients, of its cells.
        caption: above a table. title: above a figure.
        measure: the figure as headers say it. decimals: that it is shown with.
        places: where it has points, ascending.
        lines: the highest at the last place first, chance last.
    """

    axis: str
    dataset: str
    split: str
    preset: str
    name: str
    caption: str
    title: str
    measure: str
    decimals: int
    places: tuple[int, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...]


def budget(workers: int = 1, force: bool = False, report: Report = silent, **request: Any) -> pd.DataFrame:
    """Trains what a curve needs and is not done; a row per model and budget, or number of training patients.

    Columns: axis, dataset, split, preset, model, title, place, measure, value, low, high (nan where nothing is
    claimed), runs.

    Args:
        workers: processes; each cell keeps the protocol's threads.
        force: runs finished cells anew.
        request: budgets or train_patients, two numbers or more, and the fields of `bench.runs.request.Request`.

    Raises:
        UserError: any name, value or folder that is not right.
    """
    lists = {name: request.pop(name, None) for name in CURVES}
    read_arguments({"workers": workers, "force": force, "report": report}, BUDGET)
    asked = make_request(Request, request, BUDGET)
    runs = curve_runs(asked, **lists, report=report)
    run_jobs(runs.jobs, workers, force, report)
    return long_frame(curves_of(runs, asked.results))


def curves_of(runs: CurveRuns, results: str | Path, shown: Shown = DEFAULT) -> list[Curve]:
    """The curves of cells that were run, one for each data set; of no other cells of the folder."""
    cells, cases = _load(results)
    cells = cells[cells["key"].isin([job.cell.key for job in runs.jobs])]
    places = cells["comparison"].map(runs.places)
    cells = cells.assign(place=cells["images_seen"].where(places.notna()) if runs.axis == IMAGES else places)
    return _curves(cells, cases, runs.axis, shown, {job.model for job in runs.jobs})


def stored_curves(
    results: str | Path, preset: str | None = None, shown: Shown = DEFAULT, choice: Choice = ALL_CELLS
) -> tuple[list[Curve], tuple[str, ...]]:
    """All curves that records allow: one model at two places or more. And what of the folder was left out, in lines.

    Of several versions of a model the newest is shown; arms of ablations are not.

    Args:
        preset: as the curves' captions name it, without the steps; None: all.
        choice: which cells, whatever their preset.

    Raises:
        UserError: no curve, of those cells or that preset.
    """
    cells, cases = _load(results)
    notes = tuple(cells.attrs["notes"])
    cells = choice.of(cells) if len(cells) else cells
    found = []
    for axis in AXES:
        placed = cells.assign(
            place=cells["images_seen"] if axis == IMAGES else [_patients(row) for row in _rows(cells)]
        )
        found += _curves(placed, cases, axis, shown, ())
    if not found:
        whose = f" of {choice.text}" if choice.text else ""
        raise UserError(
            f"No model{whose} has cells at two budgets or more in {str(results)!r}, or with two numbers of training "
            "patients: `medbench budget` makes some."
        )
    if preset is not None and preset not in {curve.preset for curve in found}:
        raise unknown("preset among the curves", preset, {curve.preset for curve in found})
    return [curve for curve in found if preset in (None, curve.preset)], notes


def _load(results: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    cells, cases = load_cells_and_cases(results)
    notes = cells.attrs["notes"]
    cells, cases = with_units(cells, named_apart(cases), results)
    cells.attrs["notes"] = notes
    return cells, cases


def _rows(cells: pd.DataFrame) -> list[dict[str, Any]]:
    return cells.to_dict("records")  # type: ignore[return-value]


def _patients(cell: Mapping[str, Any]) -> float:
    """How many training patients a cell has; nan where it has all groups of images, which its record does not count."""
    few = cell["train_patients"]
    if few is not None and few == few:
        return float(few)
    return float(cell["counts"]["train"]["present_patients"]) if cell["task"] == "segmentation" else math.nan


def _curves(cells: pd.DataFrame, cases: pd.DataFrame, axis: str, shown: Shown, asked: Collection[str]) -> list[Curve]:
    groups = cells.groupby(AXES[axis][2], sort=False)
    found = {str(key): curve for key, own in groups if (curve := _curve(own, cases, axis, shown, asked)) is not None}
    names = [curve.name for curve in found.values()]
    apart = (  # of other images, other parts: the key tells them apart
        replace(curve, name=f"{curve.name} {key}") if names.count(curve.name) > 1 else curve
        for key, curve in found.items()
    )
    return sorted(apart, key=lambda curve: (curve.dataset, curve.split, curve.preset, curve.name))


def _curve(cells: pd.DataFrame, cases: pd.DataFrame, axis: str, shown: Shown, asked: Collection[str]) -> Curve | None:
    known = _in_one_place(cells[cells["place"].notna()])
    placed = known if known.empty else _largest_of_each_place(_newest(known))
    trained = placed[placed["family"] != "chance"]
    if trained.empty or trained.groupby("model")["place"].nunique().max() < 2:
        return None
    several = placed.groupby("model")["place"].transform("nunique") > 1
    arms = are_arms(placed) & ~placed["model"].isin(list(asked))  # set aside: they tell which seeds a null arm's are
    placed = placed[several | arms]  # of no other row a word is said
    place_of = dict(zip(placed["comparison"], placed["place"].astype(int), strict=True))
    made = summarise(placed, cases[cases["key"].isin(placed["key"])], False, asked, False, shown)
    tables = {place_of[table.key]: table for table in sorted(made, key=lambda table: place_of[table.key])}
    last, column = pooled(placed[placed["place"] == max(tables)]), next(reversed(tables.values())).columns[0]
    last["train_patients"] = None if axis == PATIENTS else last["train_patients"]
    kept = last["preset"] if axis == PATIENTS else _preset(last)  # along patients curves of several steps differ in it
    name = f"{last['dataset']} {last['split']} {axis} {kept}{changes(last)}"
    last["preset"] = _preset(last)
    counted = {key for table in made for key in table.cells["key"]}  # without seeds that a table leaves out
    placed = placed[placed["key"].isin(counted)]
    done = placed[(placed["status"] == "complete") & (placed["family"] != "chance")]
    left_out = (ALL,) if axis == PATIENTS and len(known) < len(cells) else ()
    differ = (MEAN,) if (placed["place"] != cells.loc[placed.index, "place"]).any() else ()
    lines = _lines(tables, column.header)
    if not lines:
        return None
    return Curve(
        axis,
        last["dataset"],
        last["split"],
        last["preset"],
        name,
        f"{_heading(last, axis, column.header, done)} {about(last, done, shown)}{_versions(known)}",
        _title(last, done),
        column.header,
        column.decimals,
        tuple(tables),
        lines,
        (
            *(WHOLE if axis == IMAGES else DRAWN, *differ, *_short_places(axis, tables)),
            *(*_said(tables, axis), *_along(done), *left_out),
        ),
    )


def _in_one_place(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells with one place for each comparison: where folds differ in it, their mean."""
    return cells.assign(place=cells.groupby("comparison")["place"].transform("mean").round())


def _newest(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells of each model's newest version."""
    plain = cells["model"].str.partition("[")[0]
    return cells[cells["version"] == cells["version"].groupby(plain).transform("max")]


def _versions(cells: pd.DataFrame) -> str:
    """Which version is shown of each model that several are stored of, and which are not; blank where none is."""
    words = []
    for _, own in cells.groupby(cells["model"].str.partition("[")[0], sort=True):
        *older, newest = sorted(set(own["version"]))
        if older:
            left = ", ".join(f"v{version}" for version in older)
            words.append(f"{own['title'].iloc[0].partition(' [')[0]} v{newest} (not {left})")
    return f" Versions shown: {', '.join(words)}." if words else ""


def _largest_of_each_place(cells: pd.DataFrame) -> pd.DataFrame:
    """One comparison for each place, that with the most cells: as many steps may be asked for in two ways."""
    sizes = cells.groupby(["place", "comparison"]).size().rename("cells").reset_index()
    largest = sizes.sort_values("cells", ascending=False, kind="stable").drop_duplicates("place")
    return cells[cells["comparison"].isin(largest["comparison"])]


def _preset(first: pd.Series[Any]) -> str:
    """The preset as captions name it, without the steps that differ along a curve."""
    name, _, changed = first["preset"].partition(" with ")
    kept = [part for part in changed.split(", ") if part and not part.startswith(("steps=", "epochs="))]
    return f"{name} with {', '.join(kept)}" if kept else name


def _heading(first: pd.Series[Any], axis: str, measure: str, done: pd.DataFrame) -> str:
    seen = "" if axis == IMAGES else budget_mark(done["images_seen"].min())
    marks = [mark for mark in (*image_marks(first), seen) if mark]
    what = f"{measure} against {AXES[axis][0]}: {first['dataset_title']} ({first['dataset']}), {first['source']} images"
    return f"{'. '.join([*marks, what])}, preset {preset_words(first['preset'])}{changes(first)}."


def _title(first: pd.Series[Any], done: pd.DataFrame) -> str:
    kind = {"phantom": "PHANTOM images, ", "substitute": "SUBSTITUTE images, "}.get(first["source"], "")
    against = f"{' (flagged)' if first['split_flag'] is not None else ''}{', partial' if first['partial'] else ''}"
    seeds = ", ".join(map(str, sorted(set(done["seed"])))) or "none"
    return (
        f"{kind}{first['dataset_title']} ({first['dataset']}), split {first['split']}{against}, preset "
        f"{first['preset']}{changes(first)}, seeds {seeds}"
    )


def _lines(tables: Mapping[int, Table], header: str) -> tuple[Line, ...]:
    """A line for each model with two points or more."""
    lines: dict[str, Line] = {}
    for place, table in tables.items():
        rows = {str(row["Model"]): row for row in table.frame.to_dict("records")}
        for row in table.figures.drop_duplicates("model").to_dict("records"):
            title = str(row["title"])
            line = lines.setdefault(str(row["model"]), Line(str(row["model"]), title, str(row["family"]), {}))
            sure = table.sure.figures.get(title, Interval(math.nan, math.nan, math.nan))
            figure = Interval(float(rows[title][header]), sure.low, sure.high)
            line.points[place] = Point(figure, str(rows[title]["Seeds"]))
    kept = [line for line in lines.values() if len(line.points) > 1]
    return tuple(sorted(kept, key=lambda line: (line.family == "chance", -_last_value(line))))


def _last_value(line: Line) -> float:
    known = [point.figure.value for _, point in sorted(line.points.items()) if not math.isnan(point.figure.value)]
    return known[-1] if known else -math.inf


def _short_places(axis: str, tables: Mapping[int, Table]) -> tuple[str, ...]:
    short = [place for place in tables if axis == IMAGES and is_short(place)]
    if not short:
        return ()
    return (f"Networks have not converged at {_listed(short)} images seen (short budgets); nothing is marked best.",)


def _said(tables: Mapping[int, Table], axis: str) -> list[str]:
    """What stands below the tables of the points, once; what not all of them say with its places."""
    lines: dict[str, list[int]] = {}
    for place, table in tables.items():
        for line in (*table.footnotes[1:], table.sure.caption):  # the first is on columns that a curve has not
            lines.setdefault(line, []).append(place)
    word = AXES[axis][1]
    said = [line if len(own) == len(tables) else f"At {_listed(own)} {word}: {line}" for line, own in lines.items()]
    return [*said, *kinds_of_models(list(tables.values()))]


def _along(done: pd.DataFrame) -> list[str]:
    """What of device, CPU, torch and commit runs differ in from one place of a curve to another."""
    import pandas as pd

    notes, places = [], sorted(set(done["place"].astype(int)))
    for column, label in PROVENANCE.items():
        cut = 7 if column == "commit" else None
        values = done[column].map(lambda value, cut=cut: "unknown" if pd.isna(value) else str(value)[:cut])
        where = {value: sorted(set(own["place"].astype(int))) for value, own in done.groupby(values)}
        if any(own != places for own in where.values()):
            shown = "; ".join(f"{value} at {_listed(own)}" for value, own in where.items())
            notes.append(f"Along the curves runs differ in {label}: {shown}.")
    return notes


def _listed(places: Sequence[int]) -> str:
    return " and ".join(filter(None, (", ".join(f"{place:,}" for place in places[:-1]), f"{places[-1]:,}")))


def long_frame(curves: Sequence[Curve]) -> pd.DataFrame:
    """The points as `budget` gives them."""
    import pandas as pd

    columns = ["axis", "dataset", "split", "preset", "model", "title", "place", "measure"]
    rows = [
        (
            *(curve.axis, curve.dataset, curve.split, curve.preset, line.model, line.title, place, curve.measure),
            *(point.figure.value, point.figure.low, point.figure.high, point.runs),
        )
        for curve in curves
        for line in curve.lines
        for place, point in sorted(line.points.items())
    ]
    return pd.DataFrame(rows, columns=[*columns, "value", "low", "high", "runs"])
