"""Order in the results folder: what is listed, deleted, merged, exported, found damaged; nothing else is touched."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from stored_records import change, cut, invoke, the_cell

import bench
from bench.cli.main import main
from bench.records.keeping import kept_cells, merge_results, remove_folders
from bench.records.store import cell_folder, lock


def keys(results: Path) -> set[str]:
    return set(bench.load_cells(results)["key"])


def test_a_list_has_finished_and_begun_cells_with_age_and_size(results: Path) -> None:
    begun = results / "runs" / "acdc" / "unet_s" / "7-000000000000"
    begun.mkdir(parents=True)
    cell = json.loads((the_cell(results, "acdc") / "cell.json").read_text())
    (begun / "cell.json").write_text(json.dumps({**cell, "seed": 7}))
    cells = kept_cells(results)
    assert sorted(cells["status"]) == ["complete", "complete", "unfinished"]
    assert kept_cells(results, older=1e6 / 86_400).empty
    assert len(kept_cells(results, newer=1)) == 3
    listed = invoke("results", "list", "--results", str(results), "--status", "unfinished", "--format", "csv")
    assert "unet_s" in listed.output
    assert "msld" not in listed.output


def test_one_cell_is_shown_by_the_beginning_of_its_key(results: Path) -> None:
    key = json.loads((the_cell(results, "acdc") / "record.json").read_text())["key"]
    shown = invoke("results", "show", key[:5], "--results", str(results), "--format", "csv")
    assert "best-val: dice_strict" in shown.output
    missing = invoke("results", "show", "zzz", "--results", str(results))
    assert missing.exit_code == 2
    assert "but 0 of 2 begin with 'zzz'" in missing.output


def test_rm_asks_names_what_it_deletes_and_takes_copies_along(results: Path) -> None:
    acdc = the_cell(results, "acdc")
    copy = results / "runs" / "acdc-copy" / acdc.name
    shutil.copytree(acdc, copy)
    command = ["results", "rm", "--dataset", "acdc", "--results", str(results)]
    no = CliRunner().invoke(main, command, input="n\n")
    assert "Nothing was deleted." in no.output
    assert acdc.exists()
    silent = CliRunner().invoke(main, command, input="")
    assert silent.exit_code == 2
    assert acdc.exists()
    yes = CliRunner().invoke(main, command, input="y\n")
    assert str(acdc) in yes.output
    assert "Deleted: 2 of 2 folders" in yes.output
    assert not acdc.parent.parent.exists(), "empty folders go too"
    assert len(keys(results)) == 1
    assert invoke(*command).exit_code == 2, "nothing of acdc is left to be meant"


def test_rm_without_a_wish_deletes_nothing(results: Path) -> None:
    result = invoke("results", "rm", "--yes", "--results", str(results))
    assert result.exit_code == 2
    assert "Expected what to delete" in result.output
    assert len(keys(results)) == 2


def test_what_is_run_or_lies_behind_a_link_is_left(results: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    acdc, elsewhere = the_cell(results, "acdc"), tmp_path_factory.mktemp("elsewhere")
    with lock(acdc, wait=False):
        removed, notes, _ = remove_folders(results, [acdc])
    assert not removed
    assert "is being run, or deleted, by another process" in notes[0]
    shutil.move(acdc.parent, elsewhere / "model")
    acdc.parent.symlink_to(elsewhere / "model")
    removed, notes, _ = remove_folders(results, [acdc])
    assert not removed
    assert "a link out of" in notes[0]
    assert (elsewhere / "model" / acdc.name / "record.json").is_file()


def test_a_merge_takes_whole_cells_and_complete_ones_before_failed(results: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    shutil.copytree(results / "runs" / "acdc", here / "runs" / "acdc")
    failed = the_cell(here, "acdc") / "record.json"
    change(failed, "status", to="failed")
    (the_cell(here, "acdc") / "error.log").write_text("Traceback")
    other = tmp_path / "other"
    shutil.copytree(results / "runs", other / "runs")
    (the_cell(other, "msld") / "checkpoint.pt").write_bytes(b"0")
    merged = merge_results(here, [other])
    assert (len(merged.copied), len(merged.replaced), len(merged.kept)) == (1, 1, 0)
    assert set(bench.load_cells(here)["status"]) == {"complete"}
    assert not (the_cell(here, "acdc") / "error.log").exists(), "the failed cell is gone as a whole"
    record = json.loads((the_cell(here, "msld") / "record.json").read_text())
    assert the_cell(here, "msld") == cell_folder(here, record["cell"], record["model"]["name"])
    assert not (the_cell(here, "msld") / "checkpoint.pt").exists()
    change(the_cell(other, "acdc") / "record.json", "status", to="failed")
    again = merge_results(here, [other])
    assert (len(again.copied), len(again.replaced), len(again.kept)) == (0, 0, 2)
    assert set(bench.load_cells(here)["status"]) == {"complete"}, "a failed cell takes no complete one's place"


def test_a_failed_cell_takes_no_diverged_ones_place(results: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(results / "runs", other / "runs")
    change(the_cell(results, "acdc") / "record.json", "status", to="diverged")
    change(the_cell(other, "acdc") / "record.json", "status", to="failed")
    assert merge_results(results, [other]).replaced == ()
    assert "diverged" in set(bench.load_cells(results)["status"])


def test_of_a_cell_that_was_begun_again_the_unfinished_place_alone_is_deleted(results: Path) -> None:
    complete = the_cell(results, "acdc")
    unpacked = results / "records" / complete.relative_to(results / "runs")
    shutil.copytree(complete, unpacked)
    (complete / "record.json").unlink()
    assert invoke("results", "rm", "--status", "unfinished", "--yes", "--results", str(results)).exit_code == 0
    assert (unpacked / "record.json").exists()
    assert not complete.exists()


@pytest.fixture
def begun(results: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A cell that is not finished in a folder of its own, and that folder; it is finished in `results`."""
    here, cell = tmp_path / "here", the_cell(results, "acdc")
    place = here / cell.relative_to(results)
    place.mkdir(parents=True)
    shutil.copy(cell / "cell.json", place)
    (place / "checkpoint.pt").write_bytes(b"hours")
    return place, here


