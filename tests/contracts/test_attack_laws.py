"""The laws of HOUSE.md over the one list of attacks: budgets, optima, the judge, an independent loop."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from contracts.attack_list import ATTACKS, EXACT, EXACT_L2, FAINT, GRADIENT, MINIMAL, SETTINGS, SHAPES, STEPS, world
from contracts.attack_runs import all_attacks, all_settings, assert_same_cases, attacked, plain, sizes, some_settings
from medaegis.attack import bim, run_attack
from medaegis.density import fit_bank
from medaegis.models import Taps, frozen

pytestmark = pytest.mark.usefixtures("same_networks")
float32, float64 = torch.float32, torch.float64
ROUNDING = [next(one for one in SETTINGS if one[0] == shape) for shape in SHAPES]


# --- the ball and the pixel range


@all_attacks
@all_settings
def test_inside_ball_and_range_exactly(name, setting) -> None:
    """Rounding at small budgets knows shapes and types, but neither classes nor targets."""
    for dtype in (float32, float64):
        w = world(*setting, dtype)
        for eps in (0.03, 1e-3, 1 / 256) if setting in ROUNDING else (0.03,):
            made = attacked(name, w, eps).x
            assert made.dtype == dtype
            assert made.min() >= 0
            assert made.max() <= 1
            assert (sizes(name, made, w.x) <= eps).all()
            assert (sizes(name, made.double(), w.x.double()) <= eps).all()
            used = sizes(name, made, w.x).max()
            assert used > (0 if name in MINIMAL else 0.3 if name in FAINT else 0.99) * eps  # and uses the budget


@all_attacks
@some_settings
@pytest.mark.parametrize("dtype", [float32, float64])
def test_no_budget_gives_the_input_bit_for_bit(name, setting, dtype) -> None:
    w = world(*setting, dtype)
    bits = torch.int32 if dtype == float32 else torch.int64
    made = attacked(name, w, 0.0).x
    assert torch.equal(made.view(bits), w.x.view(bits))


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("shape", list(SHAPES))
@pytest.mark.parametrize("targeted", [True, False])
def test_known_optimum_on_a_linear_network(name, shape, targeted) -> None:
    w = world(shape, 2, targeted)
    weight = torch.linspace(-1, 1, w.x[0].numel(), dtype=float64).roll(3)
    weight[weight.abs() < 0.01] = 0.5
    net = nn.Sequential(nn.Flatten(), nn.Linear(len(weight), 2)).double()
    net[1].weight.data = torch.stack([weight, -weight]) / 50
    made = attacked(name, w, net=net).x
    raises_logit_0 = (2 * w.y - 1).double().reshape(-1, *(1,) * (w.x.dim() - 1))  # the attacker wants the class 1 - y
    best = (w.x + 0.03 * raises_logit_0 * weight.sign().reshape(w.x.shape[1:])).clamp(0, 1)
    assert (made - best).abs().max() < 1e-15
    assert (made[w.x == 0] > 0).any()
    assert (made[w.x == 1] < 1).any()


@pytest.mark.parametrize("name", EXACT_L2)
@pytest.mark.parametrize("shape", list(SHAPES))
@pytest.mark.parametrize("targeted", [True, False])
def test_known_optimum_in_a_ball_on_a_linear_network(name, shape, targeted) -> None:
    """Inside the pixel range the best perturbation is the weight's direction at the ball's radius."""
    w = world(shape, 2, targeted)
    weight = torch.linspace(-1, 1, w.x[0].numel(), dtype=float64).roll(3)
    net = nn.Sequential(nn.Flatten(), nn.Linear(len(weight), 2)).double()
    net[1].weight.data = torch.stack([weight, -weight]) / 50
    x = 0.4 + 0.2 * w.x
    attack = replace(ATTACKS[name](0.03, w), steps=100)
    made = run_attack(attack, net, x, w.y, target=w.target, generator=torch.Generator().manual_seed(1)).x
    toward_0 = (2 * w.y - 1).double().reshape(-1, *(1,) * (x.dim() - 1))
    best = x + 0.03 * len(weight) ** 0.5 * toward_0 * (weight / weight.norm()).reshape(x.shape[1:])
    assert (made - best).abs().max() < (1e-3 if name == "apgd-rms" else 2e-6) * (20 if "-best" in name else 1)


@pytest.mark.parametrize("name", [name for name in ATTACKS if name not in MINIMAL])  # these leave a fooled case alone
@some_settings
def test_pixels_at_the_ends_of_the_range_can_move(name, setting) -> None:
    w, made = world(*setting), plain(name, setting).x
    moved = [(made[w.x == 0] > 0).any(), (made[w.x == 1] < 1).any()]
    assert any(moved) if "low" in name else all(moved)  # one value of a coarse grid moves both


# --- the judge


@all_attacks
@some_settings
def test_judged_again_by_the_untouched_network(name, setting) -> None:
    """In float32 the folded copy's logits differ in their last bits, so equality shows who judged."""
    w = world(*setting, float32)
    result = attacked(name, w, 0.1)
    with torch.no_grad():
        logits = w.net(result.x)
    assert torch.equal(result.logits, logits)
    assert torch.equal(result.prediction, logits.argmax(dim=1))
    wanted = logits.argmax(dim=1) == w.target if w.target is not None else logits.argmax(dim=1) != w.y
    assert torch.equal(result.fooled, wanted)


