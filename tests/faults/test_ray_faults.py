"""Faults of a run on a Ray cluster of several nodes, on this machine: kills, a removed node, other code (slow)."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from faults import PATIENCE, check_equal, check_spread, disturb, elsewhere, finish, finished, new_random, running, start

from bench.errors import UserError
from bench.runs.execution import Execution
from bench.runs.job import Job

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without a share in the work, and one node with two places."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 100 * 2**20})
    made.workers = [made.add_node(num_cpus=2, object_store_memory=100 * 2**20)]
    yield made
    made.shutdown()


@pytest.fixture
def how(cluster: Any) -> Execution:
    return Execution("2", executor="ray", address=cluster.address, retries=99)


def workers(driver: psutil.Process) -> list[psutil.Process]:
    """The processes of cells, of all nodes of this test's cluster; they are not the driver's children."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "ray::_on_node" in " ".join(process.cmdline()):
                found.append(process)
    return found


def test_kills_at_random_moments_change_nothing(undisturbed: list[Job], how: Execution, tmp_path: Path) -> None:
    jobs = elsewhere(undisturbed, tmp_path)
    seen, kills = disturb(jobs, how, new_random("ray"), workers)
    code, said = finish(jobs, how)
    assert code == 0, said
    assert f"'reused': {len(seen)}" in said
    assert {key: when for key, when in finished(jobs).items() if key in seen} == seen, "a finished cell was run again"
    check_spread(kills)
    check_equal(jobs, undisturbed)


def test_a_node_that_goes_away_takes_no_cell_with_it(
    undisturbed: list[Job], how: Execution, cluster: Any, tmp_path: Path
) -> None:
    jobs = elsewhere(undisturbed, tmp_path)
    driver = start(jobs, how)
    while not list(tmp_path.rglob("checkpoint.pt")):
        assert driver.poll() is None
        time.sleep(0.02)
    assert running(jobs)
    cluster.remove_node(cluster.workers.pop(), allow_graceful=False)
    cluster.workers.append(cluster.add_node(num_cpus=2, object_store_memory=100 * 2**20))
    said = driver.communicate(timeout=PATIENCE)[0].decode()
    assert driver.returncode == 0, said
    assert f"'complete': {len(jobs)}" in said
    check_equal(jobs, undisturbed)


def test_a_node_without_the_data_says_so_in_one_line(undisturbed: list[Job], how: Execution, tmp_path: Path) -> None:
    jobs = [replace(job, data_root=tmp_path / "none") for job in elsewhere(undisturbed[:1], tmp_path)]
    code, said = finish(jobs, replace(how, retries=0))
    assert code == 2
    (line,) = said.splitlines()
    assert "Node " in line
    assert "No prepared acdc in" in line


def test_a_node_that_does_not_see_the_results_sends_them_back(
    undisturbed: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.runs import ray_pool

    (job,) = elsewhere(undisturbed[:1], tmp_path)
    monkeypatch.setattr(ray_pool.tempfile, "gettempdir", lambda: str(tmp_path))
    order = ray_pool.Order(ray_pool.code_hash(), tmp_path / "no-probe", "t")
    record, files = ray_pool.train_on_node(job, order, lambda event: None)
    assert not job.folder.exists()
    assert record["status"] == "complete"
    assert {path.name for path in undisturbed[0].folder.iterdir()} == {*files, "record.json"}
    assert files["cases.csv"] == (undisturbed[0].folder / "cases.csv").read_bytes()
    with pytest.raises(UserError, match="has another medbench than the driver"):
        ray_pool.train_on_node(job, replace(order, code="0"), lambda event: None)
