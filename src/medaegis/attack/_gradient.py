"""From an objective to its gradient, through a network, at a size that float32 bears."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from medaegis._errors import InputError
from medaegis._types import PerCase, Tapped
from medaegis.attack._constraints import spatial

_SMALL = 1e-20


def scaled_gradient(value: PerCase, tapped: Tapped, leaf: Tensor, *, retain: bool = False) -> Tensor:
    """Gradient of each case's objective to `leaf`, sent through the network at a size that float32 bears.

    Once a softmax is nearly certain, its gradient is so small that the products on its way back leave the normal
    range of float32: processors then take up to 30 times as long, and what is smaller still becomes zero. So each
    case's gradient to logits and features is brought to size 1, goes through the network, and is brought back; below
    1e-20 it stays larger than it is, which no step rule that looks at directions can notice. See decision 011.

    Args:
        value: objective (b,), a function of `tapped` alone.
        tapped: the pass from `leaf`.
        leaf: what to differentiate to, (b, …).
        retain: keep the pass for another gradient.

    Returns:
        (b, …), finite.

    Example:
        >>> x = torch.ones(1, 2, requires_grad=True)
        >>> logits = 3 * x
        >>> scaled_gradient(1e-30 * logits[:, 0], Tapped(logits, {}), x) * 1e20  # 3e-30, brought up to 3e-20
        tensor([[3., 0.]])
    """
    outputs = [output for output in (tapped.logits, *tapped.features.values()) if output.requires_grad]
    keep = retain or None
    found = cast(
        "tuple[Tensor | None, ...]",
        torch.autograd.grad(value.sum(), outputs, retain_graph=keep, allow_unused=True),
    )
    used = [(output, part) for output, part in zip(outputs, found, strict=True) if part is not None]
    size = torch.stack([part.abs().flatten(1).amax(dim=1) for _, part in used]).amax(dim=0)
    size = torch.where((size > 0) & size.isfinite(), size, 1)
    parts = [part / spatial(size, part.shape) for _, part in used]
    (gradient,) = torch.autograd.grad([output for output, _ in used], leaf, parts, retain_graph=keep)
    return gradient * spatial(size.clamp_min(_SMALL), gradient.shape)


class _Input(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        return grad_outputs[0].nan_to_num(0.0, 0.0, 0.0)


def network_input(x: Tensor) -> Tensor:
    """A copy of images for a network that may write into it; NaN and infinity in its gradient become zero.

    They become so pixel by pixel, before a transform can smear one pixel's NaN over the image.

    Example:
        >>> x = torch.tensor([0.0, 1.0], requires_grad=True)
        >>> (network_input(x).sqrt() * 2).sum().backward()
        >>> x.grad
        tensor([0., 1.])
    """
    return _Input.apply(x)  # pyright: ignore[reportReturnType]  # apply is untyped


def no_gradient(name: str) -> InputError:
    """The error of a network whose logits do not depend on its images differentiably.

    Example:
        >>> print(no_gradient("BIM"))
        The objective of BIM carries no gradient to the images: ...
    """
    return InputError(
        f"The objective of {name} carries no gradient to the images: the model computes without one. "
        "Remove no_grad, detach and argmax from its forward pass, or attack a differentiable substitute."
    )
