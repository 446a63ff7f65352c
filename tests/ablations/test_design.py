"""The design is chosen without the test patients, and its table is what the committed runs say."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ablations.design import fold_cases, render
from bench.datasets.splits.assignment import load_list
from bench.zoo.registry import dataset_spec

DESIGN = Path(__file__).parents[2] / "results" / "design"


def acdc(per_patient: int = 2) -> Any:
    parts = load_list("acdc", "ssl4mis")["parts"]
    patients = sorted(p for part in parts.values() for p in part)
    cases = [SimpleNamespace(patient=p, case=f"{p}_{i}", label=None) for p in patients for i in range(per_patient)]
    return SimpleNamespace(spec=dataset_spec("acdc"), cases=cases, kind="real", layout="ssl4mis", manifest={})


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_folds_hold_training_and_validation_patients_alone(folds: int) -> None:
    data = acdc()
    parts = load_list("acdc", "ssl4mis")["parts"]
    dealt = fold_cases(cast(Any, data), "ssl4mis", folds)
    patients = [{data.cases[i].patient for i in fold} for fold in dealt]
    assert set().union(*patients) == {*parts["train"], *parts["val"]}
    assert sum(map(len, patients)) == len(parts["train"]) + len(parts["val"]), "a patient stands in two folds"
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 2


def test_folds_do_not_depend_on_the_order_of_the_cases() -> None:
    data, turned = acdc(), acdc()
    turned.cases = turned.cases[::-1]

    def patients(d: Any) -> list[set[str]]:
        return [{d.cases[i].patient for i in fold} for fold in fold_cases(d, "ssl4mis", 3)]

    assert patients(data) == patients(turned)


def test_the_committed_table_is_what_the_runs_give() -> None:
    assert render(DESIGN / "runs.csv") == (DESIGN / "table.md").read_text()


def test_the_table_counts_every_design() -> None:
    import pandas as pd

    runs = pd.read_csv(DESIGN / "runs.csv")
    own = runs[runs["model"].str.startswith("mednext")]
    designs = len(own[["model", "version"]].drop_duplicates())
    assert (DESIGN / "table.md").read_text().startswith(f"{designs} designs of the proposed model were tried;")
