"""The grid of rates: what was chosen is taken, by arms too; what was not is said; a damaged file is one line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench.analysis.own_settings import own_settings
from bench.errors import UserError
from bench.records import store
from bench.records.damage import check_record
from bench.runs import rates
from bench.runs.cell import Cell
from bench.runs.development import Development, candidates
from bench.runs.job import Event
from bench.runs.rates import GRID, SHIPPED, chosen_rate, read_choices, store_choices
from bench.runs.request import Request
from bench.runs.runner import make_jobs
from bench.zoo.registry import model_entry

REQUEST: dict[str, Any] = {
    "models": "resnet10t,mednext_tiny,mednext_tiny[sem=none],chance",
    "dataset": "large-covid-ct",
    "preset": "smoke",
    "seeds": 1,
    "data": "phantom",
    "settings": ("image_size=32", "rates=grid"),
}


def choice(model: str = "mednext_tiny", lr: float = 3e-3, source: str = "phantom", **other: Any) -> dict[str, Any]:
    task = other.get("task", "classification")
    version = model_entry(model).version
    return {"task": task, "model": model, "version": version, "source": source, "lr": lr, **other}


def cells_of(results: Path, **other: Any) -> dict[str, Cell]:
    return {job.model: job.cell for job in make_jobs(Request(**{**REQUEST, "results": results, **other}))}


def tuned_of(results: Path, **other: Any) -> dict[str, Any]:
    return {name: cell.tuned for name, cell in cells_of(results, **other).items()}


@pytest.fixture(autouse=True)
def _nothing_shipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What ships may change; these tests have a shipped file of their own."""
    monkeypatch.setattr(rates, "SHIPPED", tmp_path / "shipped.json")


def test_what_ships_is_a_file_of_rates_of_networks_that_there_are() -> None:
    for own in read_choices(SHIPPED):
        assert model_entry(own["model"]).name == own["model"]
        assert own["source"] == "real"
        assert own["lr"] in GRID[own["task"]]


def test_each_network_takes_what_was_chosen_and_an_arm_what_its_base_takes(tmp_path: Path) -> None:
    grid = {"grid": [3e-4, 1e-3, 3e-3], "weight_decay": 0.01}
    assert tuned_of(tmp_path)["mednext_tiny"] == {**grid, "chosen": False, "lr": 1e-3}
    store_choices(tmp_path, [choice()])
    found = tuned_of(tmp_path)
    assert found["mednext_tiny"] == found["mednext_tiny[sem=none]"] == {**grid, "chosen": True, "lr": 3e-3}
    assert found["resnet10t"] == {**grid, "chosen": False, "lr": 1e-3}
    assert found["chance"] == {**grid, "chosen": True, "lr": 1e-3}
    assert cells_of(tmp_path)["mednext_tiny"].settings().lr == 3e-3
    assert set(tuned_of(tmp_path, settings=("image_size=32",)).values()) == {None}, "rates are the protocol's"


def test_who_chose_and_what_stands_in_one_table(tmp_path: Path) -> None:
    store_choices(tmp_path, [choice()])
    cells = cells_of(tmp_path)
    assert len({cell.comparison for cell in cells.values()}) == 1
    assert len({cell.key for cell in cells.values()}) == len(cells)
    other = replace(cells["resnet10t"], tuned={**(cells["resnet10t"].tuned or {}), "grid": [1e-3]})
    assert other.comparison != cells["resnet10t"].comparison
    plain = cells_of(tmp_path, settings=("image_size=32",))
    assert plain["resnet10t"].comparison != cells["resnet10t"].comparison


def test_the_user_s_file_comes_before_the_shipped_one_and_versions_count(tmp_path: Path) -> None:
    version = model_entry("mednext_tiny").version
    shipped = {"schema": 1, "choices": [choice(lr=3e-4), choice("resnet10t", 3e-4)]}
    (tmp_path / "shipped.json").write_text(json.dumps(shipped))
    store_choices(tmp_path, [choice(lr=3e-3), choice(lr=2e-3, task="segmentation")])
    assert chosen_rate(tmp_path, "classification", "mednext_tiny", version, "phantom") == 3e-3
    assert chosen_rate(tmp_path, "segmentation", "mednext_tiny", version, "phantom") == 2e-3
    assert chosen_rate(tmp_path, "classification", "resnet10t", 1, "phantom") == 3e-4
    assert chosen_rate(tmp_path, "classification", "mednext_tiny", "another", "phantom") is None


