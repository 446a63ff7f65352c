"""What the Python side takes: texts, numbers and lists; anything else ends in one line that says what is taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bench
from bench.errors import UserError
from bench.records.seeds import parse_seeds
from bench.runs.request import Request
from bench.runs.runner import make_jobs

REQUEST: dict[str, Any] = {"models": "chance", "dataset": "acdc", "preset": "smoke", "data": "phantom", "threads": 1}


def seeds_of(tmp_path: Path, **changes: Any) -> list[tuple[str, str, int]]:
    jobs = make_jobs(Request(**{**REQUEST, "results": tmp_path, **changes}))
    return [(job.cell.dataset, job.model, job.cell.seed) for job in jobs]


@pytest.mark.parametrize("seeds", [2, "2", [0, 1], (0, 1), range(2), np.arange(2), "0,1", np.int64(2)])
def test_seeds_are_a_number_or_a_list(seeds: Any, tmp_path: Path) -> None:
    assert seeds_of(tmp_path, seeds=seeds) == [("acdc", "chance", 0), ("acdc", "chance", 1)]


def test_one_seed_in_a_list_is_that_seed() -> None:
    assert (parse_seeds([7], 3), parse_seeds(1, 3), parse_seeds(None, 3)) == ([7], [0], [0, 1, 2])


def test_models_and_data_sets_are_texts_or_lists(tmp_path: Path) -> None:
    names = ["chance", "mednext_tiny[laffn=none,sem=none]"]
    assert [model for _, model, _ in seeds_of(tmp_path, models=names)] == names
    assert seeds_of(tmp_path, models=",".join(names)) == seeds_of(tmp_path, models=tuple(names))
    both = seeds_of(tmp_path, dataset=["large-covid-ct", "msld"])
    assert [name for name, _, _ in both] == ["large-covid-ct", "msld"]


def test_settings_are_texts_or_a_dict(tmp_path: Path) -> None:
    ways = [("steps=4", "lr=0.01"), ["steps=4", "lr=0.01"], {"steps": 4, "lr": 0.01}]
    keys = {make_jobs(Request(**REQUEST, results=tmp_path, settings=way))[0].cell.key for way in ways}
    assert len(keys) == 1
    assert make_jobs(Request(**REQUEST, results=tmp_path, settings="steps=4"))[0].cell.protocol["steps"] == 4


WRONG = [
    ({"seeds": "x"}, "Expected --seeds to be a number"),
    ({"seeds": 1.5}, "Expected seeds to be how many (2), which ([0, 1]) or None for the preset's number, but got 1.5."),
    ({"seeds": True}, "Expected seeds to be how many"),
    ({"seeds": [0, 0]}, "Expected --seeds to be a number from 1 to 1000, or distinct seeds"),
    ({"seeds": [0.5]}, "Expected seeds to be how many"),
    ({"seeds": []}, "Expected --seeds to be a number from 1 to 1000"),
    ({"seeds": [-1]}, "Expected --seeds to be a number from 1 to 1000"),
    ({"seeds": 0}, "Expected --seeds to be a number from 1 to 1000"),
    ({"seeds": {0: 1}}, "Expected seeds to be how many"),
    (
        {"models": None},
        "Expected models to be names of models by commas ('unet_s') or in a list (['unet_s']), but got None",
    ),
    ({"models": [3]}, "Expected models to be names of models"),
    ({"models": []}, "Expected at least one model"),
    ({"models": ["chance,unet_s"]}, "Unknown model 'chance,unet_s'"),
    ({"dataset": 3}, "Expected dataset to be names of data sets by commas"),
    ({"dataset": []}, "Expected --dataset to be distinct names"),
    ({"dataset": ["acdc", "acdc"]}, "Expected --dataset to be distinct names"),
    ({"preset": 3}, "Expected preset to be a text, but got 3."),
    ({"settings": 4}, "Expected settings to be texts"),
    ({"settings": {"steps": "many"}}, "Expected protocol field steps to be of type int"),
    ({"threads": "2"}, "Expected threads to be a whole number, 1 or more, or None, but got '2'."),
    ({"folds": 1}, "Expected folds to be a whole number from 3 to 100, or None, but got 1."),
    ({"train_fraction": "half"}, "Expected train_fraction to be a number, or None"),
    ({"data": "fantom"}, "Expected data to be one of auto, real, phantom, but got 'fantom'."),
    ({"device": "tpu"}, "Expected device to be cpu, cuda, cuda:N or auto"),
    ({"results": None}, "Expected results to be a path, but got None."),
    ({"data_root": 5}, "Expected data_root to be a path, or None"),
    ({"pretrained": "yes"}, "Expected pretrained to be True or False"),
    ({"workers": "2"}, "Expected workers to be a whole number"),
    ({"tune": 0}, "Expected tune to be a whole number"),
    ({"report": 1}, "Expected report to be a function"),
    ({"model": "chance"}, "Unknown argument 'model'. Did you mean: models"),
    ({"worker": 2}, "Unknown argument 'worker'. Did you mean: workers"),
]


@pytest.mark.parametrize(("changes", "said"), WRONG, ids=lambda value: str(value)[:40])
def test_what_is_not_taken_is_one_line(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        bench.run(**{**REQUEST, "results": tmp_path, **changes})
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"models": None}, "Expected models to be names of models"),
        ({"batch": "8"}, "Expected batch to be a whole number"),
        ({"batch": 0}, "Expected batch to be a whole number, 1 or more, but got 0."),
        ({"seconds": "60"}, "Expected seconds to be a number"),
        ({"results": 3}, "Expected results to be a path"),
        ({"fused": 1}, "Expected fused to be True or False"),
        ({"reference": 3}, "Expected reference to be a text, or None"),
        ({"size": 64}, "Unknown argument 'size'."),
        ({"models": ["resnet18", "unet_s"]}, "Model 'unet_s' does segmentation"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_profile_of_what_is_not_taken_is_one_line(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        bench.profile(**{"models": "resnet18", "results": tmp_path, **changes})
    assert str(caught.value).startswith(said)
