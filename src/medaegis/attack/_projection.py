"""How the gradients of two goals, fooling the classifier and staying hidden, become one direction."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from medaegis._types import Tapped
from medaegis.attack._constraints import spatial
from medaegis.attack._gradient import scaled_gradient
from medaegis.attack._objectives import TwoGoals
from medaegis.attack._steps import unit

Projection = Literal["none", "selective", "orthogonal"]


def goal_gradient(goals: TwoGoals, projection: Projection, tapped: Tapped, leaf: Tensor) -> Tensor:
    """The direction in which an attack with two goals goes, (b, …).

    `"none"` takes the gradient of the sum, as the papers do. `"selective"` follows one goal at a time: the attack's own
    loss until the case is fooled, then what was added. `"orthogonal"` does so too, less that part of the direction
    which lies along the other goal's gradient: to first order, working at one goal leaves the other as it is.

    Source: Bryniarski et al. 2021, section 4 (selective and orthogonal projected gradient descent); which goal a case
    works at depends on that case alone.

    Example:
        >>> x = torch.zeros(1, 2, requires_grad=True)
        >>> logits = torch.stack([x[:, 0], x[:, 0] + x[:, 1]], dim=1)
        >>> goals = TwoGoals(torch.tensor([True]), logits[:, 0], logits[:, 1])
        >>> goal_gradient(goals, "orthogonal", Tapped(logits, {}), x)
        tensor([[0., 1.]])
    """
    if projection == "none":
        return scaled_gradient(goals.own + goals.added, tapped, leaf)
    if projection == "selective":
        return scaled_gradient(goals.open, tapped, leaf)
    own = scaled_gradient(goals.own, tapped, leaf, retain=True)
    added = scaled_gradient(goals.added, tapped, leaf)
    fooled = spatial(goals.fooled, leaf.shape)
    wanted, other = torch.where(fooled, added, own), torch.where(fooled, own, added)
    return without_direction(wanted, other)


def without_direction(gradient: Tensor, other: Tensor) -> Tensor:
    """Each case's gradient less its part along `other`; the whole of it where `other` is zero.

    Example:
        >>> without_direction(torch.tensor([[1.0, 1.0]]), torch.tensor([[0.0, 5.0]]))
        tensor([[1., 0.]])
    """
    along = unit(other, "l2")
    axes = tuple(range(1, gradient.dim()))
    return gradient - along * (gradient * along).sum(dim=axes, keepdim=True)
