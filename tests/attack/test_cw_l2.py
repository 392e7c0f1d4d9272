"""CW-L2: closed forms on linear networks, black and white pixels, independence of cases, no NaN, budgets."""

from __future__ import annotations

import pytest
import torch

from attack.test_deepfool import Constant, Flat, curved, interior, linear, predictions
from contracts.attack_list import SHAPES, world
from medaegis import InputError
from medaegis.attack import Goal, cw_l2, deepfool, hfc, l2_size, run_attack
from medaegis.density import fit_bank
from medaegis.models import Taps, frozen

float64 = torch.float64


@pytest.mark.parametrize("shape", list(SHAPES.values()), ids=list(SHAPES))
@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("kappa", [0.0, 0.5])
def test_smallest_perturbation_of_a_linear_network(shape, classes, kappa) -> None:
    """(margin + kappa) / |w| within two percent."""
    net, x = linear(shape, classes), interior(shape)
    y = predictions(net, x)
    result = run_attack(cw_l2(kappa=kappa), net, x, y)
    logits, w = net(x).detach(), net[1].weight.detach()
    gaps = logits.gather(1, y[:, None]) - logits + kappa
    slopes = (w[None] - w[y][:, None]).norm(dim=2)
    best = torch.where(slopes > 0, gaps / slopes, torch.inf).amin(dim=1)
    ratio = l2_size(result.x - x, "l2") / best
    assert ratio.min() >= 1
    assert ratio.max() < 1.02
    assert result.fooled.all()
    assert (result.objective <= -kappa).all()


@pytest.mark.parametrize("scale", [1e-20, 1e-3, 1e3, 1e20])
def test_scale_of_the_logits_changes_nothing(scale) -> None:
    shape = SHAPES["gray"]
    net, x = linear(shape, 5), interior(shape)
    y = predictions(net, x)
    plain = run_attack(cw_l2(steps=20), net, x, y).x
    net[1].weight.data *= scale
    assert (run_attack(cw_l2(steps=20), net, x, y).x - plain).abs().max() < 1e-9


@pytest.mark.parametrize("pixel", [0.0, 1.0])
@pytest.mark.parametrize("shape", list(SHAPES.values()), ids=list(SHAPES))
def test_black_and_white_images_move(pixel, shape) -> None:
    """Through tanh they never would. Half of the pixels can only go out of the range; the others carry the way."""
    net, x = linear(shape, 2), torch.full((1, *shape), pixel, dtype=float64)
    net[1].bias.data[0] = 1 + net(x).detach().diff().item()
    result = run_attack(cw_l2(), net, x, torch.tensor([0]))
    slope = net[1].weight.detach().diff(dim=0)[0]
    free = slope > 0 if pixel == 0 else slope < 0
    assert result.fooled.all()
    assert 1 <= l2_size(result.x - x, "l2").item() * slope[free].norm().item() < 1.02


@pytest.mark.parametrize(("shape", "classes", "targeted"), [("gray", 2, False), ("rgb", 5, True), ("volume", 5, True)])
def test_not_longer_than_deepfool(shape, classes, targeted) -> None:
    net, x = curved(SHAPES[shape], classes), interior(SHAPES[shape])
    y = predictions(net, x)
    target = (y + 1) % classes if targeted else None
    ours, other = (run_attack(attack, net, x, y, target=target) for attack in (cw_l2(), deepfool()))
    assert ours.fooled.all()
    ratio = (l2_size(ours.x - x) / l2_size(other.x - x))[other.fooled]
    assert ratio.max() < 1.01
    assert ratio.min() > 0.3


def test_a_case_stands_alone() -> None:
    """Aborting, leaving and the search for c do not look at other cases: each alone gives the same, step for step."""
    net, x = curved(SHAPES["rgb"], 5), interior(SHAPES["rgb"])
    y = predictions(net, x)
    y[2] = (y[2] + 1) % 5  # fooled as it comes
    attack = cw_l2(steps=60, first_c=0.4)
    whole = run_attack(attack, net, x, y)
    assert len(set(whole.steps.tolist())) > 2
    for case in range(len(x)):
        rows = slice(case, case + 1)
        alone = run_attack(attack, net, x[rows], y[rows])
        assert (alone.x - whole.x[rows]).abs().max() < 1e-9
        assert alone.steps[0] == whole.steps[case]