@pytest.mark.parametrize("name", [name for name in GRADIENT if name.endswith("best") and "fgsm" not in name])
@some_settings
@pytest.mark.parametrize("eps", [0.03, 0.3])
def test_best_is_never_worse_than_any_iterate(name, setting, eps) -> None:
    w = world(*setting)
    attack = ATTACKS[name](eps, w)
    run = lambda attack: run_attack(
        attack, w.net, w.x, w.y, target=w.target, generator=torch.Generator().manual_seed(1)
    )
    best = run(attack)
    ranks = []
    for steps in range(STEPS + 1):
        iterate = run(replace(attack, steps=steps, keep="last"))
        ranks.append(list(zip((~iterate.fooled).tolist(), iterate.objective.tolist(), strict=True)))
    for case, got in enumerate(zip((~best.fooled).tolist(), best.objective.tolist(), strict=True)):
        expected = min(rank[case] for rank in ranks)
        assert got[0] == expected[0]
        assert got[1] == pytest.approx(expected[1], abs=1e-9)


# --- agreement with an independent loop


def test_features_before_batchnorm_are_those_of_the_untouched_network() -> None:
    """HFC on a convolution's own result, which folding would change; a hook keeps the second network from folding."""
    w = world("gray", 2, True)
    with frozen(w.net), torch.no_grad():
        features = Taps(w.net, ["0"])(torch.rand(40, *w.x.shape[1:], dtype=float64)).features
    bank = fit_bank(features, torch.arange(40) % 2, strength=0.1, generator=torch.Generator().manual_seed(0))
    plain = copy.deepcopy(w.net)
    plain[1].register_forward_hook(lambda module, inputs, output: None)
    plain[4].register_forward_hook(lambda module, inputs, output: None)
    one, two = (attacked("bim+hfc-best", w._replace(bank=bank), net=net) for net in (w.net, plain))
    assert_same_cases(one, two)


@all_settings
def test_bim_equals_ten_plain_lines(setting) -> None:
    w, eps = world(*setting), 0.02
    alpha = 2 * eps / 8
    x = w.x.clone()
    for _ in range(8):
        x.requires_grad_(True)
        goal, sign = (w.y, 1) if w.target is None else (w.target, -1)
        loss = nn.functional.cross_entropy(w.net(x), goal, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x)
        x = x.detach() + sign * alpha * gradient.sign()
        x = torch.min(torch.max(x, w.x - eps), w.x + eps).clamp(0, 1)
    made = run_attack(bim(eps=eps, steps=8), w.net, w.x, w.y, target=w.target).x
    assert (made - x).abs().max() < 1e-12
