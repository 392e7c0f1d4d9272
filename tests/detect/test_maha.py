from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.distance import mahalanobis
from torch import Tensor

from medaegis.density._covariance import RIDGE
from medaegis.detect import MAHA


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_agrees_with_scipy():
    labels = torch.arange(90) % 3
    z = normal(90, 4) @ normal(4, 4, seed=1) + 5 * labels[:, None]
    maha = MAHA().fit(z, labels)
    means = np.stack([z[labels == c].numpy().mean(axis=0) for c in range(3)])
    centred = z.numpy() - means[labels.numpy()]
    s = centred.T @ centred / 90
    diagonal, a = np.diag(s), maha.gaussians_[""].strength
    precision = np.linalg.inv((1 - a) * s + np.diag(a * diagonal + RIDGE * diagonal.mean()))
    query = normal(15, 4, seed=2) * 5
    expected = [min(mahalanobis(row, mean, precision) ** 2 for mean in means) / 4 for row in query.numpy()]
    np.testing.assert_allclose(maha.score(query).numpy(), expected, rtol=1e-9)


def test_the_ranking_needs_the_centring_by_class():
    # two classes 20 apart: a case 3 spreads off along that axis is farther out than one 2 spreads off along the other
    labels = torch.arange(400) % 2
    z = normal(400, 2) + torch.stack([20.0 * labels, 0.0 * labels], dim=1)
    scores = MAHA().fit(z, labels).score(torch.tensor([[-3.0, 0.0], [0.0, 2.0]]))
    assert scores[0] > scores[1] + 1


def test_clean_cases_score_about_one_at_every_layer():
    labels = torch.arange(300) % 2
    features, held = (
        {"wide": 100 * normal(300, 20, seed=s), "thin": 1e-3 * normal(300, 200, seed=s + 1).relu()} for s in (0, 5)
    )
    scores = MAHA().fit(features, labels).layer_scores(held)
    assert list(scores) == ["wide", "thin"]
    assert all(0.5 < value.mean() < 2 for value in scores.values())
