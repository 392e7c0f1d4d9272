"""A defence by name: how its Shields were trained, behind which Cushion, on which taps."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from medaegis._errors import require
from medaegis.defend import Cushion, ShieldSettings, TrainingAttack, cushion_from_json
from medaegis.experiment._named_cushion import cushion_name, named_cushion

Training = Literal["varied", "hardened", "paper"]
TRAININGS: dict[str, Callable[[], ShieldSettings]] = {
    "varied": ShieldSettings.varied,
    "hardened": ShieldSettings.hardened,
    "paper": ShieldSettings.paper,
}
SHIELD, AEGIS = "Shield", "Medical Aegis"


@dataclass(frozen=True)
class DefenceChoice:
    """A defence as a recipe states it.

    Args:
        training: a name of `TRAININGS`.
        cushion: as JSON text, "null" for none.
        taps: numbers of the taps, from 1 for the shallowest; () for all.

    Example:
        >>> DefenceChoice.parse("paper@jpeg:80@1").label
        'Medical Aegis (jpeg:80), paper, tap 1'
    """

    training: str
    cushion: str = "null"
    taps: tuple[int, ...] = ()

    @staticmethod
    def parse(text: str) -> DefenceChoice:
        """TRAINING, TRAINING@CUSHION or TRAINING@CUSHION@TAPS, as in "paper@jpeg:80@1+2".

        Raises:
            InputError: a part is unknown.
        """
        training, _, rest = text.partition("@")
        name, _, taps = rest.partition("@")
        rule = f"TRAINING@CUSHION@TAPS with TRAINING one of {tuple(TRAININGS)}, as paper@jpeg:80@1+2"
        good = training in TRAININGS and all(part.isdecimal() and int(part) > 0 for part in taps.split("+") if taps)
        require(good, "defences", "recipe", rule, text)
        cushion = named_cushion(name or "none")
        told = json.dumps(None if cushion is None else cushion.to_json())
        chosen = tuple(int(part) for part in taps.split("+")) if taps else ()
        return DefenceChoice(training, told, chosen)

    @property
    def step(self) -> Cushion | None:
        """The Cushion."""
        values = json.loads(self.cushion)
        return None if values is None else cushion_from_json(values)

    @property
    def label(self) -> str:
        """What tables call it."""
        lead = SHIELD if self.step is None else f"{AEGIS} ({cushion_name(self.step)})"
        taps = f", tap {'+'.join(map(str, self.taps))}" if self.taps else ""
        return f"{lead}, {self.training}{taps}"

    @property
    def published(self) -> str:
        """What the paper calls it; "" for what the paper does not have."""
        if self.training != "paper" or self.taps or cushion_name(self.step) not in ("none", "jpeg:80"):
            return ""
        return SHIELD if self.step is None else AEGIS

    def settings(
        self,
        *,
        epochs: int | None = None,
        then_epochs: int | None = None,
        last_eps: float | None = None,
        steps: int | None = None,
        batch_size: int | None = None,
        validation_cases: int | None = None,
        probe_cases: int | None = None,
    ) -> ShieldSettings:
        """The training; None leaves what it says itself, and the budget is full by the last epoch at the latest.

        The steps of a second training's attacks stay as they are: it exists for them. So does the last budget of the
        paper's training, which the paper gives.
        """
        found = TRAININGS[self.training]()
        if steps is not None:
            found = replace(found, attacks=tuple(_with_steps(attack, steps) for attack in found.attacks))
        told = {
            "epochs": epochs,
            "then_epochs": None if found.then is None else then_epochs,
            "last_eps": None if self.training == "paper" else last_eps,
            "batch_size": batch_size,
            "validation_cases": validation_cases,
            "probe_cases": probe_cases,
        }
        found = found.changed(**{name: value for name, value in told.items() if value is not None})
        return replace(found, growing=min(found.growing, found.epochs))


def _with_steps(attack: TrainingAttack, most: int) -> TrainingAttack:
    return replace(attack, steps=min(attack.steps, most))