def test_c_grows_until_it_fools() -> None:
    net, x = linear(SHAPES["gray"], 2), interior(SHAPES["gray"])
    y = predictions(net, x)
    few, more = (run_attack(cw_l2(first_c=0.003, searches=count), net, x, y) for count in (1, 5))
    assert not few.fooled.any()
    assert more.fooled.all()
    with torch.no_grad():
        assert (few.objective <= net(x).diff().abs()[:, 0]).all()  # the smallest J seen comes back


def test_fooled_cases_stay_as_they_are() -> None:
    w = world("gray", 2, False)
    result = run_attack(cw_l2(), w.net, w.x, 1 - predictions(w.net, w.x))
    assert torch.equal(result.x, w.x)
    assert not result.steps.any()


@pytest.mark.parametrize("root", [False, True])
def test_a_case_without_gradient_is_counted_and_leaves(root) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Flat(root)
    x = torch.rand(4, 1, 7, 7, generator=torch.Generator().manual_seed(0), dtype=float64)
    x[1] = 0.1
    result = run_attack(cw_l2(steps=20), net, x, predictions(net, x))
    assert (result.zero_gradient.tolist(), result.stuck.tolist()) == ([0, 1, 0, 0], [0, 1, 0, 0])
    assert result.steps[1] == 1
    assert torch.equal(result.x[1], x[1])
    assert result.x.isfinite().all()
    assert result.fooled.tolist() == [True, False, True, True]


def test_plus_hfc_lowers_hfc() -> None:
    """At equal success the added term is smaller and the perturbation longer."""
    shape = SHAPES["gray"]
    net, x = curved(shape, 2), interior(shape)
    y = predictions(net, x)
    normal = interior(shape, 80)
    with frozen(net), torch.no_grad():
        features = Taps(net, ["2"])(normal).features
    bank = fit_bank(features, predictions(net, normal), strength=0.1, generator=torch.Generator().manual_seed(0))
    term = hfc(bank, weight=0.3)
    attack = cw_l2().plus(term)
    plain, hidden = (run_attack(each, net, x, y, target=1 - y) for each in (cw_l2(), attack))
    assert hidden.fooled.all()
    goal = Goal(y, 1 - y)
    with torch.no_grad():
        before, after = (term(Taps(net, ["2"])(result.x), goal) for result in (plain, hidden))
    assert after.mean() < before.mean()
    assert (l2_size(hidden.x - x) > 0.99 * l2_size(plain.x - x)).all()
    assert attack.name == "CW-L2+hfc"


@pytest.mark.parametrize("eps", [0.001, 0.5])
def test_budget(eps) -> None:
    net, x = linear(SHAPES["rgb"], 5).float(), interior(SHAPES["rgb"]).float()
    y = predictions(net, x)
    free, bound = (run_attack(cw_l2(limit, steps=20), net, x, y).x for limit in (None, eps))
    assert l2_size((bound - x).double()).max() <= eps
    if eps == 0.5:
        assert torch.equal(free, bound)


def test_errors() -> None:
    wrong = [{"steps": 0}, {"searches": 0}, {"step_size": 0}, {"kappa": -1}, {"first_c": 0}, {"eps": 4}]
    for options in wrong:
        with pytest.raises(InputError, match=r"`(steps|searches|step_size|kappa|first_c|eps)` of"):
            cw_l2(**options)
    with pytest.raises(InputError, match="objective"):
        cw_l2().plus(hfc)
    w = world("gray", 2, False)
    with pytest.raises(InputError, match="carries no gradient"):
        run_attack(cw_l2(), Constant(), w.x, w.y)
