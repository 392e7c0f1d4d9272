"""Fields that a dataclass got after results were stored under keys made of the others."""

from __future__ import annotations

from dataclasses import field
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
