from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.mixture import BayesianGaussianMixture

from medaegis import InputError
from medaegis.density import fit_released_bank


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_it_is_scikit_learns_mixture():
    z = torch.randn(80, 5, generator=seeded()).double()
    z[40:] += 3
    mixture = fit_released_bank({"a": z}, torch.zeros(80), components=3, generator=seeded()).mixtures["a"][0]
    seed = int(torch.randint(2**31 - 1, (1,), generator=seeded()))
    other = BayesianGaussianMixture(n_components=3, random_state=seed, max_iter=1000).fit(z.numpy())
    np.testing.assert_allclose(mixture.covariances().numpy(), other.covariances_, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(mixture.means.numpy(), other.means_)
    np.testing.assert_allclose(mixture.log_weights.exp().numpy(), other.weights_)


def test_wide_layers_are_left_out():
    features = {"a": torch.randn(12, 512, generator=seeded()), "b": torch.randn(12, 513, generator=seeded())}
    assert fit_released_bank(features, torch.arange(12) % 2, generator=seeded()).layers == ("a",)
    with pytest.raises(InputError, match="a layer of at most 512 channels"):
        fit_released_bank({"b": features["b"]}, torch.arange(12) % 2, generator=seeded())


def test_arguments():
    with pytest.raises(InputError, match="`labels` of fit_released_bank must be at least 2 x 4 cases"):
        fit_released_bank({"a": torch.randn(12, 3)}, torch.arange(12) % 2, components=4, generator=seeded())
