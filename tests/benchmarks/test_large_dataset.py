"""A dataset larger than its share of memory: prepared, audited and trained, each step in a process with a peak.

`MEDBENCH_LARGE_IMAGES` sets how many images of 512 pixels are drawn: 2,000; 20,000 take 5 GB of disk and half an hour.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow
COUNT = int(os.environ.get("MEDBENCH_LARGE_IMAGES", "2000"))
MOST = 4 * 2**30  # bytes: scoring 64 images of that size at a time takes most of it, and no image is kept as floats


def draw(folder: Path) -> None:
    """Noise over broad shapes, as many of each class."""
    rng = np.random.default_rng(0)
    for kind, prefix in (("COVID", "Covid"), ("non-COVID", "Non-Covid")):
        (folder / kind).mkdir(parents=True)
        for i in range(COUNT // 2):
            broad = np.kron(rng.integers(0, 200, (16, 16)), np.ones((32, 32), np.int64))
            pixels = (broad + rng.integers(0, 56, (512, 512))).astype(np.uint8)
            Image.fromarray(pixels).save(folder / kind / f"{prefix} ({i + 1}).png", compress_level=1)


def peak(words: list[str]) -> float:
    """Bytes that a command had at most, beside those before it."""
    command = [sys.executable, "-m", "bench.cli.main", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024.0


def test_a_large_dataset_is_prepared_audited_and_trained_in_little_memory(tmp_path: Path) -> None:
    raw, root = tmp_path / "raw", tmp_path / "data"
    draw(raw)
    steps = {
        "prepared": ["data", "prepare", "sars-cov2-ct", "--from", str(raw), "--data-root", str(root)],
        "audited": ["data", "audit", "sars-cov2-ct", "--data-root", str(root)],
        "trained": [
            *("run", "--models", "mobilenetv3_small", "--dataset", "sars-cov2-ct", "--preset", "smoke"),
            *("--data", "real", "--data-root", str(root), "--split", "any", "--results", str(tmp_path / "results")),
            *("--set", "image_size=512", "--set", "steps=4", "--set", "batch_size=4", "--set", "evaluations=1"),
        ],
    }
    for name, words in steps.items():
        print(f"{name}: at most {peak(words) / 2**30:.2f} GiB so far, {COUNT:,} images")
    assert peak(["--version"]) < MOST
