"""The folders of real data: the counts that their publisher states, and patients on one side."""

from __future__ import annotations

import numpy as np
import pytest

from medaegis.data import check_no_leak, detect_source, list_cases, load_dataset, split_adversarial, split_cases

pytestmark = pytest.mark.real_data


def test_chest_xray_counts_and_patients(real_data) -> None:
    listing = list_cases(real_data / "chest_xray")
    assert detect_source(real_data / "chest_xray") == "kermany"
    assert np.bincount([case.label for case in listing.cases]).tolist() == [403, 700]
    assert all(case.group for case in listing.cases)
    assert len({case.group for case in listing.cases}) == 878  # counted with grep and sort -u


@pytest.mark.parametrize("seed", range(3))
def test_chest_xray_patients_never_straddle(real_data, seed) -> None:
    cases = list_cases(real_data / "chest_xray").cases
    labels, groups = np.array([case.label for case in cases]), [case.group for case in cases]
    split = split_cases(labels, groups, seed=seed)
    late = split_adversarial(split.test, labels, groups, seed=seed)
    check_no_leak({"train": split.train, "validation": split.validation, "a": late.train, "b": late.test}, groups)
    assert np.abs(np.bincount(labels[split.test]) / [403, 700] - 0.2).max() < 0.01


def test_chest_xray_loads_whole(real_data) -> None:
    data = load_dataset(real_data / "chest_xray", size=64, limit=40)
    assert data.images.shape == (80, 3, 64, 64)
    assert data.skipped == ()
    assert data.images.std() > 20


@pytest.mark.parametrize(("kind", "counts"), [("binary", [167, 340]), ("grades", [167, 23, 165, 91, 61])])
def test_fundus_counts(real_data, kind, counts) -> None:
    listing = list_cases(real_data / "fundus", labels=kind)
    assert np.bincount([case.label for case in listing.cases]).tolist() == counts
    officials = [case.official for case in listing.cases]
    assert (officials.count("train"), officials.count("test")) == (405, 102)  # counted with ls and grep


def test_fundus_loads_in_colour(real_data) -> None:
    data = load_dataset(real_data / "fundus", size=64, limit=10)
    assert data.images.shape == (20, 3, 64, 64)
    red, _, blue = data.images.mean(axis=(0, 2, 3))
    assert red > 2 * blue  # a retina is red: the channels are in order