def test_a_merge_leaves_and_names_a_cell_that_is_being_run(results: Path, begun: tuple[Path, Path]) -> None:
    place, here = begun
    with lock(place, wait=False) as lease:
        result = invoke("results", "merge", str(results), "--results", str(here))
        assert lease is not None
        assert lease.holds()
    assert "1 copied, 0 in place of failed or unfinished ones, 0 were there, 1 left out" in result.output
    assert f"Left: {place} is being run by another process." in result.output
    assert {path.name for path in place.iterdir()} == {"cell.json", "checkpoint.pt"}


@pytest.mark.parametrize("status", ["failed", "diverged"])
def test_only_a_complete_cell_takes_an_unfinished_ones_place(
    status: str, results: Path, begun: tuple[Path, Path]
) -> None:
    place, here = begun
    record = the_cell(results, "acdc") / "record.json"
    change(record, "status", to=status)
    merged = merge_results(here, [results])
    assert (len(merged.copied), len(merged.replaced), len(merged.left)) == (1, 0, 1)
    assert f"Left: {place} is not finished" in merged.notes[0]
    assert (place / "checkpoint.pt").read_bytes() == b"hours"
    change(record, "status", to="complete")
    merged = merge_results(here, [results])
    assert (len(merged.copied), len(merged.replaced), len(merged.left)) == (0, 1, 0)
    assert {path.name for path in place.iterdir()} == {path.name for path in record.parent.iterdir()}
    assert not list(here.rglob(".*"))


