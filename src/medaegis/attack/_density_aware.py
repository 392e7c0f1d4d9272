"""Objectives that hide from one kind of detector: from kernel density, or from local intrinsic dimensionality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from medaegis._errors import is_a, is_number, require
from medaegis._types import PerCase, Tapped
from medaegis.attack._moved import Kind, moved
from medaegis.attack._objectives import Goal, Objective
from medaegis.density import KernelDensity, LocalDimensionality
from medaegis.density._bank import rows_by_class

ByClass = Mapping[int, KernelDensity]
ByLayer = Mapping[str, LocalDimensionality]


@dataclass(frozen=True, eq=False)
class KDEAware(Objective):
    """-weight ln p_c(f) / C, with p_c the kernel density of the wanted class's normal features. Made by `kde_aware`."""

    densities: ByClass
    layer: str = "penultimate"
    weight: float = 1.0
    _moved: dict[Kind, ByClass] = field(default_factory=dict[Kind, ByClass], init=False, repr=False)

    title = "kde_aware"

    @property
    def layers(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]  # read only here
        """Its one layer."""
        return (self.layer,)

    def __call__(self, tapped: Tapped, goal: Goal) -> PerCase:
        """Value per case (b,)."""
        z = _layer(tapped, self.layer, self.title)
        densities = moved(self._moved, z.double(), self._to)  # they compute in float64
        rows = rows_by_class(goal.wanted_class(tapped.logits))
        unknown = [label for label in rows if label not in densities]
        fix = f"It holds the classes {list(densities)}."
        rule = "with every class that the attack wants"
        require(not unknown, "densities", self.title, rule, f"none of {unknown}", fix)
        parts = [densities[label].log_density(z[own]) for label, own in rows.items()]
        values = torch.cat(parts)[torch.cat(list(rows.values())).argsort()]
        return (values * (-self.weight / z.shape[1])).to(z.dtype)

    def _to(self, like: Tensor) -> ByClass:
        return {label: density.to(like) for label, density in self.densities.items()}


def kde_aware(densities: ByClass, *, layer: str = "penultimate", weight: float = 1.0) -> KDEAware:
    """Raise the kernel density of the wanted class: `bim(eps=1/256).plus(kde_aware(densities))`.

    The value is -weight ln p_c(f) / C. Over the C channels of the layer, as HFC's and the guides' terms are, it is of
    the order of a cross-entropy; `weight=C` is the log density as it stands.

    Args:
        densities: by class, of its Train features at `layer`.
        layer: where they were taken.
        weight: factor of the term, >= 0.

    The wanted class is the target, or, in an untargeted attack, the most probable wrong class at each step.

    Raises:
        InputError: `densities` is empty or holds something else, or `weight` is negative; at the attack, a wanted class
            has no density, or the layer has another number of channels.

    Where we differ from the paper: it stops at a threshold on the density, which a single detector would know.

    Source: Carlini & Wagner 2017 ("bypassing ten detection methods"); the third competitor of HFC-21 Table 3.

    Example:
        >>> one = kde_aware({1: KernelDensity(torch.zeros(1, 1), 1.0)})
        >>> now = Tapped(torch.zeros(1, 2), {"penultimate": torch.tensor([[2.0]])})
        >>> one(now, Goal(torch.tensor([0]), torch.tensor([1])))  # 2^2 / 2 + ln(2 pi) / 2
        tensor([2.9189])
    """
    owner = "kde_aware"
    good = is_a(densities, Mapping) and len(densities) > 0 and all(is_a(d, KernelDensity) for d in densities.values())
    fix = "As in {c: KernelDensity(z[labels == c], bandwidth) for c in classes}."
    require(good, "densities", owner, "a KernelDensity by class, at least one", type(densities), fix)
    require(is_number(weight) and weight >= 0, "weight", owner, "a number >= 0", weight)
    require(isinstance(layer, str), "layer", owner, "the name of one layer", layer)  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
    return KDEAware(densities, layer, weight)


@dataclass(frozen=True, eq=False)
class LIDAware(Objective):
    """weight x sum_l LID(f_l), against one set of normal features a layer. Made by `lid_aware`."""

    reference: ByLayer
    weight: float = 1.0
    _moved: dict[Kind, ByLayer] = field(default_factory=dict[Kind, ByLayer], init=False, repr=False)

    title = "lid_aware"

    @property
    def layers(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]  # read only here
        """The reference's layers."""
        return tuple(self.reference)

    def __call__(self, tapped: Tapped, goal: Goal) -> PerCase:
        """Value per case (b,)."""
        reference = moved(self._moved, tapped.logits.double(), self._to)  # it computes in float64
        parts = [normal.estimate(_layer(tapped, name, self.title)) for name, normal in reference.items()]
        return (torch.stack(parts).sum(dim=0) * self.weight).to(tapped.logits.dtype)

    def _to(self, like: Tensor) -> ByLayer:
        return {name: normal.to(like) for name, normal in self.reference.items()}


def lid_aware(reference: ByLayer, *, weight: float = 1.0) -> LIDAware:
    """Lower the local intrinsic dimensionality at every layer given: `bim(eps=1/256).plus(lid_aware(reference))`.

    The value is weight x sum_l LID(f_l). It is the same whatever the scale of the features, and wants no class.

    Args:
        reference: by layer, normal (Train) features with a number of neighbours; in the papers a minibatch of 100
            cases with 20 neighbours.
        weight: factor of the term, >= 0.

    Raises:
        InputError: `reference` is empty or holds something else, or `weight` is negative; at the attack, a layer has
            another number of channels, or the reference too many copies of a case.

    Source: Athalye et al. 2018; the fourth competitor of HFC-21 Table 3.

    Example:
        >>> one = lid_aware({"a": LocalDimensionality(torch.tensor([[0.0], [1.0], [2.0]]), 2)})
        >>> now = Tapped(torch.zeros(1, 2), {"a": torch.zeros(1, 1)})
        >>> one(now, Goal(torch.tensor([0]), None))
        tensor([2.8854])
    """
    owner = "lid_aware"
    found = list(reference.values()) if is_a(reference, Mapping) else []
    good = len(found) > 0 and all(is_a(normal, LocalDimensionality) for normal in found)
    fix = "As in {name: LocalDimensionality(z, 20) for name, z in features.items()}."
    require(good, "reference", owner, "a LocalDimensionality by layer, at least one", type(reference), fix)
    require(is_number(weight) and weight >= 0, "weight", owner, "a number >= 0", weight)
    return LIDAware(reference, weight)


def _layer(tapped: Tapped, name: str, owner: str) -> Tensor:
    require(name in tapped.features, "tapped", owner, f"a pass with layer {name!r}", list(tapped.features))
    return tapped.features[name]
