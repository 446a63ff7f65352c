"""Options of LaTeX for a paper, and the text that they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from bench.cli.options import Option, gathered
from bench.cli.terminal import TEXT
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.analysis.sheet import Sheet
    from bench.report.paper_words import Wishes
    from bench.report.selection import Selection

GIVEN = ("width", "spread", "mark", "table")


@dataclass(frozen=True)
class Paper:
    """How LaTeX is written; None: not asked for, so that the default holds."""

    style: str | None
    table: str | None
    width: str | None
    spread: str | None
    mark: str | None

    def check(self, form: str) -> None:
        """Raises UserError for wishes that another format or style does not heed."""
        given = [*self.given, *["--style"] * (self.style is not None)]
        if given and form != "latex":
            raise UserError(f"{', '.join(given)}: of --format latex alone; add it.")
        if self.style == "full" and self.given:
            raise UserError(f"{', '.join(self.given)}: of --style paper, not of full: leave out one of them.")

    @property
    def given(self) -> list[str]:
        """The options of a paper's tables that were asked for."""
        return [f"--{name}" for name in GIVEN if getattr(self, name) is not None]

    @property
    def is_paper(self) -> bool:
        """Whether a paper's tables are meant, and not all that is known."""
        return self.style != "full"

    def wishes(self, chosen: bool) -> Wishes:
        """The wishes with the defaults of those that were not said."""
        from bench.report.paper_words import LNCS, Wishes

        kind = self.table or "accuracy"
        spread = self.spread or ("none" if kind == "per-class" else "ci")
        return Wishes(kind, self.width or LNCS, spread, self.mark or "apart", chosen)


PAPER: Option = gathered(
    "paper",
    f"{__name__}:Paper",
    click.option("--style", type=click.Choice(["paper", "full"]), help="Of LaTeX: floats that fit, or all.  [paper]"),
    click.option(
        "--table",
        type=click.Choice(["accuracy", "cost", "ablation", "per-class", "significance", "leaks", "evaluation"]),
        help="Which of a paper's; evaluation: a paragraph.  [accuracy]",
    ),
    click.option("--width", type=TEXT, help="Of a paper's table: 122mm, \\columnwidth, \\textwidth.  [122mm]"),
    click.option("--spread", type=click.Choice(["ci", "sd", "none"]), help="Beside a paper's figures.  [ci]"),
    click.option(
        "--mark",
        type=click.Choice(["apart", "best", "none"]),
        help="Best and second where told apart, or whatever the difference, or none.  [apart]",
    ),
)


def paper_latex(selection: Selection, paper: Paper) -> str:
    """The LaTeX of a paper's tables."""
    from dataclasses import replace

    from bench.report.instead import reject_unread
    from bench.report.paper import paper_sheets, paper_text
    from bench.report.selection import rows_below, selected_tables

    wishes = paper.wishes(selection.columns is not None)
    reject_unread(f"table {wishes.kind}", selection)
    if wishes.kind in ("ablation", "leaks"):
        sheets, notes = _ablations(selection) if wishes.kind == "ablation" else _leaks(selection)
        return paper_sheets(sheets, wishes, notes)
    by_class, tested = wishes.kind == "per-class", wishes.kind == "significance"
    selection = replace(selection, classes=by_class, tests=tested or selection.tests)
    tables, notes = selected_tables(selection)
    return paper_text(tables, wishes, notes, rows_below(selection, tables))


def _ablations(selection: Selection) -> tuple[Sequence[Sheet], Sequence[str]]:
    from ablations.command import load_ablations
    from ablations.tables import ablation_tables

    stored, notes = load_ablations(selection.results, dataset=selection.only_dataset)
    if not stored:
        raise UserError(
            f"No ablation is stored in {selection.results}. Run `medbench ablate remove --all --dataset acdc` first."
        )
    return ablation_tables(stored), notes


def _leaks(selection: Selection) -> tuple[Sequence[Sheet], Sequence[str]]:
    from bench.report.leaks import leaks_sheets

    return leaks_sheets(selection.results), ()
