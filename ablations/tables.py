"""Ablations as tables: arms beside the full model, effects of the factorial; rich, Markdown, LaTeX and CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from ablations.effects import (
    NULL,
    Effect,
    Stored,
    arm_effects,
    cost_per_point,
    factorial_effects,
    importances,
    run_figures,
)
from bench.metrics.statistics import Interval
from bench.report.certainty import unit_column, unit_words
from bench.report.escaping import latex_text, markdown_text, stacked
from bench.report.tables import PHANTOM, TASKS

if TYPE_CHECKING:
    from rich.table import Table as RichTable

ARM_NOTE = (
    "less full: the arm's figure less the full model's, over the same seeds, patients, data order and augmentation, "
    "with its 95 % interval from the two-way bootstrap, seeds in pairs; bold where it excludes 0. It is not adjusted "
    "for the number of arms. Intervals hold for other seeds and other patients like these."
)
NULL_NOTE = "null: the full model trained again under other seeds; what it differs by is the noise of training."
POINT_NOTE = (
    "Cost per point: what the removed modules have of parameters and MACs for each point of {measure} that the full "
    "model has over the arm; in brackets where these points cannot be told from none; blank where there are none."
)
MATCHED_NOTE = (
    "matched: all four widths scaled until the arm has the full model's parameters or MACs, so that fewer parameters "
    "are not mistaken for the missing module."
)
EFFECT_NOTE = (
    "Main effect: with the module less without it, averaged over the four settings of the other two. Interaction: "
    "half the difference between what one brings with the other and without it. From the eight arms themselves. "
    "Importance: Optuna's, evaluator fANOVA, of the module's presence; it has no sign and no interval."
)


@dataclass(frozen=True, eq=False)
class TextTable:
    """A table, its figures as texts.

    Attributes:
        name: for labels and files, `acdc-arms`.
        bold: of the frame's shape, true where a cell is bold.
    """

    name: str
    caption: str
    frame: pd.DataFrame
    bold: pd.DataFrame
    footnotes: tuple[str, ...]


def ablation_tables(found: Sequence[Stored]) -> list[TextTable]:
    """Two tables for each comparison: arms, and the effects where the factorial is whole."""
    tables = []
    for stored in found:
        tables += [table for table in (_arms(stored), _effects(stored)) if table is not None]
    return tables


def _arms(stored: Stored) -> TextTable:
    effects = arm_effects(stored)
    if not effects:
        rows = [{"Arm": name, "Runs": _runs(stored, name)} for name in stored.labels]
        why = "No claim is made of one seed, or one patient: figures of single runs."
        frame = pd.DataFrame(rows)
        return TextTable(f"{_slug(stored)}-arms", _caption(stored, "Ablation"), frame, frame != frame, (why,))
    names = [measure.name for measure in stored.measures]
    rows, bold = [], []
    for effect in effects:
        row, marks = {"Arm": effect.name}, {"Arm": False}
        for name in names:
            row[f"{name} [95 %]"] = _text(effect.values[name])
            row[f"{name}, less full [95 %]"] = _text(effect.gaps[name], signed=True) if effect.gaps else ""
            marks[f"{name}, less full [95 %]"] = bool(effect.gaps) and effect.gaps[name].excludes_zero
        row |= _costs(stored, effect)
        rows.append(row)
        bold.append(marks)
    frame = pd.DataFrame(rows).fillna("")
    frame = frame.loc[:, [bool(frame[column].any()) for column in frame]]
    return TextTable(
        f"{_slug(stored)}-arms", _caption(stored, "Ablation"), frame, _bold(bold, frame), _arm_notes(stored, frame)
    )


def _costs(stored: Stored, effect: Effect) -> dict[str, str]:
    """Params and MACs beside the full model's, speed where it was measured, and the cost of a point."""
    full = {column: stored.cost("full", column) for column in ("params", "macs", "speed")}
    own = {column: stored.cost(effect.name, column) for column in full}
    point = cost_per_point(stored, effect)
    size = str(stored.first["input"])
    return {
        "Params (M)": f"{own['params'] / 1e6:.2f}",
        f"GMACs ({size})": f"{own['macs'] / 1e9:.3f}",
        "x full, params": f"{own['params'] / full['params']:.3f}",
        "x full, MACs": f"{own['macs'] / full['macs']:.3f}",
        "x full, images/s": "" if pd.isna(own["speed"] / full["speed"]) else f"{own['speed'] / full['speed']:.2f}",
        "k params per point": _point(stored, effect, point and point[0] / 1e3, 1),
        "MMACs per point": _point(stored, effect, point and point[1] / 1e6, 2),
    }


