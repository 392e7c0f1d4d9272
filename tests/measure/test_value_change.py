"""Value changes, their correlation with a direction and their likeness among attacks: by hand and against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from torch import nn

from medaegis._errors import InputError
from medaegis.attack import bim, run_attack
from medaegis.measure import change_correlation, head_direction, mean, similarity, value_change


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_value_change_is_what_enters_the_head() -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 2, 1, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)
    )
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([3.0, -3.0]).reshape(2, 1, 1, 1))
    x, moved = torch.full((2, 1, 2, 2), 0.25), torch.full((2, 1, 2, 2), 0.5)
    change = value_change(net, x, moved)
    assert change.tolist() == [[0.75, 0.0]] * 2  # the second channel is silent: behind a ReLU it cannot fall
    with pytest.raises(InputError, match="x_adv"):
        value_change(net, x, moved[:1])


def test_an_attack_on_a_linear_network_moves_z_along_the_sign_of_the_direction() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(9, 2))
    x = torch.full((4, 1, 3, 3), 0.5)
    y = torch.zeros(4, dtype=torch.int64)
    made = run_attack(bim(eps=4 / 256, steps=5), net, x, y, target=1 - y)
    direction = head_direction(net[1].weight.detach(), 1, 0)
    assert torch.allclose(value_change(net, x, made.x), 4 / 256 * direction.sign().expand(4, -1), atol=1e-6)


def test_correlations_agree_with_scipy() -> None:
    change, direction = normal(30, 20), normal(20, seed=1)
    change[:, :5] = change[:, :5].round()  # ties
    found = change_correlation(change, direction, draws=50)
    average = change.mean(dim=0).numpy()
    assert found.pearson.value == pytest.approx(pearsonr(average, direction.numpy())[0])
    assert found.spearman.value == pytest.approx(spearmanr(average, direction.numpy())[0])
    assert found.pearson.n == 30


def test_the_interval_covers_the_cases_and_keeps_patients_together() -> None:
    direction = normal(40)
    steady = direction + 0.1 * normal(50, 40, seed=2)
    noisy = direction + 5 * normal(50, 40, seed=2)
    sure, unsure = (change_correlation(change, direction).pearson for change in (steady, noisy))
    assert sure.low > 0.99
    assert unsure.high - unsure.low > 0.05
    whole = change_correlation(noisy, direction, groups=["one"] * 50).spearman
    assert whole.low == pytest.approx(whole.high)


def test_a_constant_has_no_correlation() -> None:
    found = change_correlation(torch.ones(5, 4), torch.arange(4.0))
    assert np.isnan(found.pearson.value)
    assert np.isnan(found.spearman.value)


def test_cosines_by_hand() -> None:
    first = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    second = torch.tensor([[0.0, 2.0], [-3.0, -3.0], [1.0, 0.0]])
    found = similarity({"a": first, "b": second})
    assert found.names == ("a", "b")
    assert found.values[0][1].value == pytest.approx(-0.5)  # (0 - 1) / 2: the case that did not move has no direction
    assert found.values[0][1].n == 2
    assert (found.values[1][1].value, found.values[1][1].n) == (pytest.approx(1.0), 3)
    assert found.values[0][1] == found.values[1][0]
    assert found.cases.shape == (3, 2, 2)
    assert found.cases[2, 0].isnan().all()


def test_only_the_channels_named_count() -> None:
    first, second = torch.tensor([[1.0, 5.0]]), torch.tensor([[1.0, -5.0]])
    found = similarity({"a": first, "b": second}, channels=torch.tensor([True, False]))
    assert found.values[0][1].value == pytest.approx(1.0)
    for bad in (torch.tensor([False, False]), torch.tensor([True]), torch.tensor([1, 0])):
        with pytest.raises(InputError, match="channels"):
            similarity({"a": first}, channels=bad)
    with pytest.raises(InputError, match="changes"):
        similarity({"a": first, "b": first[:, :1]})
    with pytest.raises(InputError, match="changes"):
        similarity({})


def test_mean_leaves_out_what_is_missing() -> None:
    found = mean([1.0, float("nan"), 3.0], groups=["a", "b", "a"])
    assert found[:3] == pytest.approx((2.0, 2.0, 2.0))
    assert found.n == 2
    assert mean([float("nan")]).n == 0
