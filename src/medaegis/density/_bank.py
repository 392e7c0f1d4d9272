"""The normal features of a whole network: one mixture for each class and layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from medaegis._errors import require
from medaegis._types import LayerFeatures, Tapped
from medaegis.density._fit import fit_mixture
from medaegis.density._mixture import GaussianMixture


@dataclass(frozen=True, eq=False)
class MixtureBank:
    """Mixtures by layer and class. Made by `fit_bank`.

    Args:
        mixtures: layer name -> class -> mixture.

    Example:
        >>> bank = fit_bank({"relu": torch.randn(40, 3)}, torch.arange(40) % 2, generator=torch.Generator())
        >>> bank.layers, bank.classes
        (('relu',), (0, 1))
    """

    mixtures: Mapping[str, Mapping[int, GaussianMixture]]

    @property
    def layers(self) -> tuple[str, ...]:
        """Layer names, in the order of the network."""
        return tuple(self.mixtures)

    @property
    def bytes(self) -> int:
        """Memory that it takes."""
        return sum(part.numel() * part.element_size() for part in self.tensors().values())

    @property
    def classes(self) -> tuple[int, ...]:
        """Classes that have a mixture at every layer."""
        return tuple(next(iter(self.mixtures.values())))

    def to(self, like: Tensor) -> MixtureBank:
        """The same bank with the dtype and device of `like`."""
        return MixtureBank({n: {c: m.to(like) for c, m in by.items()} for n, by in self.mixtures.items()})

    def tensors(self) -> dict[str, Tensor]:
        """Everything that defines it, by `layer|class|part`; `MixtureBank.from_tensors` is the way back."""
        return {
            f"{layer}|{label}|{part}": tensor
            for layer, by_class in self.mixtures.items()
            for label, mixture in by_class.items()
            for part, tensor in mixture.tensors().items()
        }

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor], layers: tuple[str, ...]) -> MixtureBank:
        """A bank from what `tensors` gave; `layers` restores the order of the network."""
        parts: dict[str, dict[int, dict[str, Tensor]]] = {layer: {} for layer in layers}
        for key in sorted(tensors, key=lambda key: int(key.rsplit("|", 2)[1])):
            layer, label, part = key.rsplit("|", 2)
            parts[layer].setdefault(int(label), {})[part] = tensors[key]
        return MixtureBank({n: {c: GaussianMixture(**p) for c, p in by.items()} for n, by in parts.items()})


def fit_bank(
    features: LayerFeatures,
    labels: Tensor,
    *,
    components: int = 1,
    strength: float | None = None,
    prior: float | None = None,
    generator: torch.Generator,
) -> MixtureBank:
    """Fit a mixture to the features of each class at each layer.

    Args:
        features: normal (Train) features by layer, each (n, C_l).
        labels: their classes (n,).
        components: K of HFC-21 eq. 5; the papers take 64 on Fundoscopy and 1 (or 16) on Chest X-ray.
        strength: shrinkage of the covariance; None chooses it on held-out cases, for each class and layer.
        prior: pseudo-cases a dimension of the shared covariance in each component; None chooses it likewise.
        generator: source of all random draws.

    Raises:
        InputError: labels and features differ in length, or a class has fewer than two cases a component.
        NumericsError: features hold NaN or infinity.

    Source: HFC-21 section 4, "Modeling the Distribution of Normal Features".

    Example:
        >>> fit_bank({"a": torch.randn(20, 2)}, torch.arange(20) % 2, generator=torch.Generator()).classes
        (0, 1)
    """
    sizes = check_bank(features, labels, components, "fit_bank")
    mixtures = {
        layer: {
            c: fit_mixture(z[labels == c], components=components, strength=strength, prior=prior, generator=generator)
            for c in sizes
        }
        for layer, z in features.items()
    }
    return MixtureBank(mixtures)


def check_bank(features: LayerFeatures, labels: Tensor, components: int, owner: str) -> dict[int, int]:
    """Cases of each class; raises `InputError` where features and labels do not fit, or a class is too small.

    Example:
        >>> check_bank({"a": torch.randn(4, 2)}, torch.tensor([0, 1, 0, 1]), 1, "fit_bank")
        {0: 2, 1: 2}
    """
    require(len(features) > 0, "features", owner, "at least one layer", list(features))
    wrong = {layer: tuple(z.shape) for layer, z in features.items() if z.dim() != 2 or len(z) != labels.numel()}
    require(not wrong, "features", owner, f"({labels.numel()}, d) as `labels` says, at each layer", wrong)
    sizes = {int(label): int((labels == label).sum()) for label in labels.unique()}
    rare = {label: size for label, size in sizes.items() if size < 2 * components}
    rule = f"at least 2 x {components} cases of each class (two a component)"
    require(not rare, "labels", owner, rule, rare, "Take fewer components, or leave the class out.")
    return sizes


def quadratic_by_layer(
    bank: MixtureBank, tapped: Tapped, wanted: Tensor, *, owner: str = "quadratic_by_layer"
) -> dict[str, Tensor]:
    """Quadratic form over C_l to the nearest component of each case's wanted class, by layer, (n,).

    Of order 1 for normal cases. Source: HFC-21 eq. 6 and 7, without lambda's factor 1/2.

    Args:
        bank: mixtures in the dtype and on the device of the features.
        tapped: one pass, with every layer of the bank.
        wanted: class whose normal features count, (n,).
        owner: whose name errors have.

    Raises:
        InputError: a layer is missing, or a wanted class has no mixture.

    Example:
        >>> z = torch.randn(40, 3)
        >>> bank = fit_bank({"a": z}, torch.zeros(40), generator=torch.Generator()).to(z)
        >>> quadratic_by_layer(bank, Tapped(torch.zeros(40, 2), {"a": z}), torch.zeros(40))["a"].shape
        torch.Size([40])
    """
    missing = [layer for layer in bank.layers if layer not in tapped.features]
    require(not missing, "tapped", owner, f"a pass with layers {list(bank.layers)}", f"none of {missing}")
    rows = rows_by_class(wanted)
    unknown = [c for c in rows if c not in bank.classes]
    fix = f"It was fitted on cases of the classes {list(bank.classes)} only."
    require(not unknown, "bank", owner, "fitted on every class that is wanted", f"none for {unknown}", fix)
    return {name: _nearest_quadratic(by, tapped.features[name], rows) for name, by in bank.mixtures.items()}


def rows_by_class(wanted: Tensor) -> dict[int, Tensor]:
    """The places of each class in `wanted` (n,).

    Example:
        >>> rows_by_class(torch.tensor([1, 0, 1]))
        {0: tensor([1]), 1: tensor([0, 2])}
    """
    return {int(c): (wanted == c).nonzero().flatten() for c in wanted.unique()}


def _nearest_quadratic(by_class: Mapping[int, GaussianMixture], z: Tensor, rows: dict[int, Tensor]) -> Tensor:
    """Quadratic form over C_l to the nearest component of each case's class, (n,)."""
    if len(rows) == 1:
        (label,) = rows
        return by_class[label].nearest(z).quadratic / z.shape[1]
    parts = [by_class[label].nearest(z[own]).quadratic for label, own in rows.items()]
    return torch.cat(parts)[torch.cat(list(rows.values())).argsort()] / z.shape[1]