def test_what_was_chosen_on_drawn_images_serves_drawn_images_alone(tmp_path: Path) -> None:
    version = model_entry("mednext_tiny").version
    store_choices(tmp_path, [choice(lr=3e-3)])
    assert chosen_rate(tmp_path, "classification", "mednext_tiny", version) is None
    store_choices(tmp_path, [choice(lr=3e-4, source="real")])
    assert chosen_rate(tmp_path, "classification", "mednext_tiny", version) == 3e-4
    assert chosen_rate(tmp_path, "classification", "mednext_tiny", version, "phantom") == 3e-3
    assert chosen_rate(tmp_path, "classification", "mednext_tiny", version, "substitute") == 3e-4


@pytest.mark.parametrize(
    ("dataset", "split", "serves"),
    [
        ("acdc", "ssl4mis", True),
        ("acdc", "ssl4mis/inner5", True),
        ("acdc", "mtunet", False),
        ("acdc", "any", False),
        ("acdc", "ssl4mis/5", False),
        ("synapse", "transunet", True),
        (None, None, True),
    ],
)
def test_a_rate_serves_no_other_division_of_the_images_it_was_chosen_on(
    tmp_path: Path, dataset: str | None, split: str | None, serves: bool
) -> None:
    own = choice("unet_s", 2e-3, "real", task="segmentation", dataset="acdc", split="ssl4mis/inner5")
    store_choices(tmp_path, [own])
    for source in ("real", "substitute"):
        found = chosen_rate(tmp_path, "segmentation", "unet_s", own["version"], source, dataset, split)
        assert found == (2e-3 if serves else None)
    assert chosen_rate(tmp_path, "segmentation", "unet_s", own["version"], "phantom", dataset, split) == 2e-3


@pytest.mark.parametrize("source", ["substitute", "phantom"])
def test_a_rate_of_substitutes_or_phantoms_serves_no_other_division_of_them(tmp_path: Path, source: str) -> None:
    own = choice("unet_s", 2e-3, source, task="segmentation", dataset=f"acdc-{source}", split="any/inner5")
    store_choices(tmp_path, [own])
    of_model = (tmp_path, "segmentation", "unet_s", own["version"], source, "acdc")
    assert [chosen_rate(*of_model, split) for split in ("any", "any/inner5", "any/5")] == [2e-3, 2e-3, None]


def test_another_view_of_the_images_is_no_other_data_set(tmp_path: Path) -> None:
    own = choice("resnet10t", 3e-4, "real", dataset="large-covid-ct", split="patient/inner5")
    store_choices(tmp_path, [own])
    of_model = (tmp_path, "classification", "resnet10t", own["version"], "real", "large-covid-ct-2class")
    assert chosen_rate(*of_model, "random-80-20") is None
    assert chosen_rate(*of_model, "patient") == 3e-4


def test_folds_over_all_parts_take_no_rate_that_was_chosen_on_their_patients(tmp_path: Path) -> None:
    store_choices(tmp_path, [choice(dataset="large-covid-ct", split="patient/inner5")])
    assert tuned_of(tmp_path)["mednext_tiny"]["lr"] == 3e-3
    of_folds = tuned_of(tmp_path, folds=3)["mednext_tiny"]
    assert (of_folds["chosen"], of_folds["lr"]) == (False, 1e-3)


