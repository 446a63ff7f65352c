"""A page of ten thousand synthetic records: seconds of one process, and its memory."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from many_page_records import write_records

# The aim is 30 s, which is not reached: 35 s of CPU and 1.7 GiB were counted on an idle machine of two cores. The
# simpler records of test_report_speed.py take 23 s. The bound notices what makes it slower still.
SECONDS, BYTES, PAGE = 60.0, 2 * 2**30, 3 * 10**6


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_page_of_ten_thousand_records(tmp_path: Path) -> None:
    """20 models, 5 data sets, 20 seeds and 5 budgets: 25 comparisons. CPU seconds, which other processes touch less."""
    assert write_records(tmp_path, models=20, seeds=20, budgets=5) == 10_000
    page = tmp_path / "report.html"
    program = [sys.executable, "-m", "bench.cli.main", "report", "--results", str(tmp_path), "--format", "html"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*program, "--output", str(page)], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak = after.ru_maxrss * 1024
    print(f"{seconds:.1f} s of CPU, {peak / 2**20:.0f} MiB, a page of {page.stat().st_size / 1e6:.2f} MB")
    assert page.stat().st_size <= PAGE
    assert peak <= BYTES
    assert seconds <= SECONDS
