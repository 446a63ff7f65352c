"""Depth-wise convolutions of training steps: torch's own gradients, by other kernels, where the shape says so alone."""

from __future__ import annotations

import copy
import io

import pytest
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import nn

from bench.models.fuse import fuse
from bench.runs.depthwise import Way, depthwise, gradient_way, speed_up_training
from bench.runs.protocol import Protocol
from bench.runs.seeding import build_seeded
from bench.runs.train import make_optimizer
from bench.zoo.complexity import complexity
from bench.zoo.registry import build_model

# Kernel, dilation, height and width of the image, and the way that its gradients take.
SHAPES: list[tuple[int, int, tuple[int, int], Way | None]] = [
    (3, 1, (4, 4), None),
    (3, 1, (64, 64), None),
    (5, 1, (32, 32), "grouped"),
    (7, 1, (8, 8), "grouped"),
    (7, 1, (7, 13), "grouped"),
    (7, 1, (2, 3), "grouped"),
    (9, 1, (16, 16), "grouped"),
    (11, 1, (16, 16), None),
    (3, 2, (32, 32), "split"),
    (3, 2, (4, 4), "grouped"),
    (3, 2, (5, 9), "split"),
    (3, 3, (8, 8), "split"),
    (3, 3, (11, 16), "split"),
    (3, 3, (4, 4), "grouped"),
    (3, 3, (3, 3), "centre"),
    (3, 4, (16, 16), "split"),
    (5, 2, (16, 16), "grouped"),
    (3, 12, (32, 32), None),
    (3, 12, (8, 8), "centre"),
    (1, 1, (8, 8), "centre"),
]
OURS = [(kernel, dilation, size, way) for kernel, dilation, size, way in SHAPES if way]
LAYOUTS = {"channels last": torch.channels_last, "channels first": torch.contiguous_format}


