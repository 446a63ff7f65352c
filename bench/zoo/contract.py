"""Whether a network keeps the contract: built, run and trained on random images, one check after the other."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from bench.errors import UserError
from bench.zoo.complexity import inference_parameters
from bench.zoo.registry import build_model, parse_model

SIZES = (64, 96, 224, 256)
Finding = tuple[str, bool, str]


def examine(name: str) -> Iterator[Finding]:
    """(what was checked, whether it holds, what was seen), for each task that the network does.

    Shapes at four image sizes, 1 and 3 channels, 2 to 14 classes (a size that the network refuses in one line counts as
    said); logits without an activation; gradients that reach every weight; equal seeds, equal networks and outputs.

    Raises:
        UserError: no network of that name.
    """
    entry, _ = parse_model(name)
    for task in entry.tasks:
        for check in (_shapes, _logits, _gradients, _determinism):
            try:
                holds, seen = check(name, task)
            except Exception as error:  # a third party's code may raise anything
                holds, seen = False, " ".join(f"{type(error).__name__}: {error}".split())[:200]
            yield f"{task}: {check.__name__[1:]}", holds, seen


def _build(name: str, task: str, channels: int = 1, classes: int = 3, size: int = 64) -> nn.Module:
    torch.manual_seed(0)
    return build_model(name, task, channels, classes, size)


def _images(n: int, channels: int, size: int) -> Tensor:
    return torch.randn(n, channels, size, size, generator=torch.Generator().manual_seed(1))


def _shapes(name: str, task: str) -> tuple[bool, str]:
    taken, refused = [], []
    for size, channels, classes in zip(SIZES, (1, 3, 1, 3), (2, 14, 9, 4), strict=True):
        try:
            model = _build(name, task, channels, classes, size).eval()
        except UserError:
            refused.append(size)
            continue
        with torch.no_grad():
            out = model(_images(2, channels, size))
        expected = (2, classes) if task == "classification" else (2, classes, size, size)
        if not isinstance(out, torch.Tensor) or tuple(out.shape) != expected or out.dtype != torch.float32:
            seen = f"{tuple(out.shape)} {out.dtype}" if isinstance(out, torch.Tensor) else type(out).__name__
            return False, f"expected {expected} float32 at {channels} x {size} x {size}, got {seen}"
        taken.append(size)
    return bool(taken), f"takes {taken}" + (f", refuses {refused} in one line" if refused else "")


def _logits(name: str, task: str) -> tuple[bool, str]:
    """An activation would leave values in 0..1, sums of 1, or nothing negative."""
    model = _build(name, task).eval()
    with torch.no_grad():
        out = torch.cat([model(_images(4, 1, 64) * scale) for scale in (1, 20)])
    if not bool(torch.isfinite(out).all()):
        return False, "outputs are not finite"
    if bool(out.min() >= 0):
        if bool((out.sum(1) - 1).abs().max() < 1e-3):
            return False, "outputs sum to 1 over the classes: leave the softmax out"
        return False, "no output is negative: leave the activation out"
    if bool(out.exp().sum(1).log().abs().max() < 1e-3):
        return False, "outputs are log-probabilities: leave the log-softmax out"
    return True, f"from {out.min():.2g} to {out.max():.2g}"


def _gradients(name: str, task: str) -> tuple[bool, str]:
    model = _build(name, task).train()
    x = _images(4, 1, 64)
    shape = (4,) if task == "classification" else (4, 64, 64)
    y = torch.randint(0, 3, shape, generator=torch.Generator().manual_seed(2))
    torch.nn.functional.cross_entropy(model(x), y).backward()
    used = {id(p) for p in inference_parameters(model)}
    weights = [(key, p.grad) for key, p in model.named_parameters() if p.requires_grad and id(p) in used]
    missing = [key for key, grad in weights if grad is None]
    if missing:
        return False, f"{len(missing)} of {len(weights)} parameters get no gradient, the first is {missing[0]}"
    broken = [key for key, grad in weights if grad is not None and not bool(torch.isfinite(grad).all())]
    return not broken, f"{broken[0]}: not finite" if broken else f"reach all {len(weights)} parameters"


def _determinism(name: str, task: str) -> tuple[bool, str]:
    first, second = _build(name, task).eval(), _build(name, task).eval()
    pairs = zip(first.state_dict().items(), second.state_dict().values(), strict=True)
    differing = [key for (key, weight), again in pairs if not torch.equal(weight, again)]
    if differing:
        return False, f"equal seeds give other weights: {differing[0]}"
    x = _images(2, 1, 64)
    with torch.no_grad():
        same = torch.equal(first(x), second(x)) and torch.equal(first(x), first(x))
        alone = torch.allclose(first(x)[:1], first(x[:1]), atol=1e-4)
    if not alone:
        return False, "an image's output depends on the others in its batch, in eval mode"
    return same, "equal seeds, equal outputs" if same else "equal networks give other outputs in eval mode"
