"""How many threads a computation should use on this machine."""

from __future__ import annotations

import math
import os
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cores(quota: Path = QUOTA) -> int:
    """Cores that this process may use: its affinity, and the share that a container's quota leaves it, rounded up.

    More threads than that wait for each other at every operation; torch counts the machine's cores and does not see
    a container's quota.

    Args:
        quota: the control group's `cpu.max`; where it is missing or says `max`, the affinity alone counts.

    Example:
        >>> usable_cores() >= 1
        True
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        share, period = quota.read_text().split()[:2]
        limit = math.ceil(int(share) / int(period))
    except (OSError, ValueError):
        return cores
    return max(1, min(cores, limit))


def use_sensible_threads() -> int:
    """Let torch use no more threads than `usable_cores`, unless OMP_NUM_THREADS says how many; returns the number.

    Example:
        >>> use_sensible_threads() >= 1
        True
    """
    import torch

    if not os.environ.get("OMP_NUM_THREADS") and torch.get_num_threads() > usable_cores():
        torch.set_num_threads(usable_cores())
    return torch.get_num_threads()
