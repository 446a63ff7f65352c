"""Two cells at a time with a thread each, beside one with two threads: the same twelve cells, seconds of the clock.

At most 0.7 is the aim. 0.83 was measured on two cores, 230 s against 276 s. By the records' seconds two cells at a time
take 1.04 times as long each as one alone, so that nothing is lost there; but two threads make training 1.55 times as
quick (1.3 to 1.8), so that 0.80 and the cells' starts are what remains.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
STEPS = int(os.environ.get("MEDBENCH_JOBS_STEPS", "60"))
MATRIX = ("--models", "mednext_tiny,unet_s,segformer_b0_s", "--seeds", "4", "--dataset", "acdc", "--data", "phantom")


@pytest.mark.timeout(3600)
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="two cells at a time want two cores")
def test_two_cells_at_a_time(tmp_path: Path) -> None:
    common = [*MATRIX, "--preset", "smoke", "--set", f"steps={STEPS}", "--set", "image_size=128", "--no-predictions"]
    seconds = {}
    for jobs, threads in (("2", "1"), ("1", "2")):
        how = ["--jobs", jobs, "--threads", threads, "--results", str(tmp_path / f"{jobs}-{threads}")]
        start = time.perf_counter()
        command = [sys.executable, "-m", "bench.cli.main", "run", *common, *how, "--data-root", str(tmp_path / "data")]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": threads})
        assert done.returncode == 0, done.stderr[-2000:]
        seconds[jobs] = time.perf_counter() - start
        assert len(list((tmp_path / f"{jobs}-{threads}").rglob("record.json"))) == 12
    ratio = seconds["2"] / seconds["1"]
    print(f"--jobs 2 --threads 1: {seconds['2']:.0f} s, --jobs 1 --threads 2: {seconds['1']:.0f} s, ratio {ratio:.2f}")
    assert ratio < 0.95