def convolution(channels: int, kernel: int, dilation: int, bias: bool = True) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(channels, channels, kernel, 1, dilation * (kernel // 2), dilation, channels, bias)


def gradients(conv: nn.Module, x: torch.Tensor, upstream: torch.Tensor) -> list[torch.Tensor]:
    """Output, the input's gradient, and the parameters'."""
    conv.zero_grad()
    x = x.detach().requires_grad_()
    y = conv(x)
    y.backward(upstream)
    return [y.detach(), x.grad, *(p.grad for p in conv.parameters())]


def images(count: int, channels: int, size: tuple[int, int], layout: torch.memory_format) -> list[torch.Tensor]:
    """An input and an upstream gradient."""
    torch.manual_seed(1)
    return [torch.randn(count, channels, *size).contiguous(memory_format=layout) for _ in range(2)]


def takes_ours(y: torch.Tensor) -> bool:
    return "ConvolutionBackward" not in type(y.grad_fn).__name__


@pytest.mark.parametrize(("kernel", "dilation", "size", "way"), SHAPES)
def test_the_way_is_a_rule_of_the_shape_alone(
    kernel: int, dilation: int, size: tuple[int, int], way: Way | None
) -> None:
    assert gradient_way((kernel, kernel), (dilation, dilation), size) == way
    conv = convolution(6, kernel, dilation)
    speed_up_training(conv)
    assert takes_ours(conv(torch.randn(2, 6, *size))) == (way is not None)


def test_strips_and_unequal_dilations_take_torchs_way() -> None:
    assert gradient_way((1, 7), (1, 1), (16, 16)) is None
    assert gradient_way((3, 3), (1, 2), (16, 16)) is None
    assert gradient_way((1, 3), (2, 2), (16, 16)) == "split"


@pytest.mark.parametrize(("kernel", "dilation", "size", "way"), OURS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("count", "bias"), [(1, True), (3, False)])
def test_output_and_gradients_are_torchs(
    kernel: int, dilation: int, size: tuple[int, int], way: Way, layout: str, count: int, bias: bool
) -> None:
    conv = convolution(8, kernel, dilation, bias)
    x, upstream = images(count, 8, size, LAYOUTS[layout])
    expected = gradients(conv, x, upstream)
    speed_up_training(conv)
    found = gradients(conv, x, upstream)
    if way != "centre":
        assert torch.equal(found[0], expected[0])  # the same kernel forward
    for theirs, ours in zip(expected, found, strict=True):
        assert ours.shape == theirs.shape
        assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


def test_an_upstream_gradient_of_another_layout_and_one_number_are_taken() -> None:
    conv = convolution(8, 3, 2)
    x, upstream = images(2, 8, (16, 16), torch.channels_last)
    for given in (upstream.contiguous(), torch.ones(1).expand_as(upstream)):
        expected = gradients(conv, x, given)
        ours = copy.deepcopy(conv)
        speed_up_training(ours)
        for a, b in zip(expected, gradients(ours, x, given), strict=True):
            torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("kernel", "dilation", "size", "way"), [s for s in OURS if max(s[2]) <= 9])
def test_gradients_are_those_of_finite_differences(kernel: int, dilation: int, size: tuple[int, int], way: Way) -> None:
    conv = convolution(2, kernel, dilation).double()
    x = torch.randn(2, 2, *size, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(
        lambda *tensors: depthwise(*tensors, (dilation, dilation), way), (x, conv.weight, conv.bias), fast_mode=True
    )


@pytest.mark.parametrize("way", ["split", "grouped"])
def test_a_second_derivative_is_refused(way: Way) -> None:
    x, weight = torch.randn(1, 2, 8, 8, requires_grad=True), torch.randn(2, 1, 3, 3, requires_grad=True)
    (first,) = torch.autograd.grad(depthwise(x, weight, None, (2, 2), way).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_only_what_a_step_needs_is_computed() -> None:
    conv = convolution(4, 3, 2)
    conv.weight.requires_grad_(False)
    speed_up_training(conv)
    x = torch.randn(1, 4, 8, 8, requires_grad=True)
    conv(x).sum().backward()
    assert x.grad is not None
    assert conv.weight.grad is None
    assert conv.bias is not None
    assert conv.bias.grad is not None


def test_everything_but_a_training_step_in_float32_goes_torchs_way() -> None:
    conv, x = convolution(4, 3, 2), torch.randn(1, 4, 16, 16)
    expected = conv(x)
    speed_up_training(conv)
    assert takes_ours(conv(x))
    assert not takes_ours(copy.deepcopy(conv).double()(x.double()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not takes_ours(conv(x))
    with torch.no_grad():
        assert torch.equal(conv(x), expected)
    assert not takes_ours(conv.eval()(x))
    assert torch.equal(conv(x), expected)


def test_convolutions_of_other_kinds_are_left_alone() -> None:
    class Own(nn.Conv2d):
        """Its forward may be anything."""

    others = nn.ModuleList(
        [
            nn.Conv2d(8, 8, 3, 2, 1, 1, 8),
            nn.Conv2d(8, 16, 3, 1, 2, 2, 8),
            nn.Conv2d(8, 8, 3, 1, 2, 2, 4),
            nn.Conv2d(8, 8, 3, 1, 0, 2, 8),
            nn.Conv2d(8, 8, 3, 1, 2, 2, 8, padding_mode="circular"),
            Own(8, 8, 3, 1, 2, 2, 8),
        ]
    )
    speed_up_training(others)
    assert not any("_conv_forward" in vars(module) for module in others)
    named = nn.Conv2d(8, 8, 3, 1, "same", 2, 8)
    speed_up_training(named)
    assert takes_ours(named(torch.randn(1, 8, 8, 8)))


def test_it_stays_the_same_network() -> None:
    """Names, weights, classes, counts and outputs; it is copied, pickled and fused as before."""
    model = build_model("mednext_tiny", "classification", 1, 2, 64)
    before, kinds = copy.deepcopy(model), [type(module) for module in model.modules()]
    speed_up_training(model)
    assert [type(module) for module in model.modules()] == kinds
    assert list(model.state_dict()) == list(before.state_dict())
    assert complexity(model, (1, 1, 64, 64)) == complexity(before, (1, 1, 64, 64))
    x = torch.randn(2, 1, 64, 64)
    assert torch.equal(model.eval()(x), before.eval()(x))
    torch.testing.assert_close(fuse(model)(x), model(x), rtol=1e-3, atol=1e-4)
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    for twin in (copy.deepcopy(model), torch.load(buffer, weights_only=False)):
        with torch.no_grad():
            for parameter in twin.parameters():
                parameter.zero_()
        assert not torch.equal(twin(x), model(x))
        conv = next(m for m in twin.modules() if isinstance(m, nn.Conv2d) and "_conv_forward" in vars(m))
        conv.eval()
        assert not takes_ours(conv(torch.randn(1, conv.in_channels, 16, 16)))
        assert torch.equal(model(x), before(x))


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_steps_are_torchs_and_two_runs_are_equal_bit_for_bit(precision: str) -> None:
    """Whole training steps behind Fabric, AdamW and clipping included."""
    ours, again, plain = (_steps(fast, precision) for fast in (True, True, False))
    assert all(torch.equal(a, b) for a, b in zip(ours, again, strict=True))
    assert [float(loss) for loss in ours[:4]] == pytest.approx([float(loss) for loss in plain[:4]], rel=1e-3)
    assert float(ours[3]) < float(ours[0])


def _network() -> nn.Module:
    """Each way, once."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 4, 4),
        *(nn.Conv2d(8, 8, kernel, 1, "same", dilation, 8) for kernel, dilation in ((7, 1), (3, 2), (1, 1), (3, 1))),
        nn.BatchNorm2d(8),
        nn.Flatten(2),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(8, 2),
    )


def _steps(fast: bool, precision: str) -> list[torch.Tensor]:
    """The losses of four steps, and the parameters after them."""
    torch.manual_seed(0)
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)  # type: ignore[arg-type]
    network = build_seeded(_network, 0)
    if fast:
        speed_up_training(network)
    model = fabric.setup_module(network.to(memory_format=torch.channels_last))
    optimizer = fabric.setup_optimizers(make_optimizer(model, Protocol(lr=1e-2)))
    x, y = torch.randn(4, 1, 64, 64).contiguous(memory_format=torch.channels_last), torch.tensor([0, 1, 1, 0])
    losses = []
    for _ in range(4):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        fabric.backward(loss)
        fabric.clip_gradients(model, optimizer, max_norm=1.0)
        optimizer.step()
        losses.append(loss.detach())
    return losses + [parameter.detach() for parameter in network.parameters()]
