"""The released code's logistic regression over layers: its scaler has seen the test cases."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from medaegis.detect._released_data import LayerScores, ReleasedScores


def pooled(scores: LayerScores) -> Tensor:
    """All rows on which the released scaler is fitted: learning and test cases, the clean ones twice.

    Twice, because the released "noise" set takes zero steps and adds no noise: it is the clean set.

    Example:
        >>> one = torch.ones(1, 1)
        >>> pooled(LayerScores(one, 2 * one, 3 * one, 4 * one))[:, 0].tolist()
        [1.0, 3.0, 1.0, 3.0, 2.0, 4.0]
    """
    clean = torch.cat([scores.learn_clean, scores.test_clean])
    return torch.cat([clean, clean, scores.learn_adversarial, scores.test_adversarial])


def regress_layers(scores: LayerScores, hidden: Tensor | None = None) -> ReleasedScores:
    """One probability a case from its scores by layer, as the released code computes it.

    Choices, and what `Combined` does instead: the scaler is fitted before the split, so on test cases and on the
    attack that is tested (ours: on learning cases alone; this raises the figure, the more so the fewer cases there
    are). The negatives are the clean cases twice, as "noise" equals clean (ours: clean and noise of the attack's size;
    this raises the figure, as noise never has to pass). The positives are all adversarial examples, also those that
    fail (ours: successful ones; this lowers it). The two kinds weigh as they are many (ours: alike; no effect on a
    rank within one layer). The score is a probability, which saturates to ties at 0 and 1 (ours: the logit).

    Args:
        scores: one score a layer of the four sets.
        hidden: of the attack that hides, (n, L); the regression and its scaler stay the conventional attack's. None
            scores the conventional attack.

    Example:
        >>> low, high = torch.arange(8.0)[:, None], torch.arange(8.0)[:, None] + 10
        >>> found = regress_layers(LayerScores(low, high, low, high))
        >>> bool(found.adversarial.min() > found.clean.max())
        True
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = cast(Any, StandardScaler()).fit(pooled(scores).numpy())
    negative, positive = scores.learn_clean, scores.learn_adversarial
    rows = torch.cat([negative, negative, positive]).numpy()
    adversarial = np.arange(len(rows)) >= 2 * len(negative)
    regression = cast(Any, LogisticRegression(max_iter=500)).fit(scaler.transform(rows), adversarial)

    def score(table: Tensor) -> Tensor:
        if len(table) == 0:
            return torch.zeros(0, dtype=torch.float64)
        return torch.from_numpy(regression.predict_proba(scaler.transform(table.numpy()))[:, 1])

    return ReleasedScores(score(scores.test_clean), score(scores.test_adversarial if hidden is None else hidden))
