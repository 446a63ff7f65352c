"""Cells by what they cost: equal shares of them, for jobs of a queue that know nothing of each other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.errors import UserError

if TYPE_CHECKING:
    from bench.runs.job import Job

LEAST = 10**12  # MACs that any cell counts for: its start, its data and its scoring take time too


def work_of(job: Job) -> int:
    """MACs of a cell's training steps and validation rounds, whatever the machine and whatever is done."""
    protocol = job.cell.protocol
    passes = 3 * protocol["batch_size"] * protocol["steps"] + protocol["evaluations"] * job.validated
    return LEAST + int(job.cost["macs"]) * passes


def shard_of(jobs: Sequence[Job], shard: str) -> list[Job]:
    """The cells of one share of several: `2/5` is the second of five. Each cell is in one of them, whoever asks.

    The longest cell goes to the share that has least so far, and so on; shares differ by one cell's work at most.

    Raises:
        UserError: no share of that form.
    """
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", shard.strip())
    index, count = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= index <= count:
        raise UserError(f"Expected --shard to be I/N, the I-th of N shares (2/5), but got {shard!r}.")
    loads = [[0, share] for share in range(count)]
    mine: set[str] = set()
    for job in sorted(jobs, key=lambda job: (-work_of(job), job.cell.key)):
        least = min(loads)
        least[0] += work_of(job)
        if least[1] == index - 1:
            mine.add(job.cell.key)
    return [job for job in jobs if job.cell.key in mine]


def only_cells(jobs: Sequence[Job], keys: str) -> list[Job]:
    """The cells of these keys, by commas.

    Raises:
        UserError: a key that no cell of the request has.
    """
    asked = [key for key in keys.split(",") if key]
    missing = sorted({*asked} - {job.cell.key for job in jobs})
    if missing or not asked:
        raise UserError(
            f"No cell of this request has the key {', '.join(missing) or keys!r}: versions, data or chosen rates may "
            "have changed. Give `medbench plan --commands` again."
        )
    return [job for job in jobs if job.cell.key in asked]
