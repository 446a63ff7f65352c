"""How long a plan will take: from stored cells of the same kind where there are any, else from MACs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.records import store
from bench.records.damage import Damaged
from bench.runs.job import is_reusable

if TYPE_CHECKING:
    from bench.runs.job import Job

# Training steps (forward and backward: 3 x MACs) of a U-Net and of the proposed block ran at 21 GMAC/s on two threads
# of a server CPU. Only for a first plan; one finished cell replaces it.
MACS_PER_THREAD = 10.5e9
# Kind of device, threads, and a model or None for all -> MACs a second in training
Rates = dict[tuple[str, int, str | None], float]


@dataclass(frozen=True)
class PlannedCell:
    """A cell of a plan: `state` is done, failed, damaged, unfinished or new; `seconds` of a whole run, 0 when done."""

    job: Job
    state: str
    seconds: float
    basis: str


def plan_cells(jobs: list[Job], results: str | Path, force: bool = False) -> list[PlannedCell]:
    """The state of each job and the seconds it will take; an unfinished one counts in full. Runs and writes nothing."""
    rates = _stored_rates(Path(results))
    return [_planned(job, rates, force) for job in jobs]


def _stored_rates(results: Path) -> Rates:
    """What complete cells ran at; of each record a number is kept, since there may be thousands of them."""
    found, keys = defaultdict[tuple[str, int, str | None], list[float]](list), set[str]()
    for folder in store.find_records(results) if results.is_dir() else ():
        try:
            record = store.read_record(folder)
        except Damaged:  # which the plan of its own cell names
            continue
        if record is None or record["status"] != "complete" or record["key"] in keys:
            continue
        keys.add(record["key"])
        seconds, threads = (record["training"] or {}).get("seconds"), record["cell"]["protocol"]["threads"]
        if seconds and record["cost"]["macs"]:
            rate = _work(record["cost"], record["cell"]["protocol"]) / seconds
            device = _kind(str(record["environment"].get("device", "cpu")))
            found[device, threads, record["model"]["name"]].append(rate)
            found[device, threads, None].append(rate)
    return {kind: median(rates) for kind, rates in found.items()}


def _kind(device: str) -> str:
    """`cpu` or `cuda`: a GPU's cells tell nothing of how long a CPU takes."""
    return device.partition(":")[0]


def _planned(job: Job, rates: Rates, force: bool) -> PlannedCell:
    try:
        record, damaged = store.read_record(job.folder), False
    except Damaged:
        record, damaged = None, True
    if not force and record is not None and record["status"] in ("complete", "diverged") and is_reusable(job):
        return PlannedCell(job, "done", 0.0, "")
    begun = "unfinished" if (job.folder / "checkpoint.pt").exists() else "new"
    state = "damaged" if damaged else "failed" if record else begun
    work, threads = _work(job.cost, job.cell.protocol) * _validating(job), job.cell.protocol["threads"]
    for model, basis in ((job.model, "this model's records"), (None, "other models' records")):
        if rate := rates.get((_kind(job.device), threads, model)):
            return PlannedCell(job, state, work / rate, basis)
    return PlannedCell(job, state, work / (MACS_PER_THREAD * threads), "MACs alone, rough")


def _validating(job: Job) -> float:
    """By how much validation rounds make a cell longer than those whose records estimates are made from.

    In the presets' own cells they are up to a tenth of the passes, which their seconds hold already.
    """
    protocol = job.cell.protocol
    rounds = protocol["evaluations"] * (2 if protocol.get("average") else 1)
    share = rounds * job.validated / (3 * protocol["batch_size"] * protocol["steps"])
    return max(1.0, (1 + share) / 1.1)


def _work(cost: dict[str, Any], protocol: dict[str, Any]) -> float:
    """MACs of all training steps: forward and backward."""
    return 3.0 * cost["macs"] * protocol["batch_size"] * protocol["steps"]
