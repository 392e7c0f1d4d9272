"""The errors that medaegis raises: one class a kind of trouble, so that a caller can catch what it can handle."""

from __future__ import annotations

import math
from typing import Any, TypeGuard


class MedaegisError(Exception):
    """Every error that medaegis raises on purpose; the command line prints its text and no stack trace."""


class InputError(MedaegisError, ValueError):
    """An argument breaks a rule; the text names the thing, its owner, the rule, what came, and the usual fix."""


class DataError(MedaegisError):
    """A file or folder of the user's cannot be used; the text names it."""


class LeakError(DataError):
    """The same case, or the same patient, stands on two sides of a split."""


class NumericsError(MedaegisError, ArithmeticError):
    """A computation failed numerically; the text names the cause and remedies."""


class NotFittedError(MedaegisError, AttributeError):
    """`score`, `calibrate` or `save` was called before `fit`."""


def require(condition: bool, name: str, owner: str, rule: str, got: Any, fix: str = "") -> None:
    """Raise `InputError` unless `condition` holds, in the one form that all argument errors share.

    Args:
        condition: whether the argument is good.
        name: the argument's name.
        owner: the function or class that takes it.
        rule: what the argument must be, as in "an int >= 1".
        got: what came.
        fix: the usual remedy, a sentence; empty if the rule says it all.

    Example:
        >>> require(3 >= 1, "steps", "pgd", "an int >= 1", 3)
        >>> require(0 >= 1, "steps", "pgd", "an int >= 1", 0)
        Traceback (most recent call last):
        medaegis._errors.InputError: `steps` of pgd must be an int >= 1, got 0.
    """
    if not condition:
        raise InputError(f"`{name}` of {owner} must be {rule}, got {got!r}." + (f" {fix}" if fix else ""))


def is_int(value: object) -> TypeGuard[int]:
    """Whether `value` is an int; True and False are not.

    Example:
        >>> is_int(3), is_int(3.0), is_int(True)
        (True, False, False)
    """
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[float]:
    """Whether `value` is a finite int or float; True and False are not.

    Example:
        >>> is_number(3), is_number(0.5), is_number(True), is_number(float("nan"))
        (True, True, False, False)
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_a(value: object, kind: type) -> bool:
    """Whether `value` is an instance of `kind`: for arguments whose annotation an untyped caller may not have kept.

    Example:
        >>> is_a("3", str)
        True
    """
    return isinstance(value, kind)
