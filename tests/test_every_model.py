"""Every registered model: one training step, then logits, for 1 and 3 channels, 2 and 14 classes, at several sizes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.zoo.entry import ModelEntry
from bench.zoo.registry import build_model, model_entry, model_names

SLOW = pytest.mark.slow
SIZES = (64, 96, 224, 256)
BUILT = ("emcad_b2", "segformer_b1", "swinunetr", "transunet")  # their small ones are built in the same way
SHAPES = ((1, 2), (3, 14), (1, 14), (3, 2))  # channels, classes


def cases() -> list[object]:
    """(model, task, size, channels, classes); fast is one shape at 64 px of what `all` means on a CPU."""
    found: list[object] = []
    for entry in map(model_entry, model_names()):
        for task in entry.tasks:
            for size in SIZES:
                for shape in SHAPES if size == 64 else SHAPES[:2]:
                    fast = "cpu" in entry.lists and size == 64 and shape == (3, 14)
                    name = f"{entry.name}-{task[:3]}-{size}-{shape[0]}-{shape[1]}"
                    found.append(pytest.param(entry, task, size, *shape, marks=() if fast else SLOW, id=name))
    return found


def networks() -> list[object]:
    """(model, task) of every network, the large ones too; slow are those that are built of values, by the million."""
    return [
        pytest.param(entry.name, task, id=f"{entry.name}-{task[:3]}", marks=SLOW if entry.name in BUILT else ())
        for entry in map(model_entry, model_names())
        for task in entry.tasks
    ]


@pytest.mark.parametrize(("entry", "task", "size", "channels", "classes"), cases())
def test_one_step_and_logits(entry: ModelEntry, task: str, size: int, channels: int, classes: int) -> None:
    torch.manual_seed(0)
    model = build_model(entry.name, task, channels, classes, size)
    x = torch.randn(2, channels, size, size).contiguous(memory_format=torch.channels_last)
    y = torch.randint(classes, (2, size, size) if task == "segmentation" else (2,))
    before = [p.detach().clone() for p in model.parameters()]
    if before:
        optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
        loss = nn.functional.cross_entropy(model.train()(x), y)
        loss.backward()
        optimiser.step()
        assert loss.isfinite()
        moved = [not torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True)]
        assert sum(moved) > len(moved) / 2
    with torch.inference_mode():
        logits = model.eval()(x)
    assert logits.shape == shape_of(task, 2, classes, size)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


def shape_of(task: str, n: int, classes: int, size: int) -> tuple[int, ...]:
    return (n, classes, size, size) if task == "segmentation" else (n, classes)


@pytest.mark.parametrize("size", [96, *(pytest.param(size, marks=SLOW) for size in (128, 224, 256))])
@pytest.mark.parametrize(("name", "task"), networks())
def test_logits_at_other_sizes(name: str, task: str, size: int) -> None:
    """On the meta device, which has shapes and no values; a builder that reads values builds on the CPU."""
    try:
        with torch.device("meta"):
            model = build_model(name, task, 3, 14, size)
    except (RuntimeError, NotImplementedError):
        model = build_model(name, task, 3, 14, size).to("meta")
    logits = model.train()(torch.zeros(2, 3, size, size, device="meta"))
    assert logits.shape == shape_of(task, 2, 14, size)
    assert logits.dtype == torch.float32
