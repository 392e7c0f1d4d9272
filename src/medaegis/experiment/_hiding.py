"""The hiding experiment: a classifier, an attack at several budgets without and with HFC, and detectors on both.

This is the shape of HFC-21 Tables 2 and Fig. 3; a recipe states data, network, attack and published figures.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import Field

from medaegis._errors import require
from medaegis.experiment._content import Content
from medaegis.experiment._context import Context
from medaegis.experiment._hiding_released import released_stages
from medaegis.experiment._hidings import hidings
from medaegis.experiment._matrix import Crossed, crossings
from medaegis.experiment._named_attack import comparisons
from medaegis.experiment._named_cushion import named_cushion
from medaegis.experiment._named_substitute import features_of_substitute, named_substitute
from medaegis.experiment._network_settings import Budgets, Counts, Names, NetworkSettings, classifier_stage
from medaegis.experiment._stage import Stage
from medaegis.experiment._stages_attack import HIDDEN, PLAIN, AttackChoice, Attacked, Kappa, Probe
from medaegis.experiment._stages_cushion import behind, shown_model
from medaegis.experiment._stages_detect import (
    AttackScores,
    CleanScores,
    DetectorChoice,
    Embedding,
    Learned,
    parse_detectors,
)
from medaegis.experiment._stages_layers import ALONE, ByLayer
from medaegis.experiment._stages_model import AdversarialCases, Classifier, DetectorCases, TrainFeatures
from medaegis.experiment._weakness import CASES

Published = dict[tuple[str, ...], float]


class HidingSettings(NetworkSettings):
    """What a hiding experiment is made of; every field can be set with `--set field=value`.

    Example:
        >>> HidingSettings(eps=["1/256", "2/256"]).eps
        ('1/256', '2/256')
    """

    attack: Names = Field(("bim",), description="the attacks that are hidden; bim@10 takes 10 steps")
    eps: Budgets = Field(("1/256",), description="budgets, Linf")
    steps: int | None = Field(40, ge=1, description="attack steps; none takes the papers' 2 eps / (0.02/256)")
    kappa: Kappa = Field("gap", description="confidence of CW-Linf; gap is the data's mean logit gap, none no floor")
    hiding: Names = Field(("hfc",), description="how: hfc, selective, chosen, released, closest, white-box …")
    components: Counts = Field((1,), description="K, Gaussian components a class and layer; the first leads")
    hfc_weight: float = Field(1.0, gt=0, description="factor of HFC; 1 is the papers'")
    detectors: Names = Field(
        ("KD", "MAHA"), description="KD@relu reads all activations; LID:logistic weighs layers by attacks"
    )
    bandwidth: float | Literal["median", "likelihood"] = Field("likelihood", description="of KD")
    matrix: bool = Field(False, description="whether detectors that learn from one attack are tested on all others too")
    checks: int = Field(CASES, ge=0, description="cases of the extra runs that check the attack's strength; 0: none")
    cushion: str = Field("none", description="what stands before the network: jpeg:80, bits:3, tv:0.03, joined by +")
    substitute: str = Field("none", description="on whose gradients images are made: none, same, NETWORK, same@apart …")
    substitute_epochs: int | None = Field(None, ge=1, description="most training epochs of it; none for the network's")
    reference: Literal["", "hfc-2021"] | None = Field(None, description="hfc-2021 adds the released code's detectors")


@dataclass(frozen=True)
class Variant:
    """One budget without or with HFC: its attack, the scores on it, and those on clean images by the same detectors."""

    attacked: Attacked
    scores: AttackScores
    clean: CleanScores


@dataclass(frozen=True)
class HidingPlan:
    """The stages of a hiding experiment; see `hiding_plan`.

    Args:
        settings: what it was made from.
        dataset: what tables call the data.
        published: the papers' figures by (eps, hfc, detector, metric), or by these after the attack's name; detector ""
            for the classifier's.
        differs: what differs from the paper, and why.
        substitute: the network on which images are made, where it is not the classifier.
    """

    settings: HidingSettings
    dataset: str
    classifier: Classifier
    cases: AdversarialCases
    variants: tuple[Variant, ...]
    embedding: Embedding
    by_layer: ByLayer | None = None
    published: Published = field(default_factory=dict[tuple[str, ...], float])
    differs: tuple[str, ...] = ()
    substitute: Classifier | None = None

    @property
    def model(self) -> str:
        """What tables call the attacked network, the Cushion before it and the network that it is attacked from."""
        named, attacked = named_substitute(self.settings.substitute), shown_model(self.classifier)
        return attacked if named is None else named.shown(attacked)

    @property
    def clean(self) -> CleanScores:
        """The clean scores of the first variant."""
        return self.variants[0].clean

    @property
    def detectors(self) -> tuple[str, ...]:
        """What tables call the detectors."""
        return tuple(choice.label for choice in self.clean.detectors)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What must be computed."""
        layers = () if self.by_layer is None else (self.by_layer,)
        scores = [stage for v in self.variants for stage in (v.clean, v.scores)]
        scores += [stage for one in self.crossed for stage in (one.clean, one.scores)]
        released = released_stages(self).values()
        return (*dict.fromkeys(scores), *released, self.embedding, *layers, *self.probes)

    @property
    def crossed(self) -> tuple[Crossed, ...]:
        """Detectors that learned from one attack, on another; none unless settings ask for the matrix."""
        return crossings(self.variants) if self.settings.matrix else ()

    @property
    def shown(self) -> tuple[Variant, ...]:
        """Without and with HFC, as pictures, drawings by layer and checks of strength show them."""
        return shown_variants(self.variants, self.settings.eps)

    @property
    def probes(self) -> tuple[Probe, ...]:
        """Extra runs at the shown budget, without and with HFC, to hold the attack against; none if switched off."""
        compared = tuple(
            Probe(variant.attacked, named, self.settings.checks)
            for variant in (self.shown if self.settings.checks else ())
            for named in comparisons(variant.attacked.choice.named).values()
            if named is not None
        )
        return compared if self.in_the_open is None else (*compared, self.in_the_open)

    @property
    def in_the_open(self) -> Probe | None:
        """The shown attack, not hidden, on the attacked network's own gradients; None where it is that already."""
        attacked = self.shown[0].attacked
        if self.settings.checks == 0 or attacked.substitute is None:
            return None
        return Probe(replace(attacked, substitute=None), attacked.choice.named, self.settings.checks)

    def collect(self, context: Context) -> Content:
        """Rows, per-case scores, pictures and facts, from stored results."""
        from medaegis.experiment._hiding_content import hiding_content

        return hiding_content(self, context)


