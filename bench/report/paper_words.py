"""What a paper's table says in words: a caption of two lines, the paragraph on the evaluation, and the comments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

import pandas as pd

from bench.analysis.captions import PHANTOM, SUBSTITUTE, changes
from bench.analysis.comparison import Table, kinds_of_models
from bench.analysis.conclusions import units_of
from bench.analysis.short_budget import is_short_comparison
from bench.errors import UserError
from bench.report.latex_widths import points_of

KINDS = ("accuracy", "cost", "ablation", "per-class", "significance", "leaks", "evaluation")
SPREADS, MARKS = ("ci", "sd", "none"), ("apart", "best", "none")
LNCS = "122mm"
ANSWERED = {"Equal tuning": "Tuning:", "Pretraining": "Pretraining:", "Leak": "Leaks:", "Told apart": "Told apart:"}
PACKAGES = "% Needs: \\usepackage{array,booktabs,graphicx,siunitx}"
_WIDE = 110  # characters of a comment's line


@dataclass(frozen=True)
class Wishes:
    """How a paper's table is made.

    Attributes:
        kind: one of `KINDS`. width: as LaTeX says it.
        spread: what stands beside a figure: its interval, the deviation over seeds, or nothing.
        mark: `apart`: best and second where their differences are told from none; `best`: whatever those; `none`.
        chosen: the columns were named, so that none is left out.
    """

    kind: str = KINDS[0]
    width: str = LNCS
    spread: str = SPREADS[0]
    mark: str = MARKS[0]
    chosen: bool = False

    def __post_init__(self) -> None:
        for name, allowed in (("kind", KINDS), ("spread", SPREADS), ("mark", MARKS)):
            if getattr(self, name) not in allowed:
                raise UserError(f"Expected {name} to be one of {', '.join(allowed)}, but got {getattr(self, name)!r}.")
        points_of(self.width)


def caption_of(table: Table, wishes: Wishes, spread: bool, marked: bool, lacking: bool) -> tuple[str, ...]:
    """Sentences, the most needed first: what it is and what counts against it, then what the signs mean.

    Args:
        spread, marked, lacking: whether figures have spreads, any is marked, any row lacks seeds.
    """
    first, shown = table.first, " ".join(table.frame["Model"])
    kind = {"phantom": "PHANTOM images, no result: ", "substitute": "SUBSTITUTE images, no result: "}
    preset = f"{first['preset']}{changes(first)}"  # which tables of one split may differ in
    own = [f"preset {preset}"] if " " in preset else []
    facts = "; ".join([f"split {first['split']}", *own, *_against(first)])
    count, word = first["counts"]["test"]["cases"], "cases" if table.task == "segmentation" else "images"
    runs = f"{len(table.seeds)} seed{'s' * (len(table.seeds) != 1)}"
    what = f"{kind.get(first['source'], '')}{first['dataset_title']} ({facts}): {_subject(table, wishes)}"
    told, habit = _marks_of(table, marked)
    between = {"ci": f"[ ]: 95 % intervals over {units_of(table)} and seeds.", "sd": "±: sd over seeds.", "none": ""}
    sentences = [
        f"{what}.",
        f"{count} test {word}, {runs}.",
        "†: lacks seeds." * lacking,
        between[wishes.spread] * (spread and wishes.kind in ("accuracy", "per-class")),
        _speed(table) * (wishes.kind in ("accuracy", "cost")),
        "(reduced): smaller than published." * ("(reduced)" in shown),
        "(reconstr.): our reconstruction." * ("(reconstr.)" in shown),
        "" if wishes.kind != "accuracy" or not table.headline else habit if wishes.mark == "best" else told,
    ]
    return tuple(sentence for sentence in sentences if sentence)


def conventions_of(table: Table, wishes: Wishes) -> tuple[str, ...]:
    """Under which conventions Dice and HD95 hold, a sentence; none where no figure is of them."""
    shown = {column.metric.partition("_")[0] for column in table.columns}
    distances = wishes.kind == "accuracy" and bool(shown & {"hd95", "hd95max"})
    if table.task != "segmentation" or not (distances or wishes.kind == "per-class" or "dice" in shown):
        return ()
    if wishes.kind in ("cost", "significance"):  # a difference's measure names its own
        return ()
    return (f"Empty policy {table.shown.policy}{f', HD95 {table.shown.definition}' if distances else ''}.",)


def short_sentences(caption: str) -> list[str]:
    """The sentences of a sheet's caption, what counts against its figures in two words each."""
    text = caption.replace(PHANTOM, "PHANTOM images, no result").replace(SUBSTITUTE, "SUBSTITUTE images, no result")
    text = re.sub(r"partial: under 80 % of [^.;]*; not comparable with published figures", "Partial test part", text)
    text = re.sub(r"short budget: ([\d,]+) images seen, [^.]*\.", r"Short budget (\1 images).", text)
    return [f"{part.rstrip('.')}." for part in re.split(r"(?<=\.) (?=[A-Z])", text) if part.strip(". ")]


def _speed(table: Table) -> str:
    """What speeds are relative to; blank where none is shown."""
    column = next((column for column in table.columns if column.metric == "speed"), None)
    return "" if column is None else f"Speed: images/s, {column.header}."


