"""An attack is a value: objective x constraint x step rule x input transform. One loop runs them all (`_loop.py`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Literal

from torch import nn

from medaegis._errors import InputError, is_a, is_int, require
from medaegis.attack._batch import Batch, Made
from medaegis.attack._constraints import Constraint
from medaegis.attack._guard import Guard
from medaegis.attack._loop import search
from medaegis.attack._objectives import Objective, Sum
from medaegis.attack._projection import Projection
from medaegis.attack._spaces import Pixels, Space
from medaegis.attack._steps import Decaying, Momentum, StepRule
from medaegis.attack._transforms import Chain, Identity, InputTransform

Keep = Literal["last", "best", "first"]


class Attacker(ABC):
    """An interface: what `run_attack` runs. `Attack` is the one loop; DeepFool, CW-L2 and transfer stand beside it."""

    name: str
    """What tables call it."""

    objective: Objective
    """What is made small, and what results report for the images returned."""

    substitute: nn.Module | None = None
    """A network that stands in for the attacked one when images are made; None where there is none."""

    @property
    @abstractmethod
    def random(self) -> bool:
        """Whether it draws random numbers."""

    @property
    @abstractmethod
    def passes(self) -> int:
        """The largest number of gradient steps that a case can take."""

    @property
    def layers(self) -> tuple[str, ...] | None:
        """Layers that its passes must record; None stands for every activation."""
        return self.objective.layers

    @abstractmethod
    def make(self, batch: Batch) -> Made:
        """Adversarial images of one batch; `batch.taps` is on a frozen copy of the network."""

    @abstractmethod
    def plus(self, objective: Objective) -> Attacker:
        """The same attack with a further term in its objective."""


@dataclass(frozen=True)
class Attack(Attacker):
    """The parts of an attack.

    Args:
        name: what tables call it.
        objective: what is made small.
        constraint: where images may be.
        step: how a gradient becomes the next point.
        steps: number of gradient steps, >= 0.
        transform: what the attacker does to an image before the network sees it; results are judged without it.
        random_start: begin at a random allowed image instead of the clean one.
        keep: `"last"` returns the last iterate, as the attacks are published; `"best"` ranks all iterates of a case
            by (fooled, undetected, objective) and returns the first of them; `"first"` does so too, but ends a case
            at its first iterate that is fooled (and undetected), which saves its remaining passes.
        space: what is searched over; the pixels by default.
        restarts: number of runs of which each case keeps the best by (fooled, undetected, objective).
        draws: passes averaged for each gradient: expectation over transformation.
        guard: says which iterates a detector would let pass, for adaptive attacks; None lets all pass.
        projection: how the gradients of the attack's own loss and of what was added become one direction.

    Raises:
        InputError: `objective` is no Objective, `steps` is not an int >= 0, `keep` or `projection` is unknown,
            `restarts` or `draws` is not an int >= 1, restarts are asked of an attack without randomness, or a
            projection of one with nothing added.

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
    keep: Keep = "last"
    space: Space = field(default_factory=Pixels)
    restarts: int = 1
    draws: int = 1
    guard: Guard | None = None
    projection: Projection = "none"

    def __post_init__(self) -> None:
        check_objective(self.objective, self.name)
        require(is_int(self.steps) and self.steps >= 0, "steps", self.name, "an int >= 0", self.steps)
        require(self.keep in ("last", "best", "first"), "keep", self.name, '"last", "best" or "first"', self.keep)
        require(is_int(self.restarts) and self.restarts >= 1, "restarts", self.name, "an int >= 1", self.restarts)
        require(is_int(self.draws) and self.draws >= 1, "draws", self.name, "an int >= 1", self.draws)
        good, fix = self.restarts == 1 or self.random, "Give it a random start, as pgd has."
        require(good, "restarts", self.name, "1 where nothing is random", self.restarts, fix)
        rule = '"none", "selective" or "orthogonal"'
        require(self.projection in ("none", "selective", "orthogonal"), "projection", self.name, rule, self.projection)
        good, fix = self.projection == "none" or isinstance(self.objective, Sum), "Call plus(hfc(bank)) before."
        require(good, "projection", self.name, '"none" where nothing was added', self.projection, fix)

    @property
    def random(self) -> bool:
        """Whether its start or its transform draws random numbers."""
        return self.random_start or self.transform.random

    @property
    def passes(self) -> int:
        """Gradient steps of a case, over all restarts and draws."""
        return self.steps * self.restarts * self.draws

    @property
    def layers(self) -> tuple[str, ...] | None:
        """Layers of the objective and of the guard."""
        ours, theirs = self.objective.layers, () if self.guard is None else self.guard.layers
        return None if ours is None or theirs is None else tuple(dict.fromkeys((*ours, *theirs)))

    def make(self, batch: Batch) -> Made:
        """Run the loop."""
        return search(self, batch)

    def plus(self, objective: Objective, *, name: str | None = None) -> Attack:
        """The same attack with a further term in its objective, as in `bim(eps=1/256).plus(hfc(bank))`."""
        check_objective(objective, f"{self.name}.plus")
        return replace(self, objective=self.objective + objective, name=name or f"{self.name}+{short_name(objective)}")

    def minimising(self, objective: Objective, *, name: str | None = None) -> Attack:
        """The same attack with `objective` in place of its own loss, as in `pgd(eps=…).minimising(guide_random(…))`."""
        check_objective(objective, f"{self.name}.minimising")
        return replace(self, objective=objective, name=name or f"{self.name} on {short_name(objective)}")

    def keeping(self, keep: Keep) -> Attack:
        """The same attack with another choice of the iterate that is returned."""
        return replace(self, keep=keep)

    def through(self, transform: InputTransform, *, draws: int | None = None) -> Attack:
        """The same attack with `transform` after those it has, and `draws` passes averaged for each gradient."""
        before = self.transform.parts if isinstance(self.transform, Chain) else (self.transform,)
        parts = (*(part for part in before if not isinstance(part, Identity)), transform)
        whole = transform if len(parts) == 1 else Chain(parts)
        return replace(self, transform=whole, draws=self.draws if draws is None else draws)

    def with_momentum(self, decay: float = 1.0, *, norm: Literal["l1", "l2"] = "l1") -> Attack:
        """The same attack along a running sum of normalised gradients (`Momentum`)."""
        return replace(self, step=Momentum(self.step, decay, norm))

    def decaying(self, kind: Literal["drop", "cosine"] = "drop", *, after: int = 50, factor: float = 0.1) -> Attack:
        """The same attack with a falling step size (`Decaying`)."""
        return replace(self, step=Decaying(self.step, kind, after, factor))

    def projecting(self, projection: Projection) -> Attack:
        """The same attack, which follows its two goals one at a time (`"selective"`), or apart (`"orthogonal"`).

        As in `bim(eps=1/256).plus(hfc(bank)).projecting("orthogonal")`; see `goal_gradient`. Two gradients of one pass
        make a step of `"orthogonal"` about half as long again.
        """
        return replace(self, projection=projection, name=f"{self.name}, {projection}")

    def restarting(self, restarts: int) -> Attack:
        """The same attack, the best of several random starts."""
        return replace(self, restarts=restarts)

    def over(self, space: Space, step: StepRule | None = None) -> Attack:
        """The same attack in other coordinates, with the step rule that fits them."""
        return replace(self, space=space, step=step or self.step)

    def against(self, guard: Guard) -> Attack:
        """The same attack, which prefers iterates that `guard` lets pass; returns the best iterate."""
        return replace(self, guard=guard, keep="best" if self.keep == "last" else self.keep)


def check_objective(objective: Objective, owner: str) -> None:
    """Raise `InputError` unless `objective` is an Objective.

    Example:
        >>> from medaegis.attack import cross_entropy
        >>> check_objective(cross_entropy, "bim")
    """
    fix = "Call the function that makes it, as in hfc(bank)."
    require(is_a(objective, Objective), "objective", owner, "an Objective", objective, fix)


def short_name(objective: Objective) -> str:
    """What an objective adds to the name of an attack.

    Example:
        >>> from medaegis.attack import cross_entropy
        >>> short_name(cross_entropy)
        'crossentropy'
    """
    return objective.title or type(objective).__name__.lower()


def without_objective(name: str, objective: Objective) -> InputError:
    """The error of attacks that follow no objective.

    Example:
        >>> from medaegis.attack import cross_entropy
        >>> print(without_objective("DeepFool", cross_entropy))
        DeepFool follows the shortest way to the boundary and no objective, so crossentropy cannot be added to it. ...
    """
    return InputError(
        f"{name} follows the shortest way to the boundary and no objective, so {short_name(objective)} cannot be "
        "added to it. Add it to cw_l2 or pgd_l2."
    )
