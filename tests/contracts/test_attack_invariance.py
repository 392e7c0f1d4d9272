"""The laws of HOUSE.md over the one list of attacks: what a result must not depend on."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn

from contracts.attack_list import ATTACKS, RANDOM, TRANSFER, world
from contracts.attack_runs import Boom, all_attacks, assert_same_cases, attacked, plain, some_settings
from medaegis.attack import AttackResult

pytestmark = pytest.mark.usefixtures("same_networks")


class Shifted(nn.Module):
    def __init__(self, net: nn.Module, constant: float) -> None:
        super().__init__()
        self.net, self.constant = net, constant

    def forward(self, x):
        return self.net(x) + self.constant


@all_attacks
@some_settings
def test_a_constant_on_all_logits_changes_nothing(name, setting) -> None:
    w = world(*setting)
    without = plain(name, setting)
    for constant in (-50, 50):
        other = attacked(name, w.within("net."), net=Shifted(w.net, constant))
        assert torch.equal(other.fooled, without.fooled)
        torch.testing.assert_close(other.x, without.x, rtol=0, atol=1e-12)
        torch.testing.assert_close(other.objective, without.objective, rtol=0, atol=1e-10)


@all_attacks
@some_settings
def test_batch_size_changes_nothing(name, setting) -> None:
    w = world(*setting)
    for size in (1, 3):
        assert_same_cases(attacked(name, w, batch_size=size), plain(name, setting))


@all_attacks
@some_settings
def test_neighbours_change_nothing(name, setting) -> None:
    w = world(*setting)
    others = w.x.clone()
    others[::2] = 1 - others[::2].flip(-1)
    labels = w.y.clone()
    labels[::2] = labels[::2].roll(1)
    target = None if w.target is None else torch.where(torch.arange(7) % 2 == 1, w.target, labels)
    odd = slice(1, None, 2)
    made = attacked(name, w, x=others, y=labels, target=target)
    assert_same_cases(
        AttackResult(*(v[odd] if isinstance(v, torch.Tensor) else v for v in made)), plain(name, setting), odd
    )


@all_attacks
@some_settings
def test_fewer_cases_change_nothing(name, setting) -> None:
    w = world(*setting)
    first = None if w.target is None else w.target[:4]
    assert_same_cases(attacked(name, w, x=w.x[:4], y=w.y[:4], target=first), plain(name, setting), slice(4))


@pytest.mark.parametrize("name", [name for name in ATTACKS if name not in RANDOM])
@some_settings
def test_order_changes_nothing(name, setting) -> None:
    w, order = world(*setting), torch.tensor([3, 0, 6, 1, 5, 2, 4])
    target = None if w.target is None else w.target[order]
    assert_same_cases(attacked(name, w, x=w.x[order], y=w.y[order], target=target), plain(name, setting), order)


# --- randomness


@all_attacks
def test_same_generator_same_result(name) -> None:
    w = world("gray", 2, False)
    one, two = attacked(name, w), attacked(name, w)
    assert torch.equal(one.x, two.x)
    other = attacked(name, w, generator=torch.Generator().manual_seed(2))
    assert torch.equal(one.x, other.x) == (name not in RANDOM)
    default = attacked(name, w, generator=None)
    assert torch.equal(default.x, attacked(name, w, generator=torch.Generator().manual_seed(0)).x)


@pytest.mark.parametrize("name", [name for name in RANDOM if "noise" in name])
def test_cases_draw_differently(name) -> None:
    w = world("gray", 2, False)
    same = w.x[3:4].expand(4, *w.x.shape[1:])
    made = attacked(name, w, x=same, y=w.y[:1].expand(4), target=None).x
    assert len({tuple(case.flatten().tolist()) for case in made}) == 4


class Draws(nn.Module):
    """A network that draws from torch's global generator in evaluation mode; raises from one pass on."""

    def __init__(self, net: nn.Module, passes: int) -> None:
        super().__init__()
        self.net, self.passes, self.count = net, passes, [0]

    def forward(self, x):
        self.count[0] += 1
        torch.rand(3)
        if self.count[0] > self.passes:
            raise Boom
        return self.net(x) + 0.1 * torch.randn(len(x), 1, dtype=x.dtype)

    def __deepcopy__(self, memo):
        twin = Draws(copy.deepcopy(self.net, memo), self.passes)
        twin.count = self.count
        return twin


def global_random_state() -> tuple[object, ...]:
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002  # it must stay as it is
    return (*torch_state.tolist(), random.getstate(), numpy_state[1].tobytes(), numpy_state[2:])


@pytest.mark.parametrize("name", [name for name in ATTACKS if name not in TRANSFER])
@pytest.mark.parametrize("passes", [3, 10**9])
def test_global_random_state_is_left_alone(name, passes) -> None:
    w = world("gray", 2, False)
    before = global_random_state()
    run = lambda: attacked(name, w.within("net."), net=Draws(w.net, passes))
    if passes == 3:
        with pytest.raises(Boom):
            run()
    else:
        one, two = run(), run()
        assert torch.equal(one.x, two.x)
        assert torch.equal(one.logits, two.logits)
    assert global_random_state() == before
