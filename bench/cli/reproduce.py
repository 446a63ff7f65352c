"""`medbench reproduce`: stored cells trained again and held against their records."""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.options import DATA_ROOT, SHOWN, Display, Option, gathered
from bench.cli.run import EXECUTION
from bench.cli.terminal import PATH, TEXT, make_console
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.runs.execution import Execution
    from bench.runs.job import Job

Stored = tuple[Path, dict[str, Any]]


@dataclass(frozen=True)
class Sample:
    """Which cells are trained again.

    Attributes:
        cells: so many, drawn at random; None: all. seed: of the draw; None: a new one, which is printed.
    """

    cells: int | None = None
    seed: int | None = None


SAMPLE: Option = gathered(
    "sample",
    f"{__name__}:Sample",
    click.option("--cells", type=click.IntRange(1), help="So many of the cells, drawn at random.  [all]"),
    click.option("--seed", type=click.IntRange(0), help="Of that draw.  [a new one, which is printed]"),
)


@click.command()
@click.argument("place", type=PATH, metavar="RECORD|FOLDER|ARCHIVE")
@SAMPLE
@click.option("--trust", multiple=True, type=TEXT, metavar="FILE", help="A file beside a record whose code may run.")
@click.option("--keep", type=PATH, metavar="DIR", help="Keep the new records there.  [they are removed]")
@click.option("--force", is_flag=True, help="Train anew what is finished in --keep.")
@DATA_ROOT
@EXECUTION
@SHOWN
def reproduce(
    place: Path,
    sample: Sample,
    trust: tuple[str, ...],
    keep: Path | None,
    force: bool,
    data_root: str | None,
    how: Execution,
    display: Display,
) -> None:
    """Train stored cells again and say of each: bit-identical, equal within its interval, or different.

    RECORD is a cell's folder or its record.json, FOLDER a results folder, ARCHIVE what `medbench results archive`
    wrote. No code that comes with a record is run unless --trust names its files. A cell that is finished in --keep is
    not held against its record, for it was not trained now; an unfinished one goes on there.

    \b
    Example:
      medbench reproduce results/example --cells 2
    """
    from bench.analysis.reproduced import refused, reproduced, reproduced_sheet
    from bench.runs.reproduction import job_again, reject_finished

    if keep is not None:
        _reject_source(keep, place)
    with ExitStack() as stack:
        base = stack.enter_context(_opened(place))
        stored = _drawn(_complete(base, place), sample)
        kept = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="medbench-again-")))
        jobs: list[Job | str] = []
        for folder, record in stored:
            try:
                job = job_again(folder, record, kept, data_root, trust)
                if not force:
                    reject_finished(job)
                jobs.append(job)
            except UserError as error:  # of several cells the others go on
                if len(stored) == 1:
                    raise
                jobs.append(str(error))
        _train([job for job in jobs if not isinstance(job, str)], how, force)
        rows = [
            refused(*entry, job) if isinstance(job, str) else reproduced(*entry, job.folder)
            for entry, job in zip(stored, jobs, strict=True)
        ]
    display.show([reproduced_sheet(rows)])
    if not all(row.holds for row in rows):
        sys.exit(1)


def _reject_source(keep: Path, place: Path) -> None:
    """Raises UserError where new records would come among those that they are held against."""
    source, there = (place.parent if place.name == "record.json" else place).resolve(), keep.resolve()
    if there == source or (source.is_dir() and (source in there.parents or there in source.parents)):
        where = "is" if there == source else "lies in" if source in there.parents else "lies around"
        raise UserError(f"Expected --keep to be a folder apart from the records, but {keep} {where} {source}.")


@contextmanager
def _opened(place: Path) -> Iterator[Path]:
    """The folder of records: itself, or an archive's content for so long, with every name checked first."""
    from bench.datasets.cache.archives import opened

    if place.name == "record.json" and place.is_file():
        yield place.parent
    elif place.is_dir():
        yield place
    else:
        with tempfile.TemporaryDirectory(prefix="medbench-archive-") as root, opened(place, Path(root)) as folder:
            yield folder


def _complete(base: Path, place: Path) -> list[Stored]:
    """The complete cells with scores below a folder; what cannot be read is said."""
    from bench.records.store import read_records

    found = read_records(base)
    for note in found.notes:
        click.echo(note, err=True)
    stored = [(f, r) for f, r in found.records if r["status"] == "complete" and r["metrics"] is not None]
    if not stored:
        raise UserError(f"{place} holds no record of a complete cell with its cases.csv.")
    return stored


def _drawn(stored: list[Stored], sample: Sample) -> list[Stored]:
    """The cells of a sample, in their order."""
    if sample.cells is None or sample.cells >= len(stored):
        return stored
    seed = random.SystemRandom().randrange(2**31) if sample.seed is None else sample.seed
    click.echo(f"{sample.cells} of {len(stored)} cells, drawn with --seed {seed}", err=True)
    chosen = sorted(random.Random(seed).sample(range(len(stored)), sample.cells))
    return [stored[i] for i in chosen]


def _train(jobs: list[Job], how: Execution, force: bool) -> None:
    """Trains the cells; networks whose code lies beside a record in this process, which has loaded it."""
    from bench.report.progress import show_progress
    from bench.runs.execution import Execution
    from bench.runs.runner import run_jobs

    if not jobs:
        return
    own, others = [job for job in jobs if job.place], [job for job in jobs if not job.place]
    with show_progress(make_console(), jobs) as report:
        for some, where in ((others, how), (own, Execution(retries=how.retries, on_oom=how.on_oom))):
            run_jobs(some, where, force, report)
