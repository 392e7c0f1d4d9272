from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor

from medaegis._errors import NumericsError
from medaegis.density import cholesky, choose_strength, gaussian_log_density, shrink, whiten, whitener
from medaegis.density._covariance import RIDGE, STRENGTHS


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def spd(d: int, seed: int = 0) -> Tensor:
    a = normal(d, d, seed=seed)
    return a @ a.T + 0.1 * torch.eye(d, dtype=torch.float64)


def test_shrink_by_hand():
    s = torch.tensor([[4.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    expected = torch.tensor([[4.0 + RIDGE * 3, 0.25], [0.25, 2.0 + RIDGE * 3]], dtype=torch.float64)
    torch.testing.assert_close(shrink(s, 0.75), expected)


def test_shrink_is_relative_to_the_units():
    s = spd(5)
    torch.testing.assert_close(shrink(s * 1e-8, 0.1), shrink(s, 0.1) * 1e-8)


@pytest.mark.parametrize("strength", [0.0, 0.003, 1.0])
def test_shrink_makes_a_singular_covariance_invertible(strength: float):
    z = normal(3, 20)
    z[:, 7] = 0  # a dead channel
    eigenvalues = torch.linalg.eigvalsh(shrink(z.T @ z / 3, strength))
    assert eigenvalues.min() > 0


def test_shrink_gives_the_identity_where_nothing_varies():
    assert torch.equal(shrink(torch.zeros(3, 3), 0.1), torch.eye(3))


def test_shrink_takes_the_rounding_of_constant_features_for_zero():
    z = torch.full((1001, 4), 0.1, dtype=torch.float64)
    centred = z - z.mean(dim=0)
    s = centred.T @ centred / len(z)
    assert s.abs().max() > 0  # or the test says nothing
    assert torch.equal(shrink(s, 0.1, mean_square=0.01), torch.eye(4, dtype=torch.float64))


def test_whiten_and_the_whitener_give_the_quadratic_form():
    s, f = spd(6), normal(10, 6, seed=1)
    factor, expected = cholesky(s), (f @ torch.linalg.inv(s) * f).sum(dim=1)
    torch.testing.assert_close(whiten(f, factor).square().sum(dim=1), expected)
    torch.testing.assert_close(f @ whitener(factor), whiten(f, factor))


@pytest.mark.parametrize("bad", [torch.tensor([[1.0, 2.0], [2.0, 1.0]]), torch.full((2, 2), torch.nan)])
def test_cholesky_names_the_cause(bad: Tensor):
    with pytest.raises(NumericsError, match="not positive definite"):
        cholesky(bad)


@pytest.mark.parametrize("d", [1, 7])
def test_gaussian_log_density_agrees_with_scipy(d: int):
    s, mean, f = spd(d), normal(d, seed=1), normal(20, d, seed=2)
    expected = multivariate_normal(mean.numpy(), s.numpy()).logpdf(f.numpy())
    np.testing.assert_allclose(gaussian_log_density(f, mean, s).numpy(), expected, rtol=1e-10)


def test_choose_strength_is_large_for_few_independent_cases():
    # scored on the cases it was fitted to, the smallest strength would always win
    assert choose_strength(normal(40, 30), generator=seeded()) >= 0.4


def test_choose_strength_is_small_for_many_correlated_cases():
    z = normal(2000, 10) @ normal(10, 10, seed=1)
    assert choose_strength(z, generator=seeded()) <= 0.01


def test_choose_strength_of_fewer_than_eight_cases_is_the_largest():
    assert choose_strength(normal(7, 2), generator=seeded()) == max(STRENGTHS)


def test_choose_strength_draws_from_its_generator_only():
    state = torch.random.get_rng_state()
    first, second = (choose_strength(normal(40, 8), generator=seeded(3)) for _ in range(2))
    assert first == second
    assert torch.equal(state, torch.random.get_rng_state())
