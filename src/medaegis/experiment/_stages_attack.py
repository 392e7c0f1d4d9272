"""Stages that attack AdvTest, or what detectors learn from, without and with something that hides."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medaegis import attack as attacks
from medaegis._errors import require
from medaegis._late import late
from medaegis.attack import Attack, Attacker, AttackResult, Objective, run_attack
from medaegis.attack._margins import top_gap
from medaegis.data import check_no_leak, spread
from medaegis.experiment._context import Context
from medaegis.experiment._named_attack import NamedAttack
from medaegis.experiment._rivals import with_rival
from medaegis.experiment._stage import Result, Stage, unkeyed
from medaegis.experiment._stages_data import cases_at
from medaegis.experiment._stages_model import AdversarialCases, Bank, Classifier, DetectorCases, TrainFeatures, predict

PRESETS = ("fgsm", "bim", "pgd", "mim", "tim", "dim", "cw_linf", "pgd_l2", "apgd", "noise")
PLAIN, HIDDEN = "without", "with"
ON_SUBSTITUTE = "fooled.substitute"
"""Which cases fool the substitute, beside `fooled`, which is always of the attacked network."""


Kappa = float | Literal["gap"] | None


@dataclass(frozen=True)
class AttackChoice:
    """An attack by name and settings, as a recipe states it.

    Args:
        preset: one of `PRESETS`.
        eps: budget as a fraction, "1/256".
        steps: number of steps; None takes the preset's own.
        tell_steps: whether tables call the attack by its number of steps too.
        kappa: confidence of `cw_linf`: a number, "gap" for the mean logit gap of Test (HFC-23), None for no floor.
    """

    preset: str
    eps: str
    steps: int | None = None
    tell_steps: bool = late(False)
    kappa: Kappa = late(None)

    @staticmethod
    def parse(text: str, eps: str, steps: int | None, kappa: Kappa = None) -> AttackChoice:
        """A preset's name, or one with its own number of steps: "bim@10". `kappa` is for `cw_linf` alone.

        Raises:
            InputError: what follows @ is not a number of steps.

        Example:
            >>> AttackChoice.parse("bim@10", "1/256", 40).shown
            'BIM, 10 steps'
        """
        preset, at, own = text.partition("@")
        good = not at or (own.isdecimal() and int(own) > 0)
        require(good, "attack", "recipe", "PRESET or PRESET@STEPS, as bim@10", text)
        kept = kappa if preset == "cw_linf" else None
        return AttackChoice(preset, eps, int(own) if at else steps, tell_steps=bool(at), kappa=kept)

    def build(self) -> Attack:
        """The attack.

        Raises:
            InputError: unknown preset or bad setting.
        """
        require(self.preset in PRESETS, "attack", "recipe", f"one of {PRESETS}", self.preset)
        built = self.named.build()
        assert isinstance(built, Attack), "every one of PRESETS runs in the loop"
        return built

    @property
    def shown(self) -> str:
        """What tables call the attack."""
        name = self.named.build().name if self.preset in ("cw_linf", "pgd_l2") else self.preset.upper()
        return f"{name}, {self.steps} steps" if self.tell_steps else name

    @property
    def named(self) -> NamedAttack:
        """The same as the checks of an attack's strength take it."""
        steps = None if self.preset in ("fgsm", "noise") else self.steps
        kappa = None if self.kappa == "gap" else self.kappa
        return NamedAttack(self.preset, self.eps).changed(steps=steps, kappa=kappa)


@dataclass(frozen=True)
class ChosenWeights(Stage):
    """Weights of HFC chosen on AdvTrain; see `medaegis.attack.choose_hfc`."""

    cases: AdversarialCases
    choice: AttackChoice
    bank: Bank
    seed: int = 0

    def compute(self, context: Context) -> Result:
        """Attack AdvTrain a few times."""
        classifier = self.cases.classifier
        x, y = cases_at(classifier.split.images.dataset(context), self.cases.split(context).train)
        classes = context.get(classifier).tensors["test_logits"].shape[1]
        found = attacks.choose_hfc(
            self.choice.build(),
            self.bank.bank(context),
            classifier.load(context),
            x,
            y,
            target=(y + 1) % classes,
            generator=torch.Generator().manual_seed(self.seed),
            batch_size=context.batch_size,
        )
        kept = {"weight": found.objective.weight, "layer_weights": dict(found.objective.layer_weights)}
        return Result({}, {**kept, "bound kept": found.kept, "tried": found.tried, "plain": found.plain})

    def objective(self, context: Context) -> attacks.HFC:
        """HFC with the stored weights."""
        info = context.get(self).info
        return attacks.hfc(self.bank.bank(context), weight=info["weight"], layer_weights=info["layer_weights"])


