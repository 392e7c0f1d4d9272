"""The hierarchical feature constraint: pull the features of every layer back among the normal ones."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from medaegis._errors import is_a, is_number, require
from medaegis._types import PerCase, Tapped
from medaegis.attack._objectives import Goal, Objective
from medaegis.density import MixtureBank, quadratic_by_layer


@dataclass(frozen=True, eq=False)
class HFC(Objective):
    """sum_l lambda_l / 2 (f - mu_k')^T S_k'^-1 (f - mu_k') with lambda_l = weight / C_l, over all layers of the bank.

    Source: HFC-21 eq. 6 and 7. Made by `hfc`.
    """

    bank: MixtureBank
    weight: float = 1.0
    _moved: dict[tuple[torch.dtype, torch.device], MixtureBank] = field(
        default_factory=dict[tuple[torch.dtype, torch.device], MixtureBank], init=False, repr=False
    )

    @property
    def layers(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]  # read only here
        """The bank's layers."""
        return self.bank.layers

    def __call__(self, tapped: Tapped, goal: Goal) -> PerCase:
        """Value per case (b,)."""
        bank = self._bank_like(tapped.logits)
        wanted = goal.wanted_class(tapped.logits)
        _check_classes(wanted, bank)
        values = quadratic_by_layer(bank, tapped, wanted)
        return torch.stack(list(values.values())).sum(dim=0) * (self.weight / 2)

    def _bank_like(self, logits: Tensor) -> MixtureBank:
        """The bank as this pass needs it, kept until a pass of another kind: it takes gigabytes and dies with us."""
        kind = (logits.dtype, logits.device)
        if kind not in self._moved:
            self._moved.clear()
            self._moved[kind] = self.bank.to(logits)
        return self._moved[kind]


def hfc(bank: MixtureBank, *, weight: float = 1.0) -> HFC:
    """The hierarchical feature constraint as an add-on: `bim(eps=1/256).plus(hfc(bank))`.

    Args:
        bank: mixtures of the network's normal (Train) features, by layer and class.
        weight: factor of the whole term; 1 is the papers'.

    The class whose normal features an adversarial one should join is the target, or, in an untargeted attack, the most
    probable wrong class at each step.

    Raises:
        InputError: `bank` is no MixtureBank or `weight` no number >= 0; at the attack, a wanted class has no mixture.

    Source: HFC-21 eq. 7; HFC-23 eq. 17.

    Example:
        >>> from medaegis.density import fit_bank
        >>> bank = fit_bank({"1": torch.randn(40, 3)}, torch.arange(40) % 2, generator=torch.Generator())
        >>> hfc(bank)(Tapped(torch.zeros(2, 2), {"1": torch.zeros(2, 3)}), Goal(torch.zeros(2), torch.ones(2))).shape
        torch.Size([2])
    """
    require(is_a(bank, MixtureBank), "bank", "hfc", "a MixtureBank", type(bank), "Make it with fit_bank.")
    require(is_number(weight) and weight >= 0, "weight", "hfc", "a number >= 0", weight)
    return HFC(bank, weight)


def _check_classes(wanted: Tensor, bank: MixtureBank) -> None:
    unknown = sorted(set(wanted.unique().tolist()) - set(bank.classes))
    fix = f"The bank was fitted on cases of the classes {list(bank.classes)} only."
    require(not unknown, "bank", "hfc", "fitted on every class that the attack wants", f"none for {unknown}", fix)
