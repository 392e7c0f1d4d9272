"""SVM as the released code has it: unscaled features, probabilities for scores."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from medaegis._errors import require
from medaegis.detect._released_data import ReleasedData, ReleasedScores, layer_of
from medaegis.models import PENULTIMATE

FOLDS = 5


def released_svm(data: ReleasedData, *, generator: torch.Generator) -> ReleasedScores:
    """Probability of an RBF-SVM between clean (twice) and adversarial penultimate features.

    Choices, and what `SVM` does instead: features are not scaled (ours: standardised; few wide channels decide here,
    which usually lowers the figure). The score is Platt's probability, a sigmoid of the decision value fitted on five
    folds (ours: the decision value; ranks agree unless the sigmoid saturates to ties or, with few cases, falls where
    it should rise). The clean cases count twice, since "noise" equals clean, and so stand in several folds (ours:
    clean and noise, both kinds weighing alike; this raises the figure, as noise never has to pass). All adversarial
    examples are learned, also those that fail (ours: successful ones).

    Args:
        data: `learn_clean`, `learn_adversarial`, `test_clean` and the scored examples are used.
        generator: not used: folds are in the cases' order.

    Raises:
        InputError: fewer than two adversarial examples to learn from.

    Example:
        >>> from medaegis.detect._released_toy import toy_data
        >>> found = released_svm(toy_data(), generator=torch.Generator())
        >>> bool(found.adversarial.mean() > found.clean.mean())
        True
    """
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.svm import SVC

    low, high = layer_of(data.learn_clean, PENULTIMATE), layer_of(data.learn_adversarial, PENULTIMATE)
    require(len(high) >= 2, "learn_adversarial", "released_svm", "at least two cases", len(high))
    rows = torch.cat([low, low, high]).numpy()
    adversarial = np.arange(len(rows)) >= 2 * len(low)
    machine = cast(Any, SVC)(kernel="rbf")
    folds = min(FOLDS, len(high))
    fitted = cast(Any, CalibratedClassifierCV)(machine, cv=folds, ensemble=False).fit(rows, adversarial)

    def score(z: Tensor) -> Tensor:
        return torch.from_numpy(fitted.predict_proba(z.numpy())[:, 1]).double() if len(z) else z[:, 0]

    return ReleasedScores(*(score(layer_of(part, PENULTIMATE)) for part in (data.test_clean, data.scored)))
