"""KD as the released code has it: one bandwidth for every layer and data set."""

from __future__ import annotations

import torch
from torch import Tensor

from medaegis._errors import require
from medaegis._types import Tapped
from medaegis.density import kernel_log_density
from medaegis.detect._released_data import ReleasedData, ReleasedScores, layer_of
from medaegis.models import PENULTIMATE

BANDWIDTH = 1.0


def released_kd(data: ReleasedData, *, generator: torch.Generator) -> ReleasedScores:
    """Minus the log density of the predicted class's Train features at the penultimate layer, bandwidth 1.0.

    Choice, and what `KD` does instead: the bandwidth is scikit-learn's default whatever the features' scale (ours is
    chosen by likelihood on Train, as the detector's own paper tunes it). Features are far apart or close together by
    the network's own scale, so this usually lowers the figure. The predicted class is ours too. The density here is
    exact; the released code takes scikit-learn's tree, which can be off where the bandwidth is small.

    Args:
        data: `train`, `labels`, `test_clean` and the scored examples are used.
        generator: not used.

    Raises:
        InputError: a class is predicted that was not in Train.

    Example:
        >>> from medaegis.detect._released_toy import toy_data
        >>> found = released_kd(toy_data(), generator=torch.Generator())
        >>> bool(found.adversarial.mean() > found.clean.mean())
        True
    """
    reference = layer_of(data.train, PENULTIMATE)

    def score(part: Tapped) -> Tensor:
        z, predicted = layer_of(part, PENULTIMATE), part.logits.argmax(dim=1).cpu()
        found = torch.zeros(len(z), dtype=torch.float64)
        for c in predicted.unique().tolist():
            known = reference[data.labels.cpu() == c]
            require(len(known) > 0, "predicted", "released_kd", "a class of Train", c)
            found[predicted == c] = -kernel_log_density(z[predicted == c], known, BANDWIDTH)
        return found

    return ReleasedScores(score(data.test_clean), score(data.scored))
