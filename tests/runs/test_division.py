"""A division that changed under the same fingerprint: no run is trained, tested or tuned across the two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from own_folders import added, write_classes

from bench.errors import UserError
from bench.records import scores
from bench.runs.division import base_parts
from bench.runs.job import Job, training_part
from bench.runs.rates import chosen_rate, store_choices
from bench.runs.request import Request
from bench.runs.runner import make_jobs

PARTS = ["train", "val", "test", "train"]


def table(path: Path, raw: Path, turn: int) -> Path:
    names = sorted(file.relative_to(raw).as_posix() for file in raw.rglob("*.png"))
    parts = [*PARTS[turn:], *PARTS[:turn]] * (len(names) // 4)
    path.write_text("path,part\n" + "".join(f"{name},{part}\n" for name, part in zip(names, parts, strict=True)))
    return path


def jobs(root: Path, results: Path, **fields: Any) -> list[Job]:
    return make_jobs(
        Request("chance", dataset="mine", preset="smoke", seeds="1", data_root=root, results=results, **fields)
    )


def test_a_cell_of_another_division_is_not_trained_on_this_one(tmp_path: Path) -> None:
    root = tmp_path / "root"
    raw = write_classes(tmp_path / "raw", {"a": 8, "b": 8})
    first = added(root, raw, split=table(tmp_path / "1.csv", raw, 0))
    (job,) = jobs(root, tmp_path / "r")
    data, cases = training_part(job)
    assert len(cases) == 8
    parts = base_parts(data, "given")
    second = added(root, raw, split=table(tmp_path / "2.csv", raw, 1), replace=True)
    assert first.fingerprint == second.fingerprint, "the images are the same"
    with pytest.raises(UserError, match="has other patients in its parts than that of cell"):
        training_part(job)
    (new,) = jobs(root, tmp_path / "r")
    assert new.cell.key != job.cell.key
    own = {"task": "classification", "model": "net.py:Net", "version": 1, "source": "real", "lr": 3e-4}
    store_choices(tmp_path, [{**own, "dataset": "mine", "split": "given/inner5", "divided": parts}])
    of_model = (tmp_path, "classification", "net.py:Net", 1, "real", "mine", "given")
    assert chosen_rate(*of_model, parts) == 3e-4
    assert chosen_rate(*of_model, base_parts(second, "given")) is None


def fold(key: str, number: int, tested: int) -> tuple[dict[str, Any], int]:
    return {"key": key, "comparison": "c", "cell": {"fold": number}}, tested


def test_folds_of_two_divisions_are_not_pooled() -> None:
    whole = {"a0": "123", "a1": "456", "a2": "789"}
    other = {"b0": "147", "b1": "258", "b2": "369"}
    cases = {key: frozenset(names) for key, names in (whole | other).items()}
    cells = [fold(key, int(key[1]), hash(cases[key])) for key in ("b0", "a0", "b1", "a1", "a2")]
    assert set(scores.tested_otherwise(cells, cases)) == {"b0", "b1"}, "the division of more folds"
    assert set(scores.tested_otherwise([*cells, fold("b2", 2, hash(cases["b2"]))], cases)) == {"a0", "a1", "a2"}, (
        "the first"
    )
    assert not scores.tested_otherwise([one for one in cells if one[0]["key"][0] == "a"], cases)
    alone = [fold("a0", 0, hash(cases["a0"])), fold("b1", 1, hash(cases["b1"]))]
    assert set(scores.tested_otherwise(alone, cases)) == {"b1"}, "they share a case, though no fold is there twice"
