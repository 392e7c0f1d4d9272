"""What pulls how hard, and HFC with weights chosen by it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from contracts.attack_list import World, world
from medaegis import InputError
from medaegis.attack import bim, choose_hfc, cross_entropy, gradient_sizes, hfc, run_attack


def balanced() -> World:
    """A world whose network says either class for about half of the cases, all of them right."""
    w = world("rgb", 2, True)
    net = copy.deepcopy(w.net)
    with torch.no_grad():
        logits = net(w.x.clone())
        net[8].bias[1] -= (logits[:, 1] - logits[:, 0]).median() + 1e-3
        y = net(w.x.clone()).argmax(dim=1)
    return w._replace(net=net, y=y, target=1 - y)


def test_sizes_agree_with_a_plain_backward_pass() -> None:
    w = world("rgb", 2, True)
    found = gradient_sizes(cross_entropy + hfc(w.bank), w.net, w.x, w.y, target=w.target, batch_size=3)
    assert found.names == ("CrossEntropy", *(f"HFC {name}" for name in w.bank.layers))
    leaf = w.x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(nn.functional.cross_entropy(w.net(leaf), w.target, reduction="sum"), leaf)
    torch.testing.assert_close(found.sizes[:, 0], expected.abs().mean(dim=(1, 2, 3)))
    torch.testing.assert_close(found.shares().sum(dim=1), torch.ones(len(w.x)).double())
    assert (found.sizes[:, 1:] > 0).all()


def test_a_layers_weight_scales_its_size_alone() -> None:
    w = world("gray", 2, True)
    first = w.bank.layers[0]
    plain = gradient_sizes(hfc(w.bank), w.net, w.x, w.y, target=w.target).sizes
    heavy = gradient_sizes(hfc(w.bank, layer_weights={first: 4.0}), w.net, w.x, w.y, target=w.target).sizes
    torch.testing.assert_close(heavy[:, 0], 4 * plain[:, 0])
    torch.testing.assert_close(heavy[:, 1:], plain[:, 1:])


def test_chosen_weights_even_out_the_layers_and_keep_the_success() -> None:
    w = balanced()
    attack = bim(eps=0.05, steps=8)  # where layers pull unalike without chosen weights
    chosen = choose_hfc(attack, w.bank, w.net, w.x, w.y, target=w.target, most_lost=0.3, rounds=12)
    assert chosen.kept
    assert chosen.success >= chosen.plain - 0.3
    assert chosen.objective.weight == max(weight for weight, success in chosen.tried if success >= chosen.plain - 0.3)
    again = run_attack(attack.plus(chosen.objective), w.net, w.x, w.y, target=w.target)
    assert again.fooled.double().mean().item() == pytest.approx(chosen.success)
    adversarial = run_attack(attack, w.net, w.x, w.y, target=w.target).x
    sizes = gradient_sizes(chosen.objective, w.net, adversarial, w.y, target=w.target).sizes.mean(dim=0)
    torch.testing.assert_close(sizes / sizes.mean(), torch.ones(len(sizes)).double())
    unequal = gradient_sizes(hfc(w.bank), w.net, adversarial, w.y, target=w.target).sizes.mean(dim=0)
    assert unequal.max() > 1.5 * unequal.min()


def test_a_bound_that_cannot_be_kept_is_said() -> None:
    w = balanced()
    attack = bim(eps=0.1, steps=8)
    for bad in (-0.1, 1.5, "1"):
        with pytest.raises(InputError, match="`most_lost` of choose_hfc"):
            choose_hfc(attack, w.bank, w.net, w.x, w.y, target=w.target, most_lost=bad)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="`rounds` of choose_hfc"):
        choose_hfc(attack, w.bank, w.net, w.x, w.y, target=w.target, rounds=0)
    turned = run_attack(attack, w.net, w.x, w.y, target=w.target).fooled
    assert turned.any()
    x, y, target = w.x[turned], w.y[turned], w.target[turned]
    never = attack.over(attack.space, _Never())
    chosen = choose_hfc(never, w.bank, w.net, x, y, target=target, most_lost=0.0, rounds=2)
    assert not chosen.kept
    assert (chosen.objective.weight, chosen.success, chosen.plain) == (0.25, 0.0, 1.0)


class _Never:
    """A step rule that moves only where nothing was added to the loss."""

    def init(self, point: torch.Tensor) -> None:
        """No state."""

    def update(self, now, state):
        moved = now.point if now.goals is not None else now.point - 0.025 * now.gradient.sign()
        return now.project(moved.clone()), state


def test_layer_weights_are_checked() -> None:
    w = world("gray", 2, True)
    with pytest.raises(InputError, match="`layer_weights` of hfc must be by layers of the bank"):
        hfc(w.bank, layer_weights={"nowhere": 1.0})
    with pytest.raises(InputError, match="numbers >= 0"):
        hfc(w.bank, layer_weights={w.bank.layers[0]: -1.0})
