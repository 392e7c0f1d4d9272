"""Texts that stand for a network: its structure and every number in it, and what it computes."""

from __future__ import annotations

import hashlib

import torch
from torch import nn


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


def behaviour_hash(model: nn.Module, shape: tuple[int, ...]) -> str:
    """Hash of what a network says of two images of noise, to three digits: other code with the same numbers in it is
    another classifier too.

    Args:
        model: on its device, in evaluation mode.
        shape: of one image, (c, h, w), or of one volume.

    Returns:
        The hash, or "" where the network takes no such images or gives no tensor.

    Example:
        >>> once, twice = nn.Flatten(), nn.Sequential(nn.Flatten(), nn.Hardtanh(0, 0.5))
        >>> network_hash(nn.Identity()) == network_hash(nn.Identity())
        True
        >>> behaviour_hash(once, (1, 2, 2)) == behaviour_hash(twice, (1, 2, 2))
        False
        >>> behaviour_hash(nn.Linear(3, 1), (1, 2, 2))
        ''
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    images = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)).to(device)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            found = model(images)
        told = [f"{value:.3g}" for value in found.double().cpu().flatten().tolist()]
    except Exception:  # noqa: BLE001  # a user's network; what it needs is said where it is used
        return ""
    return hashlib.blake2b(" ".join(told).encode(), digest_size=8).hexdigest()


def own_hash(model: nn.Module, shape: tuple[int, ...]) -> str:
    """What a user's network is stored under: `network_hash`, then `behaviour_hash`.

    Example:
        >>> len(own_hash(nn.Flatten(), (1, 2, 2)))
        49
    """
    return "-".join(part for part in (network_hash(model), behaviour_hash(model, shape)) if part)