def test_a_later_choice_replaces_the_earlier_one_of_its_network(tmp_path: Path) -> None:
    store_choices(tmp_path, [choice(lr=3e-4), choice("resnet10t", 1e-3)])
    path = store_choices(tmp_path, [choice(lr=3e-3)])
    assert [(own["model"], own["lr"]) for own in read_choices(path)] == [("mednext_tiny", 3e-3), ("resnet10t", 1e-3)]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("{", "is cut short"),
        ("[]", "is no file of learning rates"),
        ('{"schema": 2, "choices": []}', "update medbench"),
        ('{"schema": 1}', "it holds no list of choices"),
        ('{"schema": 1, "choices": [3]}', "holds a choice that is no object"),
        ('{"schema": 1, "choices": [{"task": "classification"}]}', "lacks the field model"),
        (json.dumps({"schema": 1, "choices": [choice(lr=5e-3)]}), "holds the rate 0.005 of 'mednext_tiny'"),
    ],
)
def test_a_damaged_file_is_one_line_and_stays_as_it_is(tmp_path: Path, content: str, line: str) -> None:
    (tmp_path / "rates.json").write_text(content)
    with pytest.raises(UserError, match=line):
        cells_of(tmp_path)
    with pytest.raises(UserError, match=line):
        store_choices(tmp_path, [choice()])
    assert (tmp_path / "rates.json").read_text() == content


def test_a_choice_of_an_unknown_network_is_named_and_takes_nothing_away(tmp_path: Path) -> None:
    store_choices(tmp_path, [choice(), choice() | {"model": "mednext_tinny"}])
    said: list[Event] = []
    jobs = make_jobs(Request(**REQUEST, results=tmp_path), said.append)
    (line,) = [event.text for event in said if event.text.startswith(str(tmp_path / "rates.json"))]
    assert "a rate is not used. Unknown model 'mednext_tinny'. Did you mean: mednext_tiny" in line
    assert next(job.cell.tuned for job in jobs if job.model == "mednext_tiny") is not None


def test_a_rate_that_the_request_sets_or_varies_is_taken_whatever_was_chosen(tmp_path: Path) -> None:
    store_choices(tmp_path, [choice()])
    cell = cells_of(tmp_path, settings=("image_size=32", "lr=1e-3"))["mednext_tiny"]
    assert (cell.tuned, cell.settings().lr) == (None, 1e-3)
    varied = {**REQUEST, "models": "mednext_tiny", "settings": ("image_size=32",), "folds": 3, "results": tmp_path}
    found = candidates(Development(**varied, vary=("lr=3e-4,1e-3",)))
    assert [one.jobs[0].cell.settings().lr for one in found] == [3e-4, 1e-3]
    kept = candidates(Development(**{**varied, "settings": REQUEST["settings"]}, vary=("clip=1,0.5",)))
    assert {job.cell.settings().lr for one in kept for job in one.jobs} == {3e-3}


def test_the_footnotes_name_the_rates_and_who_has_none(tmp_path: Path) -> None:
    store_choices(tmp_path, [choice()])
    rows = [
        {"model": name, "family": "cnn" if name != "chance" else "chance", "params": 1, "tuned": cell.tuned}
        for name, cell in cells_of(tmp_path).items()
    ]
    grid = "grid (0.0003, 0.001, 0.003)"
    titles = {"mednext_tiny": "M", "mednext_tiny[sem=none]": "M without", "resnet10t": "R", "chance": "C"}
    lead = f"Learning rates of one {grid}, chosen once for the task,"
    assert own_settings(pd.DataFrame(rows).assign(init=None), titles) == [
        f"{lead} on folds of a training part: M 0.003; M without 0.003.",
        f"Learning rate not chosen from the {grid}, the protocol's in its place: R 0.001.",
    ]


def test_a_record_holds_what_a_cell_took_of_the_grid(tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "results" / "example" / "records"
    record = json.loads(next(iter(sorted(example.rglob("record.json")))).read_text())
    record["cell"]["tuned"] = {"grid": [1e-3], "chosen": True, "lr": 1e-3, "weight_decay": 0.01}
    check_record(tmp_path, record, store.SCHEMA)
    record["cell"]["tuned"]["chosen"] = 1
    with pytest.raises(UserError, match="where true or false should be"):
        check_record(tmp_path, record, store.SCHEMA)
