"""How many threads read files."""

from __future__ import annotations

import os


def worker_count() -> int:
    """As many threads as the processors that this process may use, at most eight.

    Example:
        >>> 1 <= worker_count() <= 8
        True
    """
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, usable)
