"""Every registered model: one training step, then logits, for 1 and 3 channels, 2 and 14 classes, at four sizes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.zoo.entry import ModelEntry
from bench.zoo.registry import build_model, model_entry, model_names

SIZES = (64, 96, 224, 256)
SHAPES = ((1, 2), (3, 14), (1, 14), (3, 2))  # channels, classes


def cases() -> list[object]:
    """(model, task, size, channels, classes); at 64 px all shapes, at the others two; what is not `cpu` is slow."""
    found: list[object] = []
    for entry in map(model_entry, model_names()):
        marks = () if "cpu" in entry.lists else (pytest.mark.slow,)
        for task in entry.tasks:
            for size in SIZES:
                for shape in SHAPES if size == 64 else SHAPES[:2]:
                    name = f"{entry.name}-{task[:3]}-{size}-{shape[0]}-{shape[1]}"
                    found.append(pytest.param(entry, task, size, *shape, marks=marks, id=name))
    return found


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
    assert logits.shape == ((2, classes, size, size) if task == "segmentation" else (2, classes))
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()
