"""Calibrated detectors as what an adaptive attack must slip past."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from medaegis._errors import NotFittedError, is_a, require
from medaegis._types import Flags, Tapped
from medaegis.detect._detector import Detector
from medaegis.models import PENULTIMATE


@dataclass(frozen=True, eq=False)
class DetectorGuard:
    """Lets a case pass that none of its detectors flags; made by `guard`, for `Attack.against`."""

    detectors: tuple[Detector, ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers on which the detectors were fitted."""
        names = [name or PENULTIMATE for detector in self.detectors for name in detector.fitted_layers()]
        return tuple(dict.fromkeys(names))

    def __call__(self, tapped: Tapped) -> Flags:
        """(b,) bool: True for cases that would not be detected."""
        predicted = tapped.logits.argmax(dim=1)
        passes = torch.ones_like(predicted, dtype=torch.bool)
        for detector in self.detectors:
            names = detector.fitted_layers()
            features = {name: tapped.features[name or PENULTIMATE] for name in names}
            passes &= ~detector.flags(features if names != ("",) else features[""], predicted)
        return passes


def guard(*detectors: Detector) -> DetectorGuard:
    """What an adaptive attack must slip past: `pgd(eps=1/256).against(guard(kd, maha))`.

    The attack then ranks its iterates by (fooled, undetected, objective). It follows no gradient of the detectors by
    itself: add an objective that does, such as `hfc(bank)`.

    Args:
        detectors: fitted and calibrated.

    Raises:
        InputError: no detector, one that is none, or one that scores more than channel means.
        NotFittedError: a detector has no threshold yet.

    Example:
        >>> from medaegis.detect import KD
        >>> z, labels = torch.randn(40, 3), torch.arange(40) % 2
        >>> kd = KD().fit(z, labels)
        >>> kd = kd.calibrate(torch.randn(40, 3), labels)
        >>> guard(kd).layers
        ('penultimate',)
    """
    good = len(detectors) > 0 and all(is_a(detector, Detector) for detector in detectors)
    require(good, "detectors", "guard", "one or more detectors", detectors)
    moving = [type(detector).__name__ for detector in detectors if detector.needs_images]
    require(
        not moving,
        "detectors",
        "guard",
        "detectors that score channel means, as MAHA(magnitude=0) and DNN(maps=None) do",
        moving,
    )
    for detector in detectors:
        if detector.threshold_ is None:
            raise NotFittedError(
                f"{type(detector).__name__} has no threshold yet: call calibrate(clean_features) first."
            )
    return DetectorGuard(detectors)
