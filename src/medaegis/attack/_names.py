"""Attacks by name, with settings as text: what the command line hands on to a preset."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from medaegis._errors import InputError, require
from medaegis.attack._apgd import apgd
from medaegis.attack._attack import Attack, Attacker
from medaegis.attack._cw_l2 import cw_l2
from medaegis.attack._deepfool import deepfool
from medaegis.attack._presets import bim, cw_linf, dim, fgsm, mim, noise, pgd, pgd_l2, tim

PRESETS: dict[str, Callable[..., Attacker]] = {
    "fgsm": fgsm,
    "bim": bim,
    "pgd": pgd,
    "mim": mim,
    "tim": tim,
    "dim": dim,
    "cw_linf": cw_linf,
    "pgd_l2": pgd_l2,
    "apgd": apgd,
    "cw_l2": cw_l2,
    "deepfool": deepfool,
    "noise": noise,
}
"""Every preset that can be named; its settings are those of its signature."""

_SHARED: dict[str, Any] = {"restarts": int, "keep": Literal["last", "best", "first"]}
_SIMPLE = (int, float, str, bool, NoneType)


def make_attack(name: str, eps: str | float | None = None, **settings: Any) -> Attacker:
    """An attack by name, with settings as text or as values.

    Args:
        name: one of `PRESETS`.
        eps: budget in pixel units, as text such as "1/256"; None for attacks that have none.
        **settings: what the preset takes (text is converted), and `restarts` and `keep` of every attack that runs in
            the one loop.

    Raises:
        InputError: an unknown name or setting, or a value out of range; the text names the valid ones.

    Example:
        >>> make_attack("mim", "2/256", decay="0.5", steps=10).step.decay
        0.5
    """
    preset = _preset(name)
    known = settings_of(name)
    converted = {key: _converted(name, key, value, known) for key, value in settings.items()}
    shared = {key: converted.pop(key) for key in _SHARED if key in converted and key not in _own(preset)}
    if eps is not None:
        converted["eps"] = float(parse_fraction(eps, name))
    elif inspect.signature(preset).parameters["eps"].default is inspect.Parameter.empty:
        raise InputError(f"`eps` of {name} must be a budget such as 1/256, and none was given.")
    attack = preset(**converted)
    return replace(attack, **shared) if shared and isinstance(attack, Attack) else attack


def settings_of(name: str) -> dict[str, Any]:
    """The settings that text can give to a preset, with their types; the budget is not among them.

    Example:
        >>> list(settings_of("mim"))
        ['steps', 'step_size', 'decay', 'norm', 'restarts', 'keep']
    """
    preset = _preset(name)
    return _own(preset) | (_SHARED if get_type_hints(preset)["return"] is Attack else {})


def parse_fraction(text: str | float, owner: str, setting: str = "eps") -> Fraction:
    """A number written as the papers write it: "1/256", "0.02/256", or a decimal.

    Raises:
        InputError: it is no number.

    Example:
        >>> float(parse_fraction("0.02/256", "pgd")) * 256
        0.02
    """
    top, _, bottom = str(text).strip().partition("/")
    try:
        return Fraction(top) / Fraction(bottom or "1")
    except (ValueError, ZeroDivisionError):
        raise InputError(f"`{setting}` of {owner} must be a fraction such as 1/256, got {text!r}.") from None


def _preset(name: str) -> Callable[..., Attacker]:
    near = difflib.get_close_matches(name, PRESETS, n=1)
    hint = f"Did you mean {near[0]}?" if near else ""
    require(name in PRESETS, "attack", "make_attack", f"one of {', '.join(PRESETS)}", name, hint)
    return PRESETS[name]


def _own(preset: Callable[..., Attacker]) -> dict[str, Any]:
    hints = get_type_hints(preset)
    names = [key for key in inspect.signature(preset).parameters if key != "eps"]
    return {key: hints[key] for key in names if _simple(hints[key])}


def _simple(hint: Any) -> bool:
    if get_origin(hint) in (Union, UnionType):
        return all(_simple(part) for part in get_args(hint))
    return hint in _SIMPLE or get_origin(hint) is Literal


def _converted(name: str, key: str, value: Any, known: Mapping[str, Any]) -> Any:
    from pydantic import TypeAdapter, ValidationError

    if key not in known:
        near = difflib.get_close_matches(key, known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise InputError(f"The attack {name} has no setting {key!r}.{hint} It has: {', '.join(known)}.")
    try:
        if isinstance(value, str) and "/" in value:
            value = float(parse_fraction(value, name, key))
        plain = None if value == "none" and NoneType in get_args(known[key]) else value
        found = TypeAdapter(known[key]).validate_python(plain)
    except ValidationError as error:
        rule = error.errors()[0]["msg"]
        raise InputError(f"The setting {key!r} of {name} got {value!r}: {rule}.") from None
    good = not (isinstance(found, float) and math.isnan(found))
    require(good, key, name, "a number", value)
    return found
