"""What a plan says of the smallest difference: from which stored cells, and for which seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from stored_records import invoke

from bench.analysis import power
from bench.analysis.power import _networks, _shared_seeds
from bench.runs.job import Job


def cells_of(**seeds: set[int]) -> pd.DataFrame:
    """A complete cell for each model and seed."""
    rows = [{"model": model, "seed": seed, "fold": None, "folds": None} for model in seeds for seed in seeds[model]]
    return pd.DataFrame(rows).assign(family="cnn", status="complete", split="patient")


@pytest.mark.parametrize(
    ("seeds", "shared"),
    [
        ({"full": {0, 1, 2, 3}, "arm": {0, 1}}, {0, 1}),
        ({"full": {0, 1, 2, 3}, "other": {0, 1, 2}, "arm": {0, 1}}, {0, 1}),
        ({"full": {0, 1, 2, 3}, "other": {0, 1, 2}, "arm": {3}}, {0, 1, 2}),
        ({"full": {0, 1, 2}, "arm": {2}}, set()),
        ({"full": {0, 1, 2}}, set()),
    ],
)
def test_models_need_not_have_the_same_seeds_to_share_some(seeds: dict[str, set[int]], shared: set[int]) -> None:
    assert _shared_seeds(cells_of(**seeds)) == shared


def test_arms_of_ablations_say_nothing_of_networks_unless_nothing_else_is_stored() -> None:
    cells = cells_of(mednext_tiny={0, 1, 2, 3}, unet_s={0, 1, 2}, **{"mednext_tiny[sem=none]": {0, 1}})
    ours = cells["model"].str.startswith("mednext")
    cells = cells.assign(version=1, comparison="c", title="T").assign(family=ours.map({True: "proposed", False: "cnn"}))
    assert set(_networks(cells)["model"]) == {"mednext_tiny", "unet_s"}
    assert set(_networks(cells[ours])["model"]) == {"mednext_tiny", "mednext_tiny[sem=none]"}


@pytest.mark.parametrize("share", [[], ["--shard", "1/3"]])
def test_a_share_of_a_plan_says_what_the_whole_plan_could_show(
    share: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def planned(jobs: Sequence[Job], results: Path) -> str:
        return f"with {len({job.cell.seed for job in jobs})} seeds in {results.name}"

    monkeypatch.setattr(power, "smallest_difference_line", planned)
    asked = ["--models", "chance", "--dataset", "acdc", "--preset", "smoke", "--data", "phantom", "--seeds", "3"]
    done = invoke("plan", *asked, *share, "--results", str(tmp_path))
    assert (done.exit_code, f"with 3 seeds in {tmp_path.name}" in done.output) == (0, True), done.output
