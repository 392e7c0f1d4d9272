from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture as Sklearn
from torch import Tensor

from medaegis._errors import InputError, NumericsError
from medaegis.density import GaussianMixture, fit_mixture
from medaegis.density._covariance import RIDGE


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def covariances(k: int, d: int) -> Tensor:
    a = normal(k, d, d, seed=5)
    return a @ a.transpose(1, 2) / d + 0.05 * torch.eye(d, dtype=torch.float64)


def mixture(k: int, d: int) -> GaussianMixture:
    weights = torch.arange(1.0, k + 1, dtype=torch.float64)
    return GaussianMixture.from_covariances((weights / weights.sum()).log(), normal(k, d, seed=6), covariances(k, d))


def correlated(n: int, d: int, seed: int) -> Tensor:
    """Features with a decaying spectrum in a fixed rotated basis, as those of a network."""
    basis = torch.linalg.qr(normal(d, d, seed=99))[0]
    return (normal(n, d, seed=seed) * torch.arange(1, d + 1) ** -0.5) @ basis


# the density against independent implementations


@pytest.mark.parametrize(("k", "d"), [(1, 1), (1, 6), (4, 3), (3, 20)])
def test_log_components_and_quadratics_agree_with_scipy(k: int, d: int):
    m, f = mixture(k, d), 2 * normal(30, d, seed=7)
    logs, quadratics = [], []
    for i in range(k):
        mean, s = m.means[i].numpy(), covariances(k, d)[i].numpy()
        logs.append(multivariate_normal(mean, s).logpdf(f.numpy()) + m.log_weights[i].item())
        delta = f.numpy() - mean
        quadratics.append(np.einsum("ni,ni->n", delta, np.linalg.solve(s, delta.T).T))
    expected = np.stack(logs, axis=1)
    np.testing.assert_allclose(m.log_components(f).numpy(), expected, rtol=1e-9)
    nearest = m.nearest(f)
    np.testing.assert_array_equal(nearest.component.numpy(), expected.argmax(axis=1))
    chosen = np.stack(quadratics, axis=1)[np.arange(30), expected.argmax(axis=1)]
    np.testing.assert_allclose(nearest.quadratic.numpy(), chosen, rtol=1e-9)


def test_log_density_agrees_with_scikit_learn():
    k, d = 4, 5
    m, f = mixture(k, d), normal(50, d, seed=8)
    other = Sklearn(n_components=k)
    other.weights_, other.means_ = m.log_weights.exp().numpy(), m.means.numpy()
    other.covariances_ = covariances(k, d).numpy()
    other.precisions_cholesky_ = np.stack([np.linalg.inv(np.linalg.cholesky(s)).T for s in other.covariances_])
    np.testing.assert_allclose(m.log_density(f).numpy(), other.score_samples(f.numpy()), rtol=1e-10)
    np.testing.assert_array_equal(m.nearest(f).component.numpy(), other.predict(f.numpy()))


def test_the_component_is_the_most_likely_one_not_the_closest():
    # same distance to both; the wide component has the smaller quadratic form, the narrow one the higher density
    covariances = torch.stack([9 * torch.eye(2), torch.eye(2)])
    means = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    m = GaussianMixture.from_covariances(torch.tensor([0.5, 0.5]).log(), means, covariances)
    found = m.nearest(torch.zeros(1, 2))
    assert found.component.tolist() == [1]
    torch.testing.assert_close(found.quadratic, torch.tensor([1.0]))


def test_weights_decide_between_equal_components():
    m = GaussianMixture.from_covariances(torch.tensor([0.3, 0.7]).log(), torch.zeros(2, 1), torch.ones(2, 1, 1))
    assert m.nearest(torch.zeros(1, 1)).component.tolist() == [1]


# gradients


def test_gradient_of_the_quadratic_is_that_of_the_chosen_component_alone():
    m, f = mixture(3, 4), normal(9, 4, seed=9).requires_grad_()
    found = m.nearest(f)
    assert not found.component.requires_grad
    (gradient,) = torch.autograd.grad(found.quadratic.sum(), f)
    precision = torch.linalg.inv(covariances(3, 4))[found.component]
    expected = 2 * torch.einsum("nij,nj->ni", precision, f.detach() - m.means[found.component])
    torch.testing.assert_close(gradient, expected)


def test_gradients_agree_with_finite_differences():
    m, f = mixture(3, 4), normal(5, 4, seed=9).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: m.nearest(z).quadratic, (f,))
    assert torch.autograd.gradcheck(m.log_density, (f,))


# fitting


