"""Guides: natural cases of the wanted class whose features an adversarial image imitates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from medaegis._errors import InputError, is_a, is_number, require
from medaegis._types import Labels, LayerFeatures, PerCase, Tapped
from medaegis.attack._attack import Attack
from medaegis.attack._moved import Kind, moved
from medaegis.attack._objectives import Goal, Objective
from medaegis.attack._presets import pgd
from medaegis.density import squared_distances
from medaegis.density._bank import rows_by_class
from medaegis.density._covariance import ROUNDING


@dataclass(frozen=True, eq=False)
class Guides:
    """Cases that can be guides; made by `guide_random` and `guide_closest`.

    Args:
        features: of the Train cases, by layer, each (m, C_l).
        labels: their classes (m,), int64.
        spreads: sqrt(v_l) by layer, with v_l the variance of the features, averaged over channels; 1 where nothing
            varies.

    Example:
        >>> Guides.of({"a": torch.tensor([[0.0], [2.0]])}, torch.tensor([0, 1])).spreads
        {'a': 1.0}
    """

    features: LayerFeatures
    labels: Tensor
    spreads: Mapping[str, float]

    @staticmethod
    def of(features: LayerFeatures, labels: Tensor) -> Guides:
        """Guides from Train features."""
        return Guides(features, labels, {name: _spread(z) for name, z in features.items()})

    def to(self, like: Tensor) -> Guides:
        """The same with the dtype and device of `like`."""
        return Guides({n: z.to(like) for n, z in self.features.items()}, self.labels.to(like.device), self.spreads)

    def distance(self, features: LayerFeatures, rows: Tensor) -> PerCase:
        """sum_l |f - g|^2 / (2 C_l v_l) to the guides at `rows` (b,): 1 a layer in the mean between two Train cases."""
        parts = [self._apart(name, features[name], z[rows]) for name, z in self.features.items()]
        return torch.stack(parts).sum(dim=0) / 2

    def drawn(self, seed: Tensor, wanted: Tensor) -> Tensor:
        """Rows (b,) of the wanted classes (b,), each drawn by the case's own seed (b,)."""
        rows = torch.empty_like(wanted)
        for label, own in self._by_class(wanted).items():
            members = (self.labels == label).nonzero().flatten()
            rows[own] = members[seed[own] % len(members)]
        return rows

    def closest(self, clean: LayerFeatures, wanted: Tensor) -> Tensor:
        """Rows (b,) of the wanted classes (b,) at the smallest `distance` from the clean features."""
        rows = torch.empty_like(wanted)
        for label, own in self._by_class(wanted).items():
            members = (self.labels == label).nonzero().flatten()
            parts = [
                squared_distances(clean[name][own] / s, self.features[name][members] / s) / clean[name].shape[1]
                for name, s in self.spreads.items()
            ]
            rows[own] = members[torch.stack(parts).sum(dim=0).argmin(dim=1)]
        return rows

    def check_pass(self, features: LayerFeatures, owner: str) -> None:
        """Raise `InputError` unless a pass has the layers of the guides, with as many channels."""
        for name, z in self.features.items():
            got = tuple(features[name].shape) if name in features else "none"
            rule = f"a pass with layer {name!r} of {z.shape[1]} channels"
            require(got != "none" and got[1] == z.shape[1], "tapped", owner, rule, got)

    def _apart(self, name: str, f: Tensor, g: Tensor) -> Tensor:
        return ((f - g) / self.spreads[name]).square().mean(dim=1)

    def _by_class(self, wanted: Tensor) -> dict[int, Tensor]:
        rows, known = rows_by_class(wanted), self.labels.unique().tolist()
        unknown = [label for label in rows if label not in known]
        rule, fix = "with cases of every class that the attack wants", f"It holds the classes {known}."
        require(not unknown, "labels", "a guide", rule, f"none of {unknown}", fix)
        return rows


def _spread(z: Tensor) -> float:
    z = z.double()
    variance = z.var(dim=0, unbiased=False).mean().item()
    return variance**0.5 if variance > ROUNDING * z.square().mean().item() else 1.0


@dataclass(frozen=True, eq=False)
class Guide(Objective):
    """weight x sum_l |f - g|^2 / (2 C_l v_l), the distance to each case's guide g at all layers of the guides.

    Source: Sabour et al. 2016. Made by `guide_random` and `guide_closest`.
    """

    guides: Guides
    choice: Literal["random", "closest"]
    weight: float = 1.0
    _moved: dict[Kind, Guides] = field(default_factory=dict[Kind, Guides], init=False, repr=False)
    _last: list[tuple[Goal, Tensor]] = field(default_factory=list[tuple[Goal, Tensor]], init=False, repr=False)

    reads_clean = True

    @property
    def title(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]  # read only here
        """The name of the function that makes it."""
        return f"guide_{self.choice}"

    @property
    def random(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]  # read only here
        """Whether the guide is drawn."""
        return self.choice == "random"

    @property
    def layers(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]  # read only here
        """The guides' layers."""
        return tuple(self.guides.features)

    def __call__(self, tapped: Tapped, goal: Goal) -> PerCase:
        """Value per case (b,)."""
        guides = moved(self._moved, tapped.logits, self.guides.to)
        guides.check_pass(tapped.features, self.title)
        return self.weight * guides.distance(tapped.features, self.rows(guides, goal))

    def rows(self, guides: Guides, goal: Goal) -> Tensor:
        """Rows (b,) of the cases' guides, found once for each goal."""
        if not self._last or self._last[0][0] is not goal:
            self._last[:] = [(goal, self._chosen(guides, goal))]
        return self._last[0][1]

    def _chosen(self, guides: Guides, goal: Goal) -> Tensor:
        if goal.clean is None or (self.random and goal.seed is None):
            raise InputError(f"`goal` of {self.title} must hold `clean` and `seed`; run_attack gives them.")
        wanted = goal.wanted_class(goal.clean.logits)
        if self.random and goal.seed is not None:
            return guides.drawn(goal.seed, wanted)
        guides.check_pass(goal.clean.features, self.title)
        return guides.closest(goal.clean.features, wanted)


