"""Cells from data to record: reuse, resume after kill -9, failure, divergence, two runs at once, a full disk."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import bench
from bench.errors import UserError
from bench.records import store
from bench.runs import job as cell
from bench.runs import runner
from bench.runs.execution import Execution
from bench.runs.request import Request
from bench.zoo.entry import MODELS, register_model

TINY = ("steps=4", "evaluations=2", "batch_size=4")
SMALL = "mednext_tiny[depths=1-1-1-1,widths=8-8-16-16]"
REQUEST: dict[str, Any] = {"dataset": "acdc", "preset": "smoke", "data": "phantom", "settings": TINY, "threads": 1}


def jobs(results: Path, **changes: Any) -> list[cell.Job]:
    return runner.make_jobs(Request(**{**REQUEST, "results": results, "models": "chance", **changes}))


def register(name: str, build: Any) -> None:
    build.__name__ = name
    register_model(title=name, family="cnn", citation="none")(build)


@pytest.fixture
def scratch_models() -> Any:
    yield
    for name in ("broken", "exploding"):
        MODELS.pop(name, None)


def test_a_record_says_what_it_is_and_where_it_was_made(tmp_path: Path) -> None:
    (job,) = jobs(tmp_path, models=SMALL)
    assert runner.run_jobs([job]) == {"reused": 0, "complete": 1, "diverged": 0, "failed": 0}
    assert job.folder.relative_to(tmp_path).parts[:3] == ("runs", "phantom", "acdc-phantom")
    assert sorted(p.name for p in job.folder.iterdir() if p.name != ".lock") == [
        "cases.csv",
        "cell.json",
        "history.csv",
        "predictions.npz",
        "record.json",
        "weights.safetensors",
    ]
    record = store.read_record(job.folder)
    assert record is not None
    assert record["status"] == "complete"
    assert record["key"] == job.cell.key
    assert record["cell"]["source"] == {"kind": "phantom", "version": 1}
    assert record["dataset"]["partial"] is True
    assert record["training"]["steps"] == 4
    assert record["environment"]["threads"] == 1
    assert {"best-val", "last"} == set(record["metrics"])
    assert json.loads((job.folder / "cell.json").read_text())["seed"] == 0


def check_last_event(events: list[cell.Event], job: cell.Job) -> None:
    """A cell's last event carries the loss and the score of its record."""
    training = (store.read_record(job.folder) or {})["training"]
    last = [event for event in events if event.job is not None and event.job.cell == job.cell][-1]
    assert (last.kind, last.loss, last.score) == ("complete", training["final_loss"], training["val_score"])


def test_events_carry_loss_and_score_and_at_the_end_those_of_the_record(tmp_path: Path) -> None:
    (job,) = jobs(tmp_path, models=SMALL, settings=("steps=2", "evaluations=2", "image_size=32", "batch_size=2"))
    events: list[cell.Event] = []
    runner.run_jobs([job], report=events.append)
    check_last_event(events, job)
    with (job.folder / "history.csv").open() as file:
        rounds = [(int(r["step"]), float(r["train_loss"]), float(r["val_score"])) for r in csv.DictReader(file)]
    assert [(e.step, e.loss, e.score) for e in events if e.score is not None][:-1] == rounds
    assert [e.kind for e in events] == ["started", *["step"] * (2 + 1 + 2), "complete"]


