"""What a report is of, by the command line and from Python alike: which cells, which figures, in what order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.analysis.comparison import Table
from bench.analysis.hard_cases import hard_case_sheets
from bench.analysis.literature import Published, beside, literature_sheet, published_figures
from bench.analysis.sheet import Sheet
from bench.analysis.shown import DEFINITIONS, POLICIES, WEIGHTS, Shown
from bench.records.choice import Choice, Names, listed
from bench.report.arrange import CLASSES, sorted_rows, with_columns
from bench.report.bibliography import keys_of
from bench.report.brief import top_rows
from bench.report.render import results_tables
from bench.runs.arguments import FLAG, FOLDER, SEEDS, argument, check_fields, make_request, names, or_none, text, whole

SHIPPED = "published"
LITERATURE = POLICIES[1]  # the empty policy of published figures


@dataclass(frozen=True)
class Selection:
    """A reader's wishes; None: all, or what the records prefer.

    Attributes:
        results: the folder.
        models, dataset, preset, split, seeds: which cells (`bench.records.choice.Choice`).
        reference: the model that others' differences are from.
        columns: `dice,hd95,params` (`bench.report.arrange.column_name`), in this order.
        sort: a column, `name` or `family`; None: the figure that orders the rows.
        top: so many of the first rows.
        cases: so many of the hardest cases as a table of their own; 0: none.
        literature: a file of published figures to set below the tables, `published` for those that are shipped.
        classes, arms, tests: columns of classes, arms of ablations, p-values.
        policy, definition, weights: which of the stored figures (`bench.analysis.shown.Shown`); beside published ones
            the literature's policy, where none is asked for.
    """

    results: Path = argument(Path("results"), FOLDER)
    models: Names = argument(None, or_none(names("models", "unet_s")))
    dataset: Names = argument(None, or_none(names("data sets", "acdc")))
    preset: str | None = argument(None, or_none(text("a preset")))
    split: Names = argument(None, or_none(names("splits", "ssl4mis")))
    seeds: Any = argument(None, SEEDS)
    reference: str | None = argument(None, or_none(text("a model")))
    columns: Names = argument(None, or_none(names("columns", "dice")))
    sort: str | None = argument(None, or_none(text("a column")))
    top: int | None = argument(None, or_none(whole(2)))
    cases: int = argument(0, whole(0))
    literature: str | None = argument(None, or_none(text("a file of figures")))
    classes: bool = argument(False, FLAG)
    arms: bool = argument(False, FLAG)
    tests: bool = argument(False, FLAG)
    policy: str | None = argument(None, or_none(text("a policy", *POLICIES)))
    definition: str = argument(DEFINITIONS[0], text("a definition", *DEFINITIONS))
    weights: str | None = argument(None, or_none(text("weights", *WEIGHTS)))

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def choice(self) -> Choice:
        """Which cells."""
        return Choice(self.models, self.dataset, self.preset, self.split, self.seeds)

    @property
    def shown(self) -> Shown:
        """Which of their figures."""
        usual = POLICIES[0] if self.literature is None else LITERATURE
        return Shown(self.policy or usual, self.definition, self.weights, self.reference)

    @property
    def only_dataset(self) -> str | None:
        """The data set, for what takes one at most."""
        return None if self.dataset is None else ",".join(listed(self.dataset))


def selected_tables(selection: Selection) -> tuple[list[Table], tuple[str, ...]]:
    """The tables, with the rows and columns that were asked for, and what was left out, in lines."""
    tables, notes = results_tables(
        selection.results,
        choice=selection.choice,
        classes=selection.classes or CLASSES in listed(selection.columns),
        kept=None if selection.arms else (),
        tests=selection.tests,
        shown=selection.shown,
    )
    if selection.sort is not None:
        tables = sorted_rows(tables, selection.sort)
    if selection.columns is not None:
        tables = with_columns(tables, listed(selection.columns))
    return tables if selection.top is None else [top_rows(table, selection.top) for table in tables], notes


def load_tables(results: str | Path = "results", **wishes: Any) -> list[Table]:
    """The tables of a report: `table.frame` has the figures, `table.caption` and `table.footnotes` what they are of.

    Args:
        wishes: fields of `Selection`: models, dataset, preset, split, seeds, reference, columns, sort, top, classes,
            arms, tests, policy, definition, weights.

    Raises:
        UserError: a wish that there is not, or that nothing stored fulfils.
    """
    selection = make_request(Selection, {"results": results, **wishes})
    return selected_tables(replace(selection, results=Path(selection.results)))[0]


def selected_cases(selection: Selection, tables: Sequence[Table]) -> list[Sheet]:
    """The hardest cases of each table, where they were asked for."""
    return hard_case_sheets(tables, selection.cases) if selection.cases else []


def selected_literature(selection: Selection) -> list[Published]:
    """The published figures that were asked for."""
    if selection.literature is None:
        return []
    return published_figures(None if selection.literature == SHIPPED else Path(selection.literature))


def sheets_below(selection: Selection, tables: Sequence[Table]) -> list[Sheet]:
    """What stands below the tables: published figures of their data sets, then the hardest cases."""
    return [*published_sheets(selection, tables), *selected_cases(selection, tables)]


def published_sheets(selection: Selection, tables: Sequence[Table]) -> list[Sheet]:
    """The published figures of the tables' data sets, where they are asked for."""
    figures = selected_literature(selection)
    return [literature_sheet(table, figures, keys_of(table)) for table in tables] if figures else []


def rows_below(selection: Selection, tables: Sequence[Table]) -> dict[str, list[list[Published]]]:
    """Comparison -> the published figures that stand below its table, each row a model of one source."""
    figures = selected_literature(selection)
    return {table.key: beside(table, figures, keys_of(table))[0] for table in tables} if figures else {}
