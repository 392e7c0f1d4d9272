"""The competitors of HFC by name, made from stored Train features (HFC-21 Table 3)."""

from __future__ import annotations

import torch

from medaegis.attack import Attack, guide_closest, guide_random, kde_aware, lid_aware
from medaegis.density import KernelDensity, LocalDimensionality, choose_bandwidth
from medaegis.experiment._context import Context
from medaegis.experiment._stages_model import TrainFeatures
from medaegis.models import PENULTIMATE

RIVALS = {"random": "Random guide", "closest": "Closest guide", "kde": "KDE", "lid": "LID"}
REFERENCE, NEIGHBOURS = 100, 20  # of LID, as its papers have them


def with_rival(attack: Attack, name: str, features: TrainFeatures, context: Context) -> Attack:
    """An attack that hides as a competitor of HFC does.

    Guides take the place of the attack's own loss, as their paper has it (and the published success of 53 to 100 %
    suggests for HFC-21 Table 3); KDE and LID are added to it. LID is averaged over layers, so that it does not drown a
    cross-entropy.

    Args:
        attack: as without hiding.
        name: one of `RIVALS`.
        features: the Train features that the competitor is made from.
        context: where they are stored.
    """
    layers, labels = features.features(context)
    hidden = {layer: z for layer, z in layers.items() if layer != PENULTIMATE}
    if name == "random":
        return attack.minimising(guide_random(hidden, labels))
    if name == "closest":
        return attack.minimising(guide_closest(hidden, labels))
    if name == "kde":
        known = {int(c): layers[PENULTIMATE][labels == c] for c in labels.unique()}
        return attack.plus(
            kde_aware({c: KernelDensity(z, choose_bandwidth(z, "likelihood")) for c, z in known.items()})
        )
    chosen = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))[:REFERENCE]
    near = min(NEIGHBOURS, len(chosen) - 1)
    normal = {layer: LocalDimensionality(z[chosen], near) for layer, z in hidden.items()}
    return attack.plus(lid_aware(normal, weight=1 / len(normal)))