def test_the_saved_weights_give_the_saved_scores(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    from bench.datasets.cache.prepared import open_prepared
    from bench.datasets.splits.assignment import assign, load_split
    from bench.runs.evaluate import headline, score_cases
    from bench.runs.protocol import Protocol
    from bench.zoo.registry import build_model, dataset_spec

    (job,) = jobs(tmp_path, models="unet_s")
    runner.run_jobs([job])
    model = build_model("unet_s", "segmentation", 1, 4, 64)
    model.load_state_dict(load_file(job.folder / "weights.safetensors"))
    data = open_prepared(dataset_spec("acdc"), job.data_root, "phantom")
    test = assign(data.cases, load_split("acdc", job.cell.split)).indices["test"]
    record = store.read_record(job.folder)
    assert record is not None
    scored = headline(score_cases(model, data, test, Protocol(**job.cell.protocol)))
    assert scored["dice_strict"] == pytest.approx(record["metrics"]["best-val"]["dice_strict"], abs=2e-3)


def test_a_finished_cell_is_not_run_again_and_force_runs_it_anew(tmp_path: Path) -> None:
    work = jobs(tmp_path)
    assert runner.run_jobs(work)["complete"] == 1
    before = (work[0].folder / "record.json").stat().st_mtime_ns
    assert runner.run_jobs(work)["reused"] == 1
    assert (work[0].folder / "record.json").stat().st_mtime_ns == before
    assert runner.run_jobs(work, force=True)["complete"] == 1
    assert (work[0].folder / "record.json").stat().st_mtime_ns > before


def test_equal_configs_are_one_cell(tmp_path: Path) -> None:
    names = ("mednext_tiny", "mednext_tiny[sem=dilated]", "mednext_tiny[sem=none]")
    keys = [jobs(tmp_path, models=name)[0].cell.key for name in names]
    assert keys[0] == keys[1] != keys[2]


def test_a_killed_run_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    """kill -9 after the first checkpoint; the same command again; cases.csv equals an undisturbed run's."""
    settings = ("steps=12", "evaluations=4", "image_size=32", "batch_size=2")
    options = ["--models", f"chance,{SMALL}", "--dataset", "acdc", "--preset", "smoke", "--data", "phantom"]
    options += [part for setting in settings for part in ("--set", setting)]
    command = [sys.executable, "-c", "from bench.cli.main import main; main()", "run", *options, "--threads", "1"]
    whole = jobs(tmp_path / "whole", models=SMALL, settings=settings)
    assert runner.run_jobs(whole)["complete"] == 1
    process = subprocess.Popen([*command, "--results", str(tmp_path / "cut")], stdout=subprocess.DEVNULL)
    while not list(tmp_path.glob("cut/runs/phantom/*/mednext_tiny*/*/checkpoint.pt")):
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    chance = next(tmp_path.glob("cut/runs/phantom/*/chance/*/record.json"))
    finished = chance.stat().st_mtime_ns
    assert not list(tmp_path.glob("cut/runs/phantom/*/mednext_tiny*/*/record.json"))
    again = jobs(tmp_path / "cut", models=f"chance,{SMALL}", settings=settings)
    done = runner.run_jobs(again)
    assert (done["reused"], done["complete"]) == (1, 1)
    assert chance.stat().st_mtime_ns == finished
    for name in ("cases.csv", "history.csv"):
        assert (again[1].folder / name).read_bytes() == (whole[0].folder / name).read_bytes()
    assert not list(tmp_path.rglob("checkpoint.pt"))


def test_a_failing_cell_is_recorded_and_the_others_go_on(tmp_path: Path, scratch_models: None) -> None:
    from torch import nn

    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(1, 4, 1)

        def forward(self, x: Any) -> Any:
            if x.device.type != "meta":
                raise RuntimeError("this network is broken")
            return self.layer(x)

    register("broken", lambda task, in_channels, num_classes, image_size: Broken())
    work = jobs(tmp_path, models="broken,chance")
    assert runner.run_jobs(work) == {"reused": 0, "complete": 1, "diverged": 0, "failed": 1}
    record = store.read_record(work[0].folder)
    assert record is not None
    assert (record["status"], record["error"]) == ("failed", "RuntimeError: this network is broken")
    assert "Traceback" in (work[0].folder / "error.log").read_text()
    cells = bench.load_cells(tmp_path)
    assert dict(zip(cells["model"], cells["status"], strict=True)) == {"broken": "failed", "chance": "complete"}
    assert runner.run_jobs(work)["failed"] == 1, "a failed cell is tried again"


def test_a_batch_that_does_not_fit_passes_in_halves_where_that_is_asked_for(
    tmp_path: Path, scratch_models: None
) -> None:
    from torch import nn

    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(1, 4, 1)

        def forward(self, x: Any) -> Any:
            if self.training and len(x) > 2:
                raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to ...")
            return self.layer(x)

    register("broken", lambda task, in_channels, num_classes, image_size: Broken())
    (job,) = jobs(tmp_path, models="broken", settings=("steps=2", "evaluations=1", "batch_size=4", "image_size=32"))
    assert runner.run_jobs([job], Execution(retries=0))["failed"] == 1
    record = store.read_record(job.folder)
    assert record is not None
    assert record["failure"] == {"kind": "memory", "attempts": 1}
    events: list[cell.Event] = []
    assert runner.run_jobs([job], Execution(retries=0, on_oom="halve"), report=events.append)["complete"] == 1
    record = store.read_record(job.folder)
    assert record is not None
    assert record["training"]["pieces_of_a_batch"] == 2
    assert [event.kind for event in events if event.kind != "step"] == ["started", "retried", "started", "complete"]


def test_a_diverged_cell_is_recorded_and_not_tried_again(tmp_path: Path, scratch_models: None) -> None:
    import torch
    from torch import nn

    class Exploding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(1, 4, 1)

        def forward(self, x: Any) -> Any:
            return self.layer(x) * (float("nan") if self.training else 1.0) + torch.zeros_like(x)

    register("exploding", lambda task, in_channels, num_classes, image_size: Exploding())
    work = jobs(tmp_path, models="exploding")
    assert runner.run_jobs(work)["diverged"] == 1
    assert runner.run_jobs(work)["reused"] == 1
    record = store.read_record(work[0].folder)
    assert record is not None
    assert record["metrics"] is None
    assert record["error"] == "the training loss is not finite"


@pytest.mark.parametrize("where", ["all", "one pixel"])
def test_outputs_that_are_not_finite_diverge_in_segmentation_too(
    tmp_path: Path, scratch_models: None, where: str
) -> None:
    import torch
    from torch import nn

    class Exploding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(1, 4, 1)

        def forward(self, x: Any) -> Any:
            logits = self.layer(x)
            if not self.training:
                logits = logits.clone()
                logits[(...,) if where == "all" else (0, 0, 0, 0)] = torch.inf
            return logits

    register("exploding", lambda task, in_channels, num_classes, image_size: Exploding())
    work = jobs(tmp_path, models="exploding")
    assert runner.run_jobs(work)["diverged"] == 1
    record = store.read_record(work[0].folder)
    assert record is not None
    assert record["metrics"] is None
    assert record["training"]["val_score"] is None
    assert record["error"] == "the network's outputs are not finite"
    assert not (work[0].folder / "cases.csv").exists()


def test_a_locked_cell_is_left_to_the_process_that_runs_it(tmp_path: Path) -> None:
    (job,) = jobs(tmp_path)
    with store.lock(job.folder, wait=False) as held:
        assert held
        assert cell.run_cell(job, wait=False) == "busy"
    assert cell.run_cell(job, wait=False) == "complete"
    assert cell.run_cell(job, wait=False) == "reused"


@pytest.mark.slow
def test_two_runs_at_once_share_the_cells(tmp_path: Path) -> None:
    work = jobs(tmp_path, seeds="4")  # which draws the phantoms
    options = ["--models", "chance", "--dataset", "acdc", "--preset", "smoke", "--data", "phantom", "--seeds", "4"]
    options += [part for setting in TINY for part in ("--set", setting)]
    command = [sys.executable, "-c", "from bench.cli.main import main; main()", "run", *options, "--threads", "1"]
    other = subprocess.Popen([*command, "--results", str(tmp_path)], stdout=subprocess.PIPE, text=True)
    while not list(tmp_path.rglob("cell.json")):
        assert other.poll() is None, "the other run ended before it could be met"
        time.sleep(0.01)
    here = runner.run_jobs(work)
    (counts,) = [line for line in other.communicate()[0].splitlines() if " complete, " in line]
    assert other.returncode == 0
    assert here["reused"] + here["complete"] == 4
    assert here["complete"] + int(counts.split()[2]) == 4, counts
    assert all(store.is_done(job.folder) for job in work)


@pytest.mark.slow
def test_several_workers_give_the_same_bytes(tmp_path: Path) -> None:
    request = {"models": SMALL, "seeds": "2", "settings": (*TINY, "image_size=32")}
    one, two = (jobs(tmp_path / name, **request) for name in ("1", "2"))
    runner.run_jobs(one)
    events: list[cell.Event] = []
    assert runner.run_jobs(two, workers=2, report=events.append)["complete"] == 2
    for a, b in zip(one, two, strict=True):
        assert (a.folder / "cases.csv").read_bytes() == (b.folder / "cases.csv").read_bytes()
        check_last_event(events, b)


def test_a_full_disk_ends_in_one_line_and_keeps_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = jobs(tmp_path, models="chance", seeds="2")
    runner.run_jobs(work[:1])

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(store, "write_bytes", full)
    with pytest.raises(
        UserError, match=r"No space left on device\. Finished cells are kept; make the folder writable or make room"
    ):
        runner.run_jobs(work)
    assert store.is_done(work[0].folder)
    assert not (work[1].folder / "record.json").exists()


def test_an_image_size_that_a_model_does_not_take_is_said_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="multiple of 16"):
        jobs(tmp_path, models="mednext_tiny,unet_s", settings=("image_size=72",))
    assert not tmp_path.joinpath("runs").exists()


