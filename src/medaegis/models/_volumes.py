"""Residual networks with 3-D kernels: ResNet-18 at full size, and a small one for phantoms, tests and plain CPUs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medaegis._types import Images

RESNET = "resnet18-3d"
SMALL = "small-resnet-3d"
KINETICS = "kinetics"
KINETICS_MEAN = (0.43216, 0.394666, 0.37645)
KINETICS_STD = (0.22803, 0.22145, 0.216989)
_STEM = "stem.0.weight"


class SmallResNet3d(nn.Module):
    """torchvision's basic residual blocks with 3-D kernels at a small width; takes volumes in [0, 1].

    Slices lie further apart than pixels, so the first layer halves height and width and leaves the depth.

    Args:
        classes: number of classes k.
        channels: of the volumes.
        widths: channels of each stage; every stage after the first halves the volume.

    Example:
        >>> SmallResNet3d(4)(torch.rand(1, 1, 12, 32, 32)).shape
        torch.Size([1, 4])
    """

    def __init__(self, classes: int, *, channels: int = 1, widths: Sequence[int] = (8, 16, 32, 64)) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(channels, widths[0], (3, 5, 5), stride=(1, 2, 2), padding=(1, 2, 2), bias=False)
        self.bn1 = nn.BatchNorm3d(widths[0])
        self.relu = nn.ReLU(inplace=True)
        self.stages = nn.Sequential(
            *(
                _block(a, b, 1 if i == 0 else 2)
                for i, (a, b) in enumerate(zip((widths[0], *widths), widths, strict=False))
            )
        )
        self.pool = nn.AdaptiveAvgPool3d(1)
        self.fc = nn.Linear(widths[-1], classes)

    def forward(self, x: Images) -> Tensor:
        """Logits (n, k) of volumes (n, channels, d, h, w)."""
        x = self.relu(self.bn1(self.conv1(2 * x - 1)))
        return self.fc(self.pool(self.stages(x)).flatten(1))


def _block(inputs: int, outputs: int, stride: int) -> nn.Module:
    from torchvision.models.video.resnet import BasicBlock

    shortcut = None
    if stride > 1:
        shortcut = nn.Sequential(nn.Conv3d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm3d(outputs))
    return BasicBlock(inputs, outputs, _convolution, stride, shortcut)


def _convolution(inputs: int, outputs: int, _middle: int | None = None, stride: int = 1) -> nn.Conv3d:
    return nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1, bias=False)


def resnet18_3d(channels: int) -> nn.Module:
    """The ResNet-18 of torchvision whose kernels are 3-D (`r3d_18`), for this many channels, with its 400 classes.

    Its convolutions are exactly torch's own, which `accelerate` can fold BatchNorm into; names are torchvision's.

    Source: HFC-23 section V-A ("ResNet-18 ... by replacing the 2D convolution kernels with 3D kernels").

    Example:
        >>> resnet18_3d(1).stem[0].weight.shape
        torch.Size([64, 1, 3, 7, 7])
    """
    from torchvision.models.video import r3d_18

    network = r3d_18(weights=None)
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.Conv3d) and type(module) is not nn.Conv3d:
            plain = _convolution(module.in_channels, module.out_channels, stride=module.stride[0])
            plain.weight = module.weight
            network.set_submodule(name, plain)
    if channels != 3:
        stem = nn.Conv3d(channels, 64, (3, 7, 7), stride=(1, 2, 2), padding=(1, 3, 3), bias=False)
        nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
        network.set_submodule("stem.0", stem)
    return network


def for_channels(state: dict[str, Tensor], channels: int) -> dict[str, Tensor]:
    """A state dict of `r3d_18` whose first layer takes one channel where it took three equal ones.

    Example:
        >>> for_channels({"stem.0.weight": torch.ones(1, 3, 1, 1, 1)}, 1)["stem.0.weight"].flatten()
        tensor([3.])
    """
    first = state.get(_STEM)
    if first is None or first.shape[1] == channels or channels != 1:
        return state
    return state | {_STEM: first.sum(dim=1, keepdim=True)}


def kinetics_scale(channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation that Kinetics weights were trained with; of one channel, those of the three averaged.

    Example:
        >>> kinetics_scale(3)[0]
        (0.43216, 0.394666, 0.37645)
    """
    if channels == 3:
        return KINETICS_MEAN, KINETICS_STD
    mean, std = (torch.tensor(values).mean().item() for values in (KINETICS_MEAN, KINETICS_STD))
    return (mean,) * channels, (std,) * channels
