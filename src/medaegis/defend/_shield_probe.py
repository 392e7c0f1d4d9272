"""After training: do stronger attacks than those of the training get past the Shields?"""

from __future__ import annotations

import math
import warnings

from medaegis.defend._shield_epoch import ShieldBench, few, validate
from medaegis.defend._shield_settings import TrainingAttack
from medaegis.defend._warnings import DefenceWarning

STRONGER = (
    TrainingAttack(steps=40, move="adam", path=10.0),
    TrainingAttack(steps=40, move="adam", factor=4.0, path=4.0),
    TrainingAttack(steps=40),
)
"""Adam on tanh, Adam on a quarter of the resolution, sign steps: 40 each."""
GAP = 0.15
"""Difference of AUC from which a training is said to have hidden its gradients."""
GOOD = 0.8
"""AUC on the training's own attacks from which Shields are said to reject them."""


def probe(bench: ShieldBench, seed: int, known: float) -> float:
    """The worst AUC of `STRONGER` attacks at the full budget, over the Shields and a few held-out cases.

    Args:
        bench: with the weights that are kept.
        seed: of the attacks' draws.
        known: the worst AUC of the training's own attacks.

    Returns:
        The AUC in [0, 1]; NaN where settings ask for no cases.

    Warns:
        DefenceWarning: it is much below `known`, which is good.
    """
    most = bench.settings.probe_cases
    if most == 0:
        return math.nan
    tried = bench._replace(validation=few(bench.validation, bench.cases.labels.cpu(), most))
    found = validate(tried, seed, STRONGER)["validation_auc"]
    if known >= GOOD and found < known - GAP:
        warnings.warn(
            f"The Shields reject the attacks that they learned from (worst AUC {known:.2f}), and not stronger ones of "
            f"40 steps at {256 * bench.settings.last_eps:.3g}/256 (worst AUC {found:.2f}): their training only hid "
            "gradients. Train with ShieldSettings.hardened(), for more epochs, or with attacks of more steps.",
            DefenceWarning,
            stacklevel=3,
        )
    return found