@pytest.mark.parametrize(
    ("task", "returned", "got"),
    [
        ("segmentation", "self.more(x)", "(1, 5, 64, 64)"),
        ("segmentation", "self.head(x)[:, :1]", "(1, 1, 64, 64)"),
        ("segmentation", "self.head(x)[..., ::2, ::2]", "(1, 4, 32, 32)"),
        ("segmentation", "{'out': self.head(x)}", "a dict"),
        ("segmentation", "[self.head(x), self.head(x)]", "a list"),
        ("classification", "self.more(x).mean((2, 3))", "(1, 3)"),
        ("segmentation", "[self.head(x)] * 2 if self.training else self.head(x)", ""),
        ("classification", "self.head(x).mean((2, 3))", ""),
    ],
)
def test_logits_of_another_shape_are_said_before_anything_runs(
    task: str, returned: str, got: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also at the second time, when the cost might be known; deep supervision's list in training is none of it."""
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Module):\n    def __init__(self, in_channels, num_classes):\n"
        "        super().__init__()\n        self.head = nn.Conv2d(in_channels, num_classes, 1)\n"
        "        self.more = nn.Conv2d(in_channels, num_classes + 1, 1)\n\n"
        f"    def forward(self, x):\n        return {returned}\n"
    )
    asked = {"dataset": {"segmentation": "acdc", "classification": "msld"}[task], "models": f"{tmp_path}/net.py:Net"}
    for _ in range(2):
        if not got:
            assert len(jobs(tmp_path / "results", **asked)) == 1
            continue
        with pytest.raises(UserError, match=r"Expected logits \(1, [24].* of net.py:Net") as caught:
            jobs(tmp_path / "results", **asked)
        assert f"but got {got}: have its forward return (N, num_classes" in str(caught.value)
    assert not (tmp_path / "results").exists()


