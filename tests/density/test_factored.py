"""The low-rank form of a mixture is exact: against dense float64, on random features and on those of a network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision import models

from medaegis.density import GaussianMixture, fit_mixture
from medaegis.models import Taps


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rotated(n: int, d: int, seed: int) -> Tensor:
    """ReLU'd features with a decaying spectrum in a rotated basis."""
    basis = torch.linalg.qr(torch.randn(d, d, generator=seeded(99), dtype=torch.float64))[0]
    spread = torch.arange(1, d + 1, dtype=torch.float64) ** -0.5
    return ((torch.randn(n, d, generator=seeded(seed), dtype=torch.float64) * spread) @ basis).relu()


def dense(m: GaussianMixture, f: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Chosen component, quadratic form and its gradient from dense float64 covariances and nothing else of ours."""
    covariances, means = m.covariances(), m.means.double()
    logs, quadratics, gradients = [], [], []
    for k in range(len(means)):
        delta = f.double() - means[k]
        solved = torch.linalg.solve(covariances[k], delta.T).T
        quadratics.append((delta * solved).sum(dim=1))
        gradients.append(2 * solved)
        logs.append(m.log_weights[k].double() - 0.5 * (quadratics[-1] + torch.linalg.slogdet(covariances[k])[1]))
    chosen, rows = torch.stack(logs, dim=1).argmax(dim=1), torch.arange(len(f))
    return chosen, torch.stack(quadratics, dim=1)[rows, chosen], torch.stack(gradients, dim=1)[rows, chosen]


def check(m: GaussianMixture, f: Tensor) -> None:
    leaf = f.float().requires_grad_()
    found = m.to(torch.empty(0)).nearest(leaf)
    (gradient,) = torch.autograd.grad(found.quadratic.sum(), leaf)
    component, quadratic, expected = dense(m, f.float())
    assert torch.equal(found.component, component)
    torch.testing.assert_close(found.quadratic.double(), quadratic, rtol=1e-5, atol=0)
    error = (gradient.double() - expected).norm(dim=1) / expected.norm(dim=1)
    assert error.max() < 1e-5


@pytest.mark.parametrize(("n", "d", "k"), [(300, 64, 1), (300, 64, 4), (400, 256, 16), (300, 384, 64), (900, 24, 3)])
def test_exact_on_random_features(n: int, d: int, k: int):
    m = fit_mixture(rotated(n, d, 0), components=k, generator=seeded())
    check(m, torch.cat([rotated(20, d, 1), rotated(20, d, 2) + 0.5]))


@pytest.fixture(scope="module")
def network_features() -> dict[str, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = models.resnet18().eval()
    x = torch.rand(260, 3, 32, 32, generator=seeded()) * torch.linspace(0.2, 1, 260)[:, None, None, None]
    with torch.no_grad():
        return Taps(net)(x).features


@pytest.mark.parametrize("k", [1, 8])
def test_exact_on_the_features_of_a_network(network_features: dict[str, Tensor], k: int):
    for z in list(network_features.values())[::4]:
        check(fit_mixture(z[:200], components=k, generator=seeded()), z[200:])


def test_exact_where_channels_are_almost_collinear():
    # as in the stem, whose channels all follow an X-ray's brightness
    loading = torch.linspace(0.5, 1.5, 64, dtype=torch.float64)
    z = torch.rand(400, 1, generator=seeded(), dtype=torch.float64) * loading + 1e-3 * rotated(400, 64, 1)
    check(fit_mixture(z[:300], components=4, generator=seeded()), z[300:])


def test_exact_from_dense_covariances():
    a = torch.randn(5, 12, 12, generator=seeded(), dtype=torch.float64)
    covariances = a @ a.transpose(1, 2) / 12 + 0.01 * torch.eye(12)
    means = torch.randn(5, 12, generator=seeded(1), dtype=torch.float64)
    m = GaussianMixture.from_covariances(torch.zeros(5).double(), means, covariances)
    torch.testing.assert_close(m.covariances(), covariances)
    check(m, torch.randn(30, 12, generator=seeded(3)))


def test_a_bank_is_small():
    # dense precisions of 64 components would take 64 x 384^2 numbers
    m = fit_mixture(rotated(300, 384, 0), components=64, generator=seeded())
    assert sum(part.numel() for part in m.tensors().values()) < 64 * 384**2 / 20
    assert m.columns.shape[1] <= 300


def test_a_component_has_the_rank_of_its_cases():
    far = 50 * torch.eye(3, 40, dtype=torch.float64)
    z = torch.cat([rotated(n, 40, i) + far[i] for i, n in enumerate((8, 12, 30))])
    m = fit_mixture(z, components=3, generator=seeded())
    assert sorted(torch.bincount(m.owners).tolist()) == [7, 11, 29]  # a mean costs one


def crossed(n: int, seed: int) -> Tensor:
    """Two clouds about one centre that lie flat in different directions."""
    flat = torch.tensor([6.0, 6, 6, 0.2, 0.2, 0.2], dtype=torch.float64)
    both = torch.randn(2, n, 6, generator=seeded(seed), dtype=torch.float64)
    return torch.cat([both[0] * flat, both[1] * flat.flip(0)])


def test_the_prior_is_chosen_on_held_out_cases():
    rich, held = crossed(400, 0), crossed(200, 1)
    free, tied = (
        fit_mixture(rich, components=2, prior=prior, generator=seeded()).log_density(held).mean()
        for prior in (None, 1000.0)
    )
    assert free > tied + 1
    poor, held = rotated(60, 80, 0), rotated(200, 80, 1)
    free, sharp = (
        fit_mixture(poor, components=8, prior=prior, generator=seeded()).log_density(held).mean()
        for prior in (None, 0.01)
    )
    assert free > sharp + 1


def test_more_starts_are_never_less_likely():
    z = torch.cat([rotated(60, 3, i) + 4 * torch.randn(3, generator=seeded(40 + i)).double() for i in range(8)])
    for seed in range(4):
        one, six = (
            fit_mixture(z, components=8, prior=1.0, strength=0.1, restarts=r, iterations=0, generator=seeded(seed))
            .log_density(z)
            .mean()
            for r in (1, 6)
        )
        assert six >= one - 1e-9


def modes(n: int, seed: int) -> Tensor:
    """Features of ten channels in six clouds that overlap."""
    centres = torch.randn(6, 10, generator=seeded(98), dtype=torch.float64) * 2
    owners = torch.randint(6, (n,), generator=seeded(seed))
    return centres[owners] + torch.randn(n, 10, generator=seeded(seed + 1), dtype=torch.float64)


def with_still(z: Tensor, faint: float) -> Tensor:
    """A dead channel, nine that one case in fifty lights up faintly, between those of `z`."""
    lit = faint * (torch.arange(len(z) * 9).reshape(len(z), 9) % 50 == 0)
    return torch.cat([z[:, :4], torch.zeros(len(z), 1), lit, z[:, 4:]], dim=1)


@pytest.mark.parametrize("faint", [0.0, 0.1])
def test_still_channels_do_not_draw_cases_into_the_largest_component(faint: float):
    z, held = modes(600, 0), modes(100, 5)
    without = fit_mixture(z, components=6, generator=seeded())
    m = fit_mixture(with_still(z, faint), components=6, generator=seeded())
    assert m.still.sum() == 10
    assert torch.equal(m.nearest(with_still(held, 0)).component, without.nearest(held).component)
    assert len(m.nearest(with_still(z, faint)).component.unique()) == 6
    check(m, with_still(held, faint))


def test_what_lights_up_a_still_channel_is_far_away():
    m = fit_mixture(with_still(modes(600, 0), 0.0), components=6, generator=seeded())
    normal = with_still(modes(100, 5), 0.0)
    lit = normal.clone()
    lit[:, 4] = 1.0
    rise = m.nearest(lit).quadratic - m.nearest(normal).quadratic
    ridge = 1 / m.covariances()[:, 4, 4]
    torch.testing.assert_close(rise, ridge[m.nearest(normal).component])
    assert rise.min() > 100
