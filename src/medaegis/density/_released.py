"""The mixtures of the code released with HFC-21, for comparing published figures honestly; not what HFC-21 writes."""

from __future__ import annotations

import torch
from torch import Tensor

from medaegis._errors import require
from medaegis._types import LayerFeatures
from medaegis.density._bank import MixtureBank, check_bank
from medaegis.density._mixture import GaussianMixture

WIDEST = 512
"""Layers with more channels than this are left out, as the released code does without a word."""


def fit_released_bank(
    features: LayerFeatures, labels: Tensor, *, components: int = 1, generator: torch.Generator
) -> MixtureBank:
    """Fit variational mixtures (scikit-learn's `BayesianGaussianMixture`) to the layers of at most 512 channels.

    Its prior draws each covariance towards the layer's own, which is why its mixtures can be used at all with a few
    dozen cases a component; K is an upper bound, as it may give components no weight. Add it as
    `hfc(bank, weight=2)`: the released code has no factor 1/2. Of ResNet-50, neither the last blocks' outputs nor the
    penultimate vector are then constrained.

    Args:
        features: normal (Train) features by layer, each (n, C_l).
        labels: their classes (n,).
        components: the largest number of components.
        generator: source of each mixture's seed.

    Raises:
        InputError: shapes do not fit, a class is too small, or every layer is wider than 512 channels.

    Source: the authors' released code as SPEC section 4 describes it.

    Example:
        >>> z = torch.randn(40, 3)
        >>> fit_released_bank({"a": z, "b": torch.randn(40, 600)}, z[:, 0] > 9, generator=torch.Generator()).layers
        ('a',)
    """
    sizes = check_bank(features, labels, components, "fit_released_bank")
    kept = {layer: z for layer, z in features.items() if z.shape[1] <= WIDEST}
    widths = {layer: z.shape[1] for layer, z in features.items()}
    require(bool(kept), "features", "fit_released_bank", f"a layer of at most {WIDEST} channels", widths)
    return MixtureBank(
        {layer: {c: _variational(z[labels == c], components, generator) for c in sizes} for layer, z in kept.items()}
    )


def _variational(z: Tensor, components: int, generator: torch.Generator) -> GaussianMixture:
    from sklearn.mixture import BayesianGaussianMixture

    seed = int(torch.randint(2**31 - 1, (1,), generator=generator))
    fitted = BayesianGaussianMixture(n_components=components, covariance_type="full", random_state=seed, max_iter=1000)
    fitted.fit(z.detach().double().cpu().numpy())
    weights, means, covariances = (
        torch.as_tensor(part).to(z.device) for part in (fitted.weights_, fitted.means_, fitted.covariances_)
    )
    return GaussianMixture.from_covariances(weights.clamp_min(1e-300).log(), means, covariances)
