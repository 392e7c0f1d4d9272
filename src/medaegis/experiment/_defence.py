"""Defences against every attacker: Medical Aegis' Tables 3 to 5, the worst case, and its curve over budgets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from pydantic import Field

from medaegis._errors import require
from medaegis.attack import parse_fraction
from medaegis.experiment._adversaries import ADVERSARIES, adversary
from medaegis.experiment._content import Content
from medaegis.experiment._context import Context
from medaegis.experiment._defence_choice import DefenceChoice
from medaegis.experiment._network_settings import (
    Budget,
    Budgets,
    Names,
    NetworkSettings,
    classifier_on,
    classifier_stage,
)
from medaegis.experiment._stage import Stage
from medaegis.experiment._stages_cushion import Cushioned, behind
from medaegis.experiment._stages_defence import Tried, Unaware
from medaegis.experiment._stages_model import AdversarialCases, Bank, Classifier, TrainFeatures
from medaegis.experiment._stages_shield import ShieldScores, SystemFeatures, TrainedShield

Published = dict[tuple[str, ...], float]
FULL = "16/256"


class DefenceSettings(NetworkSettings):
    """What a trial of defences is made of; every field can be set with `--set field=value`.

    Example:
        >>> DefenceSettings(defences="paper@jpeg:80").defences
        ('paper@jpeg:80',)
    """

    defences: Names = Field(("paper", "paper@jpeg:80"), description="TRAINING, TRAINING@CUSHION, TRAINING@CUSHION@TAPS")
    attackers: Names = Field(tuple(ADVERSARIES), description="who attacks at the last budget")
    eps: Budgets = Field((FULL,), description="Linf budgets, the last one for all attackers; L2 attacks take half")
    curve: Names = Field(("adam", "adam-4", "wb-momentum"), description="who attacks at the other budgets too")
    steps: int = Field(100, ge=1, description="of each attack; 100 in the paper")
    images: int | None = Field(None, ge=2, description="most images attacked, from the classes in turn")
    held_share: float = Field(0.7, gt=0, lt=1, description="share of the test cases that sets thresholds, by patient")
    components: int = Field(1, ge=1, description="K of HFC")
    shield_epochs: int | None = Field(None, ge=1, description="most epochs of each Shield; none for the training's own")
    shield_then: int | None = Field(None, ge=1, description="most epochs of a second training, as hardened has")
    shield_eps: Budget | None = Field(None, description="last budget of our trainings; the paper's keeps 16/256")
    shield_steps: int | None = Field(None, ge=1, description="most steps of an attack in the (first) training")
    shield_batch: int | None = Field(None, ge=1, description="cases a step of training")
    shield_validation: int | None = Field(None, ge=2, description="most held-out cases that choose a Shield's epoch")
    shield_probe: int | None = Field(None, ge=0, description="held-out cases that stronger attacks try after training")
    substitute: str = Field("squeezenet1_1", description="network of the transfer attack, trained on the same cases")
    substitute_epochs: int = Field(12, ge=1, description="most training epochs of the substitute")


class Defence(NamedTuple):
    """One defence and those who attack it.

    Attributes:
        choice: what it is.
        scores: its Shields, thresholds and clean scores.
        trials: one an attacker and budget.
    """

    choice: DefenceChoice
    scores: ShieldScores
    trials: tuple[Tried, ...]

    @property
    def classifier(self) -> Classifier:
        """The classifier, behind its Cushion."""
        return self.scores.shield.classifier


@dataclass(frozen=True)
class DefencePlan:
    """The stages of a trial of defences; see `defence_plan`.

    Args:
        settings: what it was made from.
        dataset: what tables call the data.
        published: the papers' figures by (attack, eps, hfc, detector, metric); the detector as tables
            or the paper call it.
        differs: what differs from the paper, and why.
    """

    settings: DefenceSettings
    dataset: str
    defences: tuple[Defence, ...]
    published: Published
    differs: tuple[str, ...] = ()

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What must be computed: all trainings before the attacks."""
        scores = [one.scores for one in self.defences]
        return (*scores, *(trial for one in self.defences for trial in one.trials))

    def collect(self, context: Context) -> Content:
        """Rows, per-case outcomes, pictures and facts, from stored results."""
        from medaegis.experiment._defence_content import defence_content

        return defence_content(self, context)


