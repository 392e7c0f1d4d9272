"""Parts for adaptive attacks: falling steps, restarts, guards, other coordinates, cases that leave."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from contracts.attack_list import steerable, world
from medaegis import InputError
from medaegis.attack import (
    AdamStep,
    Decaying,
    Iterate,
    Linf,
    LowResolution,
    SignStep,
    Tanh,
    bim,
    pgd,
    run_attack,
)


def moves(rule: object, steps: int) -> list[float]:
    state = rule.init(torch.zeros(1, 1))
    made = []
    for k in range(steps):
        now = Iterate(torch.zeros(1, 1), torch.ones(1, 1), torch.zeros(1), k, steps, lambda p: p)
        point, state = rule.update(now, state)
        made.append(-point.item())
    return made


def test_step_sizes_drop_once_or_follow_a_cosine() -> None:
    assert moves(Decaying(SignStep(1.0)), 100) == pytest.approx([1.0] * 50 + [0.1] * 50)
    cosine = moves(Decaying(SignStep(1.0), "cosine"), 4)
    assert cosine == pytest.approx([1, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5], abs=1e-6)
    twice = moves(Decaying(Decaying(SignStep(1.0), after=1), after=2), 3)
    assert twice == pytest.approx([1.0, 0.1, 0.01])


@pytest.mark.parametrize("change", [{"kind": "linear"}, {"after": -1}, {"factor": 0.0}, {"factor": 2}])
def test_bad_schedules_are_named(change) -> None:
    kind = change.pop("kind", "drop")
    with pytest.raises(InputError, match="of decaying"):
        bim(eps=0.1).decaying(kind, **change)


def test_adam_is_torchs() -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    parameter = nn.Parameter(start.clone())
    optimiser = torch.optim.Adam([parameter], lr=0.1, eps=1e-12)
    rule = AdamStep(0.1)
    point, state = start, rule.init(start)
    for k in range(5):
        gradient = torch.randn(3, 4, generator=generator, dtype=torch.float64)
        parameter.grad = gradient
        optimiser.step()
        before = point.clone()
        kept = point
        point, state = rule.update(Iterate(point, gradient, torch.zeros(3), k, 5, lambda p: p), state)
        assert torch.equal(kept, before)
        torch.testing.assert_close(point, parameter.data, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["gray", "rgb", "volume"])
def test_restarts_are_never_worse_and_differ(name) -> None:
    w = world(name, 2, True)
    run = lambda attack: run_attack(
        attack, w.net, w.x, w.y, target=w.target, generator=torch.Generator().manual_seed(3)
    )
    attack = pgd(eps=0.02, steps=2)
    one, four = run(attack), run(attack.restarting(4))
    rank = lambda made: list(zip((~made.fooled).tolist(), made.objective.tolist(), strict=True))
    assert all(b <= a for a, b in zip(rank(one), rank(four), strict=True))
    assert not torch.equal(one.x, four.x)
    assert (four.steps == 8).all()
    with pytest.raises(InputError, match="restarts` of BIM must be 1 where nothing is random"):
        bim(eps=0.1).restarting(2)


@pytest.mark.parametrize("restarts", [1, 3])
@pytest.mark.parametrize("name", ["gray", "rgb", "volume"])
def test_cases_that_leave_early_lose_nothing(name, restarts) -> None:
    """The first fooled iterate of each case is the one that a loop over single cases would return."""
    w = world(name, 5, False)
    attack = pgd(eps=0.05, steps=12).restarting(restarts)
    run = lambda attack, rows=slice(None): run_attack(
        attack, w.net, w.x[rows], w.y[rows], generator=torch.Generator().manual_seed(3)
    )
    first, best = run(attack.keeping("first")), run(attack.keeping("best"))
    assert torch.equal(first.fooled, best.fooled)
    assert (first.steps[first.fooled] < best.steps[first.fooled]).all()
    assert (first.steps[~first.fooled] == best.steps[~first.fooled]).all()
    assert torch.equal(first.x[~first.fooled], best.x[~first.fooled])


def test_first_is_the_first() -> None:
    w = steerable("gray")
    attack = bim(eps=0.1, steps=20)
    run = lambda attack: run_attack(attack, w.net, w.x, w.y, target=w.target)
    first = run(attack.keeping("first"))
    assert first.fooled.all()
    for k in range(1, 20):
        shorter = run(replace(attack, steps=k))
        cases = (first.steps == k + 1).nonzero().flatten()
        torch.testing.assert_close(first.x[cases], shorter.x[cases], rtol=0, atol=1e-12)
        assert shorter.fooled[cases].all()


class Dark:
    """Lets pass images whose logits lie close together."""

    layers = ()

    def __init__(self, most: float) -> None:
        self.most = most

    def __call__(self, tapped):
        return (tapped.logits[:, 0] - tapped.logits[:, 1]).abs() < self.most


def test_a_guard_makes_undetected_iterates_win() -> None:
    w = steerable("gray")
    attack = bim(eps=0.1, steps=60, step_size=0.002)
    run = lambda attack: run_attack(attack, w.net, w.x, w.y, target=w.target)
    bold, sly = run(attack.keeping("best")), run(attack.against(Dark(0.1)))
    gap = lambda made: (made.logits[:, 0] - made.logits[:, 1]).abs()
    assert bold.fooled.all()
    assert sly.fooled.all()
    assert (gap(bold) > 0.1).all()
    assert (gap(sly) < 0.1).all()
    early = run(attack.against(Dark(0.1)).keeping("first"))
    assert (gap(early) < 0.1).all()
    assert (early.steps < 60).all()


def test_tanh_moves_pixels_at_the_ends_and_stays_in_the_ball() -> None:
    x0 = torch.tensor([[[[0.0, 1.0, 0.5]]]], dtype=torch.float64)
    region = Linf(0.1).around(x0)
    chart = Tanh().over(x0, region)
    point = chart.enter(x0)
    assert point.isfinite().all()
    far = chart.image(torch.full_like(x0, 50.0))
    assert torch.equal(far, region.project(torch.ones_like(x0)))
    attack = bim(eps=0.1, steps=30).over(Tanh(), AdamStep(0.5))
    w = world("gray", 2, True)
    made = run_attack(attack, w.net, w.x, w.y, target=w.target)
    sign = run_attack(bim(eps=0.1, steps=30), w.net, w.x, w.y, target=w.target)
    assert made.objective.mean() == pytest.approx(sign.objective.mean().item(), rel=0.05)


@pytest.mark.parametrize("name", ["gray", "rgb", "volume"])
def test_low_resolution_perturbations_are_smooth(name) -> None:
    w = world(name, 2, False)
    x = 0.3 + 0.4 * w.x
    rough = run_attack(bim(eps=0.1, steps=5), w.net, x, w.y).x - x
    smooth = run_attack(bim(eps=0.1, steps=5).over(LowResolution(3)), w.net, x, w.y).x - x
    variation = lambda d: sum(d.diff(dim=axis).abs().mean() for axis in range(2, d.dim())) / d.abs().mean()
    assert variation(smooth) < 0.5 * variation(rough)
    assert smooth.abs().max() <= 0.1
    with pytest.raises(InputError, match="factor` of LowResolution"):
        LowResolution(1)
