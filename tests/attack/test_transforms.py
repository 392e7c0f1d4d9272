"""Input transforms: diverse inputs, smoothed gradients, replaced backward passes, averages over draws."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from contracts.attack_list import steerable, world
from medaegis import InputError
from medaegis.attack import (
    BPDA,
    CaseRandom,
    Chain,
    DiverseInput,
    Identity,
    Margin,
    Preprocessed,
    TranslationSmoothing,
    bim,
    dim,
    run_attack,
)

SHAPES = [(5, 1, 9, 9), (5, 3, 8, 12), (5, 1, 6, 7, 8), (5, 2, 10)]


@pytest.mark.parametrize("shape", SHAPES)
def test_diverse_input_draws_for_each_case_and_keeps_the_shape(shape) -> None:
    same = torch.rand(1, *shape[1:], generator=torch.Generator().manual_seed(0)).expand(shape)
    made = DiverseInput(0.5, 1.0)(same, CaseRandom.from_seeds(range(5)))
    assert made.shape == shape
    assert len({tuple(case.flatten().tolist()) for case in made}) >= 4  # one draw a batch would give 1
    again = DiverseInput(0.5, 1.0)(same[:1], CaseRandom.from_seeds([3]))
    assert torch.equal(again[0], made[3])


def test_diverse_input_shrinks_and_pads() -> None:
    x = 0.2 + 0.8 * torch.rand(400, 1, 10, 10, generator=torch.Generator().manual_seed(0))
    made = DiverseInput(0.5, 0.5)(x, CaseRandom.from_seeds(range(400)))
    changed = [not torch.equal(a, b) for a, b in zip(made, x, strict=True)]
    assert 140 < sum(changed) < 210  # half are changed, and a sixth of those drew the full size
    sides = {int((case != 0).any(dim=-1).sum()) for case, new in zip(made, changed, strict=True) if new}
    assert sides == {5, 6, 7, 8, 9}
    corners = {tuple((case[0] != 0).nonzero()[0].tolist()) for case, new in zip(made, changed, strict=True) if new}
    assert len(corners) > 15
    assert torch.equal(DiverseInput(0.5, 0.0)(x[:2], CaseRandom.from_seeds([0, 1])), x[:2])


@pytest.mark.parametrize("shape", SHAPES)
def test_smoothing_is_the_full_gaussian_convolution(shape) -> None:
    """Against a dense kernel of as many dimensions as the image has."""
    x = torch.rand(shape, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    out = TranslationSmoothing(5)(x, CaseRandom(()))
    assert torch.equal(out, x)
    (found,) = torch.autograd.grad((out * weight).sum(), x)
    places = torch.linspace(-3, 3, 5, dtype=torch.float64)
    line = torch.exp(-(places**2) / 2) / torch.exp(-(places**2) / 2).sum()
    axes = len(shape) - 2
    kernel = line
    for _ in range(axes - 1):
        kernel = kernel[..., None] * line
    convolve = (nn.functional.conv1d, nn.functional.conv2d, nn.functional.conv3d)[axes - 1]
    flat = weight.reshape(-1, 1, *shape[2:])
    expected = convolve(flat, kernel[None, None], padding=2).reshape(shape)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_bpda_is_exact_forward_and_replaced_backward() -> None:
    x = torch.rand(4, 1, 5, 5, requires_grad=True)
    rounded = BPDA(lambda v: (v * 7).round() / 7)(x)
    assert torch.equal(rounded, ((x * 7).round() / 7).detach())
    (identity,) = torch.autograd.grad(rounded.sum(), x)
    assert torch.equal(identity, torch.ones_like(x))
    surrogate = BPDA(torch.sign, lambda v: 3 * v**2)(x)
    assert torch.equal(surrogate, torch.sign(x).detach())
    (other,) = torch.autograd.grad(surrogate.sum(), x)
    torch.testing.assert_close(other, 6 * x.detach())
    with pytest.raises(InputError, match="must give the shape of `forward`"):
        BPDA(lambda v: v[..., ::2])(x)
    with pytest.raises(InputError, match="forward` of BPDA"):
        BPDA(3)


def test_a_step_of_the_system_is_attacked_and_judged_through() -> None:
    """Rounding to 3 levels kills plain gradients; with BPDA inside the model the attack works and is judged on it."""
    w = steerable("gray")
    coarse = lambda v: (v * 3).round() / 3
    system = Preprocessed(BPDA(coarse), w.net)
    made = run_attack(bim(eps=0.2, steps=30).keeping("best"), system, w.x, w.y, target=w.target)
    assert made.fooled.all()
    with torch.no_grad():
        assert torch.equal(made.logits, w.net(coarse(made.x)))
    blind = run_attack(bim(eps=0.2, steps=3), Preprocessed(coarse, w.net), w.x, w.y, target=w.target)
    assert (blind.stuck + blind.fooled.long() * 3 >= 3).all()  # every step of an unfooled case is counted as stuck
    assert blind.stuck.sum() > 0


class Shift(nn.Module):
    """A random transform of a chosen direction: its average is the identity."""

    random = True

    def __call__(self, x, random):
        return x + 2 * (random.uniform(x.shape[1:], x) - 0.5)


def test_draws_average_the_gradient() -> None:
    """On a quadratic network the mean gradient over draws tends to the gradient at the mean."""

    class Quadratic(nn.Module):
        def forward(self, x):
            value = ((x - 0.3) ** 2).flatten(1).sum(dim=1)
            return torch.stack([value, -value], dim=1)

    x, y = torch.full((1, 1, 20, 20), 0.5), torch.tensor([0])

    def share(draws: int) -> float:
        attack = bim(eps=0.01, steps=1, objective=Margin()).through(Shift(), draws=draws)
        return (run_attack(attack, Quadratic(), x, y).x < x).double().mean().item()

    assert share(1) < 0.75
    assert share(200) > 0.97


def test_transforms_chain_in_order_and_momentum_joins() -> None:
    attack = dim(eps=0.1, steps=3).through(TranslationSmoothing(3)).with_momentum(0.5)
    assert attack.transform == Chain((DiverseInput(), TranslationSmoothing(3)))
    assert bim(eps=0.1).through(Identity()).transform == Identity()
    w = world("volume", 5, True)
    assert run_attack(attack, w.net, w.x, w.y, target=w.target).x.shape == w.x.shape


@pytest.mark.parametrize(
    "make", [lambda: DiverseInput(0), lambda: DiverseInput(0.5, 2), lambda: TranslationSmoothing(4)]
)
def test_bad_arguments(make) -> None:
    with pytest.raises(InputError, match=r"of (dim|tim) must be"):
        make()
