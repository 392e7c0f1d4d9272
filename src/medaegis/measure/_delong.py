"""DeLong's test: whether two detectors, scored on the same cases, have different areas under the ROC."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medaegis._errors import require

Array = NDArray[np.float64]


class Difference(NamedTuple):
    """A difference of two AUCs on the same cases.

    Attributes:
        value: first minus second, in [-1, 1]; NaN where a side is empty.
        low: lower end of the 95 % interval.
        high: upper end.
        p: two-sided p value of no difference; 1 where the scores rank all cases alike.
        n: positives.
    """

    value: float
    low: float
    high: float
    p: float
    n: int


def auc_difference(
    first: tuple[ArrayLike, ArrayLike], second: tuple[ArrayLike, ArrayLike], *, groups: Sequence[str] | None = None
) -> Difference:
    """AUC of the first detector less that of the second, with DeLong's test for paired scores.

    Args:
        first: scores of clean (n_neg,) and of adversarial cases (n_pos,); higher means more adversarial.
        second: the other detector's scores of the same cases in the same order.
        groups: patient of each case, negatives first: a patient's cases may depend on each other, as a clean image and
            its adversarial twin do. None takes cases as independent, which is DeLong's own test.

    Returns:
        The difference, its interval and p. With fewer than two groups that hold negatives, or positives, the variance
        is unknown: interval and p are NaN.

    Raises:
        InputError: the detectors score different numbers of cases, a score is NaN, or `groups` has another length.

    Source: DeLong, DeLong and Clarke-Pearson 1988; for groups, Obuchowski 1997.

    Example:
        >>> good, bad = ([0.0, 1.0, 2.0], [3.0, 4.0, 5.0]), ([0.0, 4.0, 2.0], [3.0, 1.0, 5.0])
        >>> round(auc_difference(good, bad).value, 3)
        0.333
    """
    parts = [_placements(*_scores(pair)) for pair in (first, second)]
    sizes = [(len(neg), len(pos)) for neg, pos in parts]
    require(sizes[0] == sizes[1], "second", "auc_difference", f"of the same cases, {sizes[0]}", sizes[1])
    n_neg, n_pos = sizes[0]
    total = n_neg + n_pos
    require(groups is None or len(groups) == total, "groups", "auc_difference", f"{total} names", len(groups or ()))
    if min(n_neg, n_pos) == 0:
        return Difference(*(float("nan"),) * 4, n=n_pos)
    negative, positive = (a - b for a, b in zip(*parts, strict=True))
    value = float(positive.mean())
    place = np.arange(total) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    variance = _variance(negative - negative.mean(), positive - value, place)
    return Difference(value, *_judged(value, variance), n=n_pos)


def _scores(pair: tuple[ArrayLike, ArrayLike]) -> tuple[Array, Array]:
    negative, positive = (np.asarray(part, dtype=np.float64) for part in pair)
    for scores in (negative, positive):
        require(scores.ndim == 1, "scores", "auc_difference", "one score a case, (n,)", scores.shape)
        require(not np.isnan(scores).any(), "scores", "auc_difference", "free of NaN", "NaN")
    return negative, positive


def _placements(negative: Array, positive: Array) -> tuple[Array, Array]:
    """Share of positives above each negative, and of negatives below each positive, ties counting half."""
    wins = (positive[:, None] > negative).astype(np.float64) + 0.5 * (positive[:, None] == negative)
    if wins.size == 0:
        return np.zeros(len(negative)), np.zeros(len(positive))
    return wins.mean(axis=0), wins.mean(axis=1)


def _variance(negative: Array, positive: Array, place: NDArray[np.int64]) -> float:
    """Variance of the mean placement, from centred placements summed by group (Obuchowski's S10, S01 and S11)."""
    m, n, count = len(positive), len(negative), int(place.max()) + 1
    below = np.bincount(place[:n], negative, minlength=count)
    above = np.bincount(place[n:], positive, minlength=count)
    with_negative, with_positive = len(np.unique(place[:n])), len(np.unique(place[n:]))
    if min(with_negative, with_positive) < 2:
        return float("nan")
    own = (above @ above) * with_positive / (with_positive - 1) / m**2
    own += (below @ below) * with_negative / (with_negative - 1) / n**2
    return float(own + 2 * (above @ below) * count / (count - 1) / (m * n))


def _judged(value: float, variance: float) -> tuple[float, float, float]:
    from scipy.stats import norm

    if np.isnan(variance):
        return float("nan"), float("nan"), float("nan")
    error = float(np.sqrt(max(variance, 0.0)))
    if error == 0:
        return value, value, 1.0 if value == 0 else 0.0
    reach = float(norm.ppf(0.975)) * error
    return max(value - reach, -1.0), min(value + reach, 1.0), float(2 * norm.sf(abs(value) / error))
