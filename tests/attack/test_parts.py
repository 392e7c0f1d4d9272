"""The parts of an attack, each against an answer by hand."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import nn

from contracts.attack_list import world
from medaegis import Tapped
from medaegis.attack import (
    CaseRandom,
    CrossEntropy,
    Goal,
    Linf,
    SignStep,
    Sum,
    bim,
    cross_entropy,
    fgsm,
    hfc,
    matched_noise,
    noise,
    pgd,
    run_attack,
)
from medaegis.attack._best import Best
from medaegis.attack._random import case_seeds


@pytest.fixture(autouse=True)
def _same_networks_every_time():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("eps", [0.03, 1e-3, 1 / 256, 0.1, 1e-9, 1e-42, 0.999])
def test_ball_holds_for_real_numbers(dtype, eps) -> None:
    """With fractions: a difference computed in floating point may round an excess away."""
    generator = torch.Generator().manual_seed(0)
    exponents = torch.randint(-60, 1, (300,), generator=generator)
    tiny = torch.rand(300, generator=generator, dtype=torch.float64) * 2.0**exponents
    near = eps * (1 + torch.randn(100, generator=generator, dtype=torch.float64) * 1e-6)
    ends = torch.tensor([0, 1, 2**-149, 1e-40, 1 - 2**-24], dtype=torch.float64)
    x0 = torch.cat([tiny, near, ends]).clamp(0, 1).to(dtype)[None, None]
    region = Linf(eps).around(x0)
    reach = Fraction(eps)
    for far in (-9.0, 9.0):
        reached = region.project(torch.full_like(x0, far))
        spacing = Fraction(torch.finfo(dtype).eps)
        for clean, moved in zip(x0.flatten().tolist(), reached.flatten().tolist(), strict=True):
            moved_by = abs(Fraction(moved) - Fraction(clean))
            assert moved_by <= reach
            at_the_end = moved in (0.0, 1.0)
            assert (
                at_the_end
                or moved_by >= reach * (1 - 3 * spacing) - 2 * spacing * Fraction(clean) - Fraction(2) ** -149
            )


@pytest.mark.parametrize("eps", [0.03, 1 / 256])
def test_start_is_uniform_on_both_sides(eps) -> None:
    start = Linf(eps).around(torch.full((1, 1, 100, 100), 0.5)).start(CaseRandom.from_seeds([0]))
    move = (start - 0.5) / eps
    assert move.mean().abs() < 0.03  # a start in [0, eps] would give 0.5
    assert move.var().item() == pytest.approx(1 / 3, abs=0.02)


def test_noise_kinds() -> None:
    x, y, net = torch.full((1, 1, 100, 100), 0.5), torch.tensor([0]), nn.Sequential(nn.Flatten(), nn.Linear(10_000, 2))
    move = {
        kind: (run_attack(noise(eps=0.1, kind=kind), net, x, y).x - x) / 0.1 for kind in ("uniform", "gaussian", "sign")
    }
    assert move["uniform"].var().item() == pytest.approx(1 / 3, abs=0.02)
    assert move["gaussian"].abs().lt(0.5).float().mean().item() == pytest.approx(0.683, abs=0.02)
    assert move["sign"].abs().min() > 0.999
    assert move["sign"].mean().abs() < 0.03


def test_matched_noise_has_each_perturbations_size() -> None:
    w = world("rgb", 2, True, torch.float32)
    made = run_attack(bim(eps=0.03, steps=4), w.net, w.x, w.y, target=w.target).x
    noisy = matched_noise(w.x, made, generator=torch.Generator().manual_seed(0))
    inner = (w.x > 0.03) & (w.x < 0.97)
    torch.testing.assert_close((noisy - w.x).abs()[inner], (made - w.x).abs()[inner], rtol=0, atol=2e-7)
    assert ((noisy - w.x)[inner] * (made - w.x)[inner]).sign().mean().abs() < 0.15
    assert noisy.min() >= 0
    assert noisy.max() <= 1


def test_schedules_are_the_papers() -> None:
    """T = 2 eps / alpha with alpha = 0.02/256 (SPEC section 3)."""
    assert [bim(eps=k / 256).steps for k in (1, 4, 16)] == [100, 400, 1600]
    assert bim(eps=1 / 256).step == SignStep(0.02 / 256)
    assert (bim(eps=0.1, steps=10).step.size, fgsm(eps=0.1).step.size) == (0.02, 0.1)
    assert (bim(eps=0.1, step_size=0.03).steps, bim(eps=0.0).steps) == (7, 1)
    assert [a(eps=0.1).random_start for a in (fgsm, bim, pgd, noise)] == [False, False, True, True]


def test_cross_entropy_by_hand() -> None:
    logits = torch.tensor([[0.0, 0.0], [2.0, 0.0]], dtype=torch.float64)
    label, target = torch.tensor([0, 0]), torch.tensor([1, 1])
    log_two, log_rest = torch.tensor(2.0).log().item(), torch.tensor(1 + 2.718281828459045**2).double().log().item()
    wanted = CrossEntropy()(Tapped(logits, {}), Goal(label, target))
    assert wanted.tolist() == pytest.approx([log_two, log_rest], abs=1e-6)
    left = CrossEntropy()(Tapped(logits, {}), Goal(label, None))
    assert left.tolist() == pytest.approx([-log_two, 2 - log_rest], abs=1e-6)


def test_goal() -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]])
    label = torch.tensor([0, 0])
    assert Goal(label, None).fooled(logits).tolist() == [False, True]
    assert Goal(label, torch.tensor([1, 2])).fooled(logits).tolist() == [False, True]
    assert Goal(label, None).wanted_class(logits).tolist() == [1, 2]
    assert Goal(label, None).wanted_class(-100 - logits).tolist() == [2, 1]  # negative logits: masked, not multiplied
    assert Goal(label, torch.tensor([2, 1])).wanted_class(logits).tolist() == [2, 1]


def test_objectives_add() -> None:
    w = world("gray", 2, True)
    constraint = hfc(w.bank)
    both = cross_entropy + constraint
    assert isinstance(both + cross_entropy, Sum)
    assert len((both + (cross_entropy + cross_entropy)).terms) == 4
    assert both.layers == w.bank.layers == ("2", "5")
    assert bim(eps=0.1).plus(constraint).name == "BIM+hfc"


def test_hfc_is_half_the_quadratic_form_over_channels() -> None:
    """lambda/2 (f - mu)^T S^-1 (f - mu) with lambda = 1 / C (HFC-21 eq. 7), summed over layers."""
    w = world("gray", 2, True)
    features = {"2": torch.rand(7, 4, dtype=torch.float64), "5": torch.rand(7, 6, dtype=torch.float64)}
    goal = Goal(torch.ones(7, dtype=torch.int64), torch.zeros(7, dtype=torch.int64))
    expected = sum(w.bank.mixtures[name][0].nearest(z).quadratic / z.shape[1] / 2 for name, z in features.items())
    tapped = Tapped(torch.zeros(7, 2, dtype=torch.float64), features)
    torch.testing.assert_close(hfc(w.bank)(tapped, goal), expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(hfc(w.bank, weight=3)(tapped, goal), 3 * expected, rtol=1e-9, atol=0)


def test_hfc_pulls_features_back() -> None:
    w = world("rgb", 2, True)
    quadratic = lambda made: hfc(w.bank)(taps(made.x), Goal(w.y, w.target)).mean()
    from medaegis.models import Taps

    taps = Taps(w.net, w.bank.layers)
    plain = run_attack(bim(eps=0.05, steps=20), w.net, w.x, w.y, target=w.target)
    hidden = run_attack(bim(eps=0.05, steps=20).plus(hfc(w.bank)), w.net, w.x, w.y, target=w.target)
    with torch.no_grad():
        assert quadratic(hidden) < 0.9 * quadratic(plain)


def test_a_nearly_certain_softmax_keeps_its_direction() -> None:
    """The gradient to the logits is about 1e-35; times a weight of 1e-13 it is zero in float32, unless it is scaled."""
    generator = torch.Generator().manual_seed(0)
    sign = torch.rand(1, 16, generator=generator).sub(0.5).sign()
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 1, bias=False), nn.Linear(1, 2, bias=False))
    net[1].weight.data, net[2].weight.data = sign * 1e14, torch.tensor([[40.0], [-40.0]]) * 1e-14
    x = 0.5 + 0.0625 * sign.reshape(1, 1, 4, 4)  # the sum over pixels is 1 more than the sum of signs / 2
    shift = 0.5 * float(sign.sum())
    net[2].bias = nn.Parameter(torch.tensor([-40.0, 40.0]) * shift)
    plain = x.clone().requires_grad_()
    nn.functional.cross_entropy(net(plain), torch.tensor([0])).backward()
    assert not plain.grad.any()
    made = run_attack(bim(eps=0.01, steps=2), net, x, torch.tensor([0]))
    assert made.zero_gradient.tolist() == [0]
    torch.testing.assert_close(made.x, x - 0.01 * sign.reshape(1, 1, 4, 4))


def test_best_ranks_fooled_before_the_objective() -> None:
    best = Best.start(torch.full((1, 1), 9.0))
    kept = []
    for number, (value, fooled) in enumerate(
        [(0.5, False), (0.1, False), (5, True), (3, True), (4, True), (-1, False)]
    ):
        best = best.better(torch.full((1, 1), float(number)), torch.tensor([value]), torch.tensor([fooled]))
        kept.append(int(best.x))
    assert kept == [0, 1, 2, 3, 3, 3]
    worse = best.better(torch.zeros(1, 1), torch.tensor([torch.nan]), torch.tensor([True]))
    assert int(worse.x) == 3


def test_seeds_of_the_first_cases_do_not_depend_on_how_many_follow() -> None:
    few, many = (case_seeds(n, torch.Generator().manual_seed(5)) for n in (3, 100))
    assert torch.equal(few, many[:3])
    assert len(many.unique()) == 100


def test_draws_follow_the_dtype_and_shape() -> None:
    drawn = CaseRandom.from_seeds([1, 2]).normal((3, 4), torch.zeros(0, dtype=torch.float64))
    assert (drawn.shape, drawn.dtype) == ((2, 3, 4), torch.float64)
