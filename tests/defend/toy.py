"""A small problem whose classifier is easily fooled: a coarse blob and a faint checkerboard both tell the class."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from medaegis.models import Cases


def toy_images(n: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 2
    x = 0.5 + 0.02 * torch.randn((n, 1, 16, 16), generator=generator)
    sign = (2.0 * y - 1).reshape(-1, 1, 1)
    x[:, 0, 4:12, 4:12] += 0.15 * sign
    board = (torch.arange(16)[:, None] + torch.arange(16)) % 2 * 2.0 - 1
    x[:, 0] += 0.04 * sign * board
    return x.clamp(0, 1), y


def toy_cases(n: int, seed: int) -> Cases:
    x, y = toy_images(n, seed)
    return Cases(lambda index: x[index], y)


def network(classes: int = 2, seed: int = 0, channels: int = 1) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [nn.Conv2d(channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True)]
        layers += [nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU(inplace=True)]
        layers += [nn.Conv2d(16, 16, 3, stride=2, padding=1), nn.ReLU(inplace=True)]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, classes)).eval()


def fooled_network() -> nn.Sequential:
    """A network that learned the toy problem with 60 full-batch steps."""
    net, (x, y) = network(), toy_images(128, 7)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.02)
    net.train()
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimiser.step()
    return net.eval()
