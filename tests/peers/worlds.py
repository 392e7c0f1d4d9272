"""The networks and images on which medaegis and its peers meet."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from contracts.attack_list import small_net
from medaegis.attack import Goal

CASES = 8
PIXELS = {"small": 12, "resnet18": 32}


class World(NamedTuple):
    """A network with images that it classifies as `y`, and, for targeted attacks, other classes."""

    name: str
    net: nn.Module
    x: Tensor
    y: Tensor
    target: Tensor | None

    @property
    def goal(self) -> Goal:
        return Goal(self.y, self.target)

    def fooled(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self.goal.fooled(self.net(x))


def resnet18(channels: int, classes: int) -> nn.Module:
    from torchvision.models import resnet18 as network

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = network(weights=None, num_classes=classes)
        net.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.5, 1.5)
    return net.eval()


NETWORKS: dict[str, Callable[[int, int], nn.Module]] = {"small": small_net, "resnet18": resnet18}


@lru_cache(maxsize=64)
def world(network: str, channels: int, classes: int, targeted: bool, dtype: torch.dtype = torch.float32) -> World:
    """Images in [0, 1] with some at the ends; the head is centred, so that classes occur and can be left."""
    net = NETWORKS[network](channels, classes).to(dtype)
    generator = torch.Generator().manual_seed(channels + classes)
    size = PIXELS[network]
    x = torch.rand(CASES, channels, size, size, generator=generator, dtype=torch.float64)
    x = (1.2 * x - 0.1).clamp(0, 1).to(torch.float32).to(dtype)
    with torch.no_grad():
        head = [module for module in net.modules() if isinstance(module, nn.Linear)][-1]
        head.bias -= net(x).mean(dim=0)
        y = net(x).argmax(dim=1)
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    name = f"{network}, {'gray' if channels == 1 else 'RGB'}, {classes} classes"
    return World(name, net, x, y, (y + 1) % classes if targeted else None)
