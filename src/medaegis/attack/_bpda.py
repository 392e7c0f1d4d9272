"""Backward pass differentiable approximation: what cannot be differentiated gets another backward pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from medaegis._errors import InputError, require
from medaegis._types import Images, Logits
from medaegis.attack._random import CaseRandom

Step = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class BPDA:
    """Any step in the forward pass, with the gradient of another one.

    As an input transform it is the attacker's guess of what a system does. What your own system does to every image
    belongs into the model, so that results are judged through it: `Preprocessed(BPDA(jpeg), model)`.

    Args:
        forward: from images (b, c, *space) to images of the same number of cases; need not be differentiable.
        surrogate: a differentiable function whose gradient stands in for that of `forward`; None for the identity,
            which needs results of the images' own shape.

    Raises:
        InputError: an argument cannot be called; at the call, `forward` and `surrogate` give different shapes.

    Source: Athalye et al. 2018, section 4.1.

    Example:
        >>> x = torch.tensor([[0.3, 0.8]], requires_grad=True)
        >>> BPDA(torch.round)(x).sum().backward()
        >>> x.grad
        tensor([[1., 1.]])
    """

    forward: Step
    surrogate: Step | None = None

    def __post_init__(self) -> None:
        require(callable(self.forward), "forward", "BPDA", "a function from images to images", self.forward)
        good = self.surrogate is None or callable(self.surrogate)
        require(good, "surrogate", "BPDA", "a differentiable function, or None for the identity", self.surrogate)

    @property
    def random(self) -> bool:
        """False: a step that draws for itself does not use the attack's generators."""
        return False

    def __call__(self, x: Images, random: CaseRandom | None = None) -> Images:
        """What `forward` gives, bit for bit, with the gradient of `surrogate`, where one is wanted."""
        with torch.no_grad():
            value = self.forward(x.detach().clone())
        if not (torch.is_grad_enabled() and x.requires_grad):
            return value.to(x)
        stand_in = x if self.surrogate is None else self.surrogate(x)
        if value.shape != stand_in.shape:
            raise InputError(
                f"`surrogate` of BPDA must give the shape of `forward`, {tuple(value.shape)}, "
                f"got {tuple(stand_in.shape)}. The identity fits only steps that keep the shape."
            )
        return _Replaced.apply(stand_in, value.to(stand_in))  # pyright: ignore[reportReturnType]  # apply is untyped


class _Replaced(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, stand_in: Tensor, value: Tensor) -> Tensor:
        return value

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        return grad_outputs[0], None


class Preprocessed(nn.Module):
    """A system that does something to every image before its network sees it.

    Attack and judge both see the whole: give a step without gradient as `BPDA(step)`, and a random one with
    `attack.through(Identity(), draws=…)` to average over its draws.

    Args:
        step: from images to images.
        model: from those images to logits (b, k).

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> Preprocessed(BPDA(lambda x: (x * 255).round() / 255), net)(torch.rand(3, 1, 2, 2)).shape
        torch.Size([3, 2])
    """

    def __init__(self, step: Step, model: nn.Module) -> None:
        super().__init__()
        self.step = step
        self.model = model

    def forward(self, x: Images) -> Logits:
        """Logits (b, k) of images (b, c, *space)."""
        return self.model(self.step(x))
