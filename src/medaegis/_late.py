"""Fields that a dataclass got after results were stored under keys made of the others."""

from __future__ import annotations

from dataclasses import asdict, field, fields
from typing import Any


def late(default: Any) -> Any:
    """A field that a dataclass in stages' keys got later: while it has its default, keys are as they were.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Choice:
        ...     kappa: float | None = late(None)
        >>> Choice().kappa is None
        True
    """
    return field(default=default, metadata={"late": True})


def settled(value: Any) -> dict[str, Any]:
    """A dataclass as a dictionary, without the late fields that have their default: what keys and hashes are made of.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Choice:
        ...     steps: int = 10
        ...     kappa: float | None = late(None)
        >>> settled(Choice()), settled(Choice(kappa=1.0))
        ({'steps': 10}, {'steps': 10, 'kappa': 1.0})
    """
    late_ones = [part for part in fields(value) if part.metadata.get("late", False)]
    untouched = {part.name for part in late_ones if getattr(value, part.name) == part.default}
    return {name: part for name, part in asdict(value).items() if name not in untouched}