def hiding_plan(
    settings: HidingSettings,
    *,
    dataset: str,
    published: Published | None = None,
    differs: tuple[str, ...] = (),
) -> HidingPlan:
    """Plan a hiding experiment; the data's files are listed and hashed here, nothing long is done.

    With a Cushion, cases are those that the classifier gets right behind it, and features, detectors, mixtures of HFC
    and attacks (by BPDA) all see images through it.

    With a substitute (semi-white-box, HFC-23 section V-E), images are made on that network, by HFC of its own features,
    and judged by the classifier and its detectors, which learn from attacks on the classifier itself.

    Args:
        settings: what to do.
        dataset: what tables call the data.
        published: the papers' figures by (eps, hfc, detector, metric), or by these after the attack's name; of attacks
            in the open, so that they are left out with a substitute.
        differs: what differs from the paper, and why.

    Raises:
        InputError: settings do not fit each other.
        DataError: data or weights cannot be used.

    Example:
        >>> small = HidingSettings(source="phantom-chest", model="small-resnet", weights=None, size=32)
        >>> [v.attacked.title for v in hiding_plan(small, dataset="phantoms").variants]
        ['BIM 1/256', 'BIM 1/256 + HFC']
    """
    for name, values in (("eps", settings.eps), ("attack", settings.attack), ("components", settings.components)):
        require(len(set(values)) == len(values) > 0, name, "recipe", "different values", values)
    require(len(set(settings.hiding)) == len(settings.hiding), "hiding", "recipe", "different values", settings.hiding)
    bare = settings.cushion == "none" or not settings.reference
    fix = "Its input step leaves [0, 1], where no Cushion is defined."
    require(bare, "reference", "recipe", "left out behind a Cushion, as the released code has none", "hfc-2021", fix)
    named, cushion = named_substitute(settings.substitute), named_cushion(settings.cushion)
    alone = classifier_stage(settings, part="" if named is None else named.part)
    classifier, substitute = behind(cushion, alone), None
    if named is not None:
        substitute = behind(cushion, named.stage(settings, alone, settings.substitute_epochs))
    features = own = TrainFeatures(classifier)
    if substitute is not None:
        own = features_of_substitute(substitute, classifier)
    detectors = parse_detectors(settings.detectors, settings.bandwidth)
    cases = AdversarialCases(classifier, seed=settings.seed)
    variants = tuple(
        variant
        for choice in attack_choices(settings)
        for variant in _variants(settings, choice, cases, features, detectors, own)
    )
    shown = shown_variants(variants, settings.eps)
    embedding = Embedding(shown[0].clean, tuple(v.scores for v in shown), seed=settings.seed)
    kinds = tuple(kind for kind in ALONE if kind in [choice.kind for choice in detectors]) or ALONE[:2]
    pair = (shown[0].attacked, shown[-1].attacked)
    by_layer = ByLayer(features, *pair, detectors=kinds) if len(shown) == 2 else None
    known = (published or {}) if substitute is None else {}
    return HidingPlan(settings, dataset, classifier, cases, variants, embedding, by_layer, known, differs, substitute)


