"""Several Cushions, one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from medaegis._errors import InputError, is_a, require
from medaegis._types import Images
from medaegis.defend._bit_depth import BitDepth
from medaegis.defend._cushion import Cushion
from medaegis.defend._jpeg import JPEG
from medaegis.defend._total_variation import TotalVariation


@dataclass(frozen=True)
class Chain(Cushion):
    """Several Cushions, the first one first.

    The surrogate is that of each part, taken at what the parts before it really give.

    Args:
        parts: at least one Cushion.

    Raises:
        InputError: `parts` is no tuple of Cushions, or empty.

    Example:
        >>> import torch
        >>> x = torch.rand(1, 1, 8, 8)
        >>> both = Chain((BitDepth(drop=3), JPEG(quality=80)))
        >>> torch.equal(both.apply(x), JPEG(quality=80).apply(BitDepth(drop=3).apply(x)))
        True
    """

    parts: tuple[Cushion, ...]

    def __post_init__(self) -> None:
        good = is_a(self.parts, tuple) and len(self.parts) > 0 and all(is_a(part, Cushion) for part in self.parts)
        require(good, "parts", "Chain", "a tuple of at least one Cushion", self.parts)

    def exact(self, x: Images) -> Images:
        """All parts in turn."""
        for part in self.parts:
            x = part.apply(x)
        return x

    def surrogate(self, x: Images) -> Images:
        """The last part's surrogate, after the other parts with theirs as backward pass."""
        for part in self.parts[:-1]:
            x = part.bpda()(x)
        return self.parts[-1].surrogate(x)

    def to_json(self) -> dict[str, Any]:
        """The cushion as JSON values, which `cushion_from_json` turns back."""
        return {"cushion": "Chain", "parts": [part.to_json() for part in self.parts]}


_KINDS: dict[str, type[Cushion]] = {kind.__name__: kind for kind in (JPEG, BitDepth, TotalVariation)}


def cushion_from_json(values: Mapping[str, Any]) -> Cushion:
    """The Cushion whose `to_json` gave `values`.

    Raises:
        InputError: `values` names no Cushion of medaegis, or settings that it does not have or does not take.

    Example:
        >>> cushion_from_json(JPEG(quality=70).to_json())
        JPEG(quality=70, subsampling='4:2:0')
    """
    owner, kinds = "cushion_from_json", [*_KINDS, "Chain"]
    require(is_a(values, Mapping), "values", owner, "a mapping, as `to_json` gives it", values)
    settings = dict(values)
    name = settings.pop("cushion", None)
    require(name in kinds, "values", owner, f"one with `cushion` among {kinds}", dict(values))
    known = ["parts"] if name == "Chain" else [field.name for field in fields(_KINDS[name])]  # pyright: ignore[reportArgumentType]  # all are dataclasses
    if sorted(settings) != sorted(known):
        raise InputError(f"`values` of {owner} must hold the settings {known} of {name}, got {list(settings)}.")
    if name == "Chain":
        parts = settings["parts"]
        require(is_a(parts, list), "parts", owner, "a list of such mappings", parts)
        return Chain(tuple(cushion_from_json(part) for part in parts))
    return _KINDS[name](**settings)
