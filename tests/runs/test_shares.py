"""Shares of cells for a queue: each cell in one of them, equal in work, whoever asks; and commands of single cells."""

from __future__ import annotations

import random
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fake_jobs import job

from bench.cli.main import main
from bench.errors import UserError
from bench.runs.shares import only_cells, shard_of, work_of

JOBS = [
    replace(job(seed=seed, steps=steps), cost={"macs": macs})
    for seed, (steps, macs) in enumerate((s, m * 10**8) for s in (100, 400, 1600) for m in (0, 1, 3, 9, 27))
]


@pytest.mark.parametrize("count", [1, 2, 4, 20])
def test_shares_are_disjoint_whole_and_equal_but_for_one_cell(count: int) -> None:
    shares = [shard_of(JOBS, f"{i + 1}/{count}") for i in range(count)]
    assert sorted(one.cell.seed for share in shares for one in share) == list(range(len(JOBS)))
    loads = [sum(map(work_of, share)) for share in shares]
    assert max(loads) - min(loads) <= max(map(work_of, JOBS))


def test_a_share_does_not_depend_on_the_order_of_the_request() -> None:
    shuffled = random.Random(1).sample(JOBS, len(JOBS))
    keys = [{one.cell.key for one in shard_of(jobs, "2/3")} for jobs in (JOBS, shuffled)]
    assert keys[0] == keys[1]


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3", "1/3/5", ""])
def test_no_share_is_one_line(shard: str) -> None:
    with pytest.raises(UserError, match=r"Expected --shard to be I/N, the I-th of N shares \(2/5\), but got"):
        shard_of(JOBS, shard)


def test_cells_by_key_and_a_key_that_no_cell_has() -> None:
    key = JOBS[3].cell.key
    assert [one.cell.seed for one in only_cells(JOBS, f"{key},")] == [3]
    with pytest.raises(UserError, match="has the key '0123456789ab': versions, data or chosen rates"):
        only_cells(JOBS, f"{key},0123456789ab")


ASKED = ["--dataset", "acdc", "--preset", "smoke", "--data", "phantom", "--set", "steps=2", "--set", "image_size=32"]
ASKED += ["--threads", "1", "--models", "chance,unet_s", "--seeds", "0,3,"]


def planned_keys(words: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of the cells that `medbench run` with these words would run."""
    from bench.runs import runner

    asked: list[str] = []

    def none_run(jobs: Any, *rest: Any) -> Any:
        asked.extend(one.cell.key for one in jobs)
        raise UserError("enough")

    monkeypatch.setattr(runner, "run_jobs", none_run)
    CliRunner().invoke(main, words)
    return asked


@pytest.mark.parametrize("more", [[], ["--folds", "3"], ["--no-predictions"]])
def test_each_command_of_a_plan_is_one_of_its_cells(
    more: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [*ASKED, *more, "--results", str(tmp_path / "r e")]
    done = CliRunner().invoke(main, ["plan", *asked, "--commands"])
    assert done.exit_code == 0, done.output
    lines = [shlex.split(line) for line in done.stdout.splitlines()]
    assert all(line[:2] == ["medbench", "run"] for line in lines)
    keys = [planned_keys(line[1:], monkeypatch) for line in lines]
    assert all(len(own) == 1 for own in keys)
    assert [own[0] for own in keys] == planned_keys(["run", *asked], monkeypatch)
    assert len(lines) == (12 if "--folds" in more else 4)


def test_commands_of_tuned_cells_are_refused_in_one_line() -> None:
    done = CliRunner().invoke(main, ["plan", *ASKED, "--commands", "--tune", "2"])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "Expected --commands without --tune" in done.stderr


@pytest.mark.parametrize("option", [["--measure"], ["--preview", "p"], ["--format", "json"]])
def test_commands_are_all_that_commands_prints(option: list[str]) -> None:
    done = CliRunner().invoke(main, ["plan", *ASKED, "--commands", *option])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "Expected --commands without --preview, --measure and --format" in done.stderr
