"""Cushions by name, as settings and the command line have them."""

from __future__ import annotations

from collections.abc import Callable

from medaegis._errors import InputError, require
from medaegis.defend import JPEG, BitDepth, Chain, Cushion, TotalVariation

_CUSHIONS: dict[str, Callable[[str], Cushion]] = {
    "jpeg": lambda text: JPEG(int(text or 80)),
    "bits": lambda text: BitDepth(int(text or 3)),
    "tv": lambda text: TotalVariation(float(text or 0.03)),
}


def cushion_name(cushion: Cushion | None) -> str:
    """What `named_cushion` calls a Cushion: the undoing of it.

    A JPEG with another subsampling, or a kind that has no name there, is told by its values.

    Example:
        >>> cushion_name(JPEG(90)), cushion_name(Chain((BitDepth(3), TotalVariation(0.1)))), cushion_name(None)
        ('jpeg:90', 'bits:3+tv:0.1', 'none')
        >>> cushion_name(JPEG(90, "4:4:4"))
        "JPEG(quality=90, subsampling='4:4:4')"
    """
    match cushion:
        case None:
            return "none"
        case JPEG(quality) if cushion == JPEG(quality):
            return f"jpeg:{quality}"
        case BitDepth(drop):
            return f"bits:{drop}"
        case TotalVariation(weight):
            return f"tv:{weight!r}"
        case Chain(parts):
            return "+".join(cushion_name(part) for part in parts)
        case _:
            return str(cushion)


def named_cushion(text: str, owner: str = "recipe") -> Cushion | None:
    """A Cushion from its name on the command line.

    Args:
        text: jpeg:QUALITY, bits:DROP or tv:WEIGHT, joined by +, or none.
        owner: whose setting it is, for errors.

    Raises:
        InputError: there is none of that name, or its setting is out of range.

    Example:
        >>> named_cushion("bits:3+jpeg:70")
        Chain(parts=(BitDepth(drop=3), JPEG(quality=70, subsampling='4:2:0')))
        >>> named_cushion("none") is None
        True
    """
    if text == "none":
        return None
    rule = "jpeg:QUALITY, bits:DROP or tv:WEIGHT, joined by +, or none"
    parts: list[Cushion] = []
    for part in text.split("+"):
        kind, _, setting = part.strip().partition(":")
        require(kind in _CUSHIONS, "cushion", owner, rule, text)
        try:
            parts.append(_CUSHIONS[kind](setting))
        except InputError:
            raise
        except ValueError:
            raise InputError(f"`cushion` of {owner} must be {rule}, got {text!r}.") from None
    return parts[0] if len(parts) == 1 else Chain(tuple(parts))