def _marks_of(table: Table, marked: bool) -> tuple[str, str]:
    """What marks mean where differences are told apart, and by habit; a shorter table's are of all its rows."""
    count = table.ranked["title"].nunique()
    left_out = set(table.ranked["title"]) - set(table.frame["Model"])
    of_all = f", of all {count} ranked rows" if left_out else ""
    none = "No figure shown here is told apart as the best or second" if left_out else "No best figure is told apart"
    told = "Bold, underlined: told apart from all that follow" if marked else none
    return f"{told}{of_all}.", f"Bold, underlined: best, second{of_all}."


def _against(first: pd.Series[Any]) -> list[str]:
    """What counts against the figures, each in two words or three."""
    flagged = not pd.isna(first.get("split_flag"))
    return [
        *(["leaks"] * flagged),
        *(["partial test part"] * bool(first["partial"])),
        *(["short budget, no marks"] * bool(is_short_comparison(first))),
    ]


def _subject(table: Table, wishes: Wishes) -> str:
    figure = "Dice" if table.task == "segmentation" else "sensitivity"
    accuracy = "Dice and HD95" if table.task == "segmentation" else "accuracy"
    return {
        "cost": "what networks cost",
        "per-class": f"{figure} of each class in %",
        "significance": f"differences of {table.sure.measure}",
    }.get(wishes.kind, accuracy)


def evaluation(table: Table) -> list[str]:
    """Sentences for the paper's section on its evaluation, from the records alone."""
    first = table.first
    seeds = ", ".join(map(str, table.seeds)) or "none"
    parts = first["counts"]
    cases = ", ".join(f"{parts[part]['cases']} {part}" for part in ("train", "val", "test") if part in parts)
    title = f"{first['dataset_title']}{'' if first['source'] == 'real' else ' (' + first['source'] + ' images)'}"
    flag = first.get("split_flag")
    trained = (
        f"On {title}, split {first['split']} ({cases} cases), all networks were trained under one protocol (preset "
        f"{first['preset']}{changes(first)}: {first['images_seen']:,} images seen, inputs of {first['image_size']} "
        f"pixels a side) with the seeds {seeds}."
    )
    sentences = [
        trained,
        "" if pd.isna(flag) else f"The split leaks: {flag}.",
        "Fewer than 80 % of the official test part are present: no figure is comparable with published ones."
        * bool(first["partial"]),
        "The budget is short: networks have not converged, and no figure is marked." * bool(is_short_comparison(first)),
        _selection(table),
        *_sentences(table.footnotes[0]),
        table.sure.caption.replace("How sure: ", "Intervals of 95 %: ", 1),
        *map(_without_marks, table.sure.footnotes[:1]),
        *(note for note in table.footnotes if note.startswith("x ")),
        *kinds_of_models([table]),
        *(f"{said} {_answer(table, question)}." for question, said in ANSWERED.items()),
    ]
    return [sentence for sentence in sentences if sentence]


def _without_marks(note: str) -> str:
    """What a table of intervals says of them, without what it says of its own bold face and of its own column."""
    return re.sub(r" ?Bold: .* excludes 0\.| ?First %: .*\.", "", note).strip()


def _answer(table: Table, question: str) -> str:
    """What the checklist answers to a question."""
    line = next(line for line in table.checklist if line.startswith(question))
    return line.partition("? ")[2].rstrip(".")


def _selection(table: Table) -> str:
    weights = table.shown.weights_label(table.first["averaged"])
    if weights.endswith("last"):
        return "Weights are those after the last step; no test case chose anything."
    return "Weights are those with the best validation score; no test case chose anything."


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=\.) (?=[A-Z])", text)


def head_comments(wishes: Wishes) -> str:
    """The first lines of a file: which packages it needs, for which width, how it was made."""
    made = f"% medbench report --format latex --table {wishes.kind} --width {wishes.width} --spread {wishes.spread} "
    return f"{PACKAGES}\n{made}--mark {wishes.mark}\n"


def comments(lines: Iterable[str]) -> str:
    """Lines as comments of LaTeX, none of them long; whatever a text holds, nothing of it is set."""
    found = []
    for line in lines:
        words = " ".join(str(line).split())
        found += [f"% {part}" for part in wrap(words, _WIDE, break_long_words=False, break_on_hyphens=False)] or ["%"]
    return "".join(f"{line}\n" for line in found)


def _not_complete(table: Table) -> dict[str, str]:
    """What became of the rows that are not complete."""
    rows = table.figures.drop_duplicates("title")
    return {str(t): str(s) for t, s in zip(rows["title"], rows["status"], strict=True) if s != "complete"}


def comments_of(table: Table, wishes: Wishes, further: Sequence[str], dropped: Sequence[str]) -> str:
    """All that the caption leaves out: what it says at length, footnotes, what intervals are over, the checklist."""
    left = [f"Columns without room: {', '.join(dropped)} (--columns, --width)."] if dropped else []
    return comments(
        [
            *further,
            *left,
            f"Comparison {table.key}. {table.caption}",
            *(f"{title}: {status}." for title, status in _not_complete(table).items()),
            *table.footnotes,
            table.sure.caption,
            *table.sure.footnotes,
            "Claims checklist:",
            *(f"  {line}" for line in table.checklist),
        ]
    )