def test_one_component_by_hand():
    z, a = normal(30, 4) @ normal(4, 4, seed=1), 0.2
    m = fit_mixture(z, strength=a, generator=seeded())
    s = np.cov(z.numpy(), rowvar=False)
    diagonal = np.diag(s)
    expected = (1 - a) * s + np.diag(a * diagonal + RIDGE * diagonal.mean())
    torch.testing.assert_close(m.means[0], z.mean(dim=0))
    np.testing.assert_allclose(m.covariances()[0].numpy(), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(m.log_dets[0].item(), np.linalg.slogdet(expected)[1], rtol=1e-9)
    assert m.log_weights.tolist() == [0.0]


def test_covariance_of_a_component_by_hand():
    # 1000 apart, so that every share is exactly 0 or 1
    n, d, a = (12, 28), 3, 0.1
    clusters = [normal(n[0], d), 2 * normal(n[1], d, seed=1) + 1000]
    m = fit_mixture(torch.cat(clusters), components=2, strength=a, prior=1.0, generator=seeded())
    order = m.means[:, 0].argsort().tolist()
    scatters = [(c - c.mean(dim=0)).T @ (c - c.mean(dim=0)) for c in clusters]
    pooled = (scatters[0] + scatters[1]) / (sum(n) - 2)
    diagonal = pooled.diagonal()
    base = (1 - a) * pooled + torch.diag(a * diagonal + RIDGE * diagonal.mean())
    for place, scatter, count in zip(order, scatters, n, strict=True):
        torch.testing.assert_close(m.covariances()[place], (scatter + d * base) / (count + d))
        assert m.log_weights[place].exp().item() == pytest.approx(count / sum(n))


def test_em_recovers_separated_components():
    centres = torch.tensor([[0.0, 0, 0, 0], [9, 0, 0, 0], [0, 9, 9, 0]], dtype=torch.float64)
    sizes = (200, 300, 500)
    z = torch.cat([normal(n, 4, seed=i) + c for i, (n, c) in enumerate(zip(sizes, centres, strict=True))])
    for seed in range(5):
        m = fit_mixture(z, components=3, generator=seeded(seed))
        distance = torch.cdist(centres, m.means)
        place = distance.argmin(dim=1)
        assert sorted(place.tolist()) == [0, 1, 2]
        assert distance.amin(dim=1).max() < 0.25
        torch.testing.assert_close(m.log_weights.exp()[place], torch.tensor(sizes).double() / 1000, atol=0.01, rtol=0)
        assert (m.covariances() - torch.eye(4)).abs().max() < 0.35


def test_em_follows_unequal_covariances_that_k_means_cannot():
    # two flat crossed clouds about one centre: only the covariances tell them apart
    flat = torch.tensor([10.0, 0.5])
    z = torch.cat([normal(400, 2) * flat, normal(400, 2, seed=1) * flat.flip(0)])
    m = fit_mixture(z, components=2, generator=seeded(), iterations=300, tolerance=1e-7)
    spread = m.covariances().diagonal(dim1=1, dim2=2).sqrt()
    assert spread.amax(dim=1).min() > 8
    assert spread.amin(dim=1).max() < 1.5
    assert spread.argmax(dim=1).unique().numel() == 2


@pytest.mark.parametrize(("n", "d", "k"), [(300, 3, 4), (60, 20, 5), (30, 40, 6), (24, 200, 8)])
def test_the_likelihood_does_not_fall(n: int, d: int, k: int):
    for seed in range(4):
        z = normal(n, d, seed=seed)
        z[: n // 2] *= 3
        likelihoods = [
            fit_mixture(z, components=k, generator=seeded(seed), iterations=i, tolerance=0.0)
            .log_density(z)
            .mean()
            .item()
            for i in range(8)
        ]
        assert np.diff(likelihoods).min() >= -1e-9


def test_the_same_generator_gives_the_same_mixture():
    z = normal(100, 4)
    state = torch.random.get_rng_state()
    first, second = (fit_mixture(z, components=4, generator=seeded(2)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.tensors().values(), second.tensors().values(), strict=True))
    assert torch.equal(state, torch.random.get_rng_state())


def test_fit_leaves_features_alone_and_keeps_no_graph():
    z = normal(50, 3).float().requires_grad_()
    before = z.detach().clone()
    m = fit_mixture(z, components=2, generator=seeded())
    assert torch.equal(z.detach(), before)
    assert not any(part.requires_grad for part in m.tensors().values())
    assert m.means.dtype == torch.float64


# covariances that stay usable: the quadratic form of unseen cases over C is of order 1


def unshrunk(m: GaussianMixture, z: Tensor, held: Tensor) -> float:
    """Quadratic form over C of held-out cases under plain covariances with a ridge of 1e-6, as the naive fit has."""
    component, parts = m.nearest(z).component, []
    held_component = m.nearest(held).component
    for k in component.unique():
        own = z[component == k]
        s = torch.cov(own.T, correction=0)
        s += 1e-6 * s.diagonal().mean() * torch.eye(z.shape[1])
        delta = held[held_component == k] - own.mean(dim=0)
        parts.append((delta @ torch.linalg.inv(s) * delta).sum(dim=1))
    return torch.cat(parts).mean().item() / z.shape[1]


@pytest.mark.parametrize(("n", "d", "k"), [(150, 256, 1), (1500, 128, 16), (400, 512, 1), (600, 256, 16)])
def test_held_out_quadratic_is_of_order_one(n: int, d: int, k: int):
    z, held = correlated(n, d, seed=0), correlated(200, d, seed=1)
    m = fit_mixture(z, components=k, generator=seeded())
    assert 0.3 < m.nearest(held).quadratic.mean().item() / d < 3
    assert 0.2 < m.nearest(z).quadratic.mean().item() / d < 1.5
    assert unshrunk(m, z, held) > 50


@pytest.mark.parametrize("k", [16, 32, 50])
def test_held_out_quadratic_stays_usable_as_components_near_half_of_the_cases(k: int):
    z, held = correlated(100, 128, seed=0), correlated(200, 128, seed=1)
    m = fit_mixture(z, components=k, generator=seeded())
    assert 0.3 < m.nearest(held).quadratic.mean().item() / 128 < 5


# degenerate features: each a stated result or a clear error


def usable(m: GaussianMixture, z: Tensor) -> bool:
    far = z + 10 * z.std().clamp_min(1)
    finite = all(bool(part.isfinite().all()) for part in (*m.tensors().values(), m.log_density(z), m.log_density(far)))
    return finite and bool((m.nearest(far).quadratic > m.nearest(z).quadratic).all())


def test_more_components_than_distinct_points():
    z = normal(3, 4).repeat(8, 1)
    m = fit_mixture(z, components=8, generator=seeded())
    assert usable(m, z)
    assert m.log_weights.exp().sum().item() == pytest.approx(1)
    torch.testing.assert_close(m.nearest(z).quadratic, torch.zeros(24, dtype=torch.float64), atol=1e-4, rtol=0)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
@pytest.mark.parametrize("k", [1, 3])
def test_constant_features_have_the_identity(value: float, k: int):
    z = torch.full((1001, 3), value)
    m = fit_mixture(z, components=k, generator=seeded())
    torch.testing.assert_close(m.nearest(z.double() + 2).quadratic, torch.full((1001,), 12.0, dtype=torch.float64))


@pytest.mark.parametrize("k", [1, 4])
def test_dead_and_constant_channels(k: int):
    z = normal(60, 6).relu()
    z[:, 1], z[:, 4] = 0, 0.1
    m = fit_mixture(z, components=k, generator=seeded())
    assert usable(m, z)
    alive = z.clone()
    alive[:, 1] = 1
    assert (m.nearest(alive).quadratic > m.nearest(z).quadratic + 10).all()


def test_one_feature():
    z = normal(50, 1)
    m = fit_mixture(z, components=2, generator=seeded())
    assert usable(m, z)


def test_fewer_cases_than_features():
    z = normal(5, 40)
    assert usable(fit_mixture(z, generator=seeded()), z)
    assert usable(fit_mixture(z, components=2, generator=seeded()), z)


def test_tiny_and_huge_units_give_the_same_quadratic():
    z = normal(60, 4)
    small, plain, large = (
        fit_mixture(z * s, components=2, generator=seeded()).nearest(z * s).quadratic for s in (1e-6, 1, 1e6)
    )
    torch.testing.assert_close(small, plain, rtol=1e-6, atol=0)
    torch.testing.assert_close(large, plain, rtol=1e-6, atol=0)


@pytest.mark.parametrize("components", [0, -1, 11, 20, 21, 1.0, True, "2"])
def test_components_out_of_range(components: object):
    with pytest.raises(InputError, match=r"`components` of fit_mixture must be an int from 1 to n // 2 = 10"):
        fit_mixture(normal(20, 2), components=components, generator=seeded())  # type: ignore[arg-type]


@pytest.mark.parametrize("n", [0, 1])
def test_a_class_of_one_case_is_an_error(n: int):
    with pytest.raises(InputError, match=f"for n = {n} cases"):
        fit_mixture(normal(n, 2), generator=seeded())


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_strength_out_of_range(strength: float):
    with pytest.raises(InputError, match="`strength` of fit_mixture"):
        fit_mixture(normal(20, 2), strength=strength, generator=seeded())


def test_features_must_be_a_matrix():
    with pytest.raises(InputError, match=r"\(n, d\)"):
        fit_mixture(normal(20), generator=seeded())


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_features_must_be_finite(bad: float):
    z = normal(20, 2)
    z[3, 1] = bad
    with pytest.raises(NumericsError, match="NaN or infinity"):
        fit_mixture(z, generator=seeded())


# moving and keeping


def test_float32_is_close_to_float64():
    z = correlated(300, 64, seed=0)
    m = fit_mixture(z, components=4, generator=seeded())
    single = m.to(torch.empty(0)).nearest(z.float())
    assert single.quadratic.dtype == torch.float32
    torch.testing.assert_close(single.quadratic.double(), m.nearest(z).quadratic, rtol=1e-4, atol=0)


def test_tensors_are_the_way_back():
    m, f = mixture(3, 4), normal(6, 4)
    assert torch.equal(GaussianMixture(**m.tensors()).log_density(f), m.log_density(f))
