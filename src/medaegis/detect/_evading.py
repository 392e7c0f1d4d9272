"""Detectors as what a white-box attack follows: their own scores, pushed below their thresholds."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from medaegis._errors import InputError, NotFittedError, is_a, is_number, require
from medaegis._types import PerCase, Tapped
from medaegis.attack import Goal, Objective
from medaegis.detect._detector import Detector
from medaegis.models import PENULTIMATE


@dataclass(frozen=True, eq=False)
class Evading(Objective):
    """sum_d weight x max(0, (score_d - threshold_d) / spread_d + margin); made by `evading`."""

    detectors: tuple[Detector, ...]
    weight: float
    margin: float

    @property
    def layers(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]  # read only here
        """The layers on which the detectors were fitted."""
        names = [name or PENULTIMATE for detector in self.detectors for name in detector.fitted_layers()]
        return tuple(dict.fromkeys(names))

    def __call__(self, tapped: Tapped, goal: Goal) -> PerCase:
        """Value per case (b,)."""
        return torch.stack(list(self.parts(tapped, goal).values())).sum(dim=0)

    def parts(self, tapped: Tapped, goal: Goal) -> dict[str, PerCase]:
        """What each detector adds, (b,), by `evading DETECTOR`."""
        wanted = goal.wanted_class(tapped.logits)
        return {f"evading {type(d).__name__}": self._one(d, tapped, wanted) for d in self.detectors}

    def _one(self, detector: Detector, tapped: Tapped, wanted: torch.Tensor) -> PerCase:
        names = detector.fitted_layers()
        features = {name: tapped.features[name or PENULTIMATE] for name in names}
        score = detector.score(features if names != ("",) else features[""], wanted)
        assert detector.threshold_ is not None  # checked by `evading`
        assert detector.threshold_spread_ is not None
        over = (score - detector.threshold_) / detector.threshold_spread_ + self.margin
        return (self.weight * over.clamp_min(0)).to(tapped.logits.dtype)


def evading(*detectors: Detector, weight: float = 1.0, margin: float = 0.5) -> Evading:
    """A white-box attack on detectors and classifier together: `pgd(eps=1/256).plus(evading(kd, maha))`.

    Each detector's score for the wanted class is followed down until it is `margin` spreads below its threshold; a
    spread is the distance from the median of its calibration scores to the threshold, so detectors count alike. With
    `.projecting("selective")` or `"orthogonal"` one goal does not undo the other, and `.against(guard(...))` ranks
    iterates by what the detectors let pass.

    Args:
        detectors: fitted, calibrated and differentiable.
        weight: factor of each detector's term, >= 0.
        margin: how far below its threshold a score must be to count as evaded, in spreads, >= 0.

    Raises:
        InputError: no detector, one whose score has no gradient, one that scores more than channel means, or a number
            out of range.
        NotFittedError: a detector is not calibrated.

    Source: Carlini & Wagner 2017, for kernel density; Bryniarski et al. 2021 for the projections.

    Example:
        >>> from medaegis.attack import pgd
        >>> from medaegis.detect import KD
        >>> z, labels = torch.randn(40, 3), torch.arange(40) % 2
        >>> kd = KD().fit(z, labels).calibrate(torch.randn(40, 3), labels)
        >>> pgd(eps=1 / 256).plus(evading(kd)).objective.layers
        ('penultimate',)
    """
    good = len(detectors) > 0 and all(is_a(detector, Detector) for detector in detectors)
    require(good, "detectors", "evading", "one or more detectors", detectors)
    require(is_number(weight) and weight >= 0, "weight", "evading", "a number >= 0", weight)
    require(is_number(margin) and margin >= 0, "margin", "evading", "a number >= 0", margin)
    moving = [type(detector).__name__ for detector in detectors if detector.needs_images]
    require(
        not moving,
        "detectors",
        "evading",
        "detectors that score channel means, as MAHA(magnitude=0) and DNN(maps=None) do",
        moving,
    )
    for detector in detectors:
        name = type(detector).__name__
        if not detector.differentiable:
            raise InputError(f"{name} has no gradient to follow: attack it without, by `.against(guard(...))`.")
        if detector.threshold_ is None or detector.threshold_spread_ is None:
            raise NotFittedError(f"{name} has no threshold yet: call calibrate(clean_features) first.")
    return Evading(detectors, float(weight), float(margin))
