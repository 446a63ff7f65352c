"""`medbench reproduce` and `results archive`: what is refused before anything runs, samples, hostile archives."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bench.cli.main import main
from bench.records import store
from bench.records.keys import cell_key, comparison_key
from bench.runs import job as jobs_module

SMOKE = Path(__file__).parents[1] / "smoke-record"
EXAMPLE = Path(__file__).parents[2] / "results" / "example"


def call(*words: object) -> Result:
    return CliRunner().invoke(main, list(map(str, words)))


def line_of(result: Result) -> str:
    """The one line of a refusal."""
    assert result.exit_code == 2, result.output
    lines = result.stderr.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def copy(place: Path, **cell: Any) -> Path:
    """The committed smoke record with a changed cell, its keys computed anew."""
    (source,) = SMOKE.glob("records/*/*/*")
    shutil.copytree(source, place)
    record = json.loads((place / "record.json").read_text())
    record["cell"] |= cell
    record["key"], record["comparison"] = cell_key(record["cell"]), comparison_key(record["cell"])
    (place / "record.json").write_text(json.dumps(record))
    return place


@pytest.fixture
def _whole(whole_phantoms: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """As many phantoms as users get, whose record it is."""
    for name, value in whole_phantoms.items():
        monkeypatch.setattr(name, value)


@pytest.mark.usefixtures("_whole")
def test_the_committed_smoke_record_is_reproduced(tmp_path: Path) -> None:
    """On the machine type that wrote it bit for bit, on another one within its interval."""
    done = call("reproduce", SMOKE, "--data-root", tmp_path)
    assert done.exit_code == 0, done.output
    assert "1 of 1 cells reproduced" in done.stdout
    assert "bit-identical" in done.stdout or "equal within its interval" in done.stdout


@pytest.fixture
def _nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("a cell was begun")

    monkeypatch.setattr(jobs_module, "perform", none)


@pytest.mark.usefixtures("_nothing_runs")
class TestRefusals:
    """Each in one line, before any cell is begun."""

    def test_other_data(self, tmp_path: Path) -> None:
        line = line_of(call("reproduce", copy(tmp_path / "a", fingerprint="0123456789ab")))
        assert "was trained on other data" in line
        assert "the record 0123456789ab" in line

    def test_another_version_of_the_network(self, tmp_path: Path) -> None:
        model = json.loads((next(SMOKE.glob("records/*/*/*")) / "cell.json").read_text())["model"]
        line = line_of(call("reproduce", copy(tmp_path / "a", model={**model, "version": 77})))
        assert "was trained with version 77 of" in line

    def test_another_config(self, tmp_path: Path) -> None:
        model = json.loads((next(SMOKE.glob("records/*/*/*")) / "cell.json").read_text())["model"]
        line = line_of(call("reproduce", copy(tmp_path / "a", model={**model, "config": {"odd": 1}})))
        assert "has another config than" in line

    def test_another_version_of_the_protocol(self, tmp_path: Path) -> None:
        protocol = json.loads((next(SMOKE.glob("records/*/*/*")) / "cell.json").read_text())["protocol"]
        line = line_of(call("reproduce", copy(tmp_path / "a", protocol={**protocol, "version": 1})))
        assert "was trained by version 1 of the protocol" in line

    def test_no_record(self, tmp_path: Path) -> None:
        assert "holds no record of a complete cell" in line_of(call("reproduce", tmp_path))
        assert "does not exist" in line_of(call("reproduce", tmp_path / "none"))

    @pytest.mark.parametrize("name", ["../../evil.py", "/etc/evil.py", "records\\..\\..\\evil.py"])
    def test_an_archive_that_leads_out_of_its_folder(self, name: str, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
            zipped.writestr(name, "x")
        assert "leads out of it: not unpacked" in line_of(call("reproduce", tmp_path / "a.zip"))

    def test_an_archive_with_a_link(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
            link = zipfile.ZipInfo("records/a")
            link.external_attr = 0o120777 << 16
            zipped.writestr(link, "/etc")
        assert "has the link" in line_of(call("reproduce", tmp_path / "a.zip"))

    def test_a_bomb(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bench.datasets.cache.archives.LARGE", 2**20)
        with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
            zipped.writestr("records/a", b"0" * 2**23)
        assert "would unpack to" in line_of(call("reproduce", tmp_path / "a.zip"))

    @pytest.mark.parametrize("keep", ["a", "a/new", ".", "link"])
    def test_a_folder_of_new_records_that_is_or_lies_in_or_around_the_old_ones(self, keep: str, tmp_path: Path) -> None:
        results = tmp_path / "results"
        shutil.copytree(SMOKE, results / "a")
        (results / "link").symlink_to(results / "a")
        line = line_of(call("reproduce", results / "a", "--keep", results / keep, "--data-root", tmp_path / "data"))
        assert "Expected --keep to be a folder apart from the records" in line
        (record,) = (results / "a").glob("records/*/*/*/record.json")
        assert "apart from the records" in line_of(call("reproduce", record, "--keep", results / "a"))


EVIL = """
import pathlib
pathlib.Path({mark!r}).write_text("ran")
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
"""


@pytest.mark.usefixtures("_nothing_runs")
def test_code_beside_a_record_is_not_run_unless_its_files_are_named(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    place = copy(tmp_path / "a", model={"name": "net.py:Net", "config": {}, "version": 5})
    (place / "sources" / "parts").mkdir(parents=True)
    (place / "sources" / "net.py").write_text(EVIL.format(mark=str(mark)))
    (place / "sources" / "parts" / "more.py").write_text("")
    line = line_of(call("reproduce", place))
    assert "running it runs net.py, parts/more.py of the folder sources beside it" in line
    assert line.endswith("then give --trust net.py --trust parts/more.py.")
    assert "runs parts/more.py of" in line_of(call("reproduce", place, "--trust", "net.py"))
    assert not mark.exists()
    trusting = call("reproduce", place, "--trust", "net.py", "--trust", "parts/more.py")
    assert "are not those of net.py:Net, version 5" in line_of(trusting), "named, it runs, and is seen to be other code"
    assert mark.exists()


@pytest.mark.usefixtures("_nothing_runs")
@pytest.mark.parametrize("name", ["os:system", "pathlib:Path", "../evil.py:Net"])
def test_a_record_that_names_a_module_imports_nothing(name: str, tmp_path: Path) -> None:
    place = copy(tmp_path / "a", model={"name": name, "config": {}, "version": 5})
    assert "without a copy of its code" in line_of(call("reproduce", place))


@pytest.mark.usefixtures("_nothing_runs")
def test_links_among_sources_are_not_followed(tmp_path: Path) -> None:
    place = copy(tmp_path / "a", model={"name": "net.py:Net", "config": {}, "version": 5})
    (place / "sources").mkdir()
    (tmp_path / "net.py").write_text("raise SystemExit(9)")
    os.symlink(tmp_path / "net.py", place / "sources" / "net.py")
    assert "has links among its sources" in line_of(call("reproduce", place, "--trust", "net.py"))


def test_an_archive_is_a_results_folder_whose_bytes_depend_on_the_records_alone(tmp_path: Path) -> None:
    results = tmp_path / "results"
    shutil.copytree(SMOKE, results)
    (results / "records" / "secret").symlink_to("/etc/passwd")
    paths = [tmp_path / "a.zip", tmp_path / "b.zip"]
    for path in paths:
        done = call("results", "archive", path, "--results", results)
        assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"written: {paths[1]}, 1 records, ")
    assert paths[0].read_bytes() == paths[1].read_bytes()
    with zipfile.ZipFile(paths[0]) as zipped:
        names = zipped.namelist()
        assert names == sorted(names)
        assert {"README.txt", "requirements.txt", "tables.csv", "tables.md"} < set(names)
        assert not any(name.endswith((".safetensors", "secret")) for name in names)
        zipped.extractall(tmp_path / "unpacked")
    (found,) = store.read_records(tmp_path / "unpacked").records
    assert found[1] == store.read_records(SMOKE).records[0][1]
    assert call("report", "--results", tmp_path / "unpacked", "--format", "csv").exit_code == 0


def test_the_tables_of_an_archive_are_those_of_its_records_speeds_and_audits(tmp_path: Path) -> None:
    example, results = Path(__file__).parents[2] / "results" / "example", tmp_path / "results"
    for name in ("audits", "profiles", "units"):
        shutil.copytree(example / name, results / name)
    for model in ("mednext_tiny", "resnet10t", "deit_tiny"):
        shutil.copytree(example / "records" / "sars-cov2-ct" / model, results / "records" / "sars-cov2-ct" / model)
    done = call("results", "archive", tmp_path / "a.zip", "--results", results)
    assert done.exit_code == 0, done.output
    with zipfile.ZipFile(tmp_path / "a.zip") as zipped:
        zipped.extractall(tmp_path / "unpacked")
    for name, form in (("tables.md", "markdown"), ("tables.csv", "csv")):
        made = [tmp_path / f"{place}-{name}" for place in ("here", "there")]
        for folder, path in zip((results, tmp_path / "unpacked"), made, strict=True):
            assert call("report", "--results", folder, "--format", form, "--output", path).exit_code == 0
        archived = (tmp_path / "unpacked" / name).read_text()
        assert made[0].read_text() == made[1].read_text() == archived
        assert "near-duplicate" in archived or form == "csv"


def test_an_archive_names_the_damaged_records_that_it_leaves_out(tmp_path: Path) -> None:
    results = Path(shutil.copytree(SMOKE, tmp_path / "results"))
    broken = results / "records" / "acdc" / "unet_s" / "0-0" / "record.json"
    broken.parent.mkdir(parents=True)
    broken.write_text("{")
    done = call("results", "archive", tmp_path / "a.zip", "--results", results)
    assert (done.exit_code, "a.zip, 1 records" in done.stdout) == (0, True), done.output
    assert f"Left out: {broken} is cut short" in done.stderr
    with zipfile.ZipFile(tmp_path / "a.zip") as zipped:
        assert "Records of medbench: 1 cells." in zipped.read("README.txt").decode()


def test_an_archive_of_nothing_and_a_name_without_zip_are_refused(tmp_path: Path) -> None:
    assert "ends in .zip" in line_of(call("results", "archive", tmp_path / "a.tar", "--results", SMOKE))
    assert "No results folder" in line_of(call("results", "archive", tmp_path / "a.zip", "--results", tmp_path / "no"))
    assert "holds no records" in line_of(call("results", "archive", tmp_path / "a.zip", "--results", tmp_path))


@pytest.mark.usefixtures("_nothing_runs")
def test_of_several_cells_each_that_cannot_be_trained_says_why(tmp_path: Path) -> None:
    for name, version in (("a", 77), ("b", 78)):
        copy(tmp_path / name, model={"name": "unet_s", "config": {}, "version": version})
    done = call("reproduce", tmp_path)
    assert done.exit_code == 1, done.output
    assert "0 of 2 cells reproduced" in done.stdout
    text = " ".join(done.stdout.split())
    assert all(f"was trained with version {version} of unet_s" in text for version in (77, 78))


@pytest.mark.usefixtures("_whole", "_nothing_runs")
def test_a_record_of_a_gpu_is_one_line_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    copy(tmp_path / "a")
    record = json.loads((tmp_path / "a" / "record.json").read_text())
    record["environment"] |= {"device": "cuda:0", "gpu": "NVIDIA H100"}
    (tmp_path / "a" / "record.json").write_text(json.dumps(record))
    line = line_of(call("reproduce", tmp_path / "a", "--data-root", tmp_path / "data"))
    assert "No CUDA device is available to torch here" in line


@pytest.mark.usefixtures("_whole", "_nothing_runs")
def test_a_cell_that_is_finished_in_keep_was_not_trained_now(tmp_path: Path) -> None:
    shutil.copytree(SMOKE / "records", tmp_path / "keep" / "runs" / "phantom")
    command = ("reproduce", SMOKE, "--keep", tmp_path / "keep", "--data-root", tmp_path / "data")
    line = line_of(call(*command))
    assert "It was not trained now: " in line
    assert "finished 20" in line
    shutil.move(tmp_path / "keep" / "runs", tmp_path / "keep" / "records")
    assert "It was not trained now: " in line_of(call(*command)), "in an unpacked archive either"
    forced = call(*command, "--force")
    assert isinstance(forced.exception, AssertionError), "it is trained anew"
    assert str(forced.exception) == "a cell was begun"


@pytest.mark.usefixtures("_whole", "_nothing_runs")
def test_of_several_cells_those_that_are_finished_in_keep_are_not_confirmed(tmp_path: Path) -> None:
    shutil.copytree(SMOKE / "records", tmp_path / "keep" / "runs" / "phantom")
    shutil.copytree(SMOKE, tmp_path / "all")
    copy(tmp_path / "all" / "records" / "other", model={"name": "unet_s", "config": {}, "version": 77})
    done = call("reproduce", tmp_path / "all", "--keep", tmp_path / "keep", "--data-root", tmp_path / "data")
    assert done.exit_code == 1, done.output
    assert "0 of 2 cells reproduced" in done.stdout
    assert "bit-identical" not in done.stdout
    assert "It was not trained now" in " ".join(done.stdout.split())


@pytest.mark.usefixtures("_nothing_runs")
def test_a_sample_is_drawn_by_a_seed_that_is_printed() -> None:
    from bench.cli.reproduce import Sample, _complete, _drawn

    stored = _complete(EXAMPLE, EXAMPLE)
    chosen = [folder for folder, _ in _drawn(stored, Sample(3, seed=7))]
    assert len(set(chosen)) == 3
    assert chosen == [folder for folder, _ in _drawn(stored, Sample(3, seed=7))]
    assert chosen != [folder for folder, _ in _drawn(stored, Sample(3, seed=8))]
    assert len(_drawn(stored, Sample())) == len(stored)