def _variants(
    settings: HidingSettings,
    choice: AttackChoice,
    cases: AdversarialCases,
    features: TrainFeatures,
    detectors: tuple[DetectorChoice, ...],
    own: TrainFeatures,
) -> list[Variant]:
    """One attack in all ways of hiding; detectors that learn have learned from this attack, not hidden.

    `features` are of the attacked network and for its detectors, `own` of the one on which images are made.
    """
    learned = None
    if any(detector.learns_attacks for detector in detectors):
        learning = DetectorCases(cases, seed=settings.seed)
        teacher = Attacked(cases, choice, seed=settings.seed, learning=learning)
        learned = Learned(features, teacher, detectors, seed=settings.seed)
    clean = CleanScores(features, cases, detectors, learned)
    return [
        Variant(attacked, AttackScores(features, attacked, detectors, settings.seed, learned), clean)
        for attacked in hidings(settings, choice, cases, own, clean)
    ]


def attack_choices(settings: HidingSettings) -> tuple[AttackChoice, ...]:
    """Every attack of the settings at every budget.

    Raises:
        InputError: unknown preset or bad setting.

    Example:
        >>> [choice.shown for choice in attack_choices(HidingSettings(attack=["bim", "apgd@20"]))]
        ['BIM', 'APGD, 20 steps']
    """
    named = [(name, eps) for name in settings.attack for eps in settings.eps]
    found = [AttackChoice.parse(name, eps, settings.steps, settings.kappa) for name, eps in named]
    for choice in found:
        choice.build()
    return tuple(found)


def shown_variants(variants: tuple[Variant, ...], budgets: tuple[str, ...]) -> tuple[Variant, ...]:
    """The pair of variants (without, with HFC) that pictures show: the first attack's, at the middle budget.

    Example:
        >>> shown_variants((), ("1/256",))
        ()
    """
    middle, wanted = budgets[len(budgets) // 2], (PLAIN, HIDDEN)
    first = variants[0].attacked.choice.shown if variants else ""
    here = [v.attacked for v in variants if (v.attacked.choice.shown, v.attacked.choice.eps) == (first, middle)]
    return tuple(v for v in variants if v.attacked in here and v.attacked.hides in wanted)


def budget_facts(settings: HidingSettings) -> dict[str, Any]:
    """Step sizes by budget, in words, for the manifest.

    Example:
        >>> budget_facts(HidingSettings(eps="2/256"))
        {'2/256': '40 steps of 0.1/256'}
        >>> budget_facts(HidingSettings(eps="2/256", attack="mim"))
        {'2/256': '40 steps of 0.1/256'}
    """
    facts: dict[str, Any] = {}
    for choice in attack_choices(settings):
        attack = choice.build()
        first = "at first " if choice.preset == "apgd" else ""
        words = f"{attack.steps} steps of {first}{_size(attack.step) * 256:g}/256"
        words += f", kappa {choice.kappa}" if choice.kappa is not None else ""
        facts[choice.eps if len(settings.attack) == 1 else f"{choice.shown} {choice.eps}"] = words
    return facts


def _size(step: Any) -> float:
    """The step size in pixel units of a rule that may hold another one, as momentum does; 0 of one that has none."""
    while hasattr(step, "inner"):
        step = step.inner
    return getattr(step, "size", 0.0)
