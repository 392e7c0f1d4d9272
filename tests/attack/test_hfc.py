from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import Tensor

from medaegis._errors import InputError
from medaegis._types import Tapped
from medaegis.attack import cross_entropy, hfc
from medaegis.attack._objectives import Goal
from medaegis.density import GaussianMixture, MixtureBank, fit_bank


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


SIZES = {"first": 3, "second": 5}


def covariance(seed: int, d: int) -> Tensor:
    a = normal(d, d, seed=seed)
    return a @ a.T / d + 0.1 * torch.eye(d)


def mixture(seed: int, d: int, k: int = 2) -> GaussianMixture:
    covariances = torch.stack([covariance(seed + i, d) for i in range(k)])
    weights = torch.full((k,), 1 / k).double().log()
    return GaussianMixture.from_covariances(weights, 2 * normal(k, d, seed=seed), covariances)


def bank(classes: int = 3) -> MixtureBank:
    return MixtureBank({name: {c: mixture(100 * c + d, d) for c in range(classes)} for name, d in SIZES.items()})


def tapped(n: int, seed: int = 0) -> Tapped:
    return Tapped(normal(n, 3, seed=seed), {name: normal(n, d, seed=seed + d) for name, d in SIZES.items()})


def rows(passed: Tapped, keep: Tensor) -> Tapped:
    return Tapped(passed.logits[keep], {name: z[keep] for name, z in passed.features.items()})


def towards(targets: list[int]) -> Goal:
    target = torch.tensor(targets)
    return Goal((target + 1) % 3, target)


def test_value_by_hand():
    passed, targets = tapped(6), [0, 1, 2, 2, 1, 0]
    found = hfc(bank())(passed, towards(targets))
    for i, c in enumerate(targets):
        expected = 0.0
        for name, d in SIZES.items():
            m, f = bank().mixtures[name][c], passed.features[name][i]
            quadratics, logs = [], []
            for k in range(2):
                s = covariance(100 * c + d + k, d)
                quadratics.append(((f - m.means[k]) @ torch.linalg.inv(s) @ (f - m.means[k])).item())
                logs.append(-0.5 * (quadratics[-1] + torch.logdet(s).item()))
            expected += quadratics[logs.index(max(logs))] / (2 * d)
        assert found[i].item() == pytest.approx(expected, rel=1e-9)


def test_normal_cases_cost_half_a_layer():
    labels = torch.arange(400) % 2
    features = {"a": normal(400, 30), "b": 50 * normal(400, 60, seed=1) - 20}
    objective = hfc(fit_bank(features, labels, generator=seeded()))
    held = {"a": normal(200, 30, seed=2), "b": 50 * normal(200, 60, seed=3) - 20}
    value = objective(Tapped(normal(200, 2), held), Goal(1 - labels[:200], labels[:200])).mean().item()
    assert value == pytest.approx(2 * 0.5, rel=0.25)


def test_gradient_agrees_with_finite_differences():
    logits, first, second = (normal(4, d, seed=d).requires_grad_() for d in (3, 3, 5))

    def value(*features: Tensor) -> Tensor:
        return hfc(bank())(Tapped(logits, dict(zip(SIZES, features, strict=True))), towards([0, 1, 2, 0]))

    assert torch.autograd.gradcheck(value, (first, second))


@pytest.mark.parametrize("target", [None, [1, 0, 2, 1]])
def test_neither_the_component_nor_the_wanted_class_carries_a_gradient(target: list[int] | None):
    passed = tapped(4)
    for z in (passed.logits, *passed.features.values()):
        z.requires_grad_()
    goal = Goal(torch.tensor([0, 1, 1, 2]), None if target is None else torch.tensor(target))
    value = hfc(bank())(passed, goal).sum()
    assert torch.autograd.grad(value, passed.logits, allow_unused=True, retain_graph=True) == (None,)
    wanted = goal.wanted_class(passed.logits)
    for name, d in SIZES.items():
        (gradient,) = torch.autograd.grad(value, passed.features[name], retain_graph=True)
        for i, c in enumerate(wanted.tolist()):
            m, f = bank().mixtures[name][c], passed.features[name][i].detach()
            k = int(m.nearest(f[None]).component)
            s = covariance(100 * c + d + k, d)
            torch.testing.assert_close(gradient[i], torch.linalg.solve(s, f - m.means[k]) / d)


def test_without_a_target_the_most_probable_wrong_class_is_wanted():
    passed = tapped(3)._replace(logits=torch.tensor([[9.0, 1.0, 5.0], [-3.0, -9.0, -1.0], [0.0, 7.0, 2.0]]).double())
    label = torch.tensor([0, 2, 0])  # the third is fooled already: its top class is wanted still
    found = hfc(bank())(passed, Goal(label, None))
    torch.testing.assert_close(found, hfc(bank())(passed, Goal(label, torch.tensor([2, 0, 1]))))


def test_mixed_targets_equal_separate_calls():
    passed, targets = tapped(9), torch.arange(9) % 3
    together = hfc(bank())(passed, Goal((targets + 1) % 3, targets))
    for i in range(9):
        alone = hfc(bank())(rows(passed, torch.tensor([i])), towards([int(targets[i])]))
        torch.testing.assert_close(together[i], alone[0], rtol=1e-12, atol=0)


def test_weight_scales_the_value():
    passed, goal = tapped(4), towards([0, 1, 2, 0])
    torch.testing.assert_close(hfc(bank(), weight=2.5)(passed, goal), 2.5 * hfc(bank())(passed, goal))
    assert not hfc(bank(), weight=0)(passed, goal).any()


def test_it_adds_to_another_objective_and_asks_for_its_layers():
    passed, goal = tapped(4), towards([0, 1, 2, 0])
    both = cross_entropy + hfc(bank())
    assert both.layers == ("first", "second")
    torch.testing.assert_close(both(passed, goal), cross_entropy(passed, goal) + hfc(bank())(passed, goal))


def test_float32_is_close_to_float64():
    passed, goal, objective = tapped(8), towards([0, 1, 2, 0, 1, 2, 0, 1]), hfc(bank())
    single = Tapped(passed.logits.float(), {name: z.float() for name, z in passed.features.items()})
    exact, coarse, again = objective(passed, goal), objective(single, goal), objective(passed, goal)
    assert coarse.dtype == torch.float32
    torch.testing.assert_close(coarse.double(), exact, rtol=1e-4, atol=0)
    assert torch.equal(exact, again)


def test_the_bank_dies_with_the_objective():
    # banks take gigabytes: a cache that outlives the attack would keep every one of them
    mine = bank()
    watched, objective = weakref.ref(mine), hfc(mine)
    objective(tapped(2), towards([0, 1]))
    del mine, objective
    gc.collect()
    assert watched() is None


def test_arguments():
    with pytest.raises(InputError, match="`bank` of hfc must be a MixtureBank"):
        hfc({"first": {}})  # type: ignore[arg-type]
    for weight in (-1.0, float("nan"), float("inf"), True, "1"):
        with pytest.raises(InputError, match="`weight` of hfc"):
            hfc(bank(), weight=weight)  # type: ignore[arg-type]


def test_a_wanted_class_without_a_mixture_is_no_free_lunch():
    with pytest.raises(InputError, match=r"\[2\]"):
        hfc(bank(classes=2))(tapped(2), towards([0, 2]))


def test_a_layer_that_the_pass_lacks():
    passed = tapped(2)
    with pytest.raises(InputError, match="second"):
        hfc(bank())(Tapped(passed.logits, {"first": passed.features["first"]}), towards([0, 1]))
