"""What the commands share: options that refuse an empty text, ends in one line, a console and how much it shows."""

from __future__ import annotations

import errno
import io
import math
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.errors import UserError, printable

if TYPE_CHECKING:
    from bench.report.screen import Screen


class Text(click.ParamType):
    """A text option; an empty one (an unset shell variable) is a mistake, not the default."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not str(value):
            self.fail("it is empty; leave the option out for its default.", param, ctx)
        return value


class FolderOrFile(click.Path):
    """A path; an empty one is a mistake, not the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(Text().convert(value, param, ctx), param, ctx)


class Folder(FolderOrFile):
    """A folder, there or not; a file is a mistake."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = super().convert(value, param, ctx)
        if path.is_file():
            raise UserError(f"Expected {param.opts[0] if param else 'it'} to be a folder, but {path} is a file.")
        return path


class Number(click.types.FloatParamType):
    """A finite number; `nan` compares as neither below nor above, and is a mistake."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no finite number.", param, ctx)
        return number


class NumberFrom(Number, click.FloatRange):
    """A finite number of a range."""


TEXT, PATH, FOLDER = Text(), FolderOrFile(path_type=Path), Folder(path_type=Path)
INTERRUPTED = "Interrupted. What is finished is stored; the same command goes on where this one stopped."


class Group(click.Group):
    """Ends a user's mistake in one line and exit code 2, an interrupt or SIGTERM in one line and 130."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # names of files may be no text at all
                stream.reconfigure(errors="backslashreplace")
        try:
            return super().main(*args, **{**kwargs, "standalone_mode": False})
        except UserError as error:
            code = say(f"Error: {error}", 2)
        except click.exceptions.NoArgsIsHelpError as error:
            code = say(error.format_message(), 2)
        except click.ClickException as error:
            code = say(f"Error: {' '.join(error.format_message().split())}", error.exit_code)
        except OSError as error:
            code = say(f"Error: {_failure(error)}", 2)
        sys.exit(code)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.exit(say(INTERRUPTED, 130))


def _failure(error: OSError) -> str:
    """What the system refused, in a line; the error itself again where no user's path or disk is at fault."""
    if error.errno in (errno.ENOSPC, errno.EIO, errno.EPIPE):
        return f"Cannot write the output: {error.strerror}."
    if (
        error.errno
        in (errno.ENAMETOOLONG, errno.EACCES, errno.ELOOP, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.EROFS)
        and error.filename
    ):
        return printable(f"Cannot use {os.fsdecode(error.filename)}: {error.strerror}.")
    raise error


def say(line: str, code: int) -> int:
    """Writes a line to standard error; returns the exit code."""
    click.echo(line, err=True)
    return code


wide_option = click.option("--wide", is_flag=True, help="Tables with all their columns, on a narrow terminal too.")


def make_console(wide: bool = False) -> Screen:
    """The console of standard output.

    Args:
        wide: tables show all their columns, on a narrow terminal too.
    """
    from bench.report.screen import Screen

    return Screen(wide)
