"""Training on images that are made from the cache batch by batch, beside the same in memory: steps by turns."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import pytest
import torch

from bench.datasets import loading
from bench.datasets.cache.prepared import locate
from bench.runs.devices import make_fabric
from bench.runs.losses import make_loss
from bench.runs.protocol import Protocol
from bench.runs.train import Loop, make_optimizer
from bench.zoo.registry import build_model, dataset_spec

pytestmark = pytest.mark.slow
STEPS, ROUNDS = 4, 9
SETTINGS = {
    "acdc": Protocol(image_size=128, batch_size=8),
    "sars-cov2-ct": Protocol(image_size=128, batch_size=16, loss="ce", rot90=0.0),
}


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("dataset", "model"), [("acdc", "mednext_tiny"), ("acdc", "unet_s"), ("sars-cov2-ct", "mobilenetv3_small")]
)
def test_throughput_is_nearly_that_of_images_in_memory(
    dataset: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The networks are the quickest to train, whose steps leave the least time for a batch to be made."""
    spec, protocol = dataset_spec(dataset, tmp_path), SETTINGS[dataset]
    data, fabric = locate(spec, "phantom", tmp_path), make_fabric("cpu", protocol)
    cases = range(len(data.cases))
    memory = loading.training_arrays(data, cases, protocol)
    monkeypatch.setattr(loading, "IN_MEMORY", 0)
    stored = loading.training_arrays(data, cases, protocol)
    assert not isinstance(stored[0], torch.Tensor)
    network = fabric.setup_module(build_model(model, spec.task, spec.channels, len(spec.classes), protocol.image_size))
    optimizer = fabric.setup_optimizers(make_optimizer(network, protocol))
    loop = Loop(network, optimizer, make_loss(protocol), None, protocol, 0, fabric)  # type: ignore[arg-type]
    ratios = []
    for k in range(ROUNDS + 1):
        seconds = {}
        for name, arrays in (("memory", memory), ("stored", stored))[:: 1 - 2 * (k % 2)]:
            start = time.perf_counter()
            for step in range(STEPS):
                loop.step(*arrays, step).item()
            seconds[name] = time.perf_counter() - start
        ratios.append(seconds["memory"] / seconds["stored"])
    median = statistics.median(ratios[1:])  # the first is of caches
    print(f"{dataset}, {model}: {median:.3f} of the throughput, {min(ratios[1:]):.3f} to {max(ratios[1:]):.3f}")
    # 1.01, 0.98 and 0.92 on an idle machine of two cores; the bound keeps a margin to what a busy one shows (0.87)
    assert median > 0.8
