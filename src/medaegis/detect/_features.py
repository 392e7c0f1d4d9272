"""Features of many images, batch by batch, from an untouched network."""

from __future__ import annotations

import torch
from torch import nn

from medaegis._errors import require
from medaegis._types import Images, Tapped
from medaegis.models import Taps, frozen
from medaegis.models._taps import LayerChoice


def extract(
    model: nn.Module, images: Images, layers: LayerChoice, *, batch_size: int = 64, grid: int | None = None
) -> Tapped:
    """Logits and features of all images; gradients are kept where `images` asks for them.

    Args:
        model: images in [0, 1] to logits.
        images: (n, c, *space).
        layers: as `Taps` takes them.
        batch_size: images a pass.
        grid: as `Taps` takes it; None gives channel means.

    Returns:
        `Tapped` for all n images.

    Raises:
        InputError: no images, or `batch_size` below 1.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> extract(net, torch.rand(3, 1, 2, 2), ["penultimate"]).features["penultimate"].shape
        torch.Size([3, 4])
    """
    require(len(images) > 0, "images", "extract", "at least one image", tuple(images.shape))
    require(batch_size >= 1, "batch_size", "extract", "an int >= 1", batch_size)
    taps = Taps(model, layers, grid=grid)
    with frozen(model), torch.set_grad_enabled(torch.is_grad_enabled() and images.requires_grad):
        parts = [taps(batch) for batch in images.split(batch_size)]
    features = {name: torch.cat([part.features[name] for part in parts]) for name in parts[0].features}
    return Tapped(torch.cat([part.logits for part in parts]), features)
