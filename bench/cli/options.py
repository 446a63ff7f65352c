"""Options that several commands share, and options that a command takes together as one value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.terminal import PATH, TEXT, make_console, wide_option

if TYPE_CHECKING:
    from bench.analysis.sheet import Sheet

Command = Callable[..., Any]
Option = Callable[[Command], Command]

PRESET = click.option("--preset", default="quick", type=TEXT, help="smoke, quick, standard or paper.  [quick]")
SEEDS = click.option("--seeds", type=TEXT, help="How many (3) or which (0,4,).  [1 in smoke, else 3]")
SPLIT = click.option("--split", type=TEXT, help="Name of the split, or any: whatever is there.  [by layout]")
DATA = click.option("--data", type=click.Choice(["auto", "real", "phantom"]), default="auto", help="Source of images.")
DATA_ROOT = click.option(
    "--data-root", type=TEXT, help="Folder of prepared data.  [$MEDBENCH_DATA, else the user data folder]"
)
RESULTS = click.option("--results", default="results", type=PATH, help="Results folder.  [results]")
SETTINGS = click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help="Override a protocol field.")
THREADS = click.option("--threads", type=click.IntRange(1), help="Threads of a cell; part of the protocol.  [2]")
DEVICE = click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", help="Where to train.  [cpu]")
FORM = click.option("--format", "form", type=click.Choice(["rich", "markdown", "latex", "csv"]), default="rich")
FORM_OR_PAGE = click.option(
    "--format", "form", type=click.Choice(["rich", "markdown", "latex", "csv", "html"]), default="rich"
)
CHECKLIST = click.option("--checklist", is_flag=True, help="Each table's claims checklist too; files always have it.")
EXPERIMENT = (PRESET, SEEDS, SPLIT, DATA, DATA_ROOT, RESULTS, SETTINGS, THREADS, DEVICE)


@dataclass(frozen=True)
class Display:
    """How tables are shown.

    Attributes:
        form: `rich`, `markdown`, `latex` or `csv`.
        output: where they are written as well, or None.
        wide: all columns, on a narrow terminal too.
    """

    form: str
    output: Path | None = None
    wide: bool = False

    def show(self, sheets: Sequence[Sheet]) -> None:
        """Prints tables on standard output."""
        from bench.report.sheets import print_sheets, render_sheets

        if self.form == "rich":
            print_sheets(make_console(self.wide), sheets)
        else:
            click.echo(render_sheets(sheets, self.form), nl=False)


def gathered(name: str, kind: str, *options: Option) -> Option:
    """Options that a command takes as one value of a frozen class, imported when the command is called.

    Args:
        name: of the command's argument.
        kind: the class, `module:Name`; options of its fields' names go into it.
    """

    def decorate(command: Command) -> Command:
        @wraps(command)
        def call(**values: Any) -> Any:
            module, _, class_name = kind.partition(":")
            gathering = getattr(import_module(module), class_name)
            its = {field.name: values.pop(field.name) for field in fields(gathering) if field.name in values}
            return command(**values, **{name: gathering(**its)})

        taking: Command = call
        for option in reversed(options):
            taking = option(taking)
        return taking

    return decorate


def displayed(output: str, form: Option = FORM) -> Option:
    """`--format` and `--output`, as one `display`; `output` says what is written where."""
    written = click.option("--output", type=PATH, help=output)
    return gathered("display", f"{__name__}:Display", form, written, wide_option)


SHOWN: Option = gathered("display", f"{__name__}:Display", FORM, wide_option)
