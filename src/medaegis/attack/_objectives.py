"""What an attacker wants, per case: smaller is better for the attacker, in every objective.

Objectives add: `cross_entropy + hfc(bank)` is one objective. Each says which layers it needs, so that a pass records
no more.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from medaegis._types import Flags, Labels, PerCase, Tapped


class Goal(NamedTuple):
    """Where the attacker wants a case to go.

    Attributes:
        label: true classes (b,).
        target: wanted classes (b,), or None when any wrong class will do.
        clean: what the network gave for the clean images, for objectives that read it; else None.
        seed: a number of each case's own (b,), int64, for objectives that draw; `run_attack` gives it.
    """

    label: Labels
    target: Labels | None
    clean: Tapped | None = None
    seed: Tensor | None = None

    def rows(self, index: Tensor) -> Goal:
        """The goal of some of the cases."""
        clean = self.clean and Tapped(self.clean.logits[index], {n: z[index] for n, z in self.clean.features.items()})
        target, seed = (None if part is None else part[index] for part in (self.target, self.seed))
        return Goal(self.label[index], target, clean, seed)

    def fooled(self, logits: Tensor) -> Tensor:
        """(b,) bool: the prediction is the target, or, without one, not the true class; False where logits are NaN."""
        predicted = logits.argmax(dim=1)
        reached = predicted != self.label if self.target is None else predicted == self.target
        return reached & ~logits.isnan().any(dim=1)

    def wanted_class(self, logits: Tensor) -> Tensor:
        """(b,): the target, or, without one, the most probable wrong class at present."""
        if self.target is not None:
            return self.target
        return without_class(logits.detach(), self.label).argmax(dim=1)


def without_class(logits: Tensor, label: Tensor) -> Tensor:
    """The logits (b, k) with those of `label` (b,) at minus infinity."""
    return logits.masked_fill(functional.one_hot(label, logits.shape[1]).bool(), -torch.inf)


class Objective(ABC):
    """An interface: a function from one pass and a goal to one number a case, smaller = better for the attacker."""

    title: str = ""
    """What it adds to the name of an attack; where empty, the name of its class."""

    layers: tuple[str, ...] | None = ()
    """Names of the layers that it reads; None stands for every activation."""

    reads_clean: bool = False
    """Whether it needs `goal.clean`, which costs one pass a batch."""

    random: bool = False
    """Whether it draws from `goal.seed`: once for each case, so that its value does not change between steps."""

    @abstractmethod
    def __call__(self, tapped: Tapped, goal: Goal) -> PerCase:
        """Value per case (b,), differentiable in the logits and features of `tapped`."""

    def parts(self, tapped: Tapped, goal: Goal) -> dict[str, PerCase]:
        """Its terms by name, each (b,), which sum to its value: for seeing what pulls how hard."""
        return {type(self).__name__: self(tapped, goal)}

    def __add__(self, other: Objective) -> Objective:
        """The objective whose value is the sum of both values."""
        return Sum((*_terms(self), *_terms(other)))


@dataclass(frozen=True)
class Sum(Objective):
    """The sum of objectives; what `+` makes."""

    terms: tuple[Objective, ...]

    @property
    def layers(self) -> tuple[str, ...] | None:  # pyright: ignore[reportIncompatibleVariableOverride]  # read only here
        """The layers of all terms, each once."""
        needed = [term.layers for term in self.terms]
        if any(layers is None for layers in needed):
            return None
        return tuple(dict.fromkeys(name for layers in needed for name in layers or ()))

    @property
    def reads_clean(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]  # read only here
        """Whether a term needs `goal.clean`."""
        return any(term.reads_clean for term in self.terms)

    @property
    def random(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]  # read only here
        """Whether a term draws from `goal.seed`."""
        return any(term.random for term in self.terms)

    def __call__(self, tapped: Tapped, goal: Goal) -> PerCase:
        """Sum of the terms' values, (b,)."""
        return torch.stack([term(tapped, goal) for term in self.terms]).sum(dim=0)

    def parts(self, tapped: Tapped, goal: Goal) -> dict[str, PerCase]:
        """The parts of all terms; parts of one name are added up."""
        found: dict[str, PerCase] = {}
        for term in self.terms:
            for name, value in term.parts(tapped, goal).items():
                found[name] = found[name] + value if name in found else value
        return found


def _terms(objective: Objective) -> tuple[Objective, ...]:
    return objective.terms if isinstance(objective, Sum) else (objective,)


@dataclass(frozen=True)
class CrossEntropy(Objective):
    """Cross-entropy towards the target; without a target, minus the cross-entropy of the true class.

    Source: J of HFC-21 eq. 2.

    Example:
        >>> goal = Goal(torch.tensor([0]), torch.tensor([1]))
        >>> CrossEntropy()(Tapped(torch.zeros(1, 2), {}), goal)
        tensor([0.6931])
    """

    def __call__(self, tapped: Tapped, goal: Goal) -> PerCase:
        """Value per case (b,)."""
        if goal.target is None:
            return -functional.cross_entropy(tapped.logits, goal.label, reduction="none")
        return functional.cross_entropy(tapped.logits, goal.target, reduction="none")


@dataclass(frozen=True)
class Nothing(Objective):
    """Zero everywhere: the objective of a control that follows no gradient."""

    def __call__(self, tapped: Tapped, goal: Goal) -> PerCase:
        """Zeros (b,)."""
        return tapped.logits.sum(dim=1) * 0


cross_entropy = CrossEntropy()


class TwoGoals(NamedTuple):
    """Where a pass stands with each goal.

    Attributes:
        fooled: whether the first goal is reached (b,).
        own: the attack's own loss (b,).
        added: the terms that `plus` added to it (b,).
    """

    fooled: Flags
    own: PerCase
    added: PerCase

    @property
    def open(self) -> PerCase:
        """The goal to work at, (b,): the attack's own until the classifier is fooled, then what was added."""
        return torch.where(self.fooled, self.added, self.own)

    def with_another(self, other: TwoGoals) -> TwoGoals:
        """Sums over two draws of a transform; fooled where both are."""
        return TwoGoals(self.fooled & other.fooled, self.own + other.own, self.added + other.added)


def two_goals(objective: Objective, tapped: Tapped, goal: Goal) -> TwoGoals | None:
    """Both goals of an objective to which something was added; None for any other.

    Example:
        >>> goal = Goal(torch.tensor([0]), torch.tensor([1]))
        >>> two_goals(cross_entropy, Tapped(torch.zeros(1, 2), {}), goal) is None
        True
    """
    if not isinstance(objective, Sum):
        return None
    own, *added = (term(tapped, goal) for term in objective.terms)
    return TwoGoals(goal.fooled(tapped.logits.detach()), own, torch.stack(added).sum(dim=0))
