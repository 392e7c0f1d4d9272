"""The hierarchical feature constraint: pull the features of every layer back among the normal ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from medaegis._errors import is_a, is_number, require
from medaegis._types import PerCase, Tapped
from medaegis.attack._moved import Kind, moved
from medaegis.attack._objectives import Goal, Objective
from medaegis.density import MixtureBank, quadratic_by_layer


@dataclass(frozen=True, eq=False)
class HFC(Objective):
    """sum_l lambda_l / 2 (f - mu_k')^T S_k'^-1 (f - mu_k') over all layers of the bank.

    lambda_l = weight x layer_weights[l] / C_l. Source: HFC-21 eq. 6 and 7. Made by `hfc`.
    """

    bank: MixtureBank
    weight: float = 1.0
    layer_weights: Mapping[str, float] = field(default_factory=dict[str, float])
    _moved: dict[Kind, MixtureBank] = field(default_factory=dict[Kind, MixtureBank], init=False, repr=False)

    @property
    def layers(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]  # read only here
        """The bank's layers."""
        return self.bank.layers

    def __call__(self, tapped: Tapped, goal: Goal) -> PerCase:
        """Value per case (b,)."""
        return torch.stack(list(self.parts(tapped, goal).values())).sum(dim=0)

    def parts(self, tapped: Tapped, goal: Goal) -> dict[str, PerCase]:
        """What each layer adds, (b,), by `HFC layer`."""
        wanted = goal.wanted_class(tapped.logits)
        values = quadratic_by_layer(moved(self._moved, tapped.logits, self.bank.to), tapped, wanted, owner="hfc")
        factors = {name: self.weight * self.layer_weights.get(name, 1.0) / 2 for name in values}
        return {f"HFC {name}": value * factors[name] for name, value in values.items()}


def hfc(bank: MixtureBank, *, weight: float = 1.0, layer_weights: Mapping[str, float] | None = None) -> HFC:
    """The hierarchical feature constraint as an add-on: `bim(eps=1/256).plus(hfc(bank))`.

    Args:
        bank: mixtures of the network's normal (Train) features, by layer and class.
        weight: factor of the whole term; 1 is the papers'. 2 is the released code's, which has no factor 1/2.
        layer_weights: further factors by layer, of lambda_l = 1 / C_l; a layer without one has 1, the papers'.

    The class whose normal features an adversarial one should join is the target, or, in an untargeted attack, the most
    probable wrong class at each step.

    Raises:
        InputError: `bank` is no MixtureBank, `weight` no number >= 0, or `layer_weights` names a layer that the bank
            lacks or holds such a number; at the attack, a wanted class has no mixture.

    Source: HFC-21 eq. 7; HFC-23 eq. 17.

    Example:
        >>> from medaegis.density import fit_bank
        >>> bank = fit_bank({"1": torch.randn(40, 3)}, torch.arange(40) % 2, generator=torch.Generator())
        >>> hfc(bank)(Tapped(torch.zeros(2, 2), {"1": torch.zeros(2, 3)}), Goal(torch.zeros(2), torch.ones(2))).shape
        torch.Size([2])
    """
    require(is_a(bank, MixtureBank), "bank", "hfc", "a MixtureBank", type(bank), "Make it with fit_bank.")
    require(is_number(weight) and weight >= 0, "weight", "hfc", "a number >= 0", weight)
    given = dict(layer_weights or {})
    unknown = [name for name in given if name not in bank.layers]
    require(not unknown, "layer_weights", "hfc", f"by layers of the bank {list(bank.layers)}", unknown)
    wrong = {name: value for name, value in given.items() if not (is_number(value) and value >= 0)}
    require(not wrong, "layer_weights", "hfc", "numbers >= 0", wrong)
    return HFC(bank, weight, given)
