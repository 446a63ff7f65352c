"""The `medbench` command: each command parses, calls one function and renders; heavy imports are inside."""

from __future__ import annotations

import errno
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console


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


TEXT, PATH = Text(), FolderOrFile(path_type=Path)
INTERRUPTED = "Interrupted. What is finished is stored; the same command goes on where this one stopped."


class Group(click.Group):
    """Ends a user's mistake in one line and exit code 2, an interrupt or SIGTERM in one line and 130."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().main(*args, **{**kwargs, "standalone_mode": False})
        except UserError as error:
            code = _say(f"Error: {error}", 2)
        except click.exceptions.NoArgsIsHelpError as error:
            code = _say(error.format_message(), 2)
        except click.ClickException as error:
            code = _say(f"Error: {' '.join(error.format_message().split())}", error.exit_code)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EIO, errno.EPIPE):
                raise
            code = _say(f"Error: Cannot write the output: {error.strerror}.", 2)
        sys.exit(code)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.exit(_say(INTERRUPTED, 130))


def _say(line: str, code: int) -> int:
    click.echo(line, err=True)
    return code


def _console() -> Console:
    """A console that never cuts a figure, and whose closed pipe (`| head`) does not end a run."""
    import os

    from rich.console import Console

    class Steady(Console):
        def on_broken_pipe(self) -> None:
            self.quiet = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    console = Steady()
    return Steady(width=max(100, console.width) if console.is_terminal else 160)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="medbench")
def main() -> None:
    """Benchmark and take apart 2-D medical image models under one protocol.

    \b
    Example:
      medbench run --models all --dataset acdc --preset smoke --data phantom
    """


def _request_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that `run` and `plan` share: what a request is."""
    options = [
        click.option(
            "--models", default="all", type=TEXT, help="Names, globs, name[field=value] or all, by commas.  [all]"
        ),
        click.option("--dataset", type=TEXT, required=True, help="Names by commas, or all; see `medbench data list`."),
        click.option("--preset", default="quick", type=TEXT, help="smoke, quick or paper.  [quick]"),
        click.option("--seeds", type=TEXT, help="How many (3) or which (0,4,).  [1 in smoke, else 3]"),
        click.option("--split", type=TEXT, help="Name of the split, or any: whatever is there.  [by layout]"),
        click.option("--folds", type=click.IntRange(3, 100), help="Cross-validation by patient in so many folds."),
        click.option("--train-patients", type=click.IntRange(1), help="Train on so many of the training patients."),
        click.option("--train-fraction", type=float, help="Train on such a share of the training patients, 0 to 1."),
        click.option(
            "--data", type=click.Choice(["auto", "real", "phantom"]), default="auto", help="Source of images."
        ),
        click.option(
            "--data-root", type=TEXT, help="Folder of prepared data.  [$MEDBENCH_DATA, else the user data folder]"
        ),
        click.option("--results", default="results", type=PATH, help="Results folder.  [results]"),
        click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help="Override a protocol field."),
        click.option("--threads", type=click.IntRange(1), help="Threads of a cell; part of the protocol.  [2]"),
        click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", help="Where to train.  [cpu]"),
        click.option("--jobs", default=1, type=click.IntRange(1), help="Cells at a time, with own threads.  [1]"),
        click.option("--force", is_flag=True, help="Run finished cells anew."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@main.command()
@_request_options
def run(jobs: int, force: bool, **request: Any) -> None:
    """Train and score models on a dataset; finished cells are reused, unfinished ones go on.

    \b
    Example:
      medbench run --models mednext_tiny,unet_s --dataset acdc --preset smoke --data phantom
    """
    from bench.report.progress import show_progress
    from bench.report.render import print_tables, results_tables
    from bench.runner import make_jobs, run_jobs
    from bench.store import is_done

    console = _console()
    work = make_jobs(**request, report=lambda event: console.print(event.text, markup=False))
    with show_progress(console, [job for job in work if force or not is_done(job.folder)]) as report:
        counts = run_jobs(work, jobs, force, report)
    console.print(", ".join(f"{n} {outcome}" for outcome, n in counts.items()) + f" of {len(work)} cells")
    print_tables(console, results_tables(request["results"], {job.cell.comparison for job in work}))
    if counts["failed"]:
        for job in work:
            if (job.folder / "error.log").exists():
                click.echo(f"failed: {job.model} seed {job.cell.seed}, see {job.folder / 'error.log'}", err=True)
        sys.exit(1)


@main.command()
@_request_options
def plan(jobs: int, force: bool, **request: Any) -> None:
    """Print a run's cells, which are done, and the estimated hours; run nothing.

    \b
    Example:
      medbench plan --models all --dataset acdc --preset smoke --data phantom
    """
    from bench.estimate import plan_cells
    from bench.report.plans import plan_table
    from bench.runner import make_jobs

    console = _console()
    work = make_jobs(**request, report=lambda event: console.print(event.text, markup=False))
    console.print(plan_table(plan_cells(work, request["results"], force), jobs))


@main.command()
@click.option("--results", default="results", type=PATH, help="Results folder.  [results]")
@click.option("--format", "form", type=click.Choice(["rich", "markdown", "latex", "csv"]), default="rich")
@click.option("--dataset", type=TEXT, help="Only tables of this dataset (acdc, acdc-phantom).")
@click.option("--classes", is_flag=True, help="Columns per class as well: Dice, or sensitivity.")
@click.option("--output", type=PATH, help="Write to a file.  [standard output]")
def report(results: Path, form: str, dataset: str | None, classes: bool, output: Path | None) -> None:
    """Print the tables of all stored results; one table per comparison, never mixed.

    \b
    Example:
      medbench report --format latex
    """
    from bench.report.render import print_tables, render_tables, results_tables
    from bench.store import write_text

    tables = results_tables(results, dataset=dataset, classes=classes)
    if output is not None:
        try:
            write_text(output, render_tables(tables, form))
        except OSError as error:
            raise UserError(f"Cannot write {output}: {error.strerror}. Name another file with --output.") from None
    elif form == "rich":
        print_tables(_console(), tables)
    else:
        click.echo(render_tables(tables, form), nl=False)


@main.command()
@click.option(
    "--preset", default="quick", type=TEXT, help="Mark the models that `all` means under this preset.  [quick]"
)
@click.option("--task", type=click.Choice(["segmentation", "classification"]))
@click.option("--family", type=TEXT, help="proposed, cnn, transformer, hybrid or chance.")
def models(preset: str, task: str | None, family: str | None) -> None:
    """List the models, with citation, size and list.

    \b
    Example:
      medbench models --preset paper
    """
    from bench.report.plans import models_table

    _console().print(models_table(preset, task, family))


@main.command()
@click.option("--models", required=True, type=TEXT, help="Names, globs, name[field=value] or all, by commas.")
@click.option("--task", type=click.Choice(["classification", "segmentation"]), default="classification")
@click.option("--image-size", default=224, help="Side of the square input, in pixels.  [224]")
@click.option("--channels", default=3, help="Channels of the input.  [3]")
@click.option("--classes", default=2, help="Classes of the output.  [2]")
@click.option("--batch", default=8, help="Images a pass.  [8]")
@click.option("--threads", default=2, help="torch's threads.  [2]")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", help="Where to measure.  [cpu]")
@click.option("--precision", type=click.Choice(["fp32", "bf16", "fp16"]), default="fp32", help="bf16, fp16: autocast.")
@click.option("--reference", type=TEXT, help="Any model.  [resnet18; segmentation: unet_s]")
@click.option("--fused", is_flag=True, help="The proposed model's inference form beside its training form.")
@click.option("--step", is_flag=True, help="Training steps in place of inference.")
@click.option("--compile", "compiled", is_flag=True, help="The candidates through torch.compile.")
@click.option("--seconds", default=60.0, help="Most seconds of rounds for each row.  [60]")
@click.option("--preset", default="quick", type=TEXT, help="Whose list `all` means: smoke, quick or paper.  [quick]")
@click.option("--results", default="results", type=PATH, help="Results folder.  [results]")
@click.option("--format", "form", type=click.Choice(["rich", "markdown", "csv"]), default="rich")
def profile(form: str, **request: Any) -> None:
    """Measure speed beside a reference, by turns in one process; stored under results/profiles.

    \b
    Example:
      medbench profile --models mednext_tiny,mobilenetv3_small --task classification --image-size 224 --batch 8
    """
    from bench.cost.speed import profile as measure
    from bench.report.speeds import render_speeds, speed_tables, to_rich

    try:
        profiles = measure(report=lambda line: click.echo(line, err=True), **request)
    except KeyboardInterrupt:
        sys.exit(_say("Interrupted. The profiles measured so far are stored.", 130))
    if form == "rich":
        for table in speed_tables(profiles):
            _console().print(to_rich(table))
    else:
        click.echo(render_speeds(profiles, form), nl=False)
    failures = profiles["error"].dropna()
    for line in failures:
        _say(f"Error: {line}", 2)
    if len(failures):
        sys.exit(2)


@main.group()
def data() -> None:
    """Datasets: what there is, how to get it, prepare it, verify it."""


_root = click.option(
    "--data-root", type=TEXT, help="Folder of prepared data.  [$MEDBENCH_DATA, else the user data folder]"
)


@data.command("list")
@_root
def data_list(data_root: str | None) -> None:
    """List the datasets and which are prepared.

    \b
    Example:
      medbench data list
    """
    from bench.report.data import list_table

    _console().print(list_table(data_root))


@data.command("info")
@click.argument("name")
@_root
def data_info(name: str, data_root: str | None) -> None:
    """Say what a dataset is, its licence and citation, how to get it, and what is prepared of it.

    \b
    Example:
      medbench data info acdc
    """
    from bench.report.data import info_text

    click.echo(info_text(name, data_root))


@data.command("prepare")
@click.argument("name")
@click.option("--from", "source", required=True, type=PATH, help="Folder in its original layout.")
@click.option("--replace", is_flag=True, help="Replace a cache that was prepared from other files.")
@_root
def data_prepare(name: str, source: Path, replace: bool, data_root: str | None) -> None:
    """Read a dataset in its original layout into the memory-mapped cache, with a manifest.

    \b
    Example:
      medbench data prepare acdc --from DIR
    """
    from bench.datasets.prepared import prepare, resolve_root
    from bench.registry import dataset_spec
    from bench.report.data import prepared_text

    root, _ = resolve_root(data_root, must_exist=False)
    with _console().status(f"reading {source}") as status:
        report = lambda case, done, total: status.update(f"{done} of {total} cases: {case}")  # noqa: E731
        prepared = prepare(dataset_spec(name), source, root, replace=replace, report=report)
    click.echo("kept: the same content is prepared already" if prepared.kept else "prepared")
    click.echo(prepared_text(prepared))


@data.command("verify")
@click.argument("name")
@_root
def data_verify(name: str, data_root: str | None) -> None:
    """Hash a prepared cache again and compare with its manifest.

    \b
    Example:
      medbench data verify acdc
    """
    from bench.datasets.prepared import open_prepared, resolve_root, verify
    from bench.registry import dataset_spec
    from bench.report.data import prepared_text

    prepared = open_prepared(dataset_spec(name), resolve_root(data_root)[0], "real")
    problems = verify(prepared)
    if problems:
        raise UserError(f"{len(problems)} problems in {prepared.folder}, prepare it again: {'; '.join(problems)}")
    click.echo(prepared_text(prepared))
    click.echo("all hashes agree with the manifest")


if __name__ == "__main__":
    main()
