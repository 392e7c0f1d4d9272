"""The number of threads: affinity and a container's quota."""

from __future__ import annotations

import os

import pytest
import torch

from medaegis._threads import usable_cores, use_sensible_threads


@pytest.mark.parametrize(("text", "most"), [("150000 100000\n", 2), ("50000 100000", 1), ("1 100000", 1)])
def test_a_quota_limits_the_cores(tmp_path, text, most) -> None:
    quota = tmp_path / "cpu.max"
    quota.write_text(text)
    assert usable_cores(quota) == min(most, len(os.sched_getaffinity(0)))


@pytest.mark.parametrize("text", ["max 100000", "", None, "nonsense"])
def test_without_a_quota_the_affinity_counts(tmp_path, text) -> None:
    quota = tmp_path / "cpu.max"
    if text is not None:
        quota.write_text(text)
    assert usable_cores(quota) == len(os.sched_getaffinity(0))


def test_never_more_threads_than_cores_unless_the_user_says_so(monkeypatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr("medaegis._threads.usable_cores", lambda: 1)
    try:
        torch.set_num_threads(2)
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        assert use_sensible_threads() == 2
        monkeypatch.delenv("OMP_NUM_THREADS")
        assert use_sensible_threads() == 1
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
