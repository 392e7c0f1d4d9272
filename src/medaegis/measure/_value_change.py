"""How attacks move the penultimate features: along the head's weights, and alike among attacks and iterations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata
from torch import Tensor, nn

from medaegis._errors import require
from medaegis._types import Features, Images
from medaegis.measure._estimate import DRAWS, Estimate, Weights, bootstrap, mean
from medaegis.measure._passes import clean_pass
from medaegis.models import PENULTIMATE

Array = NDArray[np.float64]


def value_change(model: nn.Module, x: Images, x_adv: Images, *, batch_size: int = 32) -> Features:
    """Penultimate features of the attacked images minus those of the clean ones.

    Behind a ReLU a feature cannot go below zero, so a channel that is silent on the clean image can only rise, and
    one that the attack lowers stops at zero: the changes are cut off on that side however the gradient points.

    Args:
        model: maps images in [0, 1] to logits; left as it came.
        x: clean images (n, c, *space).
        x_adv: attacked images of the same cases.
        batch_size: images that go through the network together.

    Returns:
        (n, d), on the device of `x`.

    Raises:
        InputError: the shapes differ, or the network has no dense layer.

    Source: HFC-23 section III-A ("value changes").

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> value_change(net, torch.zeros(3, 1, 2, 2), torch.full((3, 1, 2, 2), 0.5)).tolist()[0]
        [0.5, 0.5, 0.5, 0.5]
    """
    require(x.shape == x_adv.shape, "x_adv", "value_change", f"of shape {tuple(x.shape)}", tuple(x_adv.shape))
    before, after = (clean_pass(model, images, [PENULTIMATE], batch_size=batch_size) for images in (x, x_adv))
    return after.features[PENULTIMATE] - before.features[PENULTIMATE].to(after.logits.device)


class Correlation(NamedTuple):
    """How the mean change of each channel follows a direction, over channels; n counts the cases.

    Attributes:
        pearson: of the values.
        spearman: of their ranks.
    """

    pearson: Estimate
    spearman: Estimate


def change_correlation(
    change: Tensor | ArrayLike,
    direction: Tensor | ArrayLike,
    *,
    groups: Sequence[str] | None = None,
    seed: int = 0,
    draws: int = DRAWS,
) -> Correlation:
    """Correlation, over channels, of the mean change with a direction such as `head_direction(weight, 1, 0)`.

    The intervals draw cases (or patients) again, while the channels, those of one network, stay.

    Args:
        change: (n, d) value changes.
        direction: (d,) one number a channel.
        groups: patient of each case. None draws cases.
        seed: of the bootstrap.
        draws: bootstrap resamples.

    Returns:
        Both correlations in [-1, 1]; NaN where the mean change, or the direction, is the same in every channel.

    Raises:
        InputError: shapes do not fit, fewer than 2 channels, or a value is not finite.

    Source: HFC-23 Fig. 2 (HFC-21 Fig. 2a).

    Example:
        >>> change_correlation([[1.0, 2.0, 4.0]], [0.0, 1.0, 9.0]).spearman.value
        1.0
    """
    moved, along = (np.asarray(values, dtype=np.float64) for values in (change, direction))
    good = moved.ndim == 2 and along.shape == moved.shape[1:] and moved.shape[1] >= 2
    rule = "(n, d) for a direction (d,), d >= 2"
    require(good, "change", "change_correlation", rule, (moved.shape, along.shape))
    finite = bool(np.isfinite(moved).all() and np.isfinite(along).all())
    require(finite, "change", "change_correlation", "finite, as the direction", "NaN or infinity")

    def means(counts: Weights) -> Array:
        return counts @ moved / counts.sum(axis=1, keepdims=True)

    ranks = rankdata(along)

    def by_value(counts: Weights) -> Array:
        return _pearson(means(counts), along)

    def by_rank(counts: Weights) -> Array:
        return _pearson(rankdata(means(counts), axis=1), ranks)

    shared: dict[str, Any] = {"groups": groups, "seed": seed, "draws": draws}
    return Correlation(*(bootstrap(figure, len(moved), **shared) for figure in (by_value, by_rank)))


def _pearson(rows: Array, along: Array) -> Array:
    """Correlation of each row (m, d) with one vector (d,); NaN where either is constant."""
    left, right = rows - rows.mean(axis=1, keepdims=True), along - along.mean()
    scale = np.sqrt((left**2).sum(axis=1) * (right**2).sum())
    return np.divide(left @ right, scale, out=np.full_like(scale, np.nan), where=scale > 0)


class Similarity(NamedTuple):
    """Cosines between changes, averaged over cases.

    Attributes:
        names: of the m attacks or iterations.
        values: m rows of m estimates; n counts the cases of which both changes are not zero.
        cases: (n, m, m) cosine of every case; NaN where a change is zero.
    """

    names: tuple[str, ...]
    values: tuple[tuple[Estimate, ...], ...]
    cases: Tensor


def similarity(
    changes: Mapping[str, Features],
    *,
    channels: Tensor | None = None,
    groups: Sequence[str] | None = None,
    seed: int = 0,
    draws: int = DRAWS,
) -> Similarity:
    """Cosine of the value changes of every two attacks on the same case, averaged over cases.

    Behind a ReLU all attacks share the channels that cannot fall, so that unrelated attacks are already somewhat alike.

    Args:
        changes: by name, (n, d) value changes of the same cases in the same order.
        channels: (d,) bool; only these count, as `consistent_channels(weight, c)` of many classes. None takes all.
        groups: patient of each case. None draws cases.
        seed: of the bootstrap.
        draws: bootstrap resamples.

    Raises:
        InputError: no changes, shapes differ, or no channel is left.

    Source: HFC-23 Fig. 3 (HFC-21 Fig. 2b).

    Example:
        >>> one = torch.tensor([[1.0, 0.0]])
        >>> similarity({"a": one, "b": 3 * one, "c": one.flip(1)}).values[0][1:3]
        (Estimate(value=1.0, low=1.0, high=1.0, n=1), Estimate(value=0.0, low=0.0, high=0.0, n=1))
    """
    shapes = {tuple(change.shape) for change in changes.values()}
    good = len(shapes) == 1 and len(next(iter(shapes))) == 2
    require(good, "changes", "similarity", "one or more changes, all of one shape (n, d)", sorted(shapes))
    whole = torch.stack([change.double() for change in changes.values()], dim=1)
    if channels is not None:
        fits = channels.dtype == torch.bool and channels.shape == whole.shape[2:] and bool(channels.any())
        rule = f"({whole.shape[2]},) bool with at least one channel"
        require(fits, "channels", "similarity", rule, (channels.dtype, tuple(channels.shape), int(channels.sum())))
        whole = whole[:, :, channels]
    length = whole.norm(dim=2, keepdim=True)
    unit = whole / torch.where(length > 0, length, torch.nan)
    cosines = (unit @ unit.transpose(1, 2)).clamp(-1, 1)
    table = cosines.numpy(force=True)
    m = len(changes)
    rows = tuple(tuple(mean(table[:, i, j], groups=groups, seed=seed, draws=draws) for j in range(m)) for i in range(m))
    return Similarity(tuple(changes), rows, cosines)
