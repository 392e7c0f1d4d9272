"""`craft` makes what `run_attack` makes, on a network that is ready."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import medaegis as ma
from medaegis import InputError
from medaegis.attack import Attack
from medaegis.attack._run import craft
from medaegis.models import Taps


def cases() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(3)
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 3)).double().eval()
    for parameter in net.parameters():
        parameter.data = torch.randn(parameter.shape, generator=draws, dtype=torch.float64)
    return net, torch.rand((5, 3, 4, 4), generator=draws, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1])


@pytest.mark.parametrize(
    "attack",
    [ma.attack.bim(eps=4 / 256, steps=3), ma.attack.pgd(eps=4 / 256, steps=3), ma.attack.dim(eps=4 / 256, steps=3)],
)
@pytest.mark.parametrize("targeted", [True, False])
def test_same_images_as_run_attack(attack: Attack, targeted: bool) -> None:
    net, x, y = cases()
    target = (y + 1) % 3 if targeted else None
    made = ma.run_attack(attack, net, x, y, target=target, generator=torch.Generator().manual_seed(1))
    mine = craft(attack, Taps(net, "none"), x, y, target=target, generator=torch.Generator().manual_seed(1))
    assert torch.equal(mine, made.x)
    assert not torch.equal(mine, x)


def test_the_callers_images_stay_and_bad_ones_are_refused() -> None:
    net, x, y = cases()
    before = x.clone()
    attack, taps = ma.attack.pgd(eps=4 / 256, steps=2), Taps(net, "none")
    craft(attack, taps, x, y, generator=torch.Generator(), layout=torch.channels_last)
    assert torch.equal(x, before)
    with pytest.raises(InputError, match="pixels in"):
        craft(attack, taps, 255 * x, y, generator=torch.Generator())
