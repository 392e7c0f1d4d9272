from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from medaegis._errors import InputError
from medaegis.measure import Estimate, auc, share, threshold_at, tpr_at_tnr
from medaegis.measure._estimate import draw_counts

random = np.random.default_rng


def labels_of(negative: np.ndarray, positive: np.ndarray) -> np.ndarray:
    return np.repeat([0, 1], [len(negative), len(positive)])


def undefined(found: Estimate) -> bool:
    return bool(np.isnan(found[:3]).all())


# auc


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("a", "b"), [(1, 1), (7, 20), (150, 40)])
def test_auc_agrees_with_scikit_learn(a: int, b: int, ties: bool):
    negative, positive = random(0).normal(size=a), random(1).normal(size=b) + 0.5
    if ties:
        negative, positive = negative.round(), positive.round()
    expected = roc_auc_score(labels_of(negative, positive), np.concatenate([negative, positive]))
    assert auc(negative, positive, draws=10).value == pytest.approx(expected, abs=1e-12)


def test_adversarial_is_positive_and_n_counts_it():
    found = auc([0.0, 1.0, 1.5], [2.0, 3.0])
    assert found == Estimate(1.0, 1.0, 1.0, 2)
    assert auc([2.0, 3.0], [0.0, 1.0]).value == 0.0
    assert auc([1.0, 1.0], [1.0]).value == 0.5


@pytest.mark.parametrize("paired", [False, True])
def test_auc_of_each_resample_agrees_with_scikit_learn(paired: bool):
    negative, positive = random(0).normal(size=12).round(1), random(1).normal(size=9).round(1) + 0.4
    scores, labels = np.concatenate([negative, positive]), labels_of(negative, positive)
    groups = [f"p{i}" for i in range(12)] + [f"p{i}" for i in range(9)] if paired else None
    found = auc(negative, positive, groups=groups, seed=4, draws=60)
    counts = draw_counts(21, groups=groups, seed=4, draws=60)
    expected = [roc_auc_score(labels, scores, sample_weight=row) for row in counts]
    np.testing.assert_allclose([found.low, found.high], np.quantile(expected, [0.025, 0.975]), atol=1e-12)


def test_a_patient_s_clean_and_adversarial_images_are_drawn_together():
    # each adversarial score is a little above its own patient's clean one: where pairs stay together the shared
    # difficulty of a patient cancels
    clean = random(0).normal(size=80)
    names = [f"p{i}" for i in range(80)]
    pairs = auc(clean, clean + 0.3, groups=names * 2)
    alone = auc(clean, clean + 0.3)
    assert (pairs.high - pairs.low) < 0.5 * (alone.high - alone.low)
    assert pairs.value == alone.value


def test_more_images_of_the_same_patients_do_not_narrow_the_interval():
    negative, positive = random(0).normal(size=40), random(1).normal(size=40) + 1
    names = [f"p{i}" for i in range(80)]
    once = auc(negative, positive, groups=names)
    copied = np.tile(negative, 3), np.tile(positive, 3)
    honest = auc(*copied, groups=names[:40] * 3 + names[40:] * 3)
    naive = auc(*copied)
    assert honest.high - honest.low == pytest.approx(once.high - once.low, rel=0.1)
    assert (honest.high - honest.low) > 1.5 * (naive.high - naive.low)


@pytest.mark.parametrize(("negative", "positive"), [([], [1.0]), ([1.0], []), ([], [])])
def test_auc_of_an_empty_side_is_undefined(negative: list[float], positive: list[float]):
    found = auc(negative, positive)
    assert undefined(found)
    assert found.n == len(positive)


def test_infinite_scores_are_ordered():
    assert auc([0.0, -np.inf], [np.inf, 1.0]).value == 1.0


def test_the_same_seed_gives_the_same_interval():
    negative, positive = random(0).normal(size=30), random(1).normal(size=30)
    assert auc(negative, positive, seed=3) == auc(negative, positive, seed=3)
    assert auc(negative, positive, seed=3) != auc(negative, positive, seed=4)


# thresholds


def test_threshold_by_hand():
    assert threshold_at([5.0, 1.0, 3.0, 2.0, 4.0], tnr=0.5) == 3.0
    assert threshold_at([0.0, 1.0], tnr=0.9) == pytest.approx(0.9)