def _point(stored: Stored, effect: Effect, value: float | None, decimals: int) -> str:
    """The cost of a point, in brackets where the points themselves cannot be told from none."""
    if value is None:
        return ""
    told = effect.gaps[stored.measures[0].name].excludes_zero
    return f"{value:.{decimals}f}" if told else f"({value:.{decimals}f})"


def _arm_notes(stored: Stored, frame: pd.DataFrame) -> tuple[str, ...]:
    measure = stored.measures[0].name
    runs = "; ".join(f"{name} {_runs(stored, name)}" for name in frame["Arm"])
    speed = "x full, images/s: quotient of the relative throughputs (medbench profile), inference, fp32."
    notes = [
        ARM_NOTE,
        NULL_NOTE if NULL in set(frame["Arm"]) else "",
        POINT_NOTE.format(measure=measure) if "MMACs per point" in frame else "",
        MATCHED_NOTE if any("matched" in name for name in frame["Arm"]) else "",
        speed if "x full, images/s" in frame else "",
        f"{measure} of each run, by seed: {runs}.",
        f"Left out for lack of seeds: {', '.join(stored.incomplete)}." if stored.incomplete else "",
    ]
    return tuple(note for note in notes if note)


def _runs(stored: Stored, name: str) -> str:
    return ", ".join(f"{value:.1f}" for value in run_figures(stored, name))


def _effects(stored: Stored) -> TextTable | None:
    effects = factorial_effects(stored)
    if not effects:
        return None
    names, shares = [measure.name for measure in stored.measures], importances(stored)
    rows, bold = [], []
    for effect in effects:
        row = {"Effect": effect.name}
        row |= {f"{name} [95 %]": _text(effect.gaps[name], signed=True) for name in names}
        row["Importance (fANOVA)"] = f"{shares[effect.name]:.2f}" if effect.name in shares else ""
        rows.append(row)
        bold.append({f"{name} [95 %]": effect.gaps[name].excludes_zero for name in names})
    frame = pd.DataFrame(rows)
    caption = _caption(stored, "Factorial of the three modules, all eight arms")
    return TextTable(
        f"{_slug(stored)}-factorial", caption, frame, _bold(bold, frame), (EFFECT_NOTE, verdict(stored, effects))
    )


def _bold(marks: Sequence[dict[str, bool]], frame: pd.DataFrame) -> pd.DataFrame:
    """True where a row's marks say so, of the frame's shape."""
    return pd.DataFrame([[row.get(str(name), False) for name in frame] for row in marks], frame.index, frame.columns)


def verdict(stored: Stored, effects: Sequence[Effect]) -> str:
    """Which modules bring something here and which do not, in a sentence."""
    measure = stored.measures[0]
    words = []
    for effect in effects:
        if " x " in effect.name:
            continue
        gap = effect.gaps[measure.name]
        good = gap.low > 0 if measure.merit > 0 else gap.high < 0
        bad = gap.high < 0 if measure.merit > 0 else gap.low > 0
        word = "brings something" if good else "does harm" if bad else "brings nothing that can be told from noise"
        words.append(f"{effect.name} {word}")
    return f"By {measure.name}, with these seeds and patients: {'; '.join(words)}."


def _slug(stored: Stored) -> str:
    return f"{stored.first['dataset']}-{stored.first['comparison'][:6]}"


def _caption(stored: Stored, what: str) -> str:
    first = stored.first
    task = TASKS[first["task"]]
    units = stored.scores[unit_column(stored.scores)].nunique()
    seeds = ", ".join(map(str, stored.seeds))
    seeds += f", null arm {', '.join(map(str, stored.null))}" if stored.null else ""
    model = first["title"].partition(" [")[0]
    what = f"{what} of {model}: {first['dataset_title']} ({first['dataset']}), {first['source']} images"
    parts = [
        PHANTOM if first["source"] == "phantom" else "",
        f"{what}, preset {first['preset']}",
        task.parts(first),
        f"{task.scored_on(first)}, {units} {unit_words(task, stored.cells, stored.scores)}",
        f"Seeds {seeds}; weights {first['selection']}; {first['threads']} threads",
        task.PARTIAL if first["partial"] else "",
    ]
    return ". ".join(part for part in parts if part) + "."


