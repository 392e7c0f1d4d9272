"""A small residual network for phantoms, tests and machines without a GPU."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from medaegis._types import Images


class SmallResNet(nn.Module):
    """torchvision's basic residual blocks at a small width; takes images in [0, 1].

    Args:
        classes: number of classes k.
        channels: image channels.
        widths: channels of each stage; every stage after the first halves the image.

    Example:
        >>> import torch
        >>> SmallResNet(2)(torch.rand(1, 3, 32, 32)).shape
        torch.Size([1, 2])
    """

    def __init__(self, classes: int, *, channels: int = 3, widths: Sequence[int] = (16, 32, 64, 128)) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, widths[0], 5, stride=2, padding=2, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.relu = nn.ReLU(inplace=True)
        stages = [
            _block(a, b, first=i == 0) for i, (a, b) in enumerate(zip((widths[0], *widths), widths, strict=False))
        ]
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[-1], classes)

    def forward(self, x: Images) -> Tensor:
        """Logits (n, k)."""
        x = self.relu(self.bn1(self.conv1(2 * x - 1)))
        return self.fc(self.pool(self.stages(x)).flatten(1))


def _block(inputs: int, outputs: int, *, first: bool) -> nn.Module:
    from torchvision.models.resnet import BasicBlock  # brings torch's compiler with it: seconds

    if first:
        return BasicBlock(inputs, outputs)
    shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=2, bias=False), nn.BatchNorm2d(outputs))
    return BasicBlock(inputs, outputs, stride=2, downsample=shortcut)
