"""Where cells lie in a results folder: below `runs` what was run there, below `records` what came in an archive."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.records.filenames import DEVELOPMENT, TUNING, folder_name
from bench.records.keys import cell_key, dataset_label

RUNS, RECORDS = "runs", "records"
EXAMPLE = "example"  # the committed example within the project's own `results`, with records at several places
MERGING = ".merging"  # how the folder's name ends that a cell is copied to before it comes to its place


def cell_folder(results: Path, cell: Mapping[str, Any], model_name: str) -> Path:
    """Where the files of a cell, given as plain values, are written below the results folder."""
    source = cell["source"]
    base = results / RUNS if source["kind"] == "real" else results / RUNS / source["kind"]
    name = dataset_label(cell["dataset"], source)
    return base / folder_name("data set", name) / folder_name("model", model_name) / f"{cell['seed']}-{cell_key(cell)}"


def bases(results: Path) -> list[Path]:
    """The folders that cells lie in: `runs` and `records` of a results folder, those that it has, or itself."""
    return [folder for name in (RUNS, RECORDS) if (folder := results / name).is_dir()] or [results]


def find_records(results: Path) -> list[Path]:
    """All folders that hold a record, in order: below `runs` and `records` of a results folder, or the folder itself.

    What chooses something, in a folder `tuning` or `development`, is found in that folder alone: it is no result. The
    records of the committed example are read where that folder is named, never as a part of the results around it.

    Raises:
        OSError: a folder that may not be read: what lies in it would be missing, and nothing would say so.
    """
    return find_cells(results, "record.json")


def find_cells(results: Path, name: str) -> list[Path]:
    """All folders that hold something of this name, as `find_records` finds them."""
    return [folder for base in bases(results) for folder in _below(base, name)]


def linked_folders(results: Path) -> list[Path]:
    """Links to folders where cells would lie: cells behind them are not read, since they may be of any place."""
    found = []
    for base in bases(results):
        for folder, folders, files in _walked(base):
            if "cell.json" in files or "record.json" in files:
                continue  # what lies within a cell is no cell
            links = [Path(folder, name) for name in sorted(folders) if os.path.islink(os.path.join(folder, name))]
            found += [path for path in links if _is_result(path.relative_to(base).parts)]
    return found


def _below(base: Path, name: str) -> list[Path]:
    found = [folder for folder, folders, files in _walked(base) if name in files or name in folders]
    places = sorted(tuple(folder[len(str(base)) :].split(os.sep)) for folder in found)
    return [base.joinpath(*place) for place in places if _is_result(place)]


def _walked(base: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """As `os.walk`; a folder that another process deletes meanwhile is none, one that may not be read is an error."""

    def told(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    return os.walk(base, onerror=told)


def _is_result(place: tuple[str, ...]) -> bool:
    is_example = EXAMPLE in place and RECORDS in place[place.index(EXAMPLE) :]
    return not (TUNING in place or DEVELOPMENT in place or is_example) and not place[-1].endswith(MERGING)
