"""Transfer: gradients of the substitute, judgement of the victim."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from contracts.attack_list import small_net, world
from medaegis import InputError
from medaegis.attack import bim, hfc, pgd, run_attack, transfer


def test_images_are_the_substitutes_and_judgement_the_victims() -> None:
    w = world("rgb", 5, True)
    attack = bim(eps=0.05, steps=6)
    there = run_attack(attack, w.substitute, w.x, w.y, target=w.target)
    made = run_attack(transfer(w.substitute, attack), w.net, w.x, w.y, target=w.target)
    assert torch.equal(made.x, there.x)
    torch.testing.assert_close(made.objective, there.objective)
    with torch.no_grad():
        assert torch.equal(made.logits, w.net(made.x))
    assert made.fooled.sum() <= run_attack(attack, w.net, w.x, w.y, target=w.target).fooled.sum()


def test_the_victims_gradient_is_never_used() -> None:
    class Opaque(nn.Module):
        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net

        @torch.no_grad()
        def forward(self, x):
            return self.net(x)

    w = world("gray", 2, False)
    assert run_attack(transfer(w.substitute, pgd(eps=0.05, steps=3)), Opaque(w.net), w.x, w.y).x.shape == w.x.shape


def test_features_come_from_the_substitute() -> None:
    """A bank of the substitute's layers, which the victim does not have."""
    w = world("gray", 2, True)
    victim = nn.Sequential(nn.Flatten(), nn.Linear(49, 2)).double()
    made = run_attack(transfer(w.net, bim(eps=0.05, steps=3)).plus(hfc(w.bank)), victim, w.x, w.y, target=w.target)
    assert made.objective.isfinite().all()


def test_the_substitute_is_left_as_it_was() -> None:
    w = world("gray", 2, True)
    w.substitute.train()
    before = {name: value.clone() for name, value in w.substitute.state_dict().items()}
    run_attack(transfer(w.substitute, bim(eps=0.05, steps=3)), w.net, w.x, w.y, target=w.target)
    assert w.substitute.training
    assert all(p.requires_grad for p in w.substitute.parameters())
    assert all(torch.equal(value, before[name]) for name, value in w.substitute.state_dict().items())
    w.substitute.eval()


def test_errors() -> None:
    w = world("gray", 2, True)
    attack = bim(eps=0.05, steps=3)
    with pytest.raises(InputError, match="substitute` of transfer must be a network whose logits"):
        run_attack(transfer(small_net(1, 5).double(), attack), w.net, w.x, w.y)
    with pytest.raises(InputError, match="attack` of transfer"):
        transfer(w.net, transfer(w.net, attack))
    with pytest.raises(InputError, match="substitute` of transfer"):
        transfer("resnet18", attack)