@dataclass(frozen=True)
class Followed(Stage):
    """An interface: something of the defender's, known in full, that an attack follows down beside its own loss."""

    @abstractmethod
    def join(self, attack: Attack, context: Context) -> Attack:
        """The attack that follows this too."""


@dataclass(frozen=True)
class Attacked(Stage):
    """Adversarial images of AdvTest, towards the next class, without or with something that hides them.

    Args:
        cases: AdvTest and the classifier.
        choice: the attack.
        bank: normal features to hide among (HFC), or None.
        weight: factor of HFC.
        seed: of random starts.
        projection: how the gradients of both goals become one direction.
        chosen: weights of HFC chosen on AdvTrain, in place of `weight`.
        rival: a competitor of HFC, a name of `RIVALS`, in place of `bank`.
        features: Train features, which competitors need.
        learning: the part of AdvTrain from which detectors learn, in place of AdvTest.
        followed: detectors whose own scores the attack follows, in place of `bank`.
        substitute: a network that stands in for the attacked one: every gradient, `bank` and `features` are its own.
    """

    cases: AdversarialCases
    choice: AttackChoice
    bank: Bank | None = None
    weight: float = 1.0
    seed: int = 0
    projection: attacks.Projection = "none"
    chosen: ChosenWeights | None = None
    rival: str = ""
    features: TrainFeatures | None = None
    learning: DetectorCases | None = None
    followed: Followed | None = None
    substitute: Classifier | None = None
    label: str = unkeyed("")
    version: ClassVar[int] = 2  # 2: counts of steps by case

    @property
    def hides(self) -> str:
        """What tables call the way in which it hides."""
        return self.label or (HIDDEN if self.bank else PLAIN)

    @property
    def title(self) -> str:
        """What pictures and bars call it."""
        more = {PLAIN: "", HIDDEN: " + HFC"}.get(self.hides, f" + {self.hides}")
        more += " (for detectors to learn)" if self.learning else ""
        more += " made on a substitute" if self.substitute else ""
        return f"{self.choice.shown} {self.choice.eps}{more}"

    def index(self, context: Context) -> NDArray[np.int64]:
        """Positions of the cases that are attacked."""
        return self.cases.split(context).test if self.learning is None else self.learning.split(context).train

    def compute(self, context: Context) -> Result:
        """Attack every case of AdvTest, or of what detectors learn from."""
        index = self.index(context)
        made = self.run(self.choice.named, index, context)
        return Result(_tensors(made) | self.on_substitute(made.x, index, context), {})

    def run(self, named: NamedAttack, index: NDArray[np.int64], context: Context) -> AttackResult:
        """Attack some cases, with HFC where this stage has it.

        Raises:
            LeakError: the substitute was trained on one of these cases, or on a patient of theirs.
        """
        if self.substitute is not None:
            split, data = self.substitute.split, self.substitute.split.images.dataset(context)
            seen = split.split(context)
            parts = {"Train of the substitute": seen.train, "its validation": seen.validation, "attacked cases": index}
            check_no_leak(parts, data.groups, by=split.by, names=data.names)
        return attack_next_class(self.attack(named, context), self.cases.classifier, index, self.seed, context)

    @property
    def maker(self) -> Classifier:
        """The network whose gradients the attack follows."""
        return self.substitute or self.cases.classifier

    def on_substitute(self, x: Tensor, index: NDArray[np.int64], context: Context) -> dict[str, Tensor]:
        """Which images made from the cases at `index` fool the substitute; nothing without one."""
        if self.substitute is None:
            return {}
        labels = self.substitute.split.images.dataset(context).labels[index]
        logits = predict(self.substitute.load(context), x, context)
        target = (torch.as_tensor(labels) + 1) % logits.shape[1]
        return {ON_SUBSTITUTE: logits.argmax(dim=1) == target}

    def attack(self, named: NamedAttack, context: Context) -> Attacker:
        """The attack with what hides it, made on the substitute where there is one."""
        hidden = self._hidden(named, context)
        return hidden if self.substitute is None else attacks.transfer(self.substitute.load(context), hidden)

    def _hidden(self, named: NamedAttack, context: Context) -> Attacker:
        attack, added = self._with_gap(named, context).build(), self._added(context)
        if self.rival or self.followed is not None:
            assert isinstance(attack, Attack), "every one of PRESETS runs in the loop"
            return self._aimed(attack, context)
        if added is None:
            return attack
        hidden = attack.plus(added)
        return (
            hidden.projecting(self.projection) if isinstance(hidden, Attack) and self.projection != "none" else hidden
        )

    def _aimed(self, attack: Attack, context: Context) -> Attack:
        if self.followed is not None:
            return self.followed.join(attack, context)
        assert self.features is not None, "a plan gives competitors their features"
        return with_rival(attack, self.rival, self.features, context)

    def _with_gap(self, named: NamedAttack, context: Context) -> NamedAttack:
        if self.choice.kappa != "gap" or named.preset != self.choice.preset:
            return named
        gaps = top_gap(context.get(self.maker).tensors["test_logits"])
        return named.changed(kappa=gaps.double().mean().item())

    def _added(self, context: Context) -> Objective | None:
        if self.chosen is not None:
            return self.chosen.objective(context)
        return None if self.bank is None else attacks.hfc(self.bank.bank(context), weight=self.weight)


