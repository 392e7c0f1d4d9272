"""The figures of docs/peers.md on detectors are those of the stored benchmark, which reached its targets or says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
STORED = json.loads((ROOT / "benchmarks" / "results" / "0.1.0" / "detectors--x86_64.json").read_text())
PAGE = (ROOT / "docs" / "peers.md").read_text()


def speed_row(name: str) -> str:
    """Seconds of ours and theirs, fit and score, and the ratio of both together."""
    seconds, mine = STORED["median seconds"], name.split()[0]
    ratio = STORED["theirs over ours"]["both"][name]
    pairs = " | ".join(f"{seconds[part][mine]:.2f} / {seconds[part][name]:.2f}" for part in ("fit", "score"))
    low, high = ratio["quartile_low"], ratio["quartile_high"]
    return f"| {name} | {pairs} | {ratio['median']:.1f} [{low:.1f}, {high:.1f}] |"


def spread(ratio: dict[str, Any]) -> str:
    return f"{ratio['median']:.2f} [{ratio['quartile_low']:.2f}, {ratio['quartile_high']:.2f}]"


@pytest.mark.parametrize("name", list(STORED["theirs over ours"]["both"]))
def test_the_page_shows_what_was_measured(name: str) -> None:
    assert speed_row(name) in PAGE


def test_the_page_shows_the_cost_of_all_detectors() -> None:
    images = STORED["images"]
    for name in ("together / bare", "one by one / together"):
        assert spread(images[name]) in PAGE
    assert images["passes of the network"] == 1
    assert images["passes of its head's weight, by BU"] == 50


def test_ours_equal_direct_computation_in_float64() -> None:
    exact = STORED["largest relative difference"]
    assert all(exact[f"{name} to direct float64"] < 1e-11 for name in ("KD", "MAHA", "LID"))