def defence_plan(
    settings: DefenceSettings,
    *,
    dataset: str,
    published: Published | None = None,
    differs: tuple[str, ...] = (),
) -> DefencePlan:
    """Plan a trial of defences; the data's files are listed and hashed here, nothing long is done.

    Args:
        settings: what to do.
        dataset: what tables call the data.
        published: the papers' figures by (attack, eps, hfc, detector, metric); the detector as tables
            or the paper call it.
        differs: what differs from the paper, and why.

    Raises:
        InputError: settings do not fit each other, or a defence or attacker is unknown.
        DataError: data or weights cannot be used.

    Example:
        >>> small = DefenceSettings(source="phantom-chest", model="small-resnet", weights=None, size=32, attackers="wb")
        >>> [trial.title for trial in defence_plan(small, dataset="phantoms").defences[0].trials]
        ['WB 16/256']
    """
    for name in ("defences", "attackers", "eps"):
        values: tuple[str, ...] = getattr(settings, name)
        require(len(set(values)) == len(values) > 0, name, "recipe", "different values", values)
    for name in (*settings.attackers, *settings.curve):
        adversary(name)
    sizes = [parse_fraction(eps, "recipe") for eps in settings.eps]
    require(sizes == sorted(sizes), "eps", "recipe", "from small to large", settings.eps)
    choices = [DefenceChoice.parse(text) for text in settings.defences]
    classifier = classifier_stage(settings)
    shields = [_shield(choice, settings, classifier) for choice in choices]
    if len(shields) == 1:
        shields.append(replace(shields[0], seed=settings.seed + 1))
    defences = tuple(
        _defence(choice, settings, classifier, shields[i], shields[(i + 1) % len(shields)])
        for i, choice in enumerate(choices)
    )
    return DefencePlan(settings, dataset, defences, published or {}, differs)


def _shield(choice: DefenceChoice, settings: DefenceSettings, plain: Classifier) -> TrainedShield:
    training = choice.settings(
        epochs=settings.shield_epochs,
        then_epochs=settings.shield_then,
        last_eps=None if settings.shield_eps is None else float(parse_fraction(settings.shield_eps, "recipe")),
        steps=settings.shield_steps,
        batch_size=settings.shield_batch,
        validation_cases=settings.shield_validation,
        probe_cases=settings.shield_probe,
    )
    classifier, more = behind(choice.step, plain), (choice.taps, settings.seed)
    if training.then is None:
        return TrainedShield(classifier, training, *more)
    first = TrainedShield(classifier, replace(training, then=None), *more)  # another defence of the run, perhaps
    return TrainedShield(classifier, training.then, *more, start=first)


def _defence(
    choice: DefenceChoice, settings: DefenceSettings, plain: Classifier, shield: TrainedShield, other: TrainedShield
) -> Defence:
    classifier = shield.classifier
    scores = ShieldScores(shield, AdversarialCases(classifier, train_share=settings.held_share, seed=settings.seed))
    pairs = [(name, eps) for eps in settings.eps[:-1] for name in settings.curve]
    pairs += [(name, settings.eps[-1]) for name in settings.attackers]
    trials = tuple(
        _trial(name, eps, settings, scores, plain, other) for name, eps in pairs if _possible(name, classifier)
    )
    return Defence(choice, scores, trials)


def _possible(name: str, classifier: Classifier) -> bool:
    return adversary(name).need != "cushion" or isinstance(classifier, Cushioned)


def _trial(
    name: str, eps: str, settings: DefenceSettings, scores: ShieldScores, plain: Classifier, other: TrainedShield
) -> Tried:
    one, common, more = adversary(name), (name, eps, settings.steps, settings.images), dict[str, Any]()
    if one.blind:
        return Tried(scores, *common, unaware=_unaware(name, eps, settings, scores.cases, plain), seed=settings.seed)
    if one.need == "hfc":
        more["bank"] = _bank(SystemFeatures(scores.shield.classifier), settings)
    if one.need == "other":
        more["other"] = other
    return Tried(scores, *common, seed=settings.seed, **more)


def _unaware(name: str, eps: str, settings: DefenceSettings, cases: AdversarialCases, plain: Classifier) -> Unaware:
    need, more = adversary(name).need, dict[str, Any]()
    if need in ("hfc", "guide"):
        more["bank"] = _bank(TrainFeatures(cases.classifier), settings)
    if need == "substitute":
        changes = {"model": settings.substitute, "epochs": settings.substitute_epochs}
        more["substitute"] = classifier_on(settings.model_copy(update=changes), plain.split)
    name = "hfc" if name == "pgd+hfc" else name  # the same attack
    return Unaware(cases, name, eps, settings.steps, settings.images, seed=settings.seed, **more)


def _bank(features: TrainFeatures, settings: DefenceSettings) -> Bank:
    return Bank(features, components=settings.components, seed=settings.seed)
