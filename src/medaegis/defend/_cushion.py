"""What every Cushion has: an exact step for images in [0, 1], and a backward pass for attacks on it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import fields, is_dataclass
from typing import Any, Literal, get_args

import torch

from medaegis._errors import InputError, is_a, require
from medaegis._types import Images
from medaegis.attack import BPDA

Backward = Literal["surrogate", "identity"]
OVERSHOOT = 1e-6
"""How far outside [0, 1] a pixel may be: what interpolation leaves by rounding; it is clamped."""


class Cushion(ABC):
    """An interface: what a system does to every image before its network sees it.

    The same step serves training, attack and inference: `apply` where no gradient is wanted, `bpda` where an attack
    needs one. A Cushion is a value without state; a case's result depends on that case alone.
    """

    @abstractmethod
    def exact(self, x: Images) -> Images:
        """The step itself, from images in [0, 1] to new ones in [0, 1]; `apply` checks, and wants no gradient."""

    @abstractmethod
    def surrogate(self, x: Images) -> Images:
        """A differentiable function whose gradient stands in for that of `apply`; its value may leave [0, 1]."""

    def apply(self, x: Images) -> Images:
        """What the system's network sees.

        Args:
            x: images (n, c, *space) in [0, 1], of any floating type; volumes (n, c, depth, h, w) are taken slice by
                slice along `depth`. The window of an image of more than 8 bits is what was mapped to [0, 1].

        Returns:
            Images of the same shape, type and device, in [0, 1], without gradient.

        Raises:
            InputError: `x` is no floating-point tensor (n, c, *space), is empty along c or space, or holds NaN or
                pixels outside [0, 1].
        """
        check_images(x, type(self).__name__)
        with torch.no_grad():
            return self.exact(x.detach().clamp(0, 1))

    def bpda(self, backward: Backward = "surrogate") -> BPDA:
        """The exact step with a backward pass, for `Preprocessed(cushion.bpda(), model)` or `Attack.through`.

        Args:
            backward: whose gradient the backward pass has: that of the cushion's `surrogate`, or of the identity.

        Raises:
            InputError: `backward` is neither.

        Source: Athalye et al. 2018, section 4.1; Medical Aegis, section 4.
        """
        require(backward in get_args(Backward), "backward", "bpda", '"surrogate" or "identity"', backward)
        return BPDA(self.apply, self.surrogate if backward == "surrogate" else None)

    def to_json(self) -> dict[str, Any]:
        """The cushion as JSON values, which `cushion_from_json` turns back."""
        settings = {f.name: getattr(self, f.name) for f in fields(self)} if is_dataclass(self) else {}
        return {"cushion": type(self).__name__, **settings}


def check_images(x: Images, owner: str) -> None:
    """Raise `InputError` unless `x` is a floating-point tensor (n, c, *space) in [0, 1].

    Example:
        >>> check_images(torch.full((1, 1, 2, 2), 1.5), "JPEG")
        Traceback (most recent call last):
        medaegis._errors.InputError: `x` of JPEG must be images in [0, 1], got pixels from 1.5 to 1.5.
    """
    got = f"{x.dtype} {tuple(x.shape)}" if is_a(x, torch.Tensor) else type(x).__name__
    good = is_a(x, torch.Tensor) and x.is_floating_point() and x.dim() >= 3 and 0 not in x.shape[1:]
    require(good, "x", owner, "a floating-point tensor (n, c, *space) without empty axes", got)
    if len(x) == 0:
        return
    low, high = (float(value) for value in x.detach().aminmax())
    if not (low >= -OVERSHOOT and high <= 1 + OVERSHOOT):
        found = "NaN" if low != low else f"pixels from {low:.6g} to {high:.6g}"
        raise InputError(f"`x` of {owner} must be images in [0, 1], got {found}.")


def to_slices(x: Images, owner: str) -> Images:
    """Images (n, c, h, w) as they are, volumes (n, c, depth, h, w) as n depth images.

    Raises:
        InputError: `x` has one spatial axis, or more than three.

    Example:
        >>> to_slices(torch.zeros(2, 1, 5, 8, 8), "JPEG").shape
        torch.Size([10, 1, 8, 8])
    """
    rule, got = "images (n, c, h, w) or volumes (n, c, depth, h, w)", tuple(x.shape)
    require(x.dim() in (4, 5), "x", owner, rule, got, "`BitDepth` takes any number of axes.")
    return x if x.dim() == 4 else x.transpose(1, 2).flatten(0, 1)


def from_slices(slices: Images, like: Images) -> Images:
    """Undo `to_slices` of `like`.

    Example:
        >>> volume = torch.rand(2, 3, 5, 8, 8)
        >>> torch.equal(from_slices(to_slices(volume, "JPEG"), volume), volume)
        True
    """
    return slices if like.dim() == 4 else slices.unflatten(0, (like.shape[0], like.shape[2])).transpose(1, 2)
