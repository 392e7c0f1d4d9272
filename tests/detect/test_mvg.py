from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor

from medaegis.density import shrink
from medaegis.detect import MVG


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def classes(n: int = 90, d: int = 4) -> tuple[Tensor, Tensor]:
    labels = torch.arange(n) % 3
    return normal(n, d) @ normal(d, d, seed=1) + 5 * labels[:, None], labels


def by_scipy(z: Tensor, strength: float, query: Tensor) -> np.ndarray:
    """With numpy's covariance (over n), shrunk to (1 - a) S + a diag(S) + 0.001 tr(S)/d I."""
    s = np.cov(z.numpy(), rowvar=False, bias=True)
    diagonal = np.diag(s)
    shrunk = (1 - strength) * s + np.diag(strength * diagonal + 1e-3 * diagonal.mean())
    return -multivariate_normal(z.numpy().mean(axis=0), shrunk).logpdf(query.numpy())


def test_agrees_with_scipy():
    z, labels = classes()
    query, mvg = normal(15, 4, seed=2) * 5, MVG().fit(z, labels)
    expected = by_scipy(z, mvg.strengths_[""][-1], query)
    np.testing.assert_allclose(mvg.score(query), expected, rtol=1e-9)
    np.testing.assert_allclose(mvg.score(query, torch.zeros(15).long()), expected, rtol=1e-9)


def test_by_class_agrees_with_scipy():
    z, labels = classes()
    query, predicted = normal(15, 4, seed=2) * 5, torch.arange(15) % 3
    mvg = MVG(by_class=True).fit(z, labels)
    expected = np.stack([by_scipy(z[labels == c], mvg.strengths_[""][c], query) for c in range(3)], axis=1)
    np.testing.assert_allclose(mvg.score(query, predicted), expected[np.arange(15), predicted.numpy()], rtol=1e-9)
    np.testing.assert_allclose(mvg.score(query), expected.min(axis=1), rtol=1e-9)


def test_the_predicted_class_counts_not_the_most_likely():
    z, labels = classes()
    mvg, inside = MVG(by_class=True).fit(z, labels), z[labels == 1][:5]
    assert (mvg.score(inside, torch.zeros(5).long()) > mvg.score(inside, torch.ones(5).long()) + 2).all()


def test_the_gradient_is_the_closed_form():
    z, labels = classes()
    mvg, query = MVG().fit(z, labels), (normal(5, 4, seed=2) * 5).requires_grad_()
    (gradient,) = torch.autograd.grad(mvg.score(query).sum(), query)
    s = shrink(torch.cov(z.T, correction=0), mvg.strengths_[""][-1])
    torch.testing.assert_close(gradient, (query.detach() - z.mean(dim=0)) @ torch.linalg.inv(s))


def test_the_score_of_clean_cases_is_the_entropy():
    # E[-ln N] = d/2 (1 + ln 2 pi) + ln det S / 2, here with S = 4 I
    z = 2 * normal(20_000, 3)
    mvg = MVG().fit(z, torch.arange(len(z)) % 2)
    entropy = 1.5 * (1 + np.log(2 * np.pi)) + 1.5 * np.log(4)
    assert mvg.score(2 * normal(20_000, 3, seed=1)).mean().item() == pytest.approx(entropy, abs=0.03)


def test_fewer_cases_than_channels():
    z, labels = normal(40, 200), torch.arange(40) % 2
    held = normal(40, 200, seed=1)
    for mvg in (MVG(), MVG(by_class=True)):
        scores = mvg.fit(z, labels).score(held)
        assert scores.isfinite().all()
        assert (mvg.score(held + 3) > scores).all()
        # what the model was not fitted on is not out of all proportion less likely: the shrinkage does its work
        assert scores.mean() < 2 * mvg.score(z).mean()


def test_a_layer_is_fitted_alike_alone_and_among_others():
    z, labels = classes()
    together = MVG().fit({"a": z, "b": 3 * z}, labels).layer_scores({"a": z, "b": 3 * z})
    assert torch.equal(together["a"], MVG().fit(z, labels).score(z))
    # three times as wide: the density is divided by 3^d
    torch.testing.assert_close(together["b"], together["a"] + 4 * np.log(3))