def test_no_cuda_is_one_line(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(UserError, match="No CUDA device"):
        jobs(tmp_path, device="cuda")


def test_the_python_side_gives_the_cells_of_the_request(tmp_path: Path) -> None:
    frame = bench.run(**{**REQUEST, "models": "chance", "seeds": "2", "results": tmp_path})
    assert list(frame["seed"]) == [0, 1]
    assert set(frame["status"]) == {"complete"}
    long = bench.load_results(tmp_path)
    shown = long[(long["part"] == "test") & (long["weights"] == "last") & (long["metric"] == "dice_strict")]
    assert len(shown) == 2 * 4 * 3, "two seeds, two phases of two patients, three classes"
    assert shown["value"].max() == 0


def test_more_threads_than_idle_cores_are_said_before_a_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from types import SimpleNamespace

    work: Any = [SimpleNamespace(cell=SimpleNamespace(protocol={"threads": 2}), device="cpu")] * 3
    monkeypatch.setattr("bench.records.environment.idle_cores", lambda: 3.9)
    assert runner.load_note(work) is None
    assert runner.load_note(work, workers=2) is None
    assert runner.load_note([], workers=9) is None
    note = runner.load_note(work, workers=8)
    assert note is not None
    assert note.startswith("note: 3.9 of ")
    assert "the run takes 6 threads (3 cells at a time with 2 each)" in note
    assert note.endswith("take fewer: --threads, --jobs.")
    monkeypatch.setattr("bench.records.environment.idle_cores", lambda: None)
    assert runner.load_note(work, workers=8) is None


def test_a_cost_of_another_network_makes_no_record(tmp_path: Path) -> None:
    (job,) = jobs(tmp_path, models="unet_s")
    wrong = dataclasses.replace(job, cost={**job.cost, "params": 7})
    assert cell.run_cell(wrong) == "failed"
    record = store.read_record(wrong.folder)
    assert record is not None
    assert "its cost was counted with 7: delete" in record["error"]
