"""Intervals and claims checklists, rendered: what stands below each table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.analysis.comparison import Table
from bench.analysis.short_budget import NO_RANKS
from bench.report.escaping import first_column, latex_label, latex_text, markdown_text, stacked
from bench.report.screen import ScreenColumn, ScreenTable, is_words

if TYPE_CHECKING:
    import pandas as pd


def sure_to_screen(table: Table) -> ScreenTable:
    """Intervals for a terminal; of a narrow one the difference from the reference matters more than further figures."""
    sure = table.sure
    columns = tuple(
        ScreenColumn(name, words=k == 0 or is_words(sure.frame[name]), detail=int(_is_further(k, name, sure.reference)))
        for k, name in enumerate(sure.frame.columns)
    )
    styles = {"best": "bold", "": ""}
    rows = [
        [(text, styles[mark]) for text, mark in zip(*pair, strict=True)]
        for pair in zip(sure.frame.to_numpy(), sure.marks.to_numpy(), strict=True)
    ]
    return ScreenTable(sure.caption, columns, rows, sure.footnotes)


def _is_further(k: int, name: str, reference: str) -> bool:
    """Whether a column holds another figure's interval than that of the one that orders the rows."""
    return k > 1 and name.endswith("[95 %]") and not name.startswith(reference)


def sure_to_markdown(table: Table) -> str:
    """Intervals and checklist as Markdown, to stand below the table."""
    sure = table.sure
    lines = [markdown_text(sure.caption), ""]
    if not sure.frame.empty:
        lines += [
            f"| {' | '.join(map(markdown_text, sure.frame.columns))} |",
            f"| --- |{' ---: |' * (sure.frame.shape[1] - 1)}",
        ]
        for row, marks in zip(sure.frame.to_numpy(), sure.marks.to_numpy(), strict=True):
            texts = [f"**{markdown_text(t)}**" if m else markdown_text(t) for t, m in zip(row, marks, strict=True)]
            lines.append(f"| {' | '.join(texts)} |")
        lines.append("")
    lines += [*(f"- {markdown_text(note)}" for note in sure.footnotes), *([""] * bool(sure.footnotes))]
    return (
        "\n".join([*lines, "Claims checklist:", "", *(f"- {markdown_text(line)}" for line in table.checklist)]) + "\n"
    )


def ranks_to_markdown(table: Table) -> str:
    """How often each model has each rank among the resamples, as Markdown; a line where nothing is claimed."""
    sure = table.sure
    if sure.ranks.empty:
        return f"{markdown_text(f'{table.where}. {NO_RANKS if sure.gaps else sure.caption}')}\n"
    title = f"{table.where}. Share of the resamples in % in which a model has a rank, by {sure.measure}."
    lines = [
        markdown_text(title),
        "",
        f"| Model | {' | '.join(map(str, sure.ranks.columns))} |",
        f"| --- |{' ---: |' * sure.ranks.shape[1]}",
    ]
    for model, shares in sure.ranks.iterrows():
        lines.append(f"| {markdown_text(str(model))} | {' | '.join(f'{100 * share:.0f}' for share in shares)} |")
    return "\n".join(lines) + "\n"


def sure_rows(table: Table) -> pd.DataFrame:
    """Rows of a CSV: `difference` (the reference less the model, low and high), `rank` (its number in `class`, the
    share of the resamples in %), and last `checklist`, a row per question.

    What holds for the whole comparison is that of the table's own figures; `text` says in words what a row is of.
    """
    import pandas as pd

    own = table.figures
    shared = own.iloc[0][["comparison", "dataset", "source", "split", "preset", "weights", "partial"]].to_dict()
    of_title = own.drop_duplicates("title").set_index("title")[
        ["model", "family", "status", "ranked", "seeds", "folds"]
    ]
    rows = []
    for title, gap in table.sure.gaps.items():
        text = f"{table.sure.reference} less it, {table.sure.measure}"
        figure = {"unit": "%", "value": gap.value, "low": gap.low, "high": gap.high, "text": text}
        rows.append({"metric": "difference", "title": title, **of_title.loc[title], **figure})
    for model, shares in table.sure.ranks.iterrows():
        named = {"metric": "rank", "title": model, **of_title.loc[str(model)], "unit": "%"}
        rows += [{**named, "class": rank, "value": 100 * share} for rank, share in shares.items()]
    for line in table.checklist:
        question, _, answer = line.partition("? ")
        rows.append({"metric": "checklist", "class": f"{question}?", "text": answer})
    return pd.DataFrame([{**shared, **row} for row in rows])


def sure_to_latex(table: Table) -> str:
    """A float of its own: intervals, then the checklist."""
    sure, asked = table.sure, [f"Claims checklist. {table.checklist[0]}", *table.checklist[1:]]
    lines = ["\\begin{table}[htbp]", "\\centering", "\\scriptsize", "\\setlength{\\tabcolsep}{3pt}"]
    lines += [f"\\caption{{{latex_text(sure.caption)}}}", f"\\label{{tab:{latex_label(table.name)}-{table.key}-sure}}"]
    if not sure.frame.empty:
        texts = sure.frame.map(latex_text)
        texts, first = first_column(texts)
        commands = sure.marks.replace({"best": "textbf:--rwrap;"}).set_axis(texts.columns, axis=1)
        styler = texts.style.hide(axis="index").apply(lambda _: commands, axis=None)
        styler = styler.format_index(lambda name: stacked(str(name)), axis="columns")
        lines.append(styler.to_latex(hrules=True, column_format=first + "r" * (texts.shape[1] - 1)).rstrip())
    lines += [f"\\par\\raggedright {latex_text(note)}" for note in (*sure.footnotes, *asked)]
    return "\n".join([*lines, "\\end{table}", ""])
