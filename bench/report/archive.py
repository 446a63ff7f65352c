"""One file for a reviewer: records with what they came from, where, and the tables that are made of them.

A zip whose bytes depend on the records alone: names in order, one date. Unpacked, it is a results folder:

    README.txt                            what this is, and how to check it
    records/<dataset>/<model>/<seed>-<key>/  cell.json, record.json, cases.csv (or .xz), history.csv, sources/
    units/                                which cases count as one in an interval
    requirements.txt                      the packages of the environment that wrote the archive
    tables.md, tables.csv                 all tables
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import NamedTuple

from bench.errors import UserError
from bench.records.keeping import files_beside
from bench.records.named_file import write_named
from bench.records.packed import cases_file
from bench.records.places import bases
from bench.records.store import read_records
from bench.report.notes import in_a_line
from bench.report.render import render_tables, results_tables

DATE = (1980, 1, 1, 0, 0, 0)
FILES = ("cell.json", "record.json", "history.csv", "error.log")
README = """Records of medbench: {count} cells.

records/           a folder for each cell: what it is (cell.json), what came of it (record.json, history.csv,
                   cases.csv or, packed, cases.csv.xz), and the code of networks that are not medbench's own (sources/)
units/             which cases count as one in an interval
audits/            what audits of the data found: near-duplicates across parts
profiles/          speeds that were measured
requirements.txt   the packages of the environment that wrote this archive; each record has its own versions and commit
tables.md, .csv    the tables that `medbench report --results FOLDER` makes of these records

To make the tables again, unpack this file and give: medbench report --results FOLDER
To train a random sample again: medbench reproduce FILE --cells 3
The second needs the same prepared data; their fingerprints stand in the records. It runs no code of this archive unless
--trust names the files.
"""


class Written(NamedTuple):
    """How many records an archive has, its size in bytes, and what was left out, in lines."""

    records: int
    size: int
    notes: tuple[str, ...]


def write_archive(path: Path, results: Path, weights: bool = False) -> Written:
    """Writes the archive; damaged records are left out and named.

    Raises:
        UserError: no records, only damaged ones, or a path that cannot be written.
    """
    if path.suffix != ".zip":
        raise UserError(f"Expected a file that ends in .zip, but got {path}.")
    if not results.is_dir():
        raise UserError(f"No results folder {str(results)!r}. Name one with --results DIR.")
    found = read_records(results)
    if not found.records:
        raise UserError(
            f"{results} holds no records. Run `medbench run` first, or name another with --results DIR."
            f"{in_a_line(found.notes)}"
        )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in sorted(_contents(results, [folder for folder, _ in found.records], weights)):
            zipped.writestr(zipfile.ZipInfo(name, DATE), content, zipfile.ZIP_DEFLATED)
    write_named(path, buffer.getvalue())
    return Written(len(found.records), len(buffer.getvalue()), found.notes)


def _contents(results: Path, folders: list[Path], weights: bool) -> Iterator[tuple[str, bytes]]:
    """Names in the archive and their contents; links are left out, for what they lead to is no part of the results."""
    for folder in folders:
        base = next(base for base in bases(results) if folder.is_relative_to(base))
        for path in _files(folder, weights):
            yield f"records/{path.relative_to(base).as_posix()}", path.read_bytes()
    for path in files_beside(results):
        yield path.relative_to(results).as_posix(), path.read_bytes()
    packages = sorted({f"{d.metadata['Name']}=={d.version}" for d in distributions()}, key=str.lower)
    yield "requirements.txt", ("\n".join(packages) + "\n").encode()
    yield "README.txt", README.format(count=len(folders)).encode()
    tables, notes = results_tables(results)
    for name, form in (("tables.md", "markdown"), ("tables.csv", "csv")):
        yield name, render_tables(tables, form, notes).encode()


def _files(folder: Path, weights: bool) -> list[Path]:
    """The files of a cell that are archived."""
    named = [*(folder / name for name in FILES), cases_file(folder)]
    named += sorted(folder.glob("*.safetensors")) if weights else []
    sources = folder / "sources"
    named += sorted(sources.rglob("*")) if not sources.is_symlink() else []
    return [path for path in named if path.is_file() and not path.is_symlink()]