def test_a_merge_that_is_stopped_loses_no_checkpoint_and_goes_on_another_time(
    results: Path, begun: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, here = begun
    replace = Path.replace

    def stopped(path: Path, target: Path) -> Path:
        if path.name == "record.json":
            raise KeyboardInterrupt
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", stopped)
        with pytest.raises(KeyboardInterrupt):
            merge_results(here, [results])
    assert (place / "checkpoint.pt").read_bytes() == b"hours"
    shutil.copytree(the_cell(results, "acdc"), place.with_name(f".{place.name}.merging"))  # of one that was killed
    assert "acdc" not in set(bench.load_cells(here)["dataset"])
    assert len(merge_results(here, [results]).replaced) == 1
    assert keys(here) == keys(results)
    assert not list(here.rglob(".*"))


def test_a_merge_brings_units_audits_and_profiles_that_are_not_here(results: Path, tmp_path: Path) -> None:
    here, names = tmp_path / "here", ["audits/acdc.json", "profiles/machine/0123.json", "units/acdc-1.json"]
    for name in names:
        (results / name).parent.mkdir(parents=True, exist_ok=True)
        (results / name).write_text("theirs")
    (here / "audits").mkdir(parents=True)
    (here / names[0]).write_text("ours")
    merge_results(here, [results])
    assert [(here / name).read_text() for name in names] == ["ours", "theirs", "theirs"]


def test_a_merge_leaves_damaged_cells_out_and_names_them(results: Path, tmp_path: Path) -> None:
    cut(the_cell(results, "msld") / "cases.csv")
    merged = merge_results(tmp_path / "here", [results])
    assert len(merged.copied) == 1
    assert any("cases.csv" in note for note in merged.notes)
    for other, words in ((tmp_path / "here", "the folder to merge into"), (tmp_path / "none", "No results folder")):
        result = invoke("results", "merge", str(other), "--results", str(tmp_path / "here"))
        assert result.exit_code == 2
        assert words in result.output


@pytest.mark.slow
def test_an_export_holds_what_load_results_gives(results: Path, tmp_path: Path) -> None:
    chosen = ("--dataset", "msld", "--results", str(results))
    for form in ("csv", "json"):
        made = invoke("results", "export", "--to", form, "--output", str(tmp_path / f"e.{form}"), *chosen)
        assert made.exit_code == 0, made.output
    long = bench.load_results(results, dataset="msld")
    rows = json.loads((tmp_path / "e.json").read_text())["tables"][0]["rows"]
    assert len(rows) == len(long) == len(pd.read_csv(tmp_path / "e.csv", low_memory=False))
    assert [row["value"] for row in rows] == [None if pd.isna(v) else v for v in long["value"]]
    assert isinstance(json.loads(rows[0]["classes"]), list)
    cells = tmp_path / "c.json"
    invoke("results", "export", "--to", "json", "--cells", "--output", str(cells), "--results", str(results))
    assert {row["key"] for row in json.loads(cells.read_text())["tables"][0]["rows"]} == keys(results)


def test_parquet_without_its_library_is_one_line(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ImportError

    monkeypatch.setattr(pd.DataFrame, "to_parquet", missing)
    output = tmp_path / "e.parquet"
    result = invoke("results", "export", "--to", "parquet", "--output", str(output), "--results", str(results))
    assert result.exit_code == 2
    assert "pip install 'medbench[parquet]'" in result.output
    assert not output.exists()


def test_what_is_gone_or_may_not_be_deleted_is_said_and_the_rest_goes(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acdc, msld = the_cell(results, "acdc"), the_cell(results, "msld")
    removed, notes, faults = remove_folders(results, [results / "runs" / "gone" / "0-a", msld])
    assert (removed, faults) == ([msld], [])
    assert "0-a is gone: another process" in notes[0]
    assert not (results / "runs" / "gone").exists(), "nothing of it is made anew"

    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path / "record.json"))

    monkeypatch.setattr(shutil, "rmtree", refused)
    done = invoke("results", "rm", "--models", "all", "--yes", "--results", str(results))
    assert done.exit_code == 2
    assert "Deleted: 0 of 1 folders" in done.stdout
    assert f"Left: {acdc}, or a part of it, cannot be deleted: Permission denied." in done.stderr
    assert "Error: 1 of 1 folders could not be deleted" in done.stderr


@pytest.mark.parametrize("option", ["--older", "--newer"])
def test_an_age_is_a_number(option: str, results: Path) -> None:
    done = invoke("results", "list", option, "nan", "--results", str(results))
    assert (done.exit_code, "nan is no finite number" in done.output) == (2, True), done.output


def test_a_merge_into_a_link_to_nowhere_is_one_line(results: Path, tmp_path: Path) -> None:
    (tmp_path / "here").symlink_to(tmp_path / "nowhere" / "deep")
    done = invoke("results", "merge", str(results), "--results", str(tmp_path / "here"))
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1), done.output
    assert "Cannot write to the results folder" in done.stderr
