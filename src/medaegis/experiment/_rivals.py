"""The competitors of HFC by name, made from stored Train features (HFC-21 Table 3)."""

from __future__ import annotations

from medaegis.attack import Objective
from medaegis.experiment._context import Context
from medaegis.experiment._stages_model import TrainFeatures

RIVALS = {"random": "Random guide", "closest": "Closest guide", "kde": "KDE", "lid": "LID"}


def rival_objective(name: str, features: TrainFeatures, context: Context) -> Objective:
    """What a competitor adds to an attack's own loss.

    Args:
        name: one of `RIVALS`.
        features: the Train features that it is made from.
        context: where they are stored.
    """
    raise NotImplementedError(name)
