"""What is logged while a cell is trained: below the results, by the logger that was asked for, and never in its way."""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench.errors import UserError
from bench.runs.protocol import PRESETS
from bench.runs.request import Request
from bench.runs.run_log import Logged, RunLog, check_log, logging_run
from bench.runs.runner import make_jobs, run_jobs
from bench.runs.train import learning_rate

PROTOCOL = PRESETS["smoke"].protocol
ROUND = {"step": 20, "lr": 1e-3, "train_loss": 0.5, "val_score": 0.4, "average_val_score": 0.45}


def a_cell(results: Path, log: str) -> Logged:
    return Logged(log, results, results / "runs" / "phantom" / "acdc-phantom" / "unet_s" / "0-abc", "cpu")


def write_log(cell: Logged) -> list[str]:
    said: list[str] = []
    cell.folder.mkdir(parents=True, exist_ok=True)
    with logging_run(cell, PROTOCOL, said.append) as log:
        log.step(1, 0.9)
        time.sleep(0.01)
        log.step(11, 0.6)
        log.round([ROUND])
    return said


def test_csv_has_loss_rate_scores_speed_and_memory(tmp_path: Path) -> None:
    cell = a_cell(tmp_path, "csv")
    assert write_log(cell) == write_log(cell) == []  # a resumed cell keeps what was logged before
    folder = tmp_path / "logs" / "csv" / cell.folder.relative_to(tmp_path)
    with (folder / "version_1" / "metrics.csv").open() as file:
        first, second, validated = csv.DictReader(file)
    assert (folder / "version_0" / "metrics.csv").is_file()
    assert (first["loss"], first["images_per_second"]) == ("0.9", "")
    assert float(second["rate"]) == learning_rate(10, PROTOCOL)
    assert 0 < float(second["images_per_second"]) < 10 * PROTOCOL.batch_size / 0.01
    assert 10 < float(second["memory_mib"]) < 1_000_000
    assert [validated[name] for name in ("step", "train_loss", "val_score", "average_val_score")] == [
        *("20", "0.5", "0.4", "0.45")
    ]


def test_tensorboard_reads_the_same_figures(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    cell = a_cell(tmp_path, "tensorboard")
    assert write_log(cell) == []
    events = EventAccumulator(str(tmp_path / "logs" / "tensorboard" / cell.folder.relative_to(tmp_path)))
    events.Reload()
    assert [(event.step, round(event.value, 6)) for event in events.Scalars("loss")] == [(1, 0.9), (11, 0.6)]
    assert [event.step for event in events.Scalars("val_score")] == [20]


@pytest.mark.slow
def test_mlflow_keeps_the_same_figures_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert write_log(a_cell(tmp_path, "mlflow")) == []
    client = MlflowClient(f"sqlite:///{tmp_path / 'logs' / 'mlflow' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("phantom/acdc-phantom")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("unet_s/0-abc", "FINISHED")
    assert [metric.value for metric in client.get_metric_history(run.info.run_id, "loss")] == [0.9, 0.6]


def test_a_logger_that_fails_is_said_and_the_run_goes_on(tmp_path: Path) -> None:
    class Gone:
        def log_metrics(self, figures: dict[str, float], step: int) -> None:
            raise ConnectionError("no server\nat all")

    said: list[str] = []
    log = RunLog(Gone(), PROTOCOL, Logged("mlflow", tmp_path, tmp_path, "cpu"), said.append)  # type: ignore[arg-type]
    log.step(1, 0.9)
    log.round([ROUND])
    log.end("success")
    assert said == ["note: this cell is logged no further: ConnectionError: no server"]


@pytest.mark.parametrize("log", ["tensorboard", "mlflow"])
def test_what_is_not_installed_is_said_before_anything_is_trained(log: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("tensorboard", "tensorboardX", "mlflow"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=rf"--log {log} needs {log}, which is not installed: pip install 'medbench\["):
        make_jobs(Request("unet_s", "acdc", preset="smoke", data="phantom", log=log))
    check_log("csv")
    check_log(None)
    with pytest.raises(UserError, match="Expected log to be one of csv, tensorboard, mlflow"):
        Request(log="wandb")


def test_the_history_grows_while_a_cell_is_trained_and_logging_changes_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("steps=4", "evaluations=2", "image_size=32", "batch_size=2")
    known = {"dataset": "acdc", "preset": "smoke", "data": "phantom", "threads": 1, "settings": settings}
    (job,) = make_jobs(Request("unext", results=tmp_path / "results", log="csv", **known))
    assert [job.cell.key] == [
        own.cell.key for own in make_jobs(Request("unext", results=tmp_path / "results", **known))
    ]
    rounds: list[int] = []
    written = RunLog.round

    def count(log: RunLog, history: list[dict[str, Any]]) -> None:
        written(log, history)
        rounds.append(len((job.folder / "history.csv").read_text().splitlines()) - 1)

    monkeypatch.setattr(RunLog, "round", count)
    assert run_jobs([job])["complete"] == 1
    assert rounds == [1, 2]
    assert list((tmp_path / "results" / "logs" / "csv").rglob("metrics.csv"))
