from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor

from medaegis._errors import InputError
from medaegis.density import GaussianMixture, MixtureBank
from medaegis.detect import HFCScore, make_detector


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def known(**mixtures: GaussianMixture) -> HFCScore:
    """A score with given mixtures: c0, c1 … are classes."""
    score = HFCScore()
    score.bank_ = MixtureBank({"": {int(name[1:]): mixture for name, mixture in mixtures.items()}})
    return score


def mixture(weights: list[float], means: list[list[float]], variances: list[float]) -> GaussianMixture:
    d = len(means[0])
    covariances = torch.stack([v * torch.eye(d, dtype=torch.float64) for v in variances])
    logs = torch.tensor(weights, dtype=torch.float64).log()
    return GaussianMixture.from_covariances(logs, torch.tensor(means, dtype=torch.float64), covariances)


def test_by_hand():
    # |(3, 4)|^2 = 25 over a variance of 4 and two channels; no factor 1/2
    assert known(c0=mixture([1.0], [[0.0, 0.0]], [4.0])).score(torch.tensor([[3.0, 4.0]])).tolist() == [25 / 8]


def test_the_component_is_the_most_likely_one_not_the_nearest():
    # at 3: the wide component is nearer (9/100 against 9/1 - 0), the tight one loses e^-4.5; at 1 the tight one wins
    two = known(c0=mixture([0.5, 0.5], [[0.0], [0.0]], [1.0, 100.0]))
    assert two.score(torch.tensor([[1.0]])).item() == pytest.approx(1.0)
    assert two.score(torch.tensor([[3.0]])).item() == pytest.approx(9 / 100)
    # and the weights count: the same point, with a wide component of next to no weight
    rare = known(c0=mixture([1 - 1e-9, 1e-9], [[0.0], [0.0]], [1.0, 100.0]))
    assert rare.score(torch.tensor([[3.0]])).item() == pytest.approx(9.0)


def test_the_mixture_is_the_predicted_class_s():
    score = known(c3=mixture([1.0], [[0.0]], [1.0]), c7=mixture([1.0], [[10.0]], [4.0]))
    z = torch.tensor([[2.0], [2.0]])
    assert score.score(z, torch.tensor([3, 7])).tolist() == [4.0, 16.0]
    assert score.score(z).tolist() == [4.0, 4.0]


def test_agrees_with_scipy_s_densities():
    labels = torch.arange(120) % 2
    z = normal(120, 3) @ normal(3, 3, seed=1) + 4 * (torch.arange(120) % 4)[:, None]
    score = HFCScore(2, seed=5).fit(z, labels)
    query = normal(20, 3, seed=2) * 4
    for label in (0, 1):
        fitted = score.bank_.mixtures[""][label]
        assert len(fitted.means) == 2
        dense = [s.numpy() for s in fitted.covariances()]
        expected = []
        for row in query.numpy():
            parts = zip(fitted.log_weights.exp().tolist(), fitted.means.numpy(), dense, strict=True)
            joint = [math.log(w) + multivariate_normal(m, s).logpdf(row) for w, m, s in parts]
            apart = row - fitted.means[int(np.argmax(joint))].numpy()
            expected.append(apart @ np.linalg.solve(dense[int(np.argmax(joint))], apart) / 3)
        found = score.score(query, torch.full((20,), label))
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-8)


def test_held_out_normal_cases_score_about_one():
    labels = torch.arange(400) % 2
    z, held = (normal(400, 50, seed=s) + labels[:, None] for s in (0, 1))
    assert 0.8 < HFCScore(4).fit(z, labels).score(held, labels).mean() < 1.3


def test_a_layer_is_fitted_alike_alone_and_among_others():
    labels = torch.arange(80) % 2
    layers = {"a": normal(80, 3), "b": normal(80, 4, seed=1)}
    both = HFCScore(2).fit(layers, labels)
    alone = HFCScore(2).fit({"b": layers["b"]}, labels)
    assert torch.equal(both.bank_.mixtures["b"][1].means, alone.bank_.mixtures["b"][1].means)


def test_errors_say_what_to_do():
    with pytest.raises(InputError, match="`components` of HFCScore must be an int >= 1, got 0"):
        HFCScore(0)
    with pytest.raises(InputError, match=r"at least 2 x 16 cases of each class.*Take fewer components"):
        HFCScore(16).fit(normal(40, 3), torch.arange(40) % 2)


def test_by_name():
    assert make_detector("HFC", components=3).components == 3
