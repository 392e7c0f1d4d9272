"""Fitted values as a pass needs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

Kind = tuple[torch.dtype, torch.device]
T = TypeVar("T")


def moved(kept: dict[Kind, T], like: Tensor, move: Callable[[Tensor], T]) -> T:
    """What `move(like)` makes, once for each dtype and device in a row.

    `kept` belongs to the objective and dies with it; it holds the last copy only, since banks can take gigabytes.

    Example:
        >>> kept = {}
        >>> first, again = (moved(kept, torch.zeros(1), torch.arange(3).to) for _ in range(2))
        >>> first is again
        True
    """
    kind = (like.dtype, like.device)
    if kind not in kept:
        kept.clear()
        kept[kind] = move(like)
    return kept[kind]
