"""Ctrl-C in the middle of a run: one line, exit code 130, no worker left, and the same command finishes it (slow)."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_is_one_line_and_the_same_command_finishes(workers: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.cli.main", "run", "--models", "unet_s,mednext_tiny", "--dataset", "acdc"]
    command += ["--preset", "smoke", "--data", "phantom", "--set", "steps=40", "--set", "evaluations=20"]
    command += ["--threads", "1", "--jobs", workers, "--results", str(tmp_path)]
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # which tests in the background ignore, children too
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=heard)
    while not list(tmp_path.rglob("checkpoint.pt")):
        assert process.poll() is None, "the run ended before it could be interrupted"
        time.sleep(0.02)
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    lines = [line for line in errors.splitlines() if line and not line.startswith("note: ")]  # of a busy machine
    assert lines == ["Interrupted. What is finished is stored; the same command goes on where this one stopped."]
    assert time.monotonic() - start < 30
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "2 complete" in done.stdout or "1 reused, 1 complete" in done.stdout
