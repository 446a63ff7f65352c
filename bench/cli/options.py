"""Options that several commands share, and options that a command takes together as one value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from bench.cli.terminal import FOLDER, PATH, TEXT, make_console, wide_option
from bench.errors import UserError

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
RESULTS = click.option("--results", default="results", type=FOLDER, help="Results folder.  [results]")


def _keep_precision(context: click.Context, _: click.Parameter, value: str | None) -> None:
    context.meta["precision"] = value


def _with_precision(context: click.Context, _: click.Parameter, settings: tuple[str, ...]) -> tuple[str, ...]:
    """The settings, with what `--precision` sets among them."""
    precision = context.meta.get("precision")
    if precision is None:
        return settings
    if any(setting.startswith("precision=") for setting in settings):
        raise UserError("Expected --precision, or --set precision, but got both.")
    return (*settings, f"precision={precision}")


SETTINGS = click.option(
    *("--set", "settings"),
    multiple=True,
    metavar="FIELD=VALUE",
    callback=_with_precision,
    help="Override a protocol field.",
)
# Another word for `--set precision=`, read before that.
PRECISION = click.option(
    "--precision",
    type=TEXT,
    is_eager=True,
    expose_value=False,
    callback=_keep_precision,
    help="32-true, bf16-mixed or 16-mixed; part of the protocol.  [32-true]",
)
THREADS = click.option("--threads", type=click.IntRange(1), help="Threads of a cell; part of the protocol.  [2]")
DEVICE = click.option("--device", type=TEXT, default="cpu", help="cpu, cuda, cuda:N; auto: a GPU if there.  [cpu]")
LOG = click.option(
    "--log",
    type=click.Choice(["csv", "tensorboard", "mlflow"]),
    help="Log training below RESULTS/logs, on this machine.",
)
FORMS = ("rich", "markdown", "latex", "csv")
FORM = click.option("--format", "form", type=click.Choice(FORMS), default="rich")
JSON = click.option("--format", "form", type=click.Choice(["rich", "json"]), default="rich")
CHECKLIST = click.option("--checklist", is_flag=True, help="Each table's claims checklist too; files always have it.")
EXPERIMENT = (PRESET, SEEDS, SPLIT, DATA, DATA_ROOT, RESULTS, SETTINGS, THREADS, DEVICE, LOG)


@dataclass(frozen=True)
class Display:
    """How tables are shown.

    Attributes:
        form: `rich`, `markdown`, `latex`, `csv`, or `json` where a command has it.
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


TITLED: Option = gathered(
    "naming",
    "bench.runs.naming:Naming",
    click.option("--title", multiple=True, metavar="NAME=TITLE", help="What tables call a network of your own."),
    click.option("--family", multiple=True, metavar="NAME=FAMILY", help="Its family: cnn, transformer, proposed, ..."),
)


def reject_given(context: click.Context, names: Sequence[str], way: str) -> None:
    """Raises UserError for an option that was given and means nothing in this use of a command.

    Args:
        names: of the command's arguments. way: how the command is used, in the words of its options.
    """
    for parameter in context.command.params:
        given = context.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE
        if given and parameter.name in names:
            raise UserError(f"{parameter.opts[0]} means nothing with {way}: leave it out.")


def displayed(output: str, *further: str) -> Option:
    """`--format` and `--output`, as one `display`.

    Args:
        output: says what is written where.
        further: formats beside those that every table has.
    """
    written = click.option("--output", type=PATH, help=output)
    form = click.option("--format", "form", type=click.Choice([*FORMS, *further]), default="rich")
    return gathered("display", f"{__name__}:Display", form, written, wide_option)


SHOWN: Option = gathered("display", f"{__name__}:Display", FORM, wide_option)
