"""Auto-PGD: checkpoints of the paper, halving, going back to the best point."""

from __future__ import annotations

import itertools

import pytest
import torch

from contracts.attack_list import world
from medaegis import InputError
from medaegis.attack import AutoStep, Iterate, apgd, pgd, run_attack
from medaegis.attack._apgd import checkpoints


def test_checkpoints_of_the_paper() -> None:
    assert list(checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(1) == {}
    assert sum(checkpoints(1000).values()) < 1000


def drive(values: list[list[float]], size: float = 1.0) -> list[torch.Tensor]:
    """Points visited on a line with the given objective values, gradient always +1, no walls."""
    step = AutoStep(size)
    point = torch.zeros(len(values), 1)
    state, points = step.init(point), [point]
    count = len(values[0])
    for k in range(count):
        value = torch.tensor([case[k] for case in values])
        now = Iterate(point, torch.ones_like(point), value, k, count, lambda p: p)
        point, state = step.update(now, state)
        points.append(point)
    return points


def test_a_case_that_improves_keeps_its_size_and_one_that_does_not_goes_back() -> None:
    good = [-float(k) for k in range(100)]
    bad = [0.0, -5.0, *([1.0] * 98)]
    points = drive([good, bad])
    assert points[1][:, 0].tolist() == [-1.0, -1.0]
    moves = torch.cat([after - before for before, after in itertools.pairwise(points)], dim=1)
    assert moves[0, 22].item() == pytest.approx(-1.0, abs=0.01)
    best = points[1][1].item()
    jump = best + 0.75 * (-0.5) + 0.25 * (best - points[21][1].item())
    assert points[23][1].item() == pytest.approx(jump)  # from the best point, half the size, momentum of the jump


def test_neighbours_do_not_share_sizes() -> None:
    good, bad = [-float(k) for k in range(60)], [float(k) for k in range(60)]
    alone, together = drive([good]), drive([good, bad])
    assert all(torch.equal(a[0], b[0]) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("loss", ["margin", "ce"])
def test_at_least_as_strong_as_pgd_of_equal_steps(loss) -> None:
    w = world("rgb", 5, True)
    ours = run_attack(apgd(eps=0.1, steps=40, loss=loss), w.net, w.x, w.y, target=w.target)
    plain = run_attack(pgd(eps=0.1, steps=40).keeping("best"), w.net, w.x, w.y, target=w.target)
    assert ours.fooled.sum() >= plain.fooled.sum()


def test_errors_name_the_argument() -> None:
    for change in ({"norm": "l1"}, {"loss": "hinge"}, {"steps": 0}, {"eps": 8}, {"restarts": 0}):
        with pytest.raises(InputError, match=next(iter(change))):
            apgd(**({"eps": 0.1} | change))
