"""The hiding experiment: a classifier, an attack at several budgets without and with HFC, and detectors on both.

This is the shape of HFC-21 Tables 2 and Fig. 3; a recipe states data, network, attack and published figures.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field

from medaegis._errors import require
from medaegis.experiment._content import Content
from medaegis.experiment._context import Context
from medaegis.experiment._named_attack import comparisons
from medaegis.experiment._network_settings import Budgets, NetworkSettings, classifier_stage
from medaegis.experiment._stage import Stage
from medaegis.experiment._stages_attack import (
    AttackChoice,
    Attacked,
    AttackScores,
    CleanScores,
    DetectorChoice,
    Embedding,
    Probe,
)
from medaegis.experiment._stages_model import AdversarialCases, Bank, Classifier, TrainFeatures
from medaegis.experiment._weakness import CASES


class HidingSettings(NetworkSettings):
    """What a hiding experiment is made of; every field can be set with `--set field=value`.

    Example:
        >>> HidingSettings(eps=["1/256", "2/256"]).eps
        ('1/256', '2/256')
    """

    attack: Literal["fgsm", "bim", "pgd", "mim"] = Field("bim", description="the attack that is hidden")
    eps: Budgets = Field(("1/256",), description="budgets, Linf")
    steps: int | None = Field(40, ge=1, description="attack steps; none takes the papers' 2 eps / (0.02/256)")
    components: int = Field(1, ge=1, description="K, Gaussian components a class and layer")
    hfc_weight: float = Field(1.0, gt=0, description="factor of HFC; 1 is the papers'")
    bandwidth: float | Literal["median", "likelihood"] = Field("likelihood", description="of KD")
    checks: int = Field(CASES, ge=0, description="cases of the extra runs that check the attack's strength; 0: none")


@dataclass(frozen=True)
class Variant:
    """One budget without or with HFC: its attack and the scores on it."""

    attacked: Attacked
    scores: AttackScores


@dataclass(frozen=True)
class HidingPlan:
    """The stages of a hiding experiment; see `hiding_plan`.

    Args:
        settings: what it was made from.
        dataset: what tables call the data.
        published: the papers' figures by (eps, hfc, detector, metric); detector "" for the classifier's.
        differs: what differs from the paper, and why.
    """

    settings: HidingSettings
    dataset: str
    classifier: Classifier
    cases: AdversarialCases
    clean: CleanScores
    variants: tuple[Variant, ...]
    embedding: Embedding
    published: dict[tuple[str, str, str, str], float] = field(default_factory=dict[tuple[str, str, str, str], float])
    differs: tuple[str, ...] = ()

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What must be computed."""
        return (self.clean, *(v.scores for v in self.variants), self.embedding, *self.probes)

    @property
    def probes(self) -> tuple[Probe, ...]:
        """Extra runs at the shown budget, without and with HFC, to hold the attack against; none if switched off."""
        shown = shown_variants(self.variants, self.settings.eps) if self.settings.checks else ()
        return tuple(
            Probe(variant.attacked, named, self.settings.checks)
            for variant in shown
            for named in comparisons(variant.attacked.choice.named).values()
            if named is not None
        )

    def collect(self, context: Context) -> Content:
        """Rows, per-case scores, pictures and facts, from stored results."""
        from medaegis.experiment._hiding_content import hiding_content

        return hiding_content(self, context)


def hiding_plan(
    settings: HidingSettings,
    *,
    dataset: str,
    published: dict[tuple[str, str, str, str], float] | None = None,
    differs: tuple[str, ...] = (),
) -> HidingPlan:
    """Plan a hiding experiment; the data's files are listed and hashed here, nothing long is done.

    Args:
        settings: what to do.
        dataset: what tables call the data.
        published: the papers' figures by (eps, hfc, detector, metric).
        differs: what differs from the paper, and why.

    Raises:
        InputError: settings do not fit each other.
        DataError: data or weights cannot be used.

    Example:
        >>> small = HidingSettings(source="phantom-chest", model="small-resnet", weights=None, size=32)
        >>> [v.attacked.title for v in hiding_plan(small, dataset="phantoms").variants]
        ['BIM 1/256', 'BIM 1/256 + HFC']
    """
    require(len(set(settings.eps)) == len(settings.eps) > 0, "eps", "recipe", "different budgets", settings.eps)
    classifier = classifier_stage(settings)
    features = TrainFeatures(classifier)
    detectors = (DetectorChoice("KD", (("bandwidth", settings.bandwidth),)), DetectorChoice("MAHA"))
    cases = AdversarialCases(classifier, seed=settings.seed)
    bank = Bank(features, components=settings.components, seed=settings.seed)
    variants = tuple(
        _variant(settings, eps, hidden, cases, features, detectors) for eps in settings.eps for hidden in (None, bank)
    )
    clean = CleanScores(features, cases, detectors)
    shown = shown_variants(variants, settings.eps)
    embedding = Embedding(clean, tuple(v.scores for v in shown), seed=settings.seed)
    return HidingPlan(settings, dataset, classifier, cases, clean, variants, embedding, published or {}, differs)


def shown_variants(variants: tuple[Variant, ...], budgets: tuple[str, ...]) -> tuple[Variant, ...]:
    """The pair of variants (without, with HFC) that pictures and the embedding show: the middle budget's.

    Example:
        >>> shown_variants((), ("1/256",))
        ()
    """
    middle = budgets[len(budgets) // 2]
    return tuple(v for v in variants if v.attacked.choice.eps == middle)


def _variant(
    settings: HidingSettings,
    eps: str,
    bank: Bank | None,
    cases: AdversarialCases,
    features: TrainFeatures,
    detectors: tuple[DetectorChoice, ...],
) -> Variant:
    choice = AttackChoice(settings.attack, eps, settings.steps)
    weight = settings.hfc_weight if bank else 1.0
    attacked = Attacked(cases, choice, bank=bank, weight=weight, seed=settings.seed)
    return Variant(attacked, AttackScores(features, attacked, detectors, seed=settings.seed))


def budget_facts(settings: HidingSettings) -> dict[str, Any]:
    """Step sizes by budget, in words, for the manifest.

    Example:
        >>> budget_facts(HidingSettings(eps="2/256"))
        {'2/256': '40 steps of 0.1/256'}
    """
    facts: dict[str, Any] = {}
    for eps in settings.eps:
        attack = AttackChoice(settings.attack, eps, settings.steps).build()
        facts[eps] = f"{attack.steps} steps of {getattr(attack.step, 'size', 0) * 256:g}/256"
    return facts
