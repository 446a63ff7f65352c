"""Links, pipes and devices in a results folder of somebody else: none is followed out of it or waited for."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import pytest
from stored_records import a_record_of, invoke

from bench.records.histories import read_history

SECRET = "0123456789 the user's own"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A results folder of one cell, beside a file that is no part of it."""
    folder = a_record_of("segmentation")
    shutil.copytree(folder, tmp_path / "other" / "runs" / "acdc" / "mednext_tiny" / folder.name)
    (tmp_path / "secret.json").write_text(SECRET)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "key").write_text(SECRET)
    return tmp_path / "other"


def cell_of(results: Path) -> Path:
    return next(results.rglob("cell.json")).parent


def contents(folder: Path) -> str:
    return "".join(path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file())


def test_what_links_lead_to_is_neither_merged_nor_archived(other: Path, tmp_path: Path) -> None:
    cell = cell_of(other)
    (cell / "sources").mkdir()
    (cell / "sources" / "net.py").symlink_to(tmp_path / "secret.json")
    (cell / "more").symlink_to(tmp_path / "secrets")
    (other / "units").mkdir()
    (other / "units" / "acdc-x.json").symlink_to(tmp_path / "secret.json")
    merged = invoke("results", "merge", str(other), "--results", str(tmp_path / "mine"))
    assert merged.exit_code == 0, merged.output
    assert "1 copied" in merged.output
    assert merged.stderr.count("is a link, and what it leads to is no part of a cell") == 2
    assert {path.name for path in cell_of(tmp_path / "mine").iterdir()} >= {"record.json", "cases.csv"}
    archived = invoke("results", "archive", str(tmp_path / "a.zip"), "--results", str(other))
    assert archived.exit_code == 0, archived.output
    with zipfile.ZipFile(tmp_path / "a.zip") as zipped:
        zipped.extractall(tmp_path / "unpacked")
    for folder in ("mine", "unpacked"):
        assert SECRET not in contents(tmp_path / folder)


@pytest.mark.parametrize("name", ["record.json", "cases.csv"])
def test_a_cell_whose_record_is_a_link_is_not_merged(name: str, other: Path, tmp_path: Path) -> None:
    path = cell_of(other) / name
    path.rename(tmp_path / name)
    path.symlink_to(tmp_path / name)
    merged = invoke("results", "merge", str(other), "--results", str(tmp_path / "mine"))
    assert "0 copied" in merged.output
    assert not list((tmp_path / "mine").rglob("cell.json"))


@pytest.mark.parametrize("name", ["record.json", "cases.csv", "cell.json"])
def test_pipes_and_devices_are_not_waited_for(name: str, other: Path, tmp_path: Path) -> None:
    path = cell_of(other) / name
    for odd in (os.mkfifo, lambda path: path.symlink_to("/dev/zero")):
        path.unlink()
        odd(path)
        checked = invoke("results", "check", "--results", str(other))
        assert f"{name} is no plain file, but a pipe or a device: move it away." in checked.output
        merged = invoke("results", "merge", str(other), "--results", str(tmp_path / "mine"))
        assert merged.exit_code in (0, 2), merged.output


def test_a_history_that_is_a_pipe_is_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "history.csv")
    assert read_history(tmp_path) == {}


def test_cells_behind_a_link_are_left_out_and_said(other: Path, tmp_path: Path) -> None:
    model = cell_of(other).parent
    model.rename(tmp_path / "elsewhere")
    model.symlink_to(tmp_path / "elsewhere")
    listed = invoke("results", "list", "--results", str(other))
    assert f"Left out: {model} is a link, and cells behind links are not read" in listed.output.replace("\n", " ")


def test_a_folder_that_may_not_be_read_ends_in_one_line(other: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, scan = cell_of(other).parent, os.scandir

    def refused(path: str) -> object:
        if str(path) == str(model):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refused)
    for command in (("results", "list"), ("report",), ("results", "check")):
        done = invoke(*command, "--results", str(other))
        assert (done.exit_code, done.stderr) == (2, f"Error: Cannot use {model}: Permission denied.\n")