@pytest.mark.parametrize("tnr", [0.0, 1.0, 90, float("nan")])
def test_threshold_checks_tnr(tnr: float):
    with pytest.raises(InputError, match="`tnr` of threshold_at"):
        threshold_at([1.0, 2.0], tnr=tnr)


def test_threshold_needs_scores():
    with pytest.raises(InputError, match="at least one score"):
        threshold_at([])


def test_the_threshold_comes_from_the_held_out_clean_scores():
    held = np.linspace(0, 1, 101)
    positive = np.array([0.5, 0.85, 0.95, 2.0])
    assert tpr_at_tnr(held, positive).value == 0.5
    # other adversarial scores do not move it, and calibration scores do
    assert tpr_at_tnr(held, np.append(positive, [100.0] * 4)).value == 0.75
    assert tpr_at_tnr(held - 0.1, positive).value == 0.75
    assert tpr_at_tnr(held, positive, tnr=0.8).value == 0.75


def test_a_score_at_the_threshold_passes():
    assert tpr_at_tnr([1.0] * 10, [1.0, 1.0]).value == 0.0


def test_tpr_counts_positives_and_draws_their_patients():
    held, positive = np.linspace(0, 1, 50), np.tile(random(0).uniform(0.5, 1.3, size=40), 4)
    naive = tpr_at_tnr(held, positive)
    honest = tpr_at_tnr(held, positive, groups=[f"p{i}" for i in range(40)] * 4)
    assert naive.n == honest.n == 160
    assert naive.value == honest.value
    assert (honest.high - honest.low) / (naive.high - naive.low) == pytest.approx(2, rel=0.15)


@pytest.mark.parametrize(("held", "positive"), [([], [1.0]), ([1.0], []), ([], [])])
def test_tpr_of_an_empty_side_is_undefined(held: list[float], positive: list[float]):
    found = tpr_at_tnr(held, positive)
    assert undefined(found)
    assert found.n == len(positive)


# shares


def test_share_by_hand():
    found = share([True, False, False, True, True])
    assert (found.value, found.n) == (0.6, 5)
    assert 0 <= found.low < 0.6 < found.high <= 1


def test_share_of_nothing_is_undefined():
    found = share([])
    assert undefined(found)
    assert found.n == 0


def test_share_covers_the_truth():
    flags = random(0).random((300, 60)) < 0.3
    found = [share(row, draws=300, seed=i) for i, row in enumerate(flags)]
    assert 0.89 < np.mean([e.low <= 0.3 <= e.high for e in found]) < 0.98


@pytest.mark.parametrize("flag", [False, True])
@pytest.mark.parametrize("patients", [1, 7, 64])
def test_share_is_not_certain_where_all_cases_are_alike(flag: bool, patients: int):
    found = share([flag] * 2 * patients, groups=[str(i // 2) for i in range(2 * patients)])
    exact = binomtest(patients * flag, patients).proportion_ci(method="exact")
    assert (found.value, found.n) == (float(flag), 2 * patients)
    np.testing.assert_allclose((found.low, found.high), exact)


# arguments


def test_nan_scores_are_refused_and_not_counted_as_anything():
    good, bad = [0.0, 1.0], [0.0, float("nan")]
    for call in (
        lambda: auc(bad, good),
        lambda: auc(good, bad),
        lambda: tpr_at_tnr(bad, good),
        lambda: tpr_at_tnr(good, bad),
        lambda: threshold_at(bad),
    ):
        with pytest.raises(InputError, match="NaN"):
            call()


def test_scores_are_one_a_case():
    with pytest.raises(InputError, match="one score a case"):
        auc([[0.0], [1.0]], [1.0])


def test_groups_must_name_every_case():
    with pytest.raises(InputError, match="5 names, got 3"):
        auc([0.0, 1.0, 2.0], [1.0, 3.0], groups=["a", "b", "c"])
    with pytest.raises(InputError, match="2 names, got 3"):
        tpr_at_tnr([0.0, 1.0, 2.0], [1.0, 3.0], groups=["a", "b", "c"])
