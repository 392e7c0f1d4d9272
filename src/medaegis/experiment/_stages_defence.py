"""The stage that tries one attacker on one defence at one budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from medaegis.attack import guide_random, hfc, l2_size, parse_fraction, run_attack
from medaegis.attack._margins import top_gap
from medaegis.data import spread
from medaegis.defend import Shielded, ShieldGuard
from medaegis.experiment._adversaries import ADVERSARIES, Knowledge, budget_of
from medaegis.experiment._context import Context
from medaegis.experiment._stage import Result, Stage
from medaegis.experiment._stages_cushion import Cushioned
from medaegis.experiment._stages_data import cases_at
from medaegis.experiment._stages_model import Bank, Classifier
from medaegis.experiment._stages_shield import ShieldScores, TrainedShield, margins, passes

SHOWN = 4


@dataclass(frozen=True)
class Tried(Stage):
    """An attacker, who knows all of a defence, on cases of AdvTest, towards the next class; outcomes, not images.

    Args:
        scores: the defence and its thresholds.
        adversary: a name of `ADVERSARIES`.
        eps: Linf budget as text; the attacker's own follows from it.
        steps: of the attack.
        n: most cases, from the classes in turn; None for all of AdvTest.
        bank: normal features, for attackers that hide among them or imitate them.
        substitute: another classifier, for transfer.
        other: Shields of the same classifier that were trained independently, with their own Cushion.
        seed: of random draws.
    """

    scores: ShieldScores
    adversary: str
    eps: str
    steps: int
    n: int | None = None
    bank: Bank | None = None
    substitute: Classifier | None = None
    other: TrainedShield | None = None
    seed: int = 0

    @property
    def title(self) -> str:
        """What lines on the terminal call it."""
        return f"{ADVERSARIES[self.adversary].title} {self.eps}"

    def places(self, context: Context) -> NDArray[np.int64]:
        """Which cases, as positions in AdvTest."""
        index = self.scores.cases.split(context).test
        labels = self.scores.shield.classifier.split.images.dataset(context).labels[index]
        return np.arange(len(index)) if self.n is None else spread(labels, self.n)

    def compute(self, context: Context) -> Result:
        """Attack, and ask the defence."""
        classifier, one = self.scores.shield.classifier, ADVERSARIES[self.adversary]
        data = classifier.split.images.dataset(context)
        x, y = cases_at(data, self.scores.cases.split(context).test[self.places(context)])
        known = self.knowledge(context)
        eps = float(budget_of(one, parse_fraction(self.eps, "recipe")))
        made = run_attack(
            one.make(known, eps, self.steps),
            known.system,
            x,
            y,
            target=(y + 1) % known.system.shields.classes,
            generator=torch.Generator().manual_seed(self.seed),
            batch_size=context.batch_size,
            progress=context.progress,
        )
        seen, moved = passes(known.system, made.x, context), made.x.double() - x.double()
        tensors = {"fooled": made.fooled, "margin": margins(seen, known.guard.thresholds.cpu()), **seen._asdict()}
        tensors |= {"linf": moved.abs().flatten(1).amax(dim=1), "rms": l2_size(moved), "shown": made.x[:SHOWN].clone()}
        counts = {"steps": made.steps, "zero_gradient": made.zero_gradient, "stuck": made.stuck}
        return Result(tensors | counts, {})

    def knowledge(self, context: Context) -> Knowledge:
        """Everything that this attacker needs to know."""
        shield, need = self.scores.shield, ADVERSARIES[self.adversary].need
        stored = context.get(self.scores).tensors
        system = shield.system(context)
        thresholds = stored["thresholds"].to(context.device)
        kappa = top_gap(stored["test.logits"]).double().mean().item()
        known = Knowledge(system, ShieldGuard(thresholds), kappa)
        more: dict[str, Any] = {}
        if need == "hfc" and self.bank is not None:
            more["hfc"] = hfc(self.bank.bank(context))
        if need == "guide" and self.bank is not None:
            more["guide"] = guide_random(*self.bank.features.features(context))
        if need == "substitute" and self.substitute is not None:
            more["substitute"] = self.substitute.load(context)
        if need == "other" and self.other is not None:
            more["other"] = self.other.system(context)
        if need == "cushion" and isinstance(shield.classifier, Cushioned):
            more["plain"] = _identity(shield, context)
        return known._replace(**more)


def _identity(shield: TrainedShield, context: Context) -> Shielded:
    """The same system, whose Cushion has the identity's backward pass."""
    assert isinstance(shield.classifier, Cushioned)
    system, step = shield.system(context), shield.classifier.step
    return Shielded(system.classifier, system.shields, step.bpda("identity")).eval()
