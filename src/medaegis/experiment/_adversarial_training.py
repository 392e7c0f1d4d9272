"""Adversarial training of the classifier itself: the attack that it learns from."""

from __future__ import annotations

import torch
from torch import nn

from medaegis._types import Images, Labels
from medaegis.attack import pgd, run_attack
from medaegis.models import Adversary

REACH = 2.5
"""Steps together reach this many budgets, as in Madry et al.: far enough to cross the ball from any start."""


def pgd_adversary(eps: float, steps: int) -> Adversary:
    """Untargeted PGD on the cross-entropy, run anew on the network of every batch.

    Args:
        eps: Linf budget in pixel units, (0, 1).
        steps: number of steps >= 1, of 2.5 eps / steps each.

    Raises:
        InputError: an argument is out of range.

    Source: Madry et al. 2018, section 2.1 and the step size of their code.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
        >>> x, y = torch.rand(3, 1, 4, 4), torch.tensor([0, 1, 0])
        >>> made = pgd_adversary(2 / 256, 5)(net, x, y, torch.Generator())
        >>> bool(((made - x).abs() <= 2 / 256).all())
        True
    """
    attack = pgd(eps, steps=steps, step_size=REACH * eps / steps)

    def made(model: nn.Module, x: Images, y: Labels, generator: torch.Generator) -> Images:
        return run_attack(attack, model, x, y, generator=generator, batch_size=len(x)).x

    return made
