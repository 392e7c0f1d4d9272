"""White-box attacks on detectors: the attacker knows them whole and follows their own scores below their thresholds."""

from __future__ import annotations

from dataclasses import dataclass

from medaegis.attack import Attack, Projection
from medaegis.detect import Detector, evading, guard
from medaegis.experiment._context import Context
from medaegis.experiment._stage import Result
from medaegis.experiment._stages_attack import Followed
from medaegis.experiment._stages_detect import CleanScores

NAME = "white-box"
WAYS: dict[str, Projection] = {NAME: "none", f"{NAME}-selective": "selective", f"{NAME}-orthogonal": "orthogonal"}


@dataclass(frozen=True)
class WhiteBox(Followed):
    """Detectors as an attack follows them: fitted, with the thresholds that calibration cases set.

    Args:
        clean: the scores of calibration cases, by the detectors in question.
        detectors: labels of those that are followed, together.
        projection: how the gradients of both goals become one direction.
        weight: factor of each detector's term; see `medaegis.detect.evading`.
        margin: how far below its threshold a score must be, in spreads.
    """

    clean: CleanScores
    detectors: tuple[str, ...]
    projection: Projection = "none"
    weight: float = 1.0
    margin: float = 0.5

    @property
    def label(self) -> str:
        """What tables call an attack that follows it."""
        return white_box_label(self.detectors, self.projection)

    def compute(self, context: Context) -> Result:
        """The scores that set each detector's threshold."""
        stored = context.get(self.clean).tensors
        return Result({label: stored[f"calibration.{label}"] for label in self.detectors}, {})

    def join(self, attack: Attack, context: Context) -> Attack:
        """The attack with the detectors' scores beside its own loss; iterates are ranked by (fooled, undetected)."""
        detectors = self.calibrated(context)
        hidden = attack.plus(evading(*detectors, weight=self.weight, margin=self.margin))
        hidden = hidden if self.projection == "none" else hidden.projecting(self.projection)
        return hidden.against(guard(*detectors))

    def calibrated(self, context: Context) -> tuple[Detector, ...]:
        """The detectors, fitted and with their thresholds."""
        held, fitted = context.get(self).tensors, self.clean.ready(context)[1]
        return tuple(fitted[label].calibrate_on(held[label]) for label in self.detectors)


def white_box_label(detectors: tuple[str, ...], projection: Projection = "none") -> str:
    """What tables call an attack that follows these detectors.

    Example:
        >>> white_box_label(("KD", "BU")), white_box_label(("KD",), "selective")
        ('white-box KD + BU', 'white-box KD, selective')
    """
    end = "" if projection == "none" else f", {projection}"
    return f"{NAME} {' + '.join(detectors)}{end}"


def followed_by(hides: str, detectors: tuple[str, ...]) -> tuple[str, ...]:
    """Which of the detectors an attack of this label follows.

    Example:
        >>> followed_by("white-box KD, selective", ("KD", "MAHA")), followed_by("with", ("KD",))
        (('KD',), ())
    """
    if not hides.startswith(f"{NAME} "):
        return ()
    named = hides.removeprefix(f"{NAME} ").partition(", ")[0].split(" + ")
    return tuple(label for label in detectors if label in named)


def white_boxes(names: tuple[str, ...], clean: CleanScores) -> tuple[WhiteBox, ...]:
    """For each of `WAYS` among these names of ways of hiding: every detector alone."""
    labels = [choice.label for choice in clean.detectors if choice.build().differentiable]
    return tuple(WhiteBox(clean, (label,), WAYS[name]) for name in names if name in WAYS for label in labels)
