"""Features of many images from an untouched network, without gradient."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from medaegis._errors import is_int, require
from medaegis._types import Images, Tapped
from medaegis.models import Taps, frozen


def clean_pass(model: nn.Module, x: Images, layers: Sequence[str], *, batch_size: int = 32) -> Tapped:
    """Logits and features of all images, on the device of `x`; the network is left as it came.

    Args:
        model: maps images in [0, 1] to logits.
        x: images (n, c, *space), n >= 1.
        layers: names of layers, as `Taps` takes them.
        batch_size: images that go through the network together.

    Raises:
        InputError: no images, `batch_size` below 1, or an unknown layer.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> clean_pass(net, torch.rand(3, 1, 2, 2), ["penultimate"]).features["penultimate"].shape
        torch.Size([3, 4])
    """
    require(len(x) > 0, "x", "measure", "at least one image", tuple(x.shape))
    require(is_int(batch_size) and batch_size >= 1, "batch_size", "measure", "an int >= 1", batch_size)
    device = next((parameter.device for parameter in model.parameters()), x.device)
    taps = Taps(model, tuple(layers))
    with frozen(model), torch.no_grad():
        parts = [taps(batch.to(device)) for batch in x.split(batch_size)]
    features = {name: torch.cat([part.features[name].to(x.device) for part in parts]) for name in parts[0].features}
    return Tapped(torch.cat([part.logits.to(x.device) for part in parts]), features)