def guide_random(
    features: LayerFeatures, labels: Labels, *, layers: Sequence[str] | None = None, weight: float = 1.0
) -> Guide:
    """Pull each case's features to those of a guide, a natural case of the wanted class drawn at random.

    The value is weight x sum_l |f - g|^2 / (2 C_l v_l): the squared distance at each layer over its number of channels
    and its Train variance (averaged over channels), so that all layers count alike, 1 in the mean between two Train
    cases. The guide is drawn once for each case, from the generator that `run_attack` got, and stays. The wanted class
    is the target, or, in an untargeted attack, the most probable wrong class of the clean image.

    Args:
        features: of natural (Train) cases, by layer, each (m, C_l): what `Taps` gives.
        labels: their classes (m,).
        layers: which of them count; None for all.
        weight: factor of the whole term, >= 0.

    Raises:
        InputError: shapes do not fit, features are not finite, `layers` names one that `features` lacks, or `weight` is
            negative; at the attack, a wanted class has no case, or a layer has another number of channels.

    Where we differ from the paper: it takes one layer, where a scale does not matter.

    Source: Sabour et al. 2016, eq. 1; the first competitor of HFC-21 Table 3.

    Example:
        >>> one = guide_random({"a": torch.tensor([[0.0], [2.0]])}, torch.tensor([0, 1]))
        >>> now, goal = Tapped(torch.zeros(1, 2), {"a": torch.zeros(1, 1)}), Goal(torch.tensor([0]), torch.tensor([1]))
        >>> one(now, goal._replace(clean=now, seed=torch.tensor([7])))  # 2^2 / (2 x 1 x 1)
        tensor([2.])
    """
    return Guide(_guides(features, labels, layers, weight, "guide_random"), "random", weight)


def guide_closest(
    features: LayerFeatures, labels: Labels, *, layers: Sequence[str] | None = None, weight: float = 1.0
) -> Guide:
    """Pull each case's features to those of the natural case of the wanted class that is closest to its clean image.

    Value, wanted class, arguments and errors are those of `guide_random`; "closest" is by the same distance, over the
    same layers, from the clean features.

    Source: Sabour et al. 2016; the second competitor of HFC-21 Table 3.

    Example:
        >>> one = guide_closest({"a": torch.tensor([[0.0], [2.0], [4.0]])}, torch.tensor([0, 1, 1]))
        >>> now, goal = Tapped(torch.zeros(1, 2), {"a": torch.zeros(1, 1)}), Goal(torch.tensor([0]), torch.tensor([1]))
        >>> one(now, goal._replace(clean=now))  # 2^2 / (2 x 1 x 8/3)
        tensor([0.7500])
    """
    return Guide(_guides(features, labels, layers, weight, "guide_closest"), "closest", weight)


def feature_attack(eps: float, guide: Guide, *, steps: int = 100, step_size: float | None = None) -> Attack:
    """Fea of Aegis: make features equal to those of a natural case, whatever the logits say.

    It is PGD on a guide's distance alone: `pgd(eps, steps=steps).minimising(guide)`; any other attack can be built so.

    Args:
        eps: Linf budget in pixel units; 16/256 in Aegis.
        guide: `guide_random(…)` or `guide_closest(…)`; the paper does not say which.
        steps: number of steps; 100 in Aegis.
        step_size: in pixel units; None takes 2 eps / steps.

    Raises:
        InputError: `guide` is none, or a budget or step is out of range.

    Source: Aegis section 4, "Feature attack (Fea)"; Sabour et al. 2016.

    Example:
        >>> feature_attack(16 / 256, guide_random({"a": torch.randn(4, 3)}, torch.tensor([0, 0, 1, 1]))).name
        'Fea'
    """
    fix = "Make it with guide_random(features, labels) or guide_closest(features, labels)."
    require(is_a(guide, Guide), "guide", "feature_attack", "a Guide", type(guide), fix)
    return pgd(eps, steps=steps, step_size=step_size).minimising(guide, name="Fea")


def _guides(features: LayerFeatures, labels: Labels, layers: Sequence[str] | None, weight: float, owner: str) -> Guides:
    require(is_number(weight) and weight >= 0, "weight", owner, "a number >= 0", weight)
    good = is_a(features, Mapping) and len(features) > 0
    require(good, "features", owner, "features by layer name, at least one", type(features))
    names = list(features) if layers is None else list(layers)
    unknown = [name for name in names if name not in features]
    fix = f"It has {', '.join(features)}."
    require(bool(names) and not unknown, "layers", owner, "names of layers that `features` has", names, fix)
    shape = tuple(labels.shape)
    require(len(shape) == 1 and shape[0] > 0, "labels", owner, "(m,), one class a case", shape)
    for name in names:
        z = features[name]
        require(z.dim() == 2 and len(z) == shape[0], "features", owner, f"({shape[0]}, d) at {name!r}", tuple(z.shape))
        require(bool(z.isfinite().all()), "features", owner, f"finite at {name!r}", "NaN or infinity")
    return Guides.of({name: features[name].detach() for name in names}, labels.detach())
