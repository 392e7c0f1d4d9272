"""Peak memory does not grow with the number of images, beyond the images that come back, nor with the steps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "attack_memory.py"
ROOM = 8
"""Megabytes by which an allocator may differ; activations kept for each step or batch would be 18 of them a time."""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are read from Linux's /proc")
def test_memory_is_that_of_one_batch_and_one_step() -> None:
    settings = ["--images", "8", "32", "--steps", "2", "8", "--size", "96"]
    environment = os.environ | {
        "MALLOC_MMAP_THRESHOLD_": "262144",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *settings], capture_output=True, text=True, check=True, env=environment
    )
    peaks = json.loads(done.stdout)
    base = peaks.pop("8 images, 2 steps")
    assert all(value <= base + ROOM for value in peaks.values()), (base, peaks)
