"""What the last dense layer does to the gradient at its input: HFC-23's Theorems I and II, in closed form."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from medaegis._errors import is_int, require
from medaegis._types import Features, Labels
from medaegis.models._taps import head_name

Weight = Float[Tensor, "k d"]


def head_weight(model: nn.Module, head: str | None = None) -> Weight:
    """A copy of the weight (k, d) of a network's last dense layer; its row c holds w_ic for every channel i.

    Args:
        model: any network with an `nn.Linear` at its end.
        head: name of that layer; None takes the last `nn.Linear`, as `Taps` does for `penultimate`.

    Raises:
        InputError: there is no such layer, or it has no weight (k, d).

    Example:
        >>> head_weight(nn.Sequential(nn.Flatten(), nn.Linear(4, 2))).shape
        torch.Size([2, 4])
    """
    weight = getattr(model.get_submodule(head_name(dict(model.named_modules()), head)), "weight", None)
    good = isinstance(weight, Tensor) and weight.dim() == 2
    require(good, "head", "head_weight", "a dense layer with a weight (k, d)", head)
    assert isinstance(weight, Tensor)
    return weight.detach().clone()


def head_direction(weight: Weight, target: int, other: int) -> Float[Tensor, " d"]:
    """w_i,target - w_i,other for every channel i: where an attack from `other` to `target` pushes z.

    With two classes the gradient of the cross-entropy towards the target is -(1 - p_target) times this (eq. 8), for
    any z: its sign never changes (Theorem I).

    Args:
        weight: (k, d) of the last dense layer.
        target: the class that the attacker wants.
        other: the class it comes from.

    Raises:
        InputError: a class is not one of k, or both are the same.

    Source: HFC-23 eq. 8 (HFC-21 eq. 4).

    Example:
        >>> head_direction(torch.tensor([[1.0, 5.0], [3.0, 2.0]]), target=1, other=0)
        tensor([ 2., -3.])
    """
    _check_class(weight, target, "target", "head_direction")
    _check_class(weight, other, "other", "head_direction")
    require(target != other, "other", "head_direction", "another class than the target", other)
    return weight[target] - weight[other]


def consistent_channels(weight: Weight, c: int) -> Bool[Tensor, " d"]:
    """The channels "Consistent_c": w_ic is no smaller than every other w_ik.

    There the gradient of the cross-entropy towards c is at most 0 for every z (Theorem II); of the other channels it
    can have either sign, as z decides which class is probable. With two classes, the channels that are not
    Consistent_1 are Consistent_0, so that every channel keeps its sign (Theorem I).

    Args:
        weight: (k, d) of the last dense layer.
        c: the class that the attacker wants.

    Raises:
        InputError: `c` is not one of the k classes.

    Source: HFC-23 eq. 13.

    Example:
        >>> consistent_channels(torch.tensor([[1.0, 5.0], [3.0, 2.0], [2.0, 5.0]]), 0)
        tensor([False,  True])
    """
    _check_class(weight, c, "c", "consistent_channels")
    return weight[c] >= weight.amax(dim=0)


def penultimate_gradient(weight: Weight, z: Features, target: Labels, *, bias: Tensor | None = None) -> Features:
    """Gradient of each case's cross-entropy towards its target at the penultimate activation, in closed form.

    dJ/dz_i = sum_k p_k (w_ik - w_ic), with p the softmax of the logits z W^T + b; for two classes and c = 1 this is
    (1 - p_1)(w_i0 - w_i1). It says where the loss pushes z itself: whether pixels can take z there is another matter,
    since channels share pixels, and an activation behind a ReLU cannot go below zero.

    Args:
        weight: (k, d) of the last dense layer.
        z: (n, d) its input.
        target: (n,) wanted classes.
        bias: (k,) of the layer; None for none. It moves p only.

    Returns:
        (n, d).

    Raises:
        InputError: shapes do not fit each other.

    Source: HFC-23 eq. 8 and 12.

    Example:
        >>> weight = torch.tensor([[1.0], [3.0]])
        >>> penultimate_gradient(weight, torch.zeros(1, 1), torch.tensor([1]))  # (1 - 1/2) (1 - 3)
        tensor([[-1.]])
    """
    fits = weight.dim() == 2 and z.dim() == 2 and z.shape[1] == weight.shape[1]
    require(fits, "z", "penultimate_gradient", f"(n, d) for a weight {tuple(weight.shape)}", tuple(z.shape))
    require(target.shape == z.shape[:1], "target", "penultimate_gradient", "one class a case", tuple(target.shape))
    logits = z @ weight.T if bias is None else z @ weight.T + bias
    probability = logits.softmax(dim=1)
    found = torch.empty_like(z)
    for c in target.unique().tolist():  # weights are subtracted first, so that rounding cannot turn a sign
        rows = target == c
        found[rows] = probability[rows] @ (weight - weight[c])
    return found


def _check_class(weight: Weight, c: int, name: str, owner: str) -> None:
    require(weight.dim() == 2, "weight", owner, "(k, d), one row a class", tuple(weight.shape))
    require(is_int(c) and 0 <= c < len(weight), name, owner, f"a class 0 to {len(weight) - 1}", c)


def closed_form_error(model: nn.Module, z: Features, target: Labels) -> float:
    """Largest difference between the closed form and autograd through a network's own last layer.

    Args:
        model: any network with an `nn.Linear` at its end.
        z: (n, d) penultimate features.
        target: (n,) wanted classes.

    Returns:
        max |difference| over max |gradient|; rounding alone gives about 1e-6 in float32.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
        >>> closed_form_error(net, torch.rand(5, 4), torch.tensor([0, 1, 2, 0, 1])) < 1e-5
        True
    """
    name = head_name(dict(model.named_modules()), None)
    head = model.get_submodule(name)
    leaf = z.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        loss = torch.nn.functional.cross_entropy(head(leaf), target, reduction="sum")
    (expected,) = torch.autograd.grad(loss, leaf)
    bias = getattr(head, "bias", None)
    found = penultimate_gradient(head_weight(model), z, target, bias=None if bias is None else bias.detach())
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(torch.finfo(z.dtype).tiny))
