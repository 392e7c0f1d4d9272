from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.special import logsumexp
from sklearn.neighbors import KernelDensity
from torch import Tensor

from medaegis._errors import InputError
from medaegis.density import KernelDensity as Density
from medaegis.density import choose_bandwidth, kernel_log_density, leave_one_out_log_density, squared_distances


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def left_out(z: Tensor, width: float) -> float:
    """Mean log density of each case under scikit-learn's fit to all others."""
    rows = z.numpy()
    others = [KernelDensity(bandwidth=width, leaf_size=1000).fit(np.delete(rows, i, axis=0)) for i in range(len(rows))]
    return float(np.mean([kde.score_samples(rows[i : i + 1])[0] for i, kde in enumerate(others)]))


@pytest.mark.parametrize("d", [1, 2, 64, 512])
@pytest.mark.parametrize("bandwidth", [0.05, 0.26, 1.0, 5.0])
def test_agrees_with_scikit_learn_where_its_tree_is_exact(d: int, bandwidth: float):
    reference, f = normal(60, d) + 3, normal(40, d, seed=1) + 3
    other = KernelDensity(bandwidth=bandwidth, leaf_size=1000).fit(reference.numpy())
    found = kernel_log_density(f, reference, bandwidth).numpy()
    np.testing.assert_allclose(found, other.score_samples(f.numpy()), rtol=1e-9, atol=1e-9)


def test_by_hand():
    found = kernel_log_density(torch.zeros(1, 1), torch.tensor([[0.0], [2.0]]), 2.0)
    expected = math.log((1 + math.exp(-0.5)) / 2 / (2 * math.sqrt(2 * math.pi)))
    assert found.item() == pytest.approx(expected)


def test_the_log_density_is_exact_where_the_density_underflows():
    found = kernel_log_density(torch.tensor([[1000.0]]), torch.zeros(1, 1), 0.1)
    assert found.item() == pytest.approx(-0.5e8 - math.log(0.1) - 0.5 * math.log(2 * math.pi), rel=1e-12)


def test_distances_far_from_the_origin():
    # without centring, 1e8 squared would swallow them
    f, z = normal(10, 3), normal(12, 3, seed=1)
    torch.testing.assert_close(squared_distances(f + 1e8, z + 1e8), torch.cdist(f, z).square(), rtol=1e-5, atol=1e-5)


def test_distances_are_never_negative():
    z = normal(50, 300) * 1e4
    assert squared_distances(z, z).min() >= 0


@pytest.mark.parametrize("bandwidth", [0.3, 2.0])
def test_gradient_agrees_with_finite_differences(bandwidth: float):
    z, f = normal(12, 3), normal(5, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: kernel_log_density(x, z, bandwidth), (f,))


def test_gradient_at_a_case_of_the_reference_is_finite():
    z = normal(12, 3)
    f = z[:4].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(kernel_log_density(f, z, 0.5).sum(), f)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("bandwidth", [0.0, -1.0, float("nan"), float("inf")])
def test_bandwidth_out_of_range(bandwidth: float):
    with pytest.raises(InputError, match="bandwidth"):
        kernel_log_density(normal(2, 2), normal(3, 2), bandwidth)


def test_shapes_that_do_not_fit():
    with pytest.raises(InputError, match=r"\(n, 3\)"):
        kernel_log_density(normal(2, 2), normal(3, 3), 1.0)
    with pytest.raises(InputError, match="m >= 1"):
        kernel_log_density(normal(2, 2), normal(0, 2), 1.0)


@pytest.mark.parametrize(("d", "bandwidth"), [(2, 0.26), (64, 1.0)])
def test_value_class_agrees_with_scikit_learn_and_comes_back_from_a_file(tmp_path: Path, d: int, bandwidth: float):
    reference, f = normal(60, d) + 3, normal(40, d, seed=1) + 3
    value = Density(reference, bandwidth)
    other = KernelDensity(bandwidth=bandwidth, leaf_size=1000).fit(reference.numpy())
    np.testing.assert_allclose(value.log_density(f).numpy(), other.score_samples(f.numpy()), rtol=1e-9, atol=1e-9)
    save_file(value.tensors(), tmp_path / "kde.safetensors")
    again = Density.from_tensors(load_file(tmp_path / "kde.safetensors"))
    assert again.bandwidth == bandwidth
    assert torch.equal(again.log_density(f), value.log_density(f))
    assert value.to(f.float()).reference.dtype == torch.float32


