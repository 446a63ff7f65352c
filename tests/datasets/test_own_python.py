"""A data set of five fields, by an entry point: the example package's, from its files to a split and a record."""

from __future__ import annotations

import tomllib
from dataclasses import MISSING, fields
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from own_folders import picture

from bench.cli.main import main
from bench.datasets.base import DatasetSpec
from bench.errors import UserError
from bench.zoo import registry

EXAMPLE = Path(__file__).parents[2] / "docs" / "example"


@pytest.fixture
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example package's data set, as its pyproject.toml names it."""
    group = "medbench.datasets"
    named = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]["entry-points"][group]
    points = {name: EntryPoint(name, place, group) for name, place in named.items()}
    points["no-spec"] = EntryPoint("no-spec", "my_nets.data:list_cases", group)
    every = {**registry._targets(group), **points}
    real = registry._targets
    monkeypatch.setattr(registry, "_targets", lambda asked: every if asked == group else real(asked))
    monkeypatch.syspath_prepend(str(EXAMPLE))


def test_five_fields_are_needed() -> None:
    needed = [f.name for f in fields(DatasetSpec) if f.default is MISSING and f.default_factory is MISSING]
    assert needed == ["name", "task", "channels", "classes", "list_cases"]


@pytest.mark.usefixtures("_installed")
def test_the_example_goes_from_files_to_a_table(tmp_path: Path) -> None:
    raw, root = tmp_path / "raw", tmp_path / "root"
    raw.mkdir()
    for i in range(24):
        np.save(raw / f"{i % 2}_P{i // 4:02}_{i}.npy", picture(i))
    call = CliRunner().invoke
    prepared = call(main, ["data", "prepare", "my-arrays", "--from", str(raw), "--data-root", str(root)])
    assert prepared.exit_code == 0, prepared.output
    assert "24 images (12 healthy + 12 sick), 6 patients" in prepared.output
    info = call(main, ["data", "info", "my-arrays", "--data-root", str(root)], env={"COLUMNS": "200"})
    assert info.exit_code == 0, info.output
    assert "patient: default; dealt about 60/15/25 % of each class" in info.output
    assert "split     patient (default): images train" in info.output
    settings = ["--set", "steps=2", "--set", "image_size=32", "--threads", "1", "--preset", "smoke"]
    where = ["--data-root", str(root), "--results", str(tmp_path / "results")]
    run = call(main, ["run", "--models", "chance", "--dataset", "my-arrays", *settings, *where])
    assert run.exit_code == 0, run.output
    assert "1 complete" in run.output


@pytest.mark.usefixtures("_installed")
def test_an_entry_point_that_names_no_data_set_is_one_line() -> None:
    with pytest.raises(UserError, match="'no-spec' to name a DatasetSpec, but it names a function"):
        registry.dataset_spec("no-spec")


@pytest.mark.usefixtures("_installed")
def test_it_has_no_phantoms(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["data", "draw", "my-arrays", str(tmp_path / "new")])
    assert (result.exit_code, "No phantoms can be drawn of my-arrays" in result.output) == (2, True)
