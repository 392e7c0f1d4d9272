"""A run that is killed at any moment resumes, and its table is the undisturbed one's, byte for byte."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


def start(out: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "medaegis.cli", "demo", "--tiny", "--quiet", "--out", str(out), *more]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def finish(out: Path, *more: str) -> str:
    process = start(out, *more)
    text, _ = process.communicate(timeout=600)
    assert process.returncode == 0, text
    return text


def kill_after(out: Path, seconds: float, *more: str) -> bool:
    """Kill a run after a while; whether it was still running."""
    process = start(out, *more)
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return True
    return False


def kill_and_compare(tmp_path: Path, kills: int, seed: int, *more: str) -> None:
    """Kills come early enough (by the time that a whole run takes here) that most of them hit a running process."""
    clock = time.monotonic()
    finish(tmp_path / "whole", *more)
    whole = time.monotonic() - clock
    draw = random.Random(seed)
    killed = [kill_after(tmp_path / "killed", draw.uniform(0.1, 0.5) * whole, *more) for _ in range(kills)]
    assert sum(killed) > kills // 2
    finish(tmp_path / "killed", *more)
    assert (tmp_path / "killed" / "table.csv").read_bytes() == (tmp_path / "whole" / "table.csv").read_bytes()
    assert not list((tmp_path / "killed" / "stages").glob(".partial-*"))
    assert "0 stages computed" in finish(tmp_path / "killed", *more)


def test_killed_run_resumes_to_the_same_table(tmp_path: Path) -> None:
    kill_and_compare(tmp_path, 2, 1, "--set", "checks=0", "--set", "hiding=hfc", "--set", "eps=1/256")


@pytest.mark.slow
def test_run_killed_ten_times_resumes_to_the_same_table(tmp_path: Path) -> None:
    kill_and_compare(tmp_path, 10, 2, "--set", "epochs=20")
