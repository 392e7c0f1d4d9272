"""A number that never stands alone: value, bootstrap interval and n."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medaegis._errors import is_int, is_number, require

DRAWS = 2000
Weights = NDArray[np.float64]


class Estimate(NamedTuple):
    """A figure with its 95 % interval.

    Attributes:
        value: the figure; NaN where it is not defined (and never 0 in its place).
        low: lower end of the interval.
        high: upper end.
        n: number of cases behind it.
    """

    value: float
    low: float
    high: float
    n: int


def bootstrap(
    figure: Callable[[Weights], NDArray[np.float64]],
    n: int,
    *,
    groups: Sequence[str] | None = None,
    seed: int = 0,
    draws: int = DRAWS,
    level: float = 0.95,
) -> Estimate:
    """Percentile bootstrap of a figure that can be computed from how often each case was drawn.

    Args:
        figure: from counts (draws, n) to the figure of each draw (draws,); NaN where a draw does not define it.
        n: number of cases.
        groups: a name for each case; cases of a group (a patient) are drawn together. None draws cases.
        seed: of the draws.
        draws: number of resamples.
        level: share of resamples inside the interval.

    Returns:
        The figure on the cases themselves with its interval over the resamples that define it.

    Raises:
        InputError: no cases, `groups` does not have n names, or another argument is out of range.

    Source: Efron 1979; SPEC section 7 (every figure carries a 95 % interval and its n).

    Example:
        >>> values = np.array([0.0, 1.0, 1.0, 0.0])
        >>> bootstrap(lambda w: w @ values / w.sum(axis=1), 4).value
        0.5
    """
    require(n >= 1, "n", "bootstrap", "an int >= 1", n, "Was every case dropped?")
    require(
        groups is None or len(groups) == n, "groups", "bootstrap", f"{n} names", None if groups is None else len(groups)
    )
    require(is_int(draws) and draws >= 1, "draws", "bootstrap", "an int >= 1", draws)
    require(is_number(level) and 0 < level < 1, "level", "bootstrap", "a share in (0, 1), as in 0.95", level)
    value = float(figure(np.ones((1, n)))[0])
    drawn = figure(draw_counts(n, groups=groups, seed=seed, draws=draws))
    defined = drawn[np.isfinite(drawn)]
    if np.isnan(value) or len(defined) == 0:
        return Estimate(value, float("nan"), float("nan"), n)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high), n)


def mean(values: ArrayLike, *, groups: Sequence[str] | None = None, seed: int = 0, draws: int = DRAWS) -> Estimate:
    """Mean of one number a case, with its interval; NaN cases are left out, and n does not count them.

    Example:
        >>> mean([1.0, float("nan"), 2.0]).value
        1.5
    """
    numbers = np.asarray(values, dtype=np.float64)
    require(numbers.ndim == 1, "values", "mean", "one number a case, (n,)", numbers.shape)
    there = ~np.isnan(numbers)
    if not there.any():
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    kept = numbers[there]
    names = None if groups is None else [group for group, keep in zip(groups, there, strict=True) if keep]
    return bootstrap(lambda counts: counts @ kept / counts.sum(axis=1), len(kept), groups=names, seed=seed, draws=draws)


def draw_counts(n: int, *, groups: Sequence[str] | None, seed: int, draws: int) -> Weights:
    """How often each of n cases is in each of `draws` resamples of the groups, (draws, n).

    Example:
        >>> draw_counts(3, groups=["a", "a", "b"], seed=0, draws=2).shape
        (2, 3)
    """
    place = np.arange(n) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    size = int(place.max()) + 1
    random = np.random.default_rng(seed)
    counts = random.multinomial(size, np.full(size, 1 / size), size=draws)
    return counts[:, place].astype(np.float64)
