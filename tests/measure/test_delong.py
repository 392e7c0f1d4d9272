"""DeLong's test against its definition, against the permutation of detectors, and under the null hypothesis."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from medaegis import InputError
from medaegis.measure import auc_difference

Scores = tuple[np.ndarray, np.ndarray]


def drawn(
    seed: int, n_neg: int = 40, n_pos: int = 50, gains: tuple[float, float] = (1.0, 0.6)
) -> tuple[Scores, Scores]:
    """Two detectors that see the same part of a case and noise of their own."""
    random = np.random.default_rng(seed)
    shared = random.normal(size=n_neg + n_pos)
    found = []
    for gain in gains:
        s = shared + random.normal(size=n_neg + n_pos)
        found.append((s[:n_neg], s[n_neg:] + gain))
    return found[0], found[1]


def textbook(first: Scores, second: Scores) -> float:
    """DeLong's variance of the difference as the paper writes it: covariances of the structural components."""
    v10 = np.array([[np.mean((p > neg) + 0.5 * (p == neg)) for p in pos] for neg, pos in (first, second)])
    v01 = np.array([[np.mean((pos > q) + 0.5 * (pos == q)) for q in neg] for neg, pos in (first, second)])
    s = np.cov(v10) / v10.shape[1] + np.cov(v01) / v01.shape[1]
    return s[0, 0] + s[1, 1] - 2 * s[0, 1]


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_definition(seed: int):
    first, second = drawn(seed)
    second = (second[0].round(1), second[1].round(1))  # with ties
    found = auc_difference(first, second)
    labels = np.repeat([0, 1], [40, 50])
    areas = [roc_auc_score(labels, np.concatenate(pair)) for pair in (first, second)]
    assert found.value == pytest.approx(areas[0] - areas[1])
    half = 1.959963984540054 * np.sqrt(textbook(first, second))
    np.testing.assert_allclose((found.low, found.high), (found.value - half, found.value + half))
    assert found.n == 50


def test_the_order_of_detectors_changes_the_sign_alone():
    first, second = drawn(0)
    one, two = auc_difference(first, second), auc_difference(second, first)
    assert (one.value, one.low, one.high, one.p) == pytest.approx((-two.value, -two.high, -two.low, two.p))


def test_p_is_uniform_without_a_difference():
    p = np.array([auc_difference(*drawn(seed, gains=(1.0, 1.0))).p for seed in range(400)])
    for level in (0.05, 0.25, 0.5):
        assert (p < level).mean() == pytest.approx(level, abs=3 * np.sqrt(level * (1 - level) / 400))


def clusters(seed: int, twin: bool, patients: int = 30, each: int = 4) -> tuple[Scores, Scores, list[str]]:
    """Patients whose images are all scored alike; each patient has clean images, adversarial ones, or both."""
    random = np.random.default_rng(seed)
    names = [str(i // each) for i in range(patients * each)]
    others = names if twin else [f"other {name}" for name in names]
    scores = list[Scores]()
    for _ in range(2):
        own, other = np.repeat(random.normal(size=(2, patients)), each, axis=1)
        clean, attacked = own, own if twin else other
        noise = 0.3 * random.normal(size=(2, own.size))
        scores.append((clean + noise[0], attacked + noise[1] + 1))
    return scores[0], scores[1], names + others


@pytest.mark.parametrize("twin", [False, True])
def test_patients_keep_the_level_of_the_test(twin: bool):
    drawn_again = [clusters(seed, twin) for seed in range(300)]
    by_patient = np.mean([auc_difference(a, b, groups=g).p < 0.05 for a, b, g in drawn_again])
    by_case = np.mean([auc_difference(a, b).p < 0.05 for a, b, _ in drawn_again])
    assert 0.02 < by_patient < 0.09
    assert twin or by_case > 0.2  # or the test says nothing


def test_groups_of_one_case_are_cases():
    first, second = drawn(2)
    alone = auc_difference(first, second, groups=[str(i) for i in range(90)])
    assert tuple(alone) == pytest.approx(tuple(auc_difference(first, second)), rel=1e-6)


def test_equal_detectors_do_not_differ():
    first, _ = drawn(1)
    assert tuple(auc_difference(first, first)) == (0.0, 0.0, 0.0, 1.0, 50)
    assert auc_difference(first, tuple(np.exp(part) for part in first)).p == 1.0  # pyright: ignore[reportArgumentType]


def test_what_is_not_known_is_nan():
    empty = (np.zeros(0), np.ones(3))
    assert all(np.isnan(auc_difference(empty, empty)[:4]))
    one = (np.zeros(1), np.arange(3.0))
    found = auc_difference(one, (np.ones(1), np.arange(3.0)))
    assert np.isfinite(found.value)
    assert np.isnan([found.low, found.high, found.p]).all()


def test_arguments():
    first, second = drawn(0)
    with pytest.raises(InputError, match="same cases"):
        auc_difference(first, (second[0][:-1], second[1]))
    with pytest.raises(InputError, match="90 names"):
        auc_difference(first, second, groups=["a"])
    bad = (first[0], np.full(50, np.nan))
    for pair in itertools.permutations((first, bad)):
        with pytest.raises(InputError, match="NaN"):
            auc_difference(*pair)
