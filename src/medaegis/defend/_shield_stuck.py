"""A Shield that stops learning says so."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medaegis.defend._warnings import DefenceWarning

_CHANCE = 0.95 * math.log(2)


@dataclass(frozen=True)
class Stuck:
    """For each class, the epochs in a row in which its Shield's loss was at chance (within 5 % of log 2, or above).

    Example:
        >>> Stuck([1, 1]).after([0.7, 0.3], 3, {"epoch": 2, "eps": 1 / 256, "attack_success": 1.0})
        Stuck(epochs=[2, 0])
    """

    epochs: Sequence[int]

    def after(self, losses: Sequence[float], limit: int, entry: Mapping[str, float]) -> Stuck:
        """The counts after one more epoch; warns in the epoch in which a count reaches `limit`."""
        epochs = [count + 1 if loss >= _CHANCE else 0 for count, loss in zip(self.epochs, losses, strict=True)]
        for c, (count, loss) in enumerate(zip(epochs, losses, strict=True)):
            if count == limit:
                warnings.warn(
                    f"The Shield of class {c} has not learned for {limit} epochs: its loss is {loss:.3f} in epoch "
                    f"{entry['epoch']:.0f} at {256 * entry['eps']:.3g}/256, where guessing gives 0.693, and "
                    f"{100 * entry['attack_success']:.0f} % of the training attacks pass. Let the budget grow more "
                    "slowly or end lower (`growing`, `last_eps`), add shallower taps, raise `width`, or change "
                    "`learning_rate`.",
                    DefenceWarning,
                    stacklevel=4,
                )
        return Stuck(epochs)
