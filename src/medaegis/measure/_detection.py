"""How well a detector's scores separate adversarial from clean: AUC and TPR at a fixed TNR. Adversarial is positive."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medaegis._errors import require
from medaegis.measure._estimate import DRAWS, Estimate, Weights, bootstrap

Array = NDArray[np.float64]
ALPHA = 0.05


def auc(
    negative: ArrayLike, positive: ArrayLike, *, groups: Sequence[str] | None = None, seed: int = 0, draws: int = DRAWS
) -> Estimate:
    """Area under the ROC: the chance that an adversarial score is above a clean one, ties counting half.

    Args:
        negative: scores of clean cases (n_neg,).
        positive: scores of adversarial cases (n_pos,); higher means more adversarial.
        groups: patient of each case, negatives first, then positives: a patient's clean and adversarial images are
            drawn together. None draws cases.
        seed: of the bootstrap.
        draws: bootstrap resamples.

    Returns:
        A share in [0, 1] with its interval; n counts the positives. NaN where either side is empty.

    Raises:
        InputError: a score is NaN.

    Example:
        >>> auc([0.0, 1.0], [2.0, 3.0]).value
        1.0
    """
    low, high = _scores(negative, "negative"), _scores(positive, "positive")
    if len(low) == 0 or len(high) == 0:
        return Estimate(float("nan"), float("nan"), float("nan"), len(high))
    wins = (high[:, None] > low).astype(np.float64) + 0.5 * (high[:, None] == low)

    def figure(counts: Weights) -> Array:
        a, b = counts[:, : len(low)], counts[:, len(low) :]
        total = a.sum(axis=1) * b.sum(axis=1)
        return _ratio(((b @ wins) * a).sum(axis=1), total)

    found = bootstrap(figure, len(low) + len(high), groups=groups, seed=seed, draws=draws)
    return found._replace(n=len(high))


def tpr_at_tnr(
    calibration: ArrayLike,
    positive: ArrayLike,
    *,
    tnr: float = 0.90,
    groups: Sequence[str] | None = None,
    seed: int = 0,
    draws: int = DRAWS,
) -> Estimate:
    """Share of adversarial cases above the threshold that lets a share `tnr` of held-out clean cases pass.

    Args:
        calibration: scores of held-out clean cases (m,), not those of the test.
        positive: scores of adversarial cases (n,).
        tnr: true negative rate at which the threshold is set.
        groups: patient of each positive case.
        seed: of the bootstrap.
        draws: bootstrap resamples.

    Returns:
        A share in [0, 1] with its interval over the positives (the threshold is held fixed). NaN where either is empty.

    Example:
        >>> tpr_at_tnr(range(11), [5.0, 9.5]).value
        0.5
    """
    held, high = _scores(calibration, "calibration"), _scores(positive, "positive")
    if len(held) == 0 or len(high) == 0:
        return Estimate(float("nan"), float("nan"), float("nan"), len(high))
    return share(high > threshold_at(held, tnr=tnr), groups=groups, seed=seed, draws=draws)


def threshold_at(clean: ArrayLike, *, tnr: float = 0.90) -> float:
    """The score above which a share 1 - `tnr` of these clean cases lies (linear between order statistics).

    Raises:
        InputError: no scores, a score is NaN, or `tnr` is out of range.

    Example:
        >>> threshold_at(range(11), tnr=0.9)
        9.0
    """
    require(0 < tnr < 1, "tnr", "threshold_at", "a share in (0, 1), as in 0.90", tnr)
    scores = _scores(clean, "clean")
    require(len(scores) > 0, "clean", "threshold_at", "at least one score", 0, "Calibrate on held-out clean cases.")
    return float(np.quantile(scores, tnr))


def share(flags: ArrayLike, *, groups: Sequence[str] | None = None, seed: int = 0, draws: int = DRAWS) -> Estimate:
    """The share of true flags, with its interval: Adv. Acc, accuracy, TPR, TNR.

    Where all flags are alike, every resample is too, and the bootstrap would claim certainty: the interval is then that
    of Clopper and Pearson (1934) for as many independent cases as there are groups.

    Example:
        >>> share([True, False]).value
        0.5
        >>> round(share([True] * 30).low, 2)
        0.88
    """
    values = np.asarray(flags, dtype=np.float64)
    if len(values) == 0:
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    found = bootstrap(
        lambda counts: _ratio(counts @ values, counts.sum(axis=1)), len(values), groups=groups, seed=seed, draws=draws
    )
    independent = len(values) if groups is None else len(set(groups))
    possible = 1 - (ALPHA / 2) ** (1 / independent)
    if values.max() == 0:
        return found._replace(high=possible)
    return found._replace(low=1 - possible) if values.min() == 1 else found


def _ratio(top: Array, bottom: Array) -> Array:
    return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)


def _scores(values: ArrayLike, name: str) -> Array:
    scores = np.asarray(values, dtype=np.float64)
    require(scores.ndim == 1, name, "measure", "one score a case, (n,)", scores.shape)
    require(not np.isnan(scores).any(), name, "measure", "free of NaN", "NaN", "Count undefined scores apart.")
    return scores
