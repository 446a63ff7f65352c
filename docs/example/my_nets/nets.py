"""Two networks for medbench: one that registers itself, one that is named by where it is."""

from __future__ import annotations

from torch import Tensor, nn

from bench import register_model


@register_model(title="My net", family="cnn", citation="this work")
def my_net(task: str, in_channels: int, num_classes: int, image_size: int, width: int = 16) -> nn.Module:
    """(N, C, H, W) float32 -> logits (N, K, H, W): two convolutions."""
    return nn.Sequential(nn.Conv2d(in_channels, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, num_classes, 1))


class PlainNet(nn.Module):
    """A classifier that knows nothing of medbench: what it does not take is not given to it."""

    title = "Plain net"
    family = "cnn"
    tasks = ("classification",)

    def __init__(self, in_channels: int, num_classes: int, width: int = 16) -> None:
        super().__init__()
        self.features = nn.Conv2d(in_channels, width, 3, padding=1)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K)."""
        return self.head(self.features(x).relu().mean((2, 3)))
