"""Records of cells that nobody trained: a trained one's, with another cell and other figures."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any

from bench.records import store
from bench.runs.job import Job


def leave_record(
    job: Job,
    like: dict[str, Any],
    validation: dict[str, dict[str, float]] | None = None,
    status: str = "complete",
    seconds: float = 10.0,
    rows: list[dict[str, Any]] | None = None,
) -> None:
    """Writes the record of a cell.

    Args:
        like: the record of a trained cell.
        validation: weights -> figures, as a trial's record has them; None: it has none.
        rows: of its cases.csv, without the columns that are blank.
    """
    record = like | {
        "status": status,
        "key": job.cell.key,
        "comparison": job.cell.comparison,
        "preset": job.preset,
        "cell": asdict(job.cell),
        "model": like["model"] | {"name": job.model},
        "cost": job.cost,
        "training": like["training"] | {"seconds": seconds},
    }
    record.pop("validation", None)
    if validation is not None:
        record["validation"] = validation
    record["cases_sha256"] = None
    job.folder.mkdir(parents=True, exist_ok=True)
    if rows is not None:
        store.write_rows(job.folder / "cases.csv", store.CASE_COLUMNS[like["dataset"]["task"]], rows)
        record["cases_sha256"] = hashlib.sha256((job.folder / "cases.csv").read_bytes()).hexdigest()
    store.write_json(job.folder / "record.json", record)