def test_value_class_checks_its_arguments():
    for bandwidth in (0.0, -1.0, float("nan"), float("inf"), True, "1"):
        with pytest.raises(InputError, match="`bandwidth` of KernelDensity"):
            Density(normal(3, 2), bandwidth)  # type: ignore[arg-type]
    for shape in ((0, 2), (3,)):
        with pytest.raises(InputError, match="`reference` of KernelDensity"):
            Density(normal(*shape), 1.0)


def test_leave_one_out_by_hand():
    z = normal(15, 3)
    squared = torch.cdist(z, z).square().numpy()
    expected = [
        logsumexp(-np.delete(row, i) / (2 * 0.49)) - math.log(14) - 1.5 * math.log(2 * math.pi * 0.49)
        for i, row in enumerate(squared)
    ]
    np.testing.assert_allclose(leave_one_out_log_density(z, 0.7).numpy(), expected, rtol=1e-10)


def test_leave_one_out_needs_two_cases():
    with pytest.raises(InputError, match="at least two"):
        leave_one_out_log_density(normal(1, 3), 1.0)


# bandwidths


def test_a_number_is_taken_as_it_is():
    assert choose_bandwidth(normal(5, 2), 0.3) == 0.3


@pytest.mark.parametrize("rule", ["scott", 0, -1.0, True, None, float("nan"), float("inf")])
def test_unknown_rules(rule: object):
    with pytest.raises(InputError, match='a number > 0, "median" or "likelihood"'):
        choose_bandwidth(normal(5, 2), rule)  # type: ignore[arg-type]


def test_median_by_hand():
    # distances to the nearest neighbour: 1, 1, 2, 5, 5
    z = torch.tensor([[0.0], [1.0], [3.0], [10.0], [15.0]])
    assert choose_bandwidth(z, "median") == pytest.approx(2 * math.sqrt(2))


@pytest.mark.parametrize(("n", "d"), [(40, 1), (300, 1), (60, 5), (50, 64), (40, 600)])
def test_likelihood_is_near_the_best_of_an_independent_grid(n: int, d: int):
    z = normal(n, d)
    chosen = choose_bandwidth(z, "likelihood")
    grid = chosen * np.geomspace(1 / 8, 8, 25 if n < 100 else 9)
    best = max(left_out(z, width) for width in grid)
    at_choice = left_out(z, chosen)
    assert at_choice > best - 0.01 * d - 0.02
    # at the ends of that grid it is clearly worse: the test can tell
    assert min(left_out(z, grid[0]), left_out(z, grid[-1])) < at_choice - 0.2


def test_likelihood_leaves_each_case_out():
    # a case in its own density would make the smallest width the most likely; for normal features a good one is wide
    z = normal(200, 2)
    assert 0.2 < choose_bandwidth(z, "likelihood") < 0.8


@pytest.mark.parametrize("rule", ["median", "likelihood"])
def test_bandwidth_has_the_units_of_the_features(rule: str):
    z = normal(30, 4)
    assert choose_bandwidth(z * 100 + 7, rule) == pytest.approx(100 * choose_bandwidth(z, rule))  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", ["median", "likelihood"])
def test_copies_do_not_narrow_the_bandwidth(rule: str):
    z = normal(40, 100) * 3 + 50
    twice = torch.cat([z, z])
    assert choose_bandwidth(twice, rule) == pytest.approx(choose_bandwidth(z, rule), rel=0.05)  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", ["median", "likelihood"])
@pytest.mark.parametrize("value", [0.0, 0.1])
def test_equal_cases_have_no_bandwidth(rule: str, value: float):
    with pytest.raises(InputError, match="all reference cases are equal"):
        choose_bandwidth(torch.full((30, 3), value), rule)  # type: ignore[arg-type]
