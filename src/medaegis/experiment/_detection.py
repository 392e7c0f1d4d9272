"""From stored scores of detectors to figures: what they notice of one attack, on whom, and with which threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from medaegis.experiment._context import Context
from medaegis.experiment._stages_detect import AttackScores, CleanScores
from medaegis.measure import Estimate, auc, share, threshold_at, tpr_at_tnr

TNR = 0.90
Scores = NDArray[np.float64]


class Part(NamedTuple):
    """One set of images: scores by detector and predicted classes."""

    scores: dict[str, Scores]
    predicted: NDArray[np.int64]


class Clean(NamedTuple):
    """Clean images under one set of fitted detectors: those that set thresholds, those of AdvTest, the thresholds."""

    held: Part
    test: Part
    thresholds: dict[str, float]


class Attack(NamedTuple):
    """Adversarial images of AdvTest and their noisy twins under the same detectors, and which fool the classifier."""

    made: Part
    noise: Part
    fooled: NDArray[np.bool_]


def part_of(tensors: dict[str, Tensor], part: str, detectors: Sequence[str]) -> Part:
    """One part of what `CleanScores` or `AttackScores` stored."""
    scores = {label: tensors[f"{part}.{label}"].double().numpy() for label in detectors}
    return Part(scores, tensors[f"{part}.logits"].argmax(dim=1).numpy())


def clean_of(stage: CleanScores, detectors: Sequence[str], context: Context) -> Clean:
    """Stored clean scores with the thresholds that they set."""
    stored = context.get(stage).tensors
    held = part_of(stored, "calibration", detectors)
    thresholds = {label: threshold_at(held.scores[label], tnr=TNR) for label in detectors}
    return Clean(held, part_of(stored, "clean", detectors), thresholds)


def attack_of(stage: AttackScores, detectors: Sequence[str], context: Context) -> Attack:
    """Stored scores of an attack."""
    stored, fooled = context.get(stage).tensors, context.get(stage.attacked).tensors["fooled"].numpy()
    return Attack(part_of(stored, "adversarial", detectors), part_of(stored, "noise", detectors), fooled)


def figures(clean: Clean, attack: Attack, detector: str, groups: Sequence[str]) -> dict[str, Estimate]:
    """What one detector notices, by the name of the metric.

    Args:
        clean: scores of clean images.
        attack: scores of the same cases under attack.
        detector: its label.
        groups: patient of each case of AdvTest.

    Returns:
        AUC over all adversarial images, over those that fool the classifier and over those that do not (NaN where there
        are none); against clean and noisy images together; TPR at the threshold that calibration cases set, and the
        TNR that this threshold achieves on AdvTest; `undetected`, the share that is fooled and accepted.
    """
    low, held, threshold = clean.test.scores[detector], clean.held.scores[detector], clean.thresholds[detector]
    high, noise, once = attack.made.scores[detector], attack.noise.scores[detector], list(groups)
    return {
        "AUC": auc(low, high, groups=once * 2),
        "TPR@90": tpr_at_tnr(held, high, tnr=TNR, groups=once),
        "AUC vs clean+noise": auc(np.concatenate([low, noise]), high, groups=once * 3),
        "AUC, successful": _auc_where(low, high, attack.fooled, once),
        "AUC, failed": _auc_where(low, high, ~attack.fooled, once),
        "undetected": share(attack.fooled & (high <= threshold), groups=once),
        "TNR achieved": share(low <= threshold, groups=once),
    }


def _auc_where(low: Scores, high: Scores, chosen: NDArray[np.bool_], groups: list[str]) -> Estimate:
    kept = [group for group, good in zip(groups, chosen.tolist(), strict=True) if good]
    return auc(low, high[chosen], groups=groups + kept)
