"""Stages that try one attacker on one defence at one budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medaegis.attack import AttackResult, guide_random, hfc, l2_size, parse_fraction, run_attack
from medaegis.attack._margins import top_gap
from medaegis.data import spread
from medaegis.defend import Shielded, ShieldGuard
from medaegis.experiment._adversaries import Knowledge, adversary, budget_of
from medaegis.experiment._context import Context
from medaegis.experiment._stage import Result, Stage
from medaegis.experiment._stages_cushion import Cushioned
from medaegis.experiment._stages_data import cases_at
from medaegis.experiment._stages_model import AdversarialCases, Bank, Classifier
from medaegis.experiment._stages_shield import ShieldScores, TrainedShield, margins, passes

SHOWN = 4


@dataclass(frozen=True)
class Unaware(Stage):
    """Images of an attacker who follows the classifier alone, on cases of AdvTest, towards the next class.

    Every Shield of the classifier, behind the same Cushion, is tried with the same ones.

    Args:
        cases: AdvTrain and AdvTest of the classifier.
        adversary: a name as `adversary` takes it, of a blind one.
        eps: Linf budget as text; the attacker's own follows from it.
        steps: of the attack.
        n: most cases, from the classes in turn; None for all of AdvTest.
        bank: normal features, for attackers that hide among them or imitate them.
        substitute: another classifier, for transfer.
        seed: of random draws.
    """

    cases: AdversarialCases
    adversary: str
    eps: str
    steps: int
    n: int | None = None
    bank: Bank | None = None
    substitute: Classifier | None = None
    seed: int = 0

    def compute(self, context: Context) -> Result:
        """Attack."""
        classifier, more = self.cases.classifier, dict[str, Any]()
        need = adversary(self.adversary).need
        if need == "hfc" and self.bank is not None:
            more["hfc"] = hfc(self.bank.bank(context))
        if need == "guide" and self.bank is not None:
            more["guide"] = guide_random(*self.bank.features.features(context))
        if self.substitute is not None:
            more["substitute"] = self.substitute.load(context)
        known = Knowledge(classifier.load(context), None, _kappa(classifier, context), **more)
        made = _made(self, known, _aimed(self.cases, self.n, context), context)
        return Result(_told(made) | {"x": made.x}, {})


@dataclass(frozen=True)
class Tried(Stage):
    """An attacker on a defence, on cases of AdvTest, towards the next class; outcomes, not images.

    Args:
        scores: the defence and its thresholds.
        adversary: a name as `adversary` takes it.
        eps: Linf budget as text; the attacker's own follows from it.
        steps: of the attack.
        n: most cases, from the classes in turn; None for all of AdvTest.
        bank: normal features, for attackers that hide among them.
        other: Shields of the same classifier that were trained independently, with their own Cushion.
        unaware: the images of a blind attacker; of others, who know all of the defence, None.
        seed: of random draws.
    """

    scores: ShieldScores
    adversary: str
    eps: str
    steps: int
    n: int | None = None
    bank: Bank | None = None
    other: TrainedShield | None = None
    unaware: Unaware | None = None
    seed: int = 0

    @property
    def title(self) -> str:
        """What lines on the terminal call it."""
        return f"{adversary(self.adversary).title} {self.eps}"

    def places(self, context: Context) -> NDArray[np.int64]:
        """Which cases, as positions in AdvTest."""
        return _places(self.scores.cases, self.n, context)

    def compute(self, context: Context) -> Result:
        """Attack, or take what a blind attacker made, and ask the defence."""
        system = self.scores.shield.system(context)
        thresholds = context.get(self.scores).tensors["thresholds"]
        aimed = _aimed(self.scores.cases, self.n, context)
        if self.unaware is None:
            made = _made(self, self._knowledge(system, thresholds.to(context.device), context), aimed, context)
            x, told = made.x, _told(made)
        else:
            told = dict(context.get(self.unaware).tensors)
            x = told.pop("x")
        seen, moved = passes(system, x, context), x.double() - aimed.x.double()
        tensors = {"fooled": seen.logits.argmax(dim=1) == aimed.target, "margin": margins(seen, thresholds)}
        tensors |= {"linf": moved.abs().flatten(1).amax(dim=1), "rms": l2_size(moved), "shown": x[:SHOWN].clone()}
        return Result(tensors | seen._asdict() | told, {})

    def _knowledge(self, system: Shielded, thresholds: Tensor, context: Context) -> Knowledge:
        shield, more = self.scores.shield, dict[str, Any]()
        if self.bank is not None:
            more["hfc"] = hfc(self.bank.bank(context))
        if self.other is not None:
            more["other"] = self.other.system(context)
        if adversary(self.adversary).need == "cushion":
            more["plain"] = _identity(shield, system)
        return Knowledge(system, ShieldGuard(thresholds), _kappa(shield.classifier, context), **more)


class _Aimed(NamedTuple):
    """Cases (n, ...), their labels and the classes that an attacker wants, (n,)."""

    x: Tensor
    y: Tensor
    target: Tensor


def _aimed(cases: AdversarialCases, n: int | None, context: Context) -> _Aimed:
    data = cases.classifier.split.images.dataset(context)
    x, y = cases_at(data, cases.split(context).test[_places(cases, n, context)])
    return _Aimed(x, y, (y + 1) % len(data.class_names))


def _kappa(classifier: Classifier, context: Context) -> float:
    """Confidence of CW-Linf: the mean gap of the two largest logits on clean Test images (HFC-23)."""
    return top_gap(context.get(classifier).tensors["test_logits"]).double().mean().item()


def _places(cases: AdversarialCases, n: int | None, context: Context) -> NDArray[np.int64]:
    index = cases.split(context).test
    labels = cases.classifier.split.images.dataset(context).labels[index]
    return np.arange(len(index)) if n is None else spread(labels, n)


def _made(stage: Unaware | Tried, known: Knowledge, aimed: _Aimed, context: Context) -> AttackResult:
    one = adversary(stage.adversary)
    eps = float(budget_of(one, parse_fraction(stage.eps, "recipe")))
    return run_attack(
        one.make(known, eps, stage.steps),
        known.system,
        aimed.x,
        aimed.y,
        target=aimed.target,
        generator=torch.Generator().manual_seed(stage.seed),
        batch_size=context.batch_size,
        progress=context.progress,
    )


def _told(made: AttackResult) -> dict[str, Tensor]:
    return {"steps": made.steps, "zero_gradient": made.zero_gradient, "stuck": made.stuck}


def _identity(shield: TrainedShield, system: Shielded) -> Shielded:
    """The same system, whose Cushion has the identity's backward pass."""
    assert isinstance(shield.classifier, Cushioned)
    return Shielded(system.classifier, system.shields, shield.classifier.step.bpda("identity")).eval()
