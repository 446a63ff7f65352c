"""`medbench doctor`: one screen that tells what is there, what is broken and how to get what is missing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench.cli.main import main
from bench.datasets.cache.prepared import prepare
from bench.datasets.phantoms.skin import draw
from bench.zoo.registry import dataset_names, dataset_spec


def doctor(root: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["doctor", "--data-root", str(root), *options])


def test_one_screen_of_80_columns_names_the_machine_and_every_data_set(tmp_path: Path) -> None:
    result = doctor(tmp_path, "--results", str(tmp_path / "not" / "there"))
    assert result.exit_code == 0, result.output
    lines = result.output.replace(str(tmp_path), "/somewhere").splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 45
    heads = [line.split()[0] for line in lines if line[0] != " "]
    facts = ["medbench", "versions", "cpu", "devices", "threads", "BLAS", "disk", "data"]
    assert heads == [*facts, "SimpleITK", "medpy", "onnx", "pdflatex"]
    text = " ".join(result.output.split())
    for name in dataset_names():
        assert f"medbench data prepare {name} --from" in text
    assert "unknown" not in next(line for line in lines if line.startswith("disk"))


def test_what_is_prepared_and_what_is_broken_is_told(tmp_path: Path) -> None:
    spec = dataset_spec("msld")
    draw(tmp_path / "raw", 0, subjects=3, copies=1)
    root = tmp_path / "root"
    root.mkdir()
    prepared = prepare(spec, tmp_path / "raw", root, kind="phantom")
    shutil.copytree(prepared.folder, root / "acdc")
    text = " ".join(doctor(root).output.split())
    assert f"msld not prepared; phantoms: prepared, {len(prepared.cases)} cases" in text
    assert "acdc BROKEN; phantoms: drawn when asked for" in text
    assert "it is msld (phantom, classification)" in text


def test_an_extra_that_is_missing_comes_with_the_way_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("bench.report.doctor.find_spec", lambda name: None)
    output = doctor(tmp_path).output
    assert "medpy      missing, for doctor --metrics: pip install 'medbench[check]'" in output
    assert "pdflatex   missing, for compiling tables.tex: " in output
