"""Objectives that hide from kernel density and from local intrinsic dimensionality."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from contracts.attack_list import world
from medaegis import InputError, Tapped
from medaegis.attack import Goal, Objective, bim, cross_entropy, kde_aware, lid_aware, run_attack
from medaegis.density import KernelDensity, LocalDimensionality, choose_bandwidth, local_dimensionality
from medaegis.models import Taps, frozen


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def densities(classes: int = 3, d: int = 4) -> dict[int, KernelDensity]:
    return {c: KernelDensity(normal(20, d, seed=c) + c, 0.5 + c / 10) for c in range(classes)}


def reference() -> dict[str, LocalDimensionality]:
    return {"first": LocalDimensionality(normal(40, 3), 8), "second": LocalDimensionality(normal(60, 5, seed=1), 20)}


def tapped(n: int, seed: int = 40) -> Tapped:
    sizes = {"penultimate": 4, "first": 3, "second": 5}
    return Tapped(normal(n, 3, seed=seed), {name: normal(n, d, seed=seed + d) for name, d in sizes.items()})


def towards(targets: list[int]) -> Goal:
    target = torch.tensor(targets)
    return Goal((target + 1) % 3, target)


def test_kde_by_hand():
    # distances 0 and 4 from a feature at 1, bandwidth 2, one channel: p = (1 + e^-2) / 2 x N(0; 0, 4)
    pair = {1: KernelDensity(torch.tensor([[1.0], [5.0]]), 2.0)}
    now = Tapped(torch.zeros(1, 2), {"penultimate": torch.tensor([[1.0]])})
    expected = -math.log((1 + math.exp(-2)) / 2 / (2 * math.sqrt(2 * math.pi)))
    goal = Goal(torch.tensor([0]), torch.tensor([1]))
    assert kde_aware(pair)(now, goal).item() == pytest.approx(expected)
    assert kde_aware(pair, weight=3.0)(now, goal).item() == pytest.approx(3 * expected)


def test_kde_is_taken_over_the_channels_and_by_each_cases_class():
    now, targets = tapped(6), [0, 1, 2, 2, 1, 0]
    found = kde_aware(densities())(now, towards(targets))
    for i, c in enumerate(targets):
        expected = -densities()[c].log_density(now.features["penultimate"][i : i + 1]) / 4
        torch.testing.assert_close(found[i : i + 1], expected, rtol=1e-12, atol=0)


def test_lid_by_hand():
    # 2 / ln 2 at one layer (distances 1 and 2), 3 / (2 ln 2) at the other (1, 2 and 2, k = 3): ln(1/2) + 0 + 0 = -ln 2
    layers = {
        "a": LocalDimensionality(torch.tensor([[0.0], [1.0], [2.0]]), 2),
        "b": LocalDimensionality(torch.tensor([[1.0], [2.0], [-2.0], [9.0]]), 3),
    }
    now = Tapped(torch.zeros(1, 2), {"a": torch.zeros(1, 1), "b": torch.zeros(1, 1)})
    expected = (2 + 3) / math.log(2)
    assert lid_aware(layers)(now, Goal(torch.tensor([0]), None)).item() == pytest.approx(expected)
    assert lid_aware(layers, weight=0.1)(now, Goal(torch.tensor([0]), None)).item() == pytest.approx(expected / 10)


@pytest.mark.parametrize("objective", [kde_aware(densities()), lid_aware(reference())], ids=["kde", "lid"])
@pytest.mark.parametrize("target", [None, [1, 0, 2, 1]])
def test_gradients_agree_with_finite_differences_and_logits_have_none(objective: Objective, target: list[int] | None):
    goal = Goal(torch.tensor([0, 1, 1, 2]), None if target is None else torch.tensor(target))
    now = tapped(4)
    logits, read = now.logits.requires_grad_(), [now.features[name].requires_grad_() for name in objective.layers]

    def value(*features: Tensor) -> Tensor:
        return objective(Tapped(logits, dict(zip(objective.layers, features, strict=True))), goal)

    assert torch.autograd.gradcheck(value, tuple(read))
    assert torch.autograd.grad(value(*read).sum(), logits, allow_unused=True) == (None,)


def test_without_a_target_the_most_probable_wrong_class_is_wanted():
    now = tapped(3)._replace(logits=torch.tensor([[9.0, 1.0, 5.0], [-3.0, -9.0, -1.0], [0.0, 7.0, 2.0]]).double())
    label = torch.tensor([0, 2, 0])
    found = kde_aware(densities())(now, Goal(label, None))
    torch.testing.assert_close(found, kde_aware(densities())(now, Goal(label, torch.tensor([2, 0, 1]))))


@pytest.mark.parametrize("objective", [kde_aware(densities()), lid_aware(reference())], ids=["kde", "lid"])
def test_float32_is_close_to_float64_and_stays_float32(objective: Objective):
    now, goal = tapped(6), towards([0, 1, 2, 2, 1, 0])
    single = Tapped(now.logits.float(), {name: z.float() for name, z in now.features.items()})
    found = objective(single, goal)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), objective(now, goal), rtol=1e-4, atol=0)
    assert (cross_entropy + objective)(single, goal).dtype == torch.float32


def test_a_density_that_underflows_still_pulls():
    far = Tapped(torch.zeros(1, 3), {"penultimate": torch.full((1, 4), 1e4, requires_grad=True)})
    value = kde_aware(densities())(far, towards([1]))
    (gradient,) = torch.autograd.grad(value.sum(), far.features["penultimate"])
    assert value.isfinite().all()
    assert (gradient > 1e3).all()


def test_neighbours_in_the_batch_do_not_matter():
    now, goal = tapped(6), towards([0, 1, 2, 2, 1, 0])
    for objective in (kde_aware(densities()), lid_aware(reference())):
        whole = objective(now, goal)
        for i in range(6):
            part = Tapped(now.logits[i : i + 1], {name: z[i : i + 1] for name, z in now.features.items()})
            alone = objective(part, goal.rows(torch.tensor([i])))
            torch.testing.assert_close(alone, whole[i : i + 1], rtol=1e-10, atol=0)


@pytest.mark.parametrize("make", [lambda: kde_aware(densities()), lambda: lid_aware(reference())], ids=["kde", "lid"])
def test_moved_copies_die_with_the_objective(make: Callable[[], Any]):
    objective = make()
    objective(tapped(2), towards([0, 1]))
    (kept,) = objective._moved.values()
    watched = weakref.ref(next(iter(kept.values())))
    del objective, kept
    gc.collect()
    assert watched() is None


def test_copies_are_moved_once():
    objective, goal = kde_aware(densities()), towards([0, 1])
    objective(tapped(2), goal)
    first = next(iter(objective._moved.values()))
    objective(tapped(2, seed=3), goal)
    assert next(iter(objective._moved.values())) is first


# --- attacks


def widths() -> dict[int, KernelDensity]:
    w = world("rgb", 5, True)
    by_class = {int(c): w.head[w.labels == c] for c in w.labels.unique()}
    return {c: KernelDensity(z, choose_bandwidth(z, "likelihood")) for c, z in by_class.items()}


def reached(eps: float, objective: Objective | None = None) -> tuple[Tensor, Tensor]:
    """Log density of the wanted class, and summed LID, of what BIM makes with a further term."""
    w = world("rgb", 5, True)
    attack = bim(eps=eps, steps=20)
    x = run_attack(attack.plus(objective) if objective else attack, w.net, w.x, w.y, target=w.target).x
    with frozen(w.net), torch.no_grad():
        layers, head = Taps(w.net)(x).features, Taps(w.net, ["penultimate"])(x).features["penultimate"]
    density = [widths()[c].log_density(head[i : i + 1]) for i, c in enumerate(w.target.tolist())]
    return torch.cat(density), sum(local_dimensionality(z, w.features[name]) for name, z in layers.items())


def test_kde_aware_raises_the_density_of_the_wanted_class():
    clean, plain, hidden = (reached(*at)[0] for at in ((0.0,), (0.03,), (0.03, kde_aware(widths()))))
    assert (hidden > plain).all()
    assert (hidden > clean).all()
    assert hidden.mean() > clean.mean() + 2


def test_lid_aware_lowers_the_dimensionality():
    normal_ones = {name: LocalDimensionality(z, 20) for name, z in world("rgb", 5, True).features.items()}
    clean, plain, hidden = (reached(*at)[1] for at in ((0.0,), (0.03,), (0.03, lid_aware(normal_ones))))
    assert (hidden < clean).all()
    assert hidden.mean() < 0.85 * plain.mean()


def test_names():
    assert bim(eps=0.1).plus(kde_aware(densities())).name == "BIM+kde_aware"
    assert bim(eps=0.1).plus(lid_aware(reference())).name == "BIM+lid_aware"
    assert kde_aware(densities(), layer="4").layers == ("4",)
    assert (cross_entropy + lid_aware(reference())).layers == ("first", "second")


# --- arguments


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf"), True, "1"])
def test_weights(weight: object):
    with pytest.raises(InputError, match="`weight` of kde_aware"):
        kde_aware(densities(), weight=weight)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="`weight` of lid_aware"):
        lid_aware(reference(), weight=weight)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{}, None, normal(3, 2), {0: normal(3, 2)}, {"a": 1}])
def test_wrong_kinds(wrong: object):
    with pytest.raises(InputError, match="`densities` of kde_aware must be a KernelDensity by class"):
        kde_aware(wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="`reference` of lid_aware must be a LocalDimensionality by layer"):
        lid_aware(wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="`layer` of kde_aware"):
        kde_aware(densities(), layer=3)  # type: ignore[arg-type]


def test_passes_that_do_not_fit():
    now, goal = tapped(2), towards([0, 2])
    with pytest.raises(InputError, match=r"none of \[2\].*\[0, 1\]"):
        kde_aware(densities(2))(now, goal)
    with pytest.raises(InputError, match="layer '7'"):
        kde_aware(densities(), layer="7")(now, goal)
    with pytest.raises(InputError, match="layer 'second'"):
        lid_aware(reference())(now._replace(features={"first": now.features["first"]}), goal)
    for objective in (kde_aware(densities(), layer="first"), lid_aware({"first": reference()["second"]})):
        with pytest.raises(InputError, match=r"as the reference is, got \(2, 3\)|as the reference is, got \(1, 3\)"):
            objective(now, goal)
