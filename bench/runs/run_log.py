"""A cell's figures while it is trained, for whoever watches: Lightning Fabric's loggers, below `<results>/logs`.

No result depends on them, and nothing leaves the machine. `history.csv` beside the record is written in any case, anew
with each validation round.

    <results>/logs/csv/<place>/version_N/metrics.csv
    <results>/logs/tensorboard/<place>/               `tensorboard --logdir results/logs/tensorboard`
    <results>/logs/mlflow/                            a tracking store; MLFLOW_TRACKING_URI names another

<place> is where the cell's own folder lies below the results.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UserError
from bench.records.store import write_rows

if TYPE_CHECKING:
    from lightning_fabric.loggers import Logger

    from bench.runs.protocol import Protocol

Say = Callable[[str], None]
Figures = Callable[[int, float, "float | None"], None]
LOGS = ("csv", "tensorboard", "mlflow")
MODULES = {"tensorboard": ("tensorboard", "tensorboardX"), "mlflow": ("mlflow",)}  # any of them will do
FOLDER = "logs"


def check_log(log: str | None) -> None:
    """Raises UserError where what a log is written with is not installed."""
    modules = MODULES.get(log or "", ())
    if modules and not any(_is_installed(module) for module in modules):
        raise UserError(f"--log {log} needs {modules[0]}, which is not installed: pip install 'medbench[{log}]'.")


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ValueError:  # a module that is blocked
        return False


@dataclass(frozen=True)
class Logged:
    """The cell that is logged.

    Attributes:
        log: one of `LOGS`; blank: it is not.
        results: the results folder. folder: the cell's own, below it.
        device: `cpu` or `cuda`.
    """

    log: str
    results: Path
    folder: Path
    device: str


class RunLog:
    """Writes the figures of one training run; without a logger it writes nothing.

    Where a logger fails (a tracking server that is gone) the run goes on without it, and a line says so.
    """

    def __init__(self, logger: Logger | None, protocol: Protocol, cell: Logged, say: Say) -> None:
        self.logger, self.protocol, self.cell, self.say = logger, protocol, cell, say
        self.last: tuple[int, float] | None = None  # step and time of the figures before

    def telling(self, tell: Figures) -> Figures:
        """What takes a run's figures (`bench.runs.train.Watch.on_figures`): `tell` first, then this log."""

        def on_figures(step: int, loss: float, score: float | None) -> None:
            tell(step, loss, score)
            if score is None:  # those of a round come with it
                self.step(step, loss)

        return on_figures

    def step(self, step: int, loss: float) -> None:
        """The loss of a step's batch, the rate, images a second since the last figures, and memory in MiB."""
        if self.logger is None:
            return
        from bench.runs.train import learning_rate

        now = time.perf_counter()
        figures = {
            "loss": loss,
            "rate": learning_rate(step - 1, self.protocol),
            "memory_mib": _memory(self.cell.device),
        }
        if self.last is not None:
            begun, then = self.last
            figures["images_per_second"] = (step - begun) * self.protocol.batch_size / (now - then)
        self.last = (step, now)
        self._write(figures, step)

    def round(self, history: list[dict[str, Any]]) -> None:
        """Writes `history.csv`, and of its newest row the mean loss and the scores, by their names there."""
        from bench.runs.train import HISTORY_COLUMNS

        write_rows(self.cell.folder / "history.csv", HISTORY_COLUMNS, history)
        names, row = ("train_loss", "val_score", "average_val_score"), history[-1]
        self._write({name: row[name] for name in names if row.get(name) is not None}, int(row["step"]))
        self.last = (int(row["step"]), time.perf_counter())

    def end(self, status: str) -> None:
        """Closes the log as `success` or `failed`."""
        if self.logger is not None:
            self._guarded(lambda logger: logger.finalize(status))

    def _write(self, figures: dict[str, float], step: int) -> None:
        self._guarded(lambda logger: logger.log_metrics(figures, step))

    def _guarded(self, call: Callable[[Logger], None]) -> None:
        if self.logger is None:
            return
        try:
            call(self.logger)
        except Exception as error:  # whatever a logger's own library raises
            self.logger = None
            self.say(_lost(error))


def _lost(error: Exception) -> str:
    return f"note: this cell is logged no further: {type(error).__name__}: {error}".splitlines()[0][:200]


@contextmanager
def logging_run(cell: Logged, protocol: Protocol, say: Say) -> Iterator[RunLog]:
    """The log of a cell's training, ended as what became of it; `say` takes a line where it cannot be written."""
    logger = None
    try:
        logger = _logger(cell) if cell.log else None
    except Exception as error:  # of a logger's own library
        say(_lost(error))
    log, outcome = RunLog(logger, protocol, cell, say), "failed"
    try:
        yield log
        outcome = "success"
    finally:
        log.end(outcome)


def _logger(cell: Logged) -> Logger:
    from lightning_fabric.loggers import CSVLogger, TensorBoardLogger

    place, folder = cell.folder.relative_to(cell.results), cell.results / FOLDER / cell.log
    if cell.log == "csv":
        return CSVLogger(folder / place.parent, place.name, flush_logs_every_n_steps=1)
    if cell.log == "tensorboard":
        return TensorBoardLogger(folder / place.parent, place.name, version="")
    return _mlflow(folder, place)


def _memory(device: str) -> float:
    """Of the GPU the most that was held so far, else what the process has resident now; MiB."""
    if device != "cpu":
        import torch

        return torch.cuda.max_memory_allocated(device) / 2**20
    import psutil

    return float(psutil.Process().memory_info().rss) / 2**20


def _mlflow(folder: Path, place: Path) -> Logger:
    """Fabric's interface on MLflow's own client: Fabric has no such logger, and Lightning's needs all of Lightning."""
    for variable in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        os.environ.setdefault(variable, "true")
    from lightning_fabric.loggers.logger import Logger
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

    folder.mkdir(parents=True, exist_ok=True)
    client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(folder / 'mlflow.db').resolve()}")
    name = "/".join(place.parts[1:-2])  # of the data set
    experiment = client.get_experiment_by_name(name)
    number = (
        experiment.experiment_id
        if experiment
        else client.create_experiment(name, artifact_location=folder.resolve().as_uri())
    )
    run = client.create_run(number, run_name="/".join(place.parts[-2:])).info.run_id

    class MlflowLogger(Logger):
        @property
        def name(self) -> str:
            return name

        @property
        def version(self) -> str:
            return str(run)

        def log_metrics(self, metrics: Any, step: int | None = None) -> None:
            now = int(time.time() * 1000)
            client.log_batch(run, [Metric(key, float(value), now, step or 0) for key, value in metrics.items()])

        def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
            """Cells say what they are themselves."""

        def finalize(self, status: str) -> None:
            client.set_terminated(run, "FINISHED" if status == "success" else "FAILED")

    return MlflowLogger()
