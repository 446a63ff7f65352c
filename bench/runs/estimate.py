"""How long a plan will take: from stored cells of the same kind where there are any, else from MACs."""

from __future__ import annotations

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


@dataclass(frozen=True)
class PlannedCell:
    """A cell of a plan: `state` is done, failed, damaged, unfinished or new; `seconds` of a whole run, 0 when done."""

    job: Job
    state: str
    seconds: float
    basis: str


def plan_cells(jobs: list[Job], results: str | Path, force: bool = False) -> list[PlannedCell]:
    """The state of each job and the seconds it will take; an unfinished one counts in full. Runs and writes nothing."""
    found = store.read_records(results).records if Path(results).is_dir() else []
    records = [r for _, r in found if r["status"] == "complete" and (r["training"] or {}).get("seconds")]
    return [_planned(job, records, force) for job in jobs]


def _planned(job: Job, records: list[dict[str, Any]], force: bool) -> PlannedCell:
    try:
        record, damaged = store.read_record(job.folder), False
    except Damaged:
        record, damaged = None, True
    if not force and record is not None and record["status"] in ("complete", "diverged") and is_reusable(job):
        return PlannedCell(job, "done", 0.0, "")
    begun = "unfinished" if (job.folder / "checkpoint.pt").exists() else "new"
    state = "damaged" if damaged else "failed" if record else begun
    protocol = job.cell.protocol
    work = 3 * job.cost["macs"] * protocol["batch_size"] * protocol["steps"]
    alike = [r for r in records if r["cost"]["macs"] and r["cell"]["protocol"]["threads"] == protocol["threads"]]
    same = [r for r in alike if r["model"]["name"] == job.model]
    rates = [_work(r) / r["training"]["seconds"] for r in same or alike]
    if rates:
        return PlannedCell(
            job, state, work / median(rates), "this model's records" if same else "other models' records"
        )
    return PlannedCell(job, state, work / (MACS_PER_THREAD * protocol["threads"]), "MACs alone, rough")


def _work(record: dict[str, Any]) -> float:
    protocol = record["cell"]["protocol"]
    return 3 * record["cost"]["macs"] * protocol["batch_size"] * protocol["steps"]
