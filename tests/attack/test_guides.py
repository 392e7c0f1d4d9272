"""Guides: which natural case is imitated, how far it is, and what an attack that follows it reaches."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch
from torch import Tensor

from contracts.attack_list import world
from medaegis import InputError, Tapped
from medaegis.attack import (
    Attack,
    AttackResult,
    Goal,
    Guide,
    bim,
    cross_entropy,
    cw_l2,
    feature_attack,
    guide_closest,
    guide_random,
    pgd,
    run_attack,
)

MAKERS = [guide_random, guide_closest]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def features_of(n: int, seed: int = 0) -> dict[str, Tensor]:
    """Two layers of very different size."""
    return {"first": normal(n, 3, seed=seed), "second": 50 * normal(n, 5, seed=seed + 1)}


def train(m: int = 30) -> tuple[dict[str, Tensor], Tensor]:
    return features_of(m), torch.arange(m) % 3


def tapped(n: int, seed: int = 40) -> Tapped:
    return Tapped(normal(n, 3, seed=seed), features_of(n, seed + 1))


def goal_of(targets: list[int] | None, n: int = 6, seed: int = 50) -> Goal:
    label = torch.arange(n) % 3
    target = None if targets is None else torch.tensor(targets)
    return Goal(label, target, tapped(n, seed), torch.arange(n) * (10**15 + 1))


def test_value_by_hand():
    # variances 4 (mean of 4 and 4) and 1: (1 + 9) / (2 x 2 x 4) + 9 / (2 x 1 x 1)
    features = {"a": torch.tensor([[-2.0, 2.0], [2.0, -2.0]]), "b": torch.tensor([[1.0], [3.0]])}
    now = Tapped(torch.zeros(1, 2), {"a": torch.tensor([[3.0, 1.0]]), "b": torch.tensor([[0.0]])})
    goal = Goal(torch.tensor([0]), torch.tensor([1]), now, torch.tensor([5]))
    for make in MAKERS:
        assert make(features, torch.tensor([0, 1]))(now, goal).item() == pytest.approx(10 / 16 + 4.5)
        assert make(features, torch.tensor([0, 1]), weight=4.0)(now, goal).item() == pytest.approx(4 * (10 / 16 + 4.5))
        assert make(features, torch.tensor([0, 1]), layers=["b"])(now, goal).item() == pytest.approx(4.5)


def test_two_train_cases_are_one_apart_at_each_layer():
    features, labels = train(300)
    now = Tapped(normal(300, 3), features)
    value = guide_random(features, labels)(now, goal_of(None, 300)._replace(clean=now))
    assert value.mean().item() == pytest.approx(2, rel=0.15)


def test_the_guide_is_of_the_wanted_class_and_drawn_by_the_cases_own_seed():
    features, labels = train()
    objective, seeds = guide_random(features, labels), torch.arange(3000)
    wanted = torch.full((3000,), 2)
    rows = objective.guides.drawn(seeds, wanted)
    assert set(rows.tolist()) == set((labels == 2).nonzero().flatten().tolist())
    assert torch.bincount(rows)[2::3].tolist() == [300] * 10
    mixed = objective.guides.drawn(seeds[:6], torch.tensor([2, 0, 1, 2, 1, 0]))
    assert labels[mixed].tolist() == [2, 0, 1, 2, 1, 0]
    assert mixed[0] == rows[0]
    assert mixed[3] == rows[3]


def test_the_closest_guide_is_that_of_brute_force():
    features, labels = train()
    goal = goal_of([2, 0, 1, 1, 0, 2])
    objective = guide_closest(features, labels)
    rows = objective.rows(objective.guides, goal)
    for i, c in enumerate(goal.target.tolist()):
        far = np.zeros(30)
        for name, z in features.items():
            z, f = z.numpy(), goal.clean.features[name][i].numpy()
            far += ((z - f) ** 2).mean(axis=1) / z.var(axis=0).mean()
        far[labels.numpy() != c] = np.inf
        assert rows[i] == far.argmin()


def test_closest_counts_all_layers_alike():
    # layer b is a thousand times as large: without the variance it alone would choose the second guide
    features = {"a": torch.tensor([[1.0], [-1.0], [0.0]]), "b": torch.tensor([[1000.0], [0.0], [-1000.0]])}
    clean = Tapped(torch.zeros(1, 2), {"a": torch.tensor([[1.0]]), "b": torch.tensor([[499.0]])})
    labels, goal = torch.tensor([1, 1, 0]), Goal(torch.tensor([0]), torch.tensor([1]), clean)
    chosen = guide_closest(features, labels)
    assert chosen.rows(chosen.guides, goal).tolist() == [0]
    only_b = guide_closest(features, labels, layers=["b"])
    assert only_b.rows(only_b.guides, goal).tolist() == [1]


@pytest.mark.parametrize("make", MAKERS)
def test_the_guide_stays_when_logits_change_and_when_cases_leave(make):
    features, labels = train()
    objective, goal = make(features, labels), goal_of(None)
    rows = objective.rows(objective.guides, goal)
    first = goal.wanted_class(goal.clean.logits)
    assert torch.equal(labels[rows], first)
    later = tapped(6)
    assert not torch.equal(goal.wanted_class(later.logits), first)  # else this shows nothing
    whole = objective(later, goal)
    keep = torch.tensor([4, 1])
    part = Tapped(later.logits[keep], {name: z[keep] for name, z in later.features.items()})
    torch.testing.assert_close(objective(part, goal.rows(keep)), whole[keep], rtol=1e-12, atol=0)
    torch.testing.assert_close(objective(later, goal), whole, rtol=0, atol=0)


@pytest.mark.parametrize("make", MAKERS)
def test_gradient_agrees_with_finite_differences_and_logits_have_none(make):
    objective, goal = make(*train()), goal_of([2, 0, 1, 1, 0, 2])
    logits, first, second = (z.requires_grad_() for z in (tapped(6).logits, *tapped(6).features.values()))

    def value(*features: Tensor) -> Tensor:
        return objective(Tapped(logits, dict(zip(("first", "second"), features, strict=True))), goal)

    assert torch.autograd.gradcheck(value, (first, second))
    assert torch.autograd.grad(value(first, second).sum(), logits, allow_unused=True) == (None,)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
def test_float32_bears_features_of_any_scale(make, scale: float):
    features, labels = train()
    exact = make(features, labels)(tapped(6), goal_of([2, 0, 1, 1, 0, 2]))

    def single(passed: Tapped) -> Tapped:
        return Tapped(passed.logits.float(), {n: (z * scale).float() for n, z in passed.features.items()})

    goal = goal_of([2, 0, 1, 1, 0, 2])
    small = make({n: (z * scale).float() for n, z in features.items()}, labels)
    now = single(tapped(6))
    now.features["first"].requires_grad_()
    found = small(now, goal._replace(clean=single(goal.clean)))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-6)
    assert torch.autograd.grad(found.sum(), now.features["first"])[0].abs().min() > 0


def test_constant_features_have_a_spread_of_one():
    objective = guide_random({"a": torch.full((4, 2), 0.1)}, torch.tensor([0, 0, 1, 1]))
    assert objective.guides.spreads == {"a": 1.0}


@pytest.mark.parametrize("make", MAKERS)
def test_the_guides_die_with_the_objective(make):
    objective = make(*train())
    objective(tapped(6), goal_of([2, 0, 1, 1, 0, 2]))
    watched = weakref.ref(objective.guides)
    del objective
    gc.collect()
    assert watched() is None


# --- attacks


def made_by(attack: Attack, batch_size: int = 7) -> AttackResult:
    """An attack on a small network; whatever it draws, it draws the same."""
    w, generator = world("rgb", 5, True), torch.Generator().manual_seed(1)
    return run_attack(attack, w.net, w.x, w.y, target=w.target, generator=generator, batch_size=batch_size)


@pytest.mark.parametrize("make", MAKERS)
def test_an_attack_comes_closer_to_its_guide(make):
    w = world("rgb", 5, True)
    guide = make(w.features, w.labels)
    before = made_by(bim(eps=0.0, steps=1).minimising(guide)).objective
    after = made_by(bim(eps=0.03, steps=20).minimising(guide)).objective
    assert (after < 0.8 * before).all()
    plain, hidden = (made_by(a) for a in (bim(eps=0.03, steps=20), bim(eps=0.03, steps=20).plus(guide)))
    distance = hidden.objective - torch.nn.functional.cross_entropy(hidden.logits, w.target, reduction="none")
    assert (distance < before).all()  # to the same guides: the same generator drew them
    assert (hidden.x != plain.x).flatten(1).any(dim=1).all()


def test_a_feature_attack_is_pgd_on_the_guide_alone():
    w = world("rgb", 5, True)
    guide = guide_closest(w.features, w.labels)
    attack = feature_attack(0.03, guide, steps=4)
    assert (attack.name, attack.objective, attack.random_start) == ("Fea", guide, True)
    same = (attack, pgd(eps=0.03, steps=4, objective=guide), pgd(eps=0.03, steps=4).minimising(guide))
    made = [made_by(a).x for a in same]
    assert torch.equal(made[0], made[1])
    assert torch.equal(made[0], made[2])
    assert feature_attack(16 / 256, guide).steps == 100


@pytest.mark.parametrize(
    "attack", [pgd(eps=0.05, steps=6).keeping("first"), cw_l2(eps=0.05, steps=10, searches=2)], ids=["first", "cw_l2"]
)
def test_cases_that_leave_do_not_change_the_others_guides(attack):
    w = world("rgb", 5, True)
    hiding = attack.plus(guide_random(w.features, w.labels, weight=0.1))

    whole = made_by(hiding).x
    for size in (1, 2, 5):
        torch.testing.assert_close(made_by(hiding, size).x, whole, rtol=0, atol=1e-9)


def test_names():
    features, labels = train()
    assert bim(eps=0.1).plus(guide_random(features, labels)).name == "BIM+guide_random"
    assert cw_l2().plus(guide_closest(features, labels)).name == "CW-L2+guide_closest"
    assert bim(eps=0.1).minimising(guide_closest(features, labels)).name == "BIM on guide_closest"
    both = cross_entropy + guide_random(features, labels)
    assert both.random
    assert both.reads_clean
    assert both.layers == ("first", "second")
    assert not (cross_entropy + guide_closest(features, labels)).random


# --- arguments


@pytest.mark.parametrize("make", MAKERS)
def test_arguments(make):
    features, labels = train()
    name = make.__name__
    for weight in (-1.0, float("nan"), True, "1"):
        with pytest.raises(InputError, match=f"`weight` of {name}"):
            make(features, labels, weight=weight)
    with pytest.raises(InputError, match=f"`layers` of {name}.*first, second"):
        make(features, labels, layers=["third"])
    with pytest.raises(InputError, match=f"`layers` of {name}"):
        make(features, labels, layers=[])
    with pytest.raises(InputError, match=f"`features` of {name}"):
        make({}, labels)
    with pytest.raises(InputError, match=f"`features` of {name}"):
        make(features["first"], labels)
    with pytest.raises(InputError, match=r"\(29, d\) at 'first'"):
        make(features, labels[1:])
    with pytest.raises(InputError, match="finite at 'second'"):
        make(features | {"second": features["second"] * torch.nan}, labels)
    with pytest.raises(InputError, match=f"`labels` of {name}"):
        make(features, labels[:, None])


@pytest.mark.parametrize("make", MAKERS)
def test_passes_that_do_not_fit(make):
    features, labels = train()
    goal, now = goal_of([0, 1, 0, 1, 0, 1]), tapped(6)
    with pytest.raises(InputError, match=r"none of \[1\].*classes \[0, 2\]"):
        make({n: z[labels != 1] for n, z in features.items()}, labels[labels != 1])(now, goal)
    with pytest.raises(InputError, match="layer 'second' of 5 channels"):
        make(features, labels)(Tapped(now.logits, {"first": now.features["first"]}), goal)
    with pytest.raises(InputError, match="layer 'first' of 3 channels"):
        make(features, labels)(now._replace(features=now.features | {"first": torch.zeros(6, 4)}), goal)
    with pytest.raises(InputError, match="run_attack gives them"):
        make(features, labels)(now, Goal(goal.label, goal.target))


def test_a_drawn_guide_needs_a_seed():
    with pytest.raises(InputError, match="`goal` of guide_random"):
        guide_random(*train())(tapped(6), goal_of(None)._replace(seed=None))


def test_a_network_without_the_layer_or_the_class():
    w = world("gray", 2, True)
    with pytest.raises(InputError, match="unknown modules"):
        run_attack(bim(eps=0.1, steps=1).plus(guide_random({"x": normal(4, 3)}, torch.arange(4) % 2)), w.net, w.x, w.y)
    one_class = {name: z[w.labels == 0] for name, z in w.features.items()}
    attack = bim(eps=0.1, steps=1).plus(guide_closest(one_class, w.labels[w.labels == 0]))
    with pytest.raises(InputError, match="holds the classes"):
        run_attack(attack, w.net, w.x, w.y, target=w.target)


def test_arguments_of_the_feature_attack():
    with pytest.raises(InputError, match="`guide` of feature_attack"):
        feature_attack(0.1, cross_entropy)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="eps"):
        feature_attack(2.0, guide_random(*train()))
    with pytest.raises(InputError, match=r"`objective` of BIM\.minimising"):
        bim(eps=0.1).minimising(Guide)  # type: ignore[arg-type]
