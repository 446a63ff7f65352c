"""From a results folder to printed tables: read, keep what was asked for, summarise, render."""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd

from bench.analysis.comparison import CSV, Table, kinds_of_models, summarise
from bench.analysis.shown import DEFAULT, Shown, named_apart
from bench.analysis.throughput import with_throughput
from bench.analysis.units import with_units
from bench.errors import UserError, unknown
from bench.records.profiles import load_profiles
from bench.records.store import load_cases, load_cells
from bench.report import sheets
from bench.report.by_class import class_sheet
from bench.report.certainty_text import (
    ranks_to_markdown,
    sure_rows,
    sure_to_latex,
    sure_to_markdown,
    sure_to_screen,
)
from bench.report.escaping import csv_safe, first_column, latex_label, latex_text, markdown_text, stacked
from bench.report.leaks import audit_notes, with_leaks
from bench.report.notes import few, in_a_line, notes_text
from bench.report.screen import WIDE, Screen, ScreenColumn, ScreenTable, show

CHECKLIST = "The claims checklist of each table: medbench report --checklist"


def results_tables(
    results: str | Path,
    comparisons: Collection[str] | None = None,
    dataset: str | None = None,
    preset: str | None = None,
    classes: bool = False,
    asked: Collection[str] | None = (),
    tests: bool = False,
    shown: Shown = DEFAULT,
) -> tuple[list[Table], tuple[str, ...]]:
    """The tables of a results folder: all, or those of some comparison keys, of one dataset or of one preset.

    Beside them, in lines, what of the folder was left out: damaged records are named and take no table away.

    Arms of ablations are set aside but for those of `asked`; None shows them all. p-values are shown with `tests`;
    `shown` says which of the stored figures.

    Where its `profiles` hold a model's speed at the same input, the table shows it.

    Raises:
        UserError: no such folder, no records in it, or none of that dataset or preset.
    """
    cells, cases = load_cells(results), load_cases(results)
    profiles = load_profiles(results)
    notes = (*cells.attrs["notes"], *profiles.attrs["notes"], *audit_notes(results))
    if not len(cells):
        raise UserError(
            f"No records in {str(results)!r}. Run `medbench run` first, or name another with --results DIR."
            f"{in_a_line(notes)}"
        )
    if dataset is not None:
        if dataset not in set(cells["dataset"]):
            raise unknown("dataset among the records", dataset, set(cells["dataset"]))
        cells = cells[cells["dataset"] == dataset]
    if preset is not None:
        if preset not in set(cells["preset"]):
            raise unknown("preset among the records", preset, set(cells["preset"]))
        cells = cells[cells["preset"] == preset]
    if comparisons is not None:
        cells = cells[cells["comparison"].isin(list(comparisons))]
    cells, clashes = _without_clashes(cells)
    cells, cases = with_units(with_leaks(cells, results), named_apart(cases), results)
    cells = with_throughput(cells.reset_index(drop=True), profiles)
    return summarise(cells, cases, classes, asked, tests, shown), (*notes, *clashes)


