"""The hierarchical feature constraint: pull the features of every layer back among the normal ones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

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

    @property
    def layers(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]  # read only here
        """The bank's layers."""
        return self.bank.layers

    def __call__(self, tapped: Tapped, goal: Goal) -> PerCase:
        """Value per case (b,)."""
        bank = _bank_like(self.bank, tapped.logits.dtype, tapped.logits.device)
        values = quadratic_by_layer(bank, tapped, goal.wanted_class(tapped.logits))
        return torch.stack(list(values.values())).sum(dim=0) * (self.weight / 2)


def hfc(bank: MixtureBank, *, weight: float = 1.0) -> HFC:
    """The hierarchical feature constraint as an add-on: `bim(eps=1/256).plus(hfc(bank))`.

    Args:
        bank: mixtures of the network's normal (Train) features, by layer and class.
        weight: factor of the whole term; 1 is the papers'.

    The class whose normal features an adversarial one should join is the target, or, in an untargeted attack, the most
    probable wrong class at each step.

    Source: HFC-21 eq. 7; HFC-23 eq. 17.

    Example:
        >>> from medaegis.density import fit_bank
        >>> bank = fit_bank({"1": torch.randn(40, 3)}, torch.arange(40) % 2, generator=torch.Generator())
        >>> hfc(bank)(Tapped(torch.zeros(2, 2), {"1": torch.zeros(2, 3)}), Goal(torch.zeros(2), torch.ones(2))).shape
        torch.Size([2])
    """
    return HFC(bank, weight)


@lru_cache(maxsize=4)
def _bank_like(bank: MixtureBank, dtype: torch.dtype, device: torch.device) -> MixtureBank:
    return bank.to(Tensor().new_empty(0, dtype=dtype, device=device))
