"""Two goals at once: which gradient is followed, and what it leaves alone (Bryniarski et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn

from contracts.attack_list import world
from medaegis import InputError, Tapped
from medaegis.attack import AutoStep, Goal, Iterate, Objective, TwoGoals, apgd, bim, cross_entropy, hfc, run_attack
from medaegis.attack._projection import goal_gradient, without_direction
from medaegis.models import Taps


@dataclass(frozen=True)
class Along(Objective):
    """A fixed combination of the logits: a goal whose gradient is known."""

    weights: tuple[float, ...]

    def __call__(self, tapped: Tapped, goal: Goal) -> Tensor:
        return tapped.logits @ torch.tensor(self.weights, dtype=tapped.logits.dtype)


def case(fooled: bool) -> tuple[TwoGoals, Tapped, Tensor]:
    """Own goal x0 + x1, added goal 3 x1, at a point that is fooled or not."""
    x = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    logits = torch.stack([x.sum(dim=1), 3 * x[:, 1]], dim=1)
    return TwoGoals(torch.tensor([fooled]), logits[:, 0], logits[:, 1]), Tapped(logits, {}), x


@pytest.mark.parametrize(
    ("projection", "fooled", "expected"),
    [
        ("none", False, [1.0, 4.0]),
        ("none", True, [1.0, 4.0]),
        ("selective", False, [1.0, 1.0]),
        ("selective", True, [0.0, 3.0]),
        ("orthogonal", False, [1.0, 0.0]),  # (1, 1) less its part along (0, 3)
        ("orthogonal", True, [-1.5, 1.5]),  # (0, 3) less its part along (1, 1)
    ],
)
def test_directions_by_hand(projection, fooled: bool, expected: list[float]) -> None:
    goals, tapped, x = case(fooled)
    torch.testing.assert_close(goal_gradient(goals, projection, tapped, x), torch.tensor([expected]).double())


def test_the_other_goal_does_not_move_to_first_order() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 5, 3, 4, 4, generator=generator, dtype=torch.float64)
    left = without_direction(a, b)
    inner = (left * b).flatten(1).sum(dim=1)
    torch.testing.assert_close(inner, torch.zeros(5).double(), atol=1e-12, rtol=0)
    assert torch.equal(without_direction(a, torch.zeros_like(b)), a)
    torch.testing.assert_close(without_direction(a * 1e-200, b * 1e-200) * 1e200, left)  # no underflow of squares


def halves() -> tuple[nn.Module, Tensor]:
    """A linear network that reads the first row of a 2 x 2 image, and an image of class 0 by a margin of 0.2."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).double()
    net[1].weight.data = torch.tensor([[1.0, 1, 0, 0], [-1, -1, 0, 0]]).double()
    net[1].bias.data = torch.tensor([-1.0, 1.0]).double()
    x = torch.full((1, 1, 2, 2), 0.5).double()
    x[0, 0, 0] += 0.05
    return net, x


def test_selective_follows_the_own_loss_alone_until_fooled_and_then_the_other_alone() -> None:
    net, x = halves()
    pulling = bim(eps=0.1, steps=20, step_size=0.01).plus(Along((0.0, 0.0))).projecting("selective")
    y, target = torch.tensor([0]), torch.tensor([1])
    made = run_attack(pulling, net, x, y, target=target)
    assert made.fooled.all()
    moved = (made.x - x).flatten()[0].item()
    assert -0.065 < moved < -0.049  # steps until it is fooled, then the added goal has no gradient
    further = run_attack(replace(pulling, projection="none"), net, x, y, target=target)
    assert (further.x - x).flatten()[0].item() == pytest.approx(-0.1)


