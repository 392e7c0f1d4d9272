"""Texts that stand for a network: its structure and every number in it, and what it computes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import nn

from medaegis.models._frozen import frozen, seeded

ROUNDING = 0.01
"""By how much answers may differ between devices: this, and as large a share of the largest."""


def network_hash(model: nn.Module) -> str:
    """Hash of a network's structure and of every number in it: a user's factory that returns another network is
    another classifier, though its name stays.

    Example:
        >>> network_hash(nn.Linear(1, 1)) == network_hash(nn.Linear(1, 1))
        False
    """
    whole = hashlib.blake2b(repr(model).encode(), digest_size=16)
    for name, value in sorted(model.state_dict().items()):
        whole.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        whole.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()


def answers_to_noise(model: nn.Module, shape: tuple[int, ...]) -> tuple[float, ...]:
    """What a network says of two images of noise, always the same; other code with the same numbers says other things.

    Args:
        model: asked in evaluation mode, and left as it came.
        shape: of one image, (c, h, w), or of one volume.

    Returns:
        Every number; none where the network takes no such images or gives no tensor.

    Example:
        >>> len(answers_to_noise(nn.Flatten(), (1, 2, 2))), answers_to_noise(nn.Linear(3, 1), (1, 2, 2))
        (8, ())
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    images = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)).to(device)
    try:
        with frozen(model), seeded(0, device), torch.no_grad():
            return tuple(model(images).double().cpu().flatten().tolist())
    except Exception:  # noqa: BLE001  # a user's network; what it needs is said where it is used
        return ()


def own_hash(model: nn.Module, shape: tuple[int, ...]) -> str:
    """What a user's network is stored under: `network_hash`, and its answers to noise to three digits.

    Example:
        >>> once, twice = nn.Flatten(), nn.Flatten()
        >>> twice.forward = lambda x: 2 * x.flatten(1)
        >>> network_hash(once) == network_hash(twice), own_hash(once, (1, 2, 2)) == own_hash(twice, (1, 2, 2))
        (True, False)
    """
    told = " ".join(f"{value:.3g}" for value in answers_to_noise(model, shape))
    return f"{network_hash(model)}-{hashlib.blake2b(told.encode(), digest_size=8).hexdigest()}"


def says_the_same(model: nn.Module, shape: tuple[int, ...], told: Sequence[float]) -> bool:
    """Whether a network's answers to noise are those of before, but for the rounding of another device.

    Example:
        >>> says_the_same(nn.Flatten(), (1, 2, 2), answers_to_noise(nn.Flatten(), (1, 2, 2)))
        True
        >>> says_the_same(nn.Flatten(), (1, 2, 2), [0.0] * 8)
        False
    """
    found = answers_to_noise(model, shape)
    room = ROUNDING * (1 + max(map(abs, told), default=0.0))
    return len(found) == len(told) and all(abs(a - b) <= room for a, b in zip(found, told, strict=True))