def attack_next_class(
    attack: Attacker, classifier: Classifier, index: NDArray[np.int64], seed: int, context: Context
) -> AttackResult:
    """Attack the images at `index` towards the class after their own."""
    x, y = cases_at(classifier.split.images.dataset(context), index)
    classes = context.get(classifier).tensors["test_logits"].shape[1]
    return run_attack(
        attack,
        classifier.load(context),
        x,
        y,
        target=(y + 1) % classes,
        generator=torch.Generator().manual_seed(seed),
        batch_size=context.batch_size,
        progress=context.progress,
    )


def _tensors(made: AttackResult) -> dict[str, Tensor]:
    return {name: value for name, value in made._asdict().items() if isinstance(value, Tensor)}


def by_its_own_network(tensors: dict[str, Tensor]) -> Tensor:
    """Which stored cases (n,) fool the network on which they were made: the substitute, or the attacked one itself.

    Example:
        >>> by_its_own_network({"fooled": torch.tensor([False]), ON_SUBSTITUTE: torch.tensor([True])})
        tensor([True])
    """
    return tensors.get(ON_SUBSTITUTE, tensors["fooled"])


@dataclass(frozen=True)
class Probe(Stage):
    """An extra run on the first cases of AdvTest, to hold an attack against.

    Args:
        attacked: the attack that is checked; HFC and seed are taken from it.
        named: the attack that is run.
        n: number of cases, taken from the classes in turn.
    """

    attacked: Attacked
    named: NamedAttack
    n: int
    version: ClassVar[int] = 2  # 2: the objective is kept too

    @property
    def title(self) -> str:
        """What lines on the terminal call it."""
        made = " made on a substitute" if self.attacked.substitute else ""
        return f"{self.named.words}{'' if self.attacked.hides == PLAIN else ' + HFC'}{made}"

    def places(self, context: Context) -> NDArray[np.int64]:
        """Which cases, as positions in AdvTest."""
        cases = self.attacked.cases
        labels = cases.classifier.split.images.dataset(context).labels
        return spread(labels[cases.split(context).test], self.n)

    def compute(self, context: Context) -> Result:
        """Run it; only the outcome is kept."""
        index = self.attacked.cases.split(context).test[self.places(context)]
        made = self.attacked.run(self.named, index, context)
        outcome = {"fooled": made.fooled, "objective": made.objective}
        return Result(outcome | self.attacked.on_substitute(made.x, index, context), {})