def _without_clashes(cells: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The cells but those that share comparison, model, version, seed and fold with another, and lines on these."""
    same = ["comparison", "model", "version", "seed", "fold"]
    twice = cells.duplicated(same, keep=False)
    notes = [
        f"Left out: {rows['model'].iloc[0]} seed {rows['seed'].iloc[0]} of {rows['dataset'].iloc[0]}, comparison "
        f"{rows['comparison'].iloc[0]}, has several cells ({', '.join(rows['key'])}) of one version: its defaults "
        "changed and its version did not. Raise the version, or move the older cells' folders away."
        for _, rows in cells[twice].groupby(same, dropna=False, sort=False)
    ]
    return cells[~twice], notes


def print_tables(screen: Screen, tables: list[Table], checklist: bool = False, notes: Sequence[str] = ()) -> None:
    """Prints tables; which models are reduced or reconstructed is said once, below the last.

    Args:
        checklist: the claims checklist too, which what is no terminal always gets.
        notes: what was left out, in lines, to stand below.
    """
    checklist = checklist or not screen.is_terminal
    for table in tables:
        show(screen, to_screen(table))
        by_class = class_sheet(table)
        if by_class is not None:
            show(screen, sheets.to_screen(by_class))
        show(screen, sure_to_screen(table))
        if checklist:
            for line in ("Claims checklist", *(f"  {line}" for line in table.checklist)):
                screen.print_note(line, indent=4)
            screen.print()
    for line in (*kinds_of_models(tables), *([] if checklist else [CHECKLIST]), *few(notes)):
        screen.print_note(line)


def render_tables(tables: list[Table], form: str, notes: Sequence[str] = ()) -> str:
    """The text of tables as `rich`, `markdown`, `latex` or `csv`; `ranks` is how often each model has each rank.

    Args:
        notes: what was left out, in lines, to stand below.
    """
    if form == "csv":
        return to_csv(tables, notes)
    if form == "ranks":
        return "\n".join(map(ranks_to_markdown, tables)) + notes_text(notes)
    if form == "rich":
        screen = Screen(wide=True, file=io.StringIO(), width=WIDE)
        print_tables(screen, tables, checklist=True, notes=notes)
        return screen.file.getvalue()  # type: ignore[attr-defined]
    own, of_class, sure = (
        (to_markdown, sheets.to_markdown, sure_to_markdown)
        if form == "markdown"
        else (to_latex, sheets.to_latex, sure_to_latex)
    )
    texts = []
    for table in tables:
        by_class = class_sheet(table)
        texts += [own(table), *([] if by_class is None else [of_class(by_class)]), sure(table)]
    return "\n".join(texts) + notes_text(notes, form)


def _texts(table: Table) -> list[dict[str, str]]:
    """The frame's rows as shown: fixed decimals, blank where a figure is not defined."""
    rows = [{"Model": str(model)} for model in table.frame["Model"]]
    for c in table.columns:
        for row, value in zip(rows, table.frame[c.header], strict=True):
            row[c.header] = "" if pd.isna(value) else f"{value:.{c.decimals}f}"
    return [{**row, "Seeds": str(seeds)} for row, seeds in zip(rows, table.frame["Seeds"], strict=True)]


def to_screen(table: Table) -> ScreenTable:
    """For a terminal: short headers, best bold, second underlined; what is no heading stands in the notes."""
    columns = (
        ScreenColumn("Model", words=True),
        *(ScreenColumn(c.header, c.short, detail=c.detail) for c in table.columns),
        ScreenColumn("Seeds", words=bool(table.frame["Seeds"].str.len().gt(len("12 of 12")).any())),
    )
    styles = {"best": "bold", "second": "underline", "": ""}
    rows = [
        [(text, styles[marks[name]]) for name, text in row.items()]
        for row, marks in zip(_texts(table), table.marks.to_dict("records"), strict=True)
    ]
    return ScreenTable(table.heading, columns, rows, (table.about, *table.footnotes))


def to_markdown(table: Table) -> str:
    """A GitHub table below its caption and above its footnotes; best bold, second underlined."""
    wraps = {"best": "**{}**", "second": "<u>{}</u>", "": "{}"}
    headers = ["Model", *(c.header for c in table.columns), "Seeds"]
    rows = [[markdown_text(name) for name in headers], ["---"] + ["---:"] * (len(headers) - 1)]
    for row, marks in zip(_texts(table), table.marks.to_dict("records"), strict=True):
        rows.append([wraps[marks[name]].format(markdown_text(row[name])) for name in headers])
    lines = [markdown_text(table.caption), "", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join([*lines, "", *(f"- {markdown_text(note)}" for note in table.footnotes)]) + "\n"


def to_latex(table: Table) -> str:
    """A `table` float for article and booktabs, everything escaped; best bold, second underlined."""
    narrow = len(table.frame.columns) > 13
    texts, first = first_column(pd.DataFrame(_texts(table)).map(latex_text))
    commands = table.marks.replace({"best": "textbf:--rwrap;", "second": "underline:--rwrap;"})[texts.columns]
    styler = texts.style.hide(axis="index").apply(lambda _: commands, axis=None)
    styler = styler.format_index(lambda name: stacked(str(name), narrow), axis="columns")
    latex = styler.to_latex(
        hrules=True,
        caption=latex_text(table.caption),
        label=f"tab:{latex_label(table.name)}-{table.key}",
        position="htbp",
        position_float="centering",
        column_format=first + "r" * (len(texts.columns) - 1),
    )
    size, gap = ("scriptsize", 2.0) if len(texts.columns) > 10 else ("footnotesize", 3.0)
    if narrow:
        gap = 1.4 if len(texts.columns) == 14 else 1.0
    latex = latex.replace("\\centering\n", f"\\centering\n\\{size}\n\\setlength{{\\tabcolsep}}{{{gap:g}pt}}\n", 1)
    notes = "".join(f"\\par\\raggedright {latex_text(note)}\n" for note in table.footnotes)
    return latex.replace("\\end{table}\n", f"{notes}\\end{{table}}\n")


def to_csv(tables: Sequence[Table], notes: Sequence[str] = ()) -> str:
    """All tables as one long CSV: a row per comparison, model, metric and class, numbers in full.

    Behind a comparison's figures stand those of `certainty_text.sure_rows`: differences, ranks, and the checklist. The
    last rows, of metric `note`, say what was left out.
    """
    frames = [frame for table in tables for frame in (table.figures, sure_rows(table).reindex(columns=CSV))]
    if notes:
        frames.append(pd.DataFrame([{"metric": "note", "text": note} for note in few(notes)], columns=CSV))
    frame = pd.concat(frames or [pd.DataFrame(columns=CSV)], ignore_index=True)
    return csv_safe(frame).to_csv(index=False, lineterminator="\n")
