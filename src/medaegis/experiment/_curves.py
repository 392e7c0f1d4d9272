"""Success of every attack against the budget: the experiment that shows whether attacks are sound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import Field
from torch import Tensor

from medaegis._errors import require
from medaegis.attack import l2_size, transfer
from medaegis.experiment._content import Content
from medaegis.experiment._context import Context
from medaegis.experiment._named_attack import NamedAttack
from medaegis.experiment._network_settings import Budgets, Names, NetworkSettings, classifier_on, classifier_stage
from medaegis.experiment._stage import Result, Stage
from medaegis.experiment._stages_attack import attack_next_class
from medaegis.experiment._stages_data import cases_at
from medaegis.experiment._stages_model import AdversarialCases, Classifier

TRANSFER = "transfer"
MINIMAL = ("deepfool", "cw_l2")
"""Attacks that look for the smallest perturbation: one run gives the success at every budget."""
FIXED_STEPS = ("noise", "fgsm", *MINIMAL)
EVERY = (
    *("noise", TRANSFER, "fgsm", "bim", "pgd", "mim", "tim", "dim", "cw_linf", "apgd", "pgd_l2"),
    *MINIMAL,
)


class CurveSettings(NetworkSettings):
    """What the curves are made of; every field can be set with `--set field=value`.

    Example:
        >>> CurveSettings(eps=["1/256", "2/256"]).eps
        ('1/256', '2/256')
    """

    attacks: Names = Field(EVERY, description="presets, and transfer: PGD made on a substitute")
    eps: Budgets = Field(("1/256",), description="budgets; L2 attacks measure them as a root mean square")
    steps: int = Field(40, ge=1, description="of iterated attacks at every budget")
    substitute: str = Field("squeezenet1_1", description="network of the transfer attack, trained on the same cases")
    substitute_epochs: int = Field(12, ge=1, description="most training epochs of the substitute")


@dataclass(frozen=True)
class CurvePoint(Stage):
    """One attack at one budget on AdvTest: outcomes and sizes, no images.

    Args:
        cases: AdvTest and the classifier.
        named: the attack.
        substitute: makes the images in the classifier's place, or None.
        seed: of random draws.
    """

    cases: AdversarialCases
    named: NamedAttack
    substitute: Classifier | None = None
    seed: int = 0

    @property
    def title(self) -> str:
        """What lines on the terminal call it."""
        return f"{'TF ' if self.substitute else ''}{self.named.title}"

    def compute(self, context: Context) -> Result:
        """Attack every case of AdvTest."""
        attack = self.named.build()
        if self.substitute is not None:
            attack = transfer(self.substitute.load(context), attack)
        classifier, index = self.cases.classifier, self.cases.split(context).test
        made = attack_next_class(attack, classifier, index, self.seed, context)
        clean, _ = cases_at(classifier.split.images.dataset(context), index)
        moved = made.x.double() - clean.double()
        sizes = {"linf": moved.abs().flatten(1).amax(dim=1), "rms": l2_size(moved)}
        kept = {name: value for name, value in made._asdict().items() if name != "x"}
        return Result(kept | sizes, {})


@dataclass(frozen=True)
class CurvePlan:
    """The stages of the curves; see `curve_plan`.

    Args:
        settings: what it was made from.
        dataset: what tables call the data.
        points: one an attack and budget, and one a minimal attack.
        differs: what differs from the papers, and why.
    """

    settings: CurveSettings
    dataset: str
    cases: AdversarialCases
    substitute: Classifier | None
    points: dict[str, tuple[CurvePoint, ...]]
    differs: tuple[str, ...] = ()

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What must be computed."""
        networks = (self.cases.classifier, *(() if self.substitute is None else (self.substitute,)))
        return (*networks, *(point for points in self.points.values() for point in points))

    def fooled(self, name: str, eps: str, context: Context) -> Tensor:
        """Which cases (n,) an attack fools within a budget."""
        if name not in MINIMAL:
            point = self.points[name][self.settings.eps.index(eps)]
            return context.get(point).tensors["fooled"]
        from medaegis.attack import parse_fraction

        found = context.get(self.points[name][0]).tensors
        return found["fooled"] & (found["rms"] <= float(parse_fraction(eps, name)))

    def collect(self, context: Context) -> Content:
        """Rows, per-case outcomes and facts, from stored results."""
        from medaegis.experiment._curves_content import curve_content

        return curve_content(self, context)


def curve_plan(settings: CurveSettings, *, dataset: str, differs: tuple[str, ...] = ()) -> CurvePlan:
    """Plan the curves; the data's files are listed and hashed here, nothing long is done.

    Args:
        settings: what to do.
        dataset: what tables call the data.
        differs: what differs from the papers, and why.

    Raises:
        InputError: settings do not fit each other, or an attack is unknown.
        DataError: data or weights cannot be used.

    Example:
        >>> small = CurveSettings(source="phantom-chest", model="small-resnet", weights=None, size=32, attacks="fgsm")
        >>> [point.title for point in curve_plan(small, dataset="phantoms").points["fgsm"]]
        ['FGSM 1/256']
    """
    for name, values in (("eps", settings.eps), ("attacks", settings.attacks)):
        require(len(set(values)) == len(values) > 0, name, "recipe", "different values", values)
    classifier = classifier_stage(settings)
    substitute = _substitute(settings, classifier) if TRANSFER in settings.attacks else None
    cases = AdversarialCases(classifier, seed=settings.seed)
    points = {name: _points(name, settings, cases, substitute) for name in settings.attacks}
    return CurvePlan(settings, dataset, cases, substitute, points, differs)


def _substitute(settings: CurveSettings, classifier: Classifier) -> Classifier:
    """Another architecture on the same Train cases, as TF of Aegis section 4 has it."""
    changes: dict[str, Any] = {"model": settings.substitute, "epochs": settings.substitute_epochs}
    return classifier_on(settings.model_copy(update=changes), classifier.split)


def _points(
    name: str, settings: CurveSettings, cases: AdversarialCases, substitute: Classifier | None
) -> tuple[CurvePoint, ...]:
    preset = "pgd" if name == TRANSFER else name
    keep = "last" if name == TRANSFER else "first"  # success needs no more, where the attacked network says when
    loop = {} if preset in FIXED_STEPS else {"steps": settings.steps, "keep": keep}
    budgets = (None,) if preset in MINIMAL else settings.eps
    network = substitute if name == TRANSFER else None
    named = [NamedAttack(preset, eps).changed(**loop) for eps in budgets]
    for attack in named:
        attack.build()
    return tuple(CurvePoint(cases, attack, network, settings.seed) for attack in named)
