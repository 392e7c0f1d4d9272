"""An attack is a value: objective x constraint x step rule x input transform. One loop runs them all (`_run.py`)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from medaegis._errors import is_a, is_int, require
from medaegis.attack._constraints import Constraint
from medaegis.attack._objectives import Objective
from medaegis.attack._steps import StepRule
from medaegis.attack._transforms import Identity, InputTransform


@dataclass(frozen=True)
class Attack:
    """The parts of an attack.

    Args:
        name: what tables call it.
        objective: what is made small.
        constraint: where images may be.
        step: how a gradient becomes a move.
        steps: number of gradient steps, >= 0.
        transform: what happens to an image before the network sees it.
        random_start: begin at a random allowed image instead of the clean one.
        keep: `"last"` returns the last iterate, as the attacks are published; `"best"` ranks all iterates of a case
            by (fooled, then objective) and returns the first of them.

    Raises:
        InputError: `objective` is no Objective, `steps` is not an int >= 0, or `keep` is unknown.

    Example:
        >>> from medaegis.attack import bim
        >>> bim(eps=1 / 256).steps
        100
    """

    name: str
    objective: Objective
    constraint: Constraint
    step: StepRule
    steps: int
    transform: InputTransform = field(default_factory=Identity)
    random_start: bool = False
    keep: Literal["last", "best"] = "last"

    def __post_init__(self) -> None:
        _check_objective(self.objective, self.name)
        require(is_int(self.steps) and self.steps >= 0, "steps", self.name, "an int >= 0", self.steps)
        require(self.keep in ("last", "best"), "keep", self.name, '"last" or "best"', self.keep)

    def plus(self, objective: Objective, *, name: str | None = None) -> Attack:
        """The same attack with a further term in its objective, as in `bim(eps=1/256).plus(hfc(bank))`."""
        _check_objective(objective, f"{self.name}.plus")
        return replace(self, objective=self.objective + objective, name=name or f"{self.name}+{_name(objective)}")

    def keeping(self, keep: Literal["last", "best"]) -> Attack:
        """The same attack with another choice of the iterate that is returned."""
        return replace(self, keep=keep)


def _check_objective(objective: Objective, owner: str) -> None:
    fix = "Call the function that makes it, as in hfc(bank)."
    require(is_a(objective, Objective), "objective", owner, "an Objective", objective, fix)


def _name(objective: Objective) -> str:
    return type(objective).__name__.lower()
