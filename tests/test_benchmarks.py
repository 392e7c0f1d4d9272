"""The figures of docs/peers.md and docs/defence.md are those of the stored benchmarks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "0.1.0"
STORED = json.loads((RESULTS / "detectors--x86_64.json").read_text())
PAGE = (ROOT / "docs" / "peers.md").read_text()
CUSHIONS = json.loads((RESULTS / "cushions-speed--x86_64.json").read_text())
ATTACKED = [("fundus", eps) for eps in ("1/256", "2/256", "4/256")]
ATTACKED += [("chest_xray", eps) for eps in ("1/256", "2/256", "4/256")]
DEFENCE = (ROOT / "docs" / "defence.md").read_text()


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
    assert all(exact[f"{name} to direct float64"] < 1e-11 for name in ("KD", "MAHA", "LID-float64"))
    assert exact["LID to direct float64"] < 1e-5  # of float32 features, which are promised 1e-4


def test_lid_of_float32_features_is_twice_as_fast_as_scikit_learns() -> None:
    assert STORED["theirs over ours"]["both"]["LID scikit-learn"]["quartile_low"] > 2


def cost_row(name: str) -> str:
    share = CUSHIONS["over one forward pass of ResNet-50"][name]
    low, high = share["quartile_low"], share["quartile_high"]
    moved = CUSHIONS["levels of 255, root mean square"][name]
    sizes = " | ".join(f"{moved[kind]:.1f}" for kind in ("change", "second time", "surrogate"))
    milliseconds = CUSHIONS["median milliseconds"][name]
    return f"| {name} | {share['median']:.3f} [{low:.3f}, {high:.3f}] | {milliseconds:.1f} | {sizes} |"


@pytest.mark.parametrize("name", list(CUSHIONS["levels of 255, root mean square"]))
def test_the_page_shows_what_a_cushion_costs(name: str) -> None:
    assert cost_row(name) in DEFENCE


def backward_row(images: str, eps: str) -> str:
    stored = json.loads((RESULTS / f"cushions-backward-{images}--x86_64.json").read_text())["eps"][eps]
    found = [stored[kind] for kind in ("identity for all", "cubic", "ours")]
    cells = " | ".join(f"{100 * one['fooled']:.0f} %, {one['mean margin']:.2f}" for one in found)
    return f"| {images}, {eps} | {cells} |"


@pytest.mark.parametrize(("images", "eps"), ATTACKED)
def test_the_page_shows_which_backward_pass_is_stronger(images: str, eps: str) -> None:
    assert backward_row(images, eps) in DEFENCE


def test_the_page_shows_what_shields_cost() -> None:
    stored = json.loads((RESULTS / "shield--x86_64.json").read_text())
    page = (ROOT / "docs" / "defence.md").read_text()
    for run in ("torchvision, batch 1", "accelerated, batch 1", "accelerated, batch 8"):
        for name, most in (("with Shields / bare", 1.05), ("with both / bare", 1.10)):
            found = stored[run][name]
            middle, low, high = (100 * (found[key] - 1) for key in ("median", "quartile_low", "quartile_high"))
            assert f"{middle:.1f} % [{low:.1f}, {high:.1f}]" in page
            assert found["median"] <= most