def test_each_case_works_at_its_own_goal() -> None:
    # the paper's released code lets the parity of the batch's size choose
    w = world("rgb", 2, True)
    attack = bim(eps=0.05, steps=4).plus(hfc(w.bank)).projecting("orthogonal")
    together = run_attack(attack, w.net, w.x, w.y, target=w.target)
    for i in range(len(w.x)):
        alone = run_attack(attack, w.net, w.x[i : i + 1], w.y[i : i + 1], target=w.target[i : i + 1])
        torch.testing.assert_close(alone.x[0], together.x[i], rtol=0, atol=1e-12)


def test_a_projection_needs_two_goals() -> None:
    with pytest.raises(InputError, match=r"`projection` of BIM.* must be \"none\" where nothing was added"):
        bim(eps=0.1).projecting("orthogonal")
    w = world("rgb", 2, True)
    with pytest.raises(InputError, match="`projection` of"):
        bim(eps=0.1).plus(hfc(w.bank)).projecting("sideways")  # type: ignore[arg-type]


# Auto-PGD with two goals: what its checkpoints judge


def drive(own: list[float], added: list[float], fooled: list[bool], judge: str) -> list[float]:
    """Points visited on a line, gradient always +1, no walls."""
    step, count = AutoStep(1.0, judge=judge), len(own)  # type: ignore[arg-type]
    point = torch.zeros(1, 1)
    state, points = step.init(point), [0.0]
    for k in range(count):
        goals = TwoGoals(torch.tensor([fooled[k]]), torch.tensor([own[k]]), torch.tensor([added[k]]))
        now = Iterate(point, torch.ones(1, 1), goals.own + goals.added, k, count, lambda p: p, goals=goals)
        point, state = step.update(now, state)
        points.append(point.item())
    return points


def test_getting_hidden_at_the_cost_of_being_fooled_is_no_progress() -> None:
    # the sum falls at every step, but the case is fooled at step 5 only: it must go back there
    count = 100
    own, added = [1.0] * count, [500.0 - 5 * k for k in range(count)]
    fooled = [k == 5 for k in range(count)]
    goals, total = drive(own, added, fooled, "goals"), drive(own, added, fooled, "objective")
    assert abs(goals[23] - goals[5]) < 5
    assert total[23] < -20


def test_getting_fooled_is_progress_though_the_sum_rises() -> None:
    # the own loss falls by 1 a step while what was added rises by 2, until fooled at 60; then the added part falls
    count = 100
    own = [60.0 - k for k in range(count)]
    added = [2.0 * k if k < 60 else 120 - 3.0 * (k - 60) for k in range(count)]
    fooled = [k >= 60 for k in range(count)]
    goals, total = drive(own, added, fooled, "goals"), drive(own, added, fooled, "objective")
    assert goals[-1] < -95  # never halved
    assert total[-1] > -60  # halved at the first checkpoint, and back at the start


def test_nothing_added_is_the_papers_rule() -> None:
    w = world("gray", 2, True)
    first, second = (
        run_attack(apgd(eps=0.05, steps=20, judge=judge), w.net, w.x, w.y, target=w.target)  # type: ignore[arg-type]
        for judge in ("goals", "objective")
    )
    assert torch.equal(first.x, second.x)
    with pytest.raises(InputError, match="`judge` of apgd"):
        apgd(eps=0.1, judge="sum")  # type: ignore[arg-type]


def test_parts_sum_to_the_objective() -> None:
    w = world("rgb", 5, True)
    first = w.bank.layers[0]
    objective = cross_entropy + hfc(w.bank, layer_weights={first: 3.0})
    with torch.no_grad():
        tapped = Taps(w.net)(w.x.clone())
    goal = Goal(w.y, w.target)
    parts = objective.parts(tapped, goal)
    assert list(parts) == ["CrossEntropy", *(f"HFC {name}" for name in w.bank.layers)]
    torch.testing.assert_close(torch.stack(list(parts.values())).sum(dim=0), objective(tapped, goal))
    torch.testing.assert_close(parts[f"HFC {first}"], 3 * hfc(w.bank).parts(tapped, goal)[f"HFC {first}"])
