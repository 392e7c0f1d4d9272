"""What is computed in blocks is what one product of the whole would give, at sizes that need several blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from torch import Tensor

from medaegis.density import (
    choose_bandwidth,
    choose_strength,
    fit_tied,
    kernel_log_density,
    local_dimensionality,
    shrink,
    shrunk_covariance,
    squared_distances,
    whitener,
)
from medaegis.density._covariance import BLOCK, scatter
from medaegis.density._kernel import BLOCK as NUMBERS
from medaegis.density._lid import _place_of_kth


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


@pytest.mark.parametrize("d", [1, BLOCK, BLOCK + 1, 2 * BLOCK + 100])
def test_scatter(d: int) -> None:
    z = normal(40, d)
    found = scatter(z)
    torch.testing.assert_close(found, torch.einsum("ni,nj->ij", z, z), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found, found.T, rtol=1e-14, atol=1e-13)


@pytest.mark.parametrize("d", [1, BLOCK, BLOCK + 1, 2 * BLOCK + 101])
def test_whitener_is_the_inverse_transposed(d: int) -> None:
    factor = torch.tril(normal(d, d) / d**0.5) + 2 * torch.eye(d, dtype=torch.float64)
    found = whitener(factor)
    torch.testing.assert_close(found.T @ factor, torch.eye(d, dtype=torch.float64), rtol=0, atol=1e-12)
    assert torch.equal(found, found.triu())


@pytest.mark.parametrize("n", [7, 8, 60])
@pytest.mark.parametrize("rectified", [False, True])
def test_shrunk_covariance_is_that_of_all_cases_at_the_chosen_strength(n: int, rectified: bool) -> None:
    z = normal(n, 20) @ normal(20, BLOCK + 30, seed=1)
    z = z.relu() if rectified else z
    centred = z - z.mean(dim=0)
    found, strength = shrunk_covariance(centred, generator=seeded(3))
    assert strength == choose_strength(centred, generator=seeded(3))
    wanted = shrink(torch.from_numpy(np.cov(z.numpy().T, bias=True)), strength)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


def test_quadratics_of_wide_layers_agree_with_a_solve() -> None:
    z, labels, f = normal(60, BLOCK + 44).relu(), torch.arange(60) % 2, normal(5, BLOCK + 44, seed=1)
    tied = fit_tied(z, labels, generator=seeded())
    means = [z[labels == c].mean(dim=0) for c in (0, 1)]
    s = torch.cat([z[labels == c] - means[c] for c in (0, 1)]).numpy()
    s = shrink(torch.from_numpy(s.T @ s / 60), tied.strength).numpy()
    wanted = [[(f[i] - m).numpy() @ np.linalg.solve(s, (f[i] - m).numpy()) for m in means] for i in range(5)]
    np.testing.assert_allclose(tied.quadratics(f).numpy(), wanted, rtol=1e-9)


@pytest.mark.parametrize(("n", "m", "d"), [(40, 900, 3), (700, 5, 1000), (3, 2, NUMBERS + 1), (0, 4, 3)])
def test_distances_and_densities(n: int, m: int, d: int) -> None:
    f, z = normal(n, d) + 50, normal(m, d, seed=1) + 50
    wanted = cdist(f.numpy(), z.numpy(), "sqeuclidean")
    np.testing.assert_allclose(squared_distances(f, z).numpy(), wanted, rtol=1e-9)
    h = 0.8 * d**0.5
    densities = logsumexp(-wanted / (2 * h**2), axis=1) - np.log(m) - d * np.log(h) - d / 2 * np.log(2 * np.pi)
    np.testing.assert_allclose(kernel_log_density(f, z, h).numpy(), densities, rtol=1e-9)


def test_local_dimensionality() -> None:
    f, z = normal(NUMBERS // 300 + 2, 300), normal(25, 300, seed=1)
    whole = torch.cat([local_dimensionality(one[None], z) for one in f[:: len(f) - 1]])
    torch.testing.assert_close(local_dimensionality(f, z)[:: len(f) - 1], whole, rtol=1e-9, atol=0)


def test_kernels_that_underflow_add_nothing_and_have_no_gradient() -> None:
    z = torch.tensor([[0.0], [1.0], [-3.0], [-500.0]], dtype=torch.float64)
    f = torch.tensor([[0.0], [40.0], [1000.0]], dtype=torch.float64, requires_grad=True)
    found = kernel_log_density(f, z, 0.01)
    wanted = [0.0, -(39.0**2) / 2e-4, -(999.0**2) / 2e-4]
    constant = np.log(4) + np.log(0.01) + np.log(2 * np.pi) / 2
    np.testing.assert_allclose(found.detach().numpy(), np.array(wanted) - constant, rtol=1e-9, atol=1e-5)
    (gradient,) = torch.autograd.grad(found.sum(), f)
    np.testing.assert_allclose(gradient[:, 0].numpy(), [0, -39 / 1e-4, -999 / 1e-4], rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("case", ["spread", "copies", "rectified", "clusters"])
def test_the_likeliest_of_33_widths(case: str) -> None:
    z = normal(60, 12)
    if case == "copies":
        z = torch.cat([z, z[:10]])
    elif case == "rectified":
        z = z.relu()
    elif case == "clusters":
        z = z + 1e3 * (torch.arange(60) % 3)[:, None]
    chosen = choose_bandwidth(z, "likelihood")
    squared = cdist(z.numpy(), z.numpy(), "sqeuclidean")
    squared[squared < 1e-9] = np.inf  # the case itself and its copies
    near, far = squared.min(axis=1).mean() / 12, squared[np.isfinite(squared)].mean() / 12
    tried = np.geomspace(near, far, 33) ** 0.5
    scores = [logsumexp(-squared / (2 * h**2), axis=1).mean() - 12 * np.log(h) for h in tried]
    assert chosen == pytest.approx(tried[int(np.argmax(scores))], rel=1e-4)


@pytest.mark.parametrize("k", [1, 3, 6])
def test_place_of_kth(k: int) -> None:
    values = torch.tensor([[3.0, 1.0, 2.0, torch.inf, 2.0, 7.0], [5.0, 4.0, 3.0, 2.0, 1.0, 0.0]])
    found = values.gather(1, _place_of_kth(values, k))[:, 0]
    assert found.tolist() == [sorted(row)[k - 1] for row in values.tolist()]
    assert values.gather(1, values.kthvalue(k, dim=1, keepdim=True).indices)[:, 0].tolist() == found.tolist()
