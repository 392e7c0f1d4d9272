"""Detectors as scikit-learn outlier detectors: numpy in, +1 for inliers and -1 for outliers out."""

from __future__ import annotations

from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from medaegis._errors import is_a, require
from medaegis.detect._detector import Detector
from medaegis.measure import threshold_at


class OutlierEstimator(OutlierMixin, BaseEstimator):
    """A scikit-learn outlier detector around any detector that needs no attacks and no network.

    As everywhere in scikit-learn, and opposite to detectors, a higher score is more normal: `score_samples` is minus
    the detector's score without predicted classes.

    Args:
        detector: an unfitted detector; `fit` works on a copy.
        tnr: share of the training rows that `predict` accepts. As scikit-learn's `contamination` (which is 1 - `tnr`),
            it is set on the rows that were fitted; the share of held-out rows that pass is lower, most of all for
            detectors that keep the rows themselves, as KD does. `Detector.calibrate` takes held-out cases.

    Attributes:
        detector_: the fitted detector; its `threshold_` is minus `offset_`.
        offset_: `decision_function` is `score_samples` minus this.
        n_features_in_: number of columns d in `fit`.

    Example:
        >>> from medaegis.detect import MAHA
        >>> rows = np.random.default_rng(0).normal(size=(200, 3))
        >>> estimator = OutlierEstimator(MAHA(), tnr=0.95).fit(rows)
        >>> estimator.predict([[0, 0, 0], [9, 9, 9]])
        array([ 1, -1])
        >>> int((estimator.predict(rows) == 1).sum())
        190
    """

    def __init__(self, detector: Detector, *, tnr: float = 0.90) -> None:
        self.detector = detector
        self.tnr = tnr

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:  # noqa: N803  # scikit-learn's name
        """Fit a copy of the detector and set the offset on the same rows.

        Args:
            X: features (n, d).
            y: classes (n,), of any type that sorts; None: all rows are of one class.

        Raises:
            InputError: no detector, one that learns from attacks or scores images, or what its `fit` raises.
            ValueError: X is not a finite array (n, d) with two rows or more, or y is not (n,).
        """
        self._check_parameters()
        rows = self._rows(X, reset=True)
        labels = np.zeros(len(rows), dtype=np.int64) if y is None else _classes(y)
        self.detector_ = cast(Detector, clone(self.detector)).fit(rows, torch.from_numpy(labels))
        self.detector_.threshold_ = threshold_at(self._scores(rows), tnr=self.tnr)
        self.offset_ = -self.detector_.threshold_
        return self

    def score_samples(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803  # scikit-learn's name
        """Minus the detector's scores, (n,): higher is more normal.

        Raises:
            NotFittedError: scikit-learn's, before `fit`.
            ValueError: X is not a finite array (n, d) of as many columns as in `fit`.
        """
        check_is_fitted(self)
        return -self._scores(self._rows(X, reset=False))

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803  # scikit-learn's name
        """`score_samples` minus `offset_`, (n,): negative for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:  # noqa: N803  # scikit-learn's name
        """+1 for inliers and -1 for outliers, (n,); outliers are what `detector_.flags` flags."""
        return np.where(self.decision_function(X) >= 0, 1, -1)

    def _check_parameters(self) -> None:
        good = is_a(self.detector, Detector) and not self.detector.learns_attacks and not self.detector.needs_images
        rule = "a detector that needs no attacks and no images"
        require(good, "detector", "OutlierEstimator", rule, self.detector)
        require(0 < self.tnr < 1, "tnr", "OutlierEstimator", "a share in (0, 1), as in 0.90", self.tnr)

    def _rows(self, given: Any, *, reset: bool) -> torch.Tensor:
        least = 2 if reset else 1
        rows: Any = validate_data(self, given, reset=reset, dtype=np.float64, ensure_min_samples=least)
        return torch.tensor(rows)

    def _scores(self, rows: torch.Tensor) -> NDArray[np.float64]:
        with torch.no_grad():
            return self.detector_.score(rows).double().numpy()


def _classes(y: ArrayLike) -> NDArray[np.int64]:
    """Places of the classes among those that occur, (n,)."""
    return np.unique(column_or_1d(y), return_inverse=True)[1].astype(np.int64)
