"""Train features by class, or all in one group: what detectors with a `by_class` option compare a case with."""

from __future__ import annotations

from torch import Tensor

from medaegis._types import Features, Labels, PerCase

EVERYONE = -1
"""Key of the one group that holds all classes."""


def group(features: Features, labels: Labels, *, by_class: bool) -> dict[int, Tensor]:
    """Copies of the features (n, d) without their graph: by class in sorted order, or all under -1.

    Example:
        >>> import torch
        >>> group(torch.tensor([[1.0], [2.0]]), torch.tensor([7, 3]), by_class=True)
        {3: tensor([[2.]]), 7: tensor([[1.]])}
    """
    z = features.detach()
    if not by_class:
        return {EVERYONE: z.clone()}
    return {int(c): z[labels.to(z.device) == c] for c in labels.unique().tolist()}


def of_predicted(scores: Tensor, places: Tensor | None) -> PerCase:
    """Of scores against each group (n, k), the predicted one's by `places` (n, 1), or the smallest; (n,).

    Example:
        >>> import torch
        >>> scores = torch.tensor([[1.0, 2.0]])
        >>> of_predicted(scores, torch.tensor([[1]])), of_predicted(scores, None)
        (tensor([2.]), tensor([1.]))
    """
    return scores.amin(dim=1) if places is None else scores.gather(1, places)[:, 0]
