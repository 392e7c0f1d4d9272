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


def told_fields(value: Any) -> dict[str, Any]:
    """The fields of a dataclass by name, without late ones that have their default.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Choice:
        ...     steps: int = 40
        ...     kappa: float | None = late(None)
        >>> told_fields(Choice()), told_fields(Choice(kappa=1.0))
        ({'steps': 40}, {'steps': 40, 'kappa': 1.0})
    """
    untouched = {f.name for f in fields(value) if f.metadata.get("late", False) and getattr(value, f.name) == f.default}
    return {name: part for name, part in asdict(value).items() if name not in untouched}
