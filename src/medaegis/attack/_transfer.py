"""Transfer: images made on a substitute network, judged on the one that is attacked."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

from medaegis._errors import is_a, require
from medaegis.attack._attack import Attacker
from medaegis.attack._batch import Batch, Made
from medaegis.attack._objectives import Objective


@dataclass(frozen=True, eq=False)
class Transfer(Attacker):
    """An attack whose every gradient comes from a substitute network; made by `transfer`."""

    network: nn.Module
    attack: Attacker

    @property
    def substitute(self) -> nn.Module:  # pyright: ignore[reportIncompatibleVariableOverride]  # read only here
        """The network that stands in."""
        return self.network

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]  # read only here
        """The inner attack's name after TF."""
        return f"TF {self.attack.name}"

    @property
    def objective(self) -> Objective:  # pyright: ignore[reportIncompatibleVariableOverride]  # read only here
        """The inner attack's objective, valued on the substitute."""
        return self.attack.objective

    @property
    def layers(self) -> tuple[str, ...] | None:
        """Layers of the substitute."""
        return self.attack.layers

    @property
    def random(self) -> bool:
        """Whether the inner attack draws random numbers."""
        return self.attack.random

    @property
    def passes(self) -> int:
        """Steps of the inner attack."""
        return self.attack.passes

    def make(self, batch: Batch) -> Made:
        """Run the inner attack; `batch.taps` is on the substitute."""
        return self.attack.make(batch)

    def plus(self, objective: Objective) -> Transfer:
        """The same with a further term, of the substitute's features (semi-white-box of HFC-21 Table 4)."""
        return replace(self, attack=self.attack.plus(objective))


def transfer(substitute: nn.Module, attack: Attacker) -> Transfer:
    """Attack a network without its gradients: make images on `substitute`, judge them on the attacked network (TF).

    Args:
        substitute: a network of the same classes, trained on the same kind of images; left as it is.
        attack: any attack that is not itself a transfer.

    Raises:
        InputError: an argument is of the wrong kind.

    Source: Liu et al. 2017; TF of Aegis section 4, semi-white-box of HFC-21 section 5.2.

    Example:
        >>> import torch
        >>> from medaegis.attack import bim, run_attack
        >>> one, other = (nn.Sequential(nn.Flatten(), nn.Linear(4, 2)) for _ in range(2))
        >>> made = run_attack(transfer(one, bim(eps=0.1, steps=3)), other, torch.rand(5, 1, 2, 2), torch.arange(5) % 2)
        >>> made.fooled.shape
        torch.Size([5])
    """
    require(is_a(substitute, nn.Module), "substitute", "transfer", "a torch.nn.Module", type(substitute))
    good = is_a(attack, Attacker) and not is_a(attack, Transfer)
    require(good, "attack", "transfer", "an attack that is no transfer itself", attack)
    return Transfer(substitute, attack)
