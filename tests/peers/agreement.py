"""What is measured of two attacks on one world."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from peers.pairs import Pair, ours, theirs
from peers.worlds import World, world

ROUNDING = {torch.float32: 1e-6, torch.float64: 1e-8}
"""How far two pixels that count as equal may be apart: some units in the last place of 1.0, times a few steps."""


class Agreement(NamedTuple):
    """Ours against theirs on one world.

    Attributes:
        equal: share of values that are equal to rounding.
        apart: largest L2 distance of two images over the length of the peer's perturbation.
        success: share of fooled cases, ours and theirs.
        length: median L2 length of the perturbations of fooled cases, ours and theirs; NaN where none is fooled.
        objective: mean cross-entropy objective (smaller is better for the attacker), ours and theirs.
    """

    equal: float
    apart: float
    success: tuple[float, float]
    length: tuple[float, float]
    objective: tuple[float, float]


def worlds(pair: Pair, network: str, dtype: torch.dtype) -> Iterator[World]:
    """The worlds of a network that a pair can meet on; of the slow network, gray with 2 and RGB with 5 classes."""
    modes = (False, True) if pair.targeted else (False,)
    for channels, classes, targeted in itertools.product(pair.channels, (2, 5), modes):
        if network == "small" or (channels, classes) in ((1, 2), (3, 5)):
            yield world(network, channels, classes, targeted, dtype)


def compare(pair: Pair, where: World) -> Agreement:
    """Run both on one world; both results are judged by the same untouched network."""
    made, other = ours(pair.ours, where), theirs(pair, where)
    difference = (made - other).abs()
    moved, apart = (other - where.x).flatten(1).norm(dim=1), (made - other).flatten(1).norm(dim=1)
    equal = (difference <= ROUNDING[where.x.dtype]).double().mean().item()
    share = (apart / moved.clamp_min(1e-12)).max().item()
    both = (made, other)
    success = tuple(where.fooled(x).double().mean().item() for x in both)
    return Agreement(
        equal, share, success, tuple(_length(where, x) for x in both), tuple(_value(where, x) for x in both)
    )


def _length(where: World, x: Tensor) -> float:
    fooled = where.fooled(x)
    return (x - where.x).double().flatten(1).norm(dim=1)[fooled].median().item() if bool(fooled.any()) else float("nan")


def _value(where: World, x: Tensor) -> float:
    with torch.no_grad():
        logits = where.net(x)
    if where.target is not None:
        return functional.cross_entropy(logits, where.target).item()
    return -functional.cross_entropy(logits, where.y).item()
