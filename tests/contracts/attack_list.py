"""The ONE list of attacks and the settings under which every law is checked. A new attack is added here, once."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from medaegis.attack import Attack, bim, fgsm, hfc, mim, noise, pgd
from medaegis.density import MixtureBank, fit_bank
from medaegis.models import Taps, frozen

STEPS = 5
Make = Callable[[float, MixtureBank], Attack]

_PLAIN: dict[str, Make] = {
    "fgsm": lambda eps, bank: fgsm(eps=eps),
    "bim": lambda eps, bank: bim(eps=eps, steps=STEPS),
    "pgd": lambda eps, bank: pgd(eps=eps, steps=STEPS),
    "mim": lambda eps, bank: mim(eps=eps, steps=STEPS),
    "mim-released": lambda eps, bank: mim(eps=eps, steps=STEPS, decay=0.5, norm="l2"),
    "mim+hfc": lambda eps, bank: mim(eps=eps, steps=STEPS).plus(hfc(bank)),
    "noise-uniform": lambda eps, bank: noise(eps=eps, kind="uniform"),
    "noise-gaussian": lambda eps, bank: noise(eps=eps, kind="gaussian"),
    "noise-sign": lambda eps, bank: noise(eps=eps, kind="sign"),
    "bim+hfc": lambda eps, bank: bim(eps=eps, steps=STEPS).plus(hfc(bank)),
    "pgd+hfc": lambda eps, bank: pgd(eps=eps, steps=STEPS).plus(hfc(bank)),
}


def _best(make: Make) -> Make:
    return lambda eps, bank: make(eps, bank).keeping("best")


ATTACKS: dict[str, Make] = _PLAIN | {f"{name}-best": _best(make) for name, make in _PLAIN.items()}
GRADIENT = [name for name in ATTACKS if not name.startswith("noise")]
RANDOM = [name for name in ATTACKS if name.startswith(("noise", "pgd"))]

SHAPES = {"gray": (1, 7, 7), "rgb": (3, 5, 8), "volume": (1, 4, 5, 6)}
SETTINGS = [(shape, k, targeted) for shape in SHAPES for k in (2, 5) for targeted in (True, False)]
SETTING_IDS = [f"{shape}-{k}-{'targeted' if targeted else 'untargeted'}" for shape, k, targeted in SETTINGS]
SPECIAL_PIXELS = (0.0, 1.0, 1e-40, 1e-10, 1 - 2**-24, 2**-149, 0.03)


class World(NamedTuple):
    """A network with things to attack."""

    net: nn.Module
    x: Tensor
    y: Tensor
    target: Tensor | None
    bank: MixtureBank


def small_net(channels: int, classes: int, dimensions: int = 2, seed: int = 0) -> nn.Sequential:
    """conv, BatchNorm with statistics far from (0, 1), re-used ReLU, conv, BatchNorm, ReLU, pool, dense."""
    conv, norm, pool = (
        (nn.Conv2d, nn.BatchNorm2d, nn.AdaptiveAvgPool2d),
        (nn.Conv3d, nn.BatchNorm3d, nn.AdaptiveAvgPool3d),
    )[dimensions - 2]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(
            *(conv(channels, 4, 3, padding=1, bias=False), norm(4), nn.ReLU(inplace=True)),
            *(conv(4, 6, 3, padding=1), norm(6), nn.ReLU(inplace=True)),
            *(pool(1), nn.Flatten(), nn.Linear(6, classes)),
        )
        for module in net:
            if isinstance(module, norm):
                module.running_mean.normal_(std=0.3)
                module.running_var.uniform_(0.3, 2)
        net[8].weight.data *= 6
    return net.eval()


@lru_cache(maxsize=64)
def world(shape: str, classes: int, targeted: bool, dtype: torch.dtype = torch.float64) -> World:
    """Seven cases; the first two carry the pixels that arithmetic likes least."""
    size = SHAPES[shape]
    generator = torch.Generator().manual_seed(len(shape) + classes)
    x = torch.rand(7, *size, generator=generator, dtype=torch.float64).to(dtype)
    x[:2].view(2, -1)[:, : len(SPECIAL_PIXELS)] = torch.tensor(SPECIAL_PIXELS, dtype=torch.float64).to(dtype)
    x[1].view(-1)[-20:] = (torch.arange(20) % 2).to(dtype)
    net = small_net(size[0], classes, len(size) - 1).to(dtype)
    y = torch.arange(7) % classes
    with frozen(net), torch.no_grad():
        features = Taps(net)(torch.rand(60, *size, generator=generator, dtype=torch.float64).to(dtype)).features
    bank = fit_bank(features, torch.arange(60) % classes, components=2, strength=0.1, generator=generator)
    return World(net, x, y, (y + 1) % classes if targeted else None, bank)