def _text(found: Interval, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"{found.value:{sign}.2f} [{found.low:.2f}, {found.high:.2f}]"


def listing_table(model: str, dataset: str, rows: pd.DataFrame, shape: dict[str, Any]) -> TextTable:
    """Slots and fillings with the cost of the whole model (`ablations.fillings.listing`)."""
    size = f"1x{shape['channels']}x{shape['image_size']}x{shape['image_size']}"
    caption = (
        f"Fillings of {model}'s slots, with what the whole model costs: {shape['task']} as on {dataset}, "
        f"{shape['classes']} classes, input {size}. Nothing is trained."
    )
    decimals = {"params M": "{:.2f}", "GMACs": "{:.3f}", "params %": "{:+.1f}", "MACs %": "{:+.1f}"}
    frame = rows.assign(**{name: rows[name].map(form.format) for name, form in decimals.items()})
    frame["default"] = rows["default"].map({True: "default", False: ""})
    return TextTable(f"{model}-fillings-{dataset}", caption, frame, frame != frame, ())


def render(tables: Sequence[TextTable], form: str) -> str:
    """The text of tables as `markdown`, `latex` or `csv`."""
    if form == "csv":
        long = [t.frame.melt(id_vars=t.frame.columns[0], var_name="figure").assign(table=t.name) for t in tables]
        long = [frame.rename(columns={frame.columns[0]: "row"}) for frame in long]
        columns = ["table", "row", "figure", "value"]
        frame = pd.concat(long, ignore_index=True)[columns] if long else pd.DataFrame(columns=columns)
        return frame.to_csv(index=False, lineterminator="\n")
    return "\n".join(to_markdown(t) if form == "markdown" else to_latex(t) for t in tables)


def to_rich(table: TextTable) -> RichTable:
    """For a terminal."""
    from rich.box import SIMPLE
    from rich.table import Table as RichTable
    from rich.text import Text

    title, caption = Text(table.caption), Text("\n".join(table.footnotes))
    rich = RichTable(title=title, caption=caption, box=SIMPLE, padding=0, caption_justify="left")
    for i, name in enumerate(table.frame.columns):
        rich.add_column(Text(name), justify="right" if i else "left")
    for row, marks in zip(table.frame.to_numpy(), table.bold.to_numpy(), strict=True):
        rich.add_row(*(Text(text, style="bold" if mark else "") for text, mark in zip(row, marks, strict=True)))
    return rich


def to_markdown(table: TextTable) -> str:
    """A GitHub table below its caption and above its footnotes."""
    rows = [[markdown_text(name) for name in table.frame.columns]]
    rows.append(["---"] + ["---:"] * (len(table.frame.columns) - 1))
    for row, marks in zip(table.frame.to_numpy(), table.bold.to_numpy(), strict=True):
        texts = (markdown_text(text) for text in row)
        rows.append([f"**{text}**" if mark and text else text for text, mark in zip(texts, marks, strict=True)])
    lines = [markdown_text(table.caption), "", *(f"| {' | '.join(row)} |" for row in rows), ""]
    return "\n".join([*lines, *(f"- {markdown_text(note)}" for note in table.footnotes)]) + "\n"


def to_latex(table: TextTable) -> str:
    """A `table` float for article and booktabs, everything escaped."""
    texts = table.frame.map(latex_text)
    texts.columns = pd.Index([stacked(name) for name in table.frame.columns])
    commands: Any = table.bold.map(lambda mark: "textbf:--rwrap;" if mark else "")
    commands.columns = texts.columns
    latex = (
        texts.style.hide(axis="index")
        .apply(lambda _: commands, axis=None)
        .to_latex(
            hrules=True,
            caption=latex_text(table.caption),
            label=f"tab:{table.name}",
            position="htbp",
            position_float="centering",
            column_format="l" + "r" * (len(texts.columns) - 1),
        )
    )
    size, gap = ("tiny", 2.0) if len(texts.columns) > 8 else ("scriptsize", 3.0)
    latex = latex.replace("\\centering\n", f"\\centering\n\\{size}\n\\setlength{{\\tabcolsep}}{{{gap:g}pt}}\n", 1)
    notes = "".join(f"\\par\\raggedright {latex_text(note)}\n" for note in table.footnotes)
    return latex.replace("\\end{table}\n", f"{notes}\\end{{table}}\n")
