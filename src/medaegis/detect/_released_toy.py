"""Made-up data for the examples and tests of the reference mode."""

from __future__ import annotations

import torch
from torch import Tensor

from medaegis._types import Tapped
from medaegis.detect._released_data import ReleasedData

LEARN, TEST, WIDTH = 40, 30, 6


def toy_data(shift: float = 3.0, *, seed: int = 0, hidden: float | None = None) -> ReleasedData:
    """Two classes, two layers of six channels; adversarial features are the clean ones moved along one direction.

    Args:
        shift: how far the conventional attack moves them.
        seed: of the cases.
        hidden: how far the attack that hides moves them; None for no such attack.

    Example:
        >>> data = toy_data()
        >>> bool((data.test_adversarial.features["relu"] - data.test_clean.features["relu"]).norm(dim=1).max() < 3.1)
        True
    """
    generator = torch.Generator().manual_seed(seed)

    def cases(n: int) -> tuple[Tensor, Tensor]:
        labels = torch.arange(n) % 2
        return torch.randn(n, WIDTH, generator=generator) + 2 * labels[:, None], labels

    (train, labels), (learn, _), (test, _) = cases(120), cases(LEARN), cases(TEST)
    weight = torch.stack([torch.linspace(1, -1, WIDTH), torch.linspace(-1, 1, WIDTH)])
    way = torch.tensor([1.0, -1, 1, -1, 1, -1]) / WIDTH**0.5

    def tapped(z: Tensor, by: float = 0.0) -> Tapped:
        moved = z + by * way
        return Tapped(moved @ weight.T, _layers(moved))

    sets = (tapped(learn), tapped(learn, shift), tapped(test), tapped(test, shift))
    last = None if hidden is None else tapped(test, hidden)
    return ReleasedData(_layers(train), labels, *sets, hidden=last, weight=weight)


def _layers(z: Tensor) -> dict[str, Tensor]:
    return {"relu": z, "penultimate": z.clone()}
