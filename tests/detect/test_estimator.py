from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from contracts.detector_list import first_of_each_class
from detect.plain import Plain
from medaegis import InputError
from medaegis.detect import BU, KD, MAHA, Detector, HFCScore, OutlierEstimator, find_detectors

SMALL = first_of_each_class()
FOUND = [SMALL.get(kind, kind)() for kind in find_detectors().values()]  # some of scikit-learn's checks have ten cases
DETECTING = [detector for detector in FOUND if not isinstance(detector, BU) and not detector.learns_attacks]


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray]:
    place = np.arange(90) % 3
    return np.random.default_rng(0).normal(size=(90, 4)) + 6 * place[:, None], place


@parametrize_with_checks([OutlierEstimator(detector) for detector in DETECTING])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def test_the_checks_ran_on_ours():
    assert {KD, MAHA, HFCScore} <= {type(detector) for detector in DETECTING}


@pytest.mark.parametrize("detector", DETECTING, ids=lambda d: type(d).__name__)
def test_it_is_the_detector_with_the_other_sign(detector: Detector, rows):
    z, place = rows
    names = np.array(["b", "c", "a"])[place]
    estimator = OutlierEstimator(detector, tnr=0.8).fit(z, names)
    query = z[:40] + np.where(np.arange(40) < 20, 0.1, 9)[:, None]
    plain = clone(detector).fit(torch.from_numpy(z), torch.tensor([1, 2, 0])[place])
    plain.calibrate(torch.from_numpy(z), tnr=0.8)
    np.testing.assert_array_equal(estimator.score_samples(query), -plain.score(torch.from_numpy(query)).numpy())
    flags = plain.flags(torch.from_numpy(query)).numpy()
    np.testing.assert_array_equal(estimator.predict(query) == -1, flags)
    assert 0 < flags.sum() < 40
    assert estimator.offset_ == -plain.threshold_
    assert int((estimator.predict(z) == 1).sum()) == 72
    assert not hasattr(detector, "threshold_") or detector.threshold_ is None  # the one that was given is not fitted
    with pytest.raises(AttributeError):
        detector.state()


def test_without_classes_there_is_one(rows):
    z, _ = rows
    one = OutlierEstimator(MAHA()).fit(z, np.full(90, "x")).score_samples(z)
    np.testing.assert_array_equal(OutlierEstimator(MAHA()).fit(z).score_samples(z), one)
    assert not np.allclose(one, OutlierEstimator(MAHA()).fit(*rows).score_samples(z))


def test_nested_parameters_and_pipelines(rows):
    z, place = rows
    pipe = make_pipeline(StandardScaler(), OutlierEstimator(KD()))
    pipe.set_params(outlierestimator__detector__bandwidth=2.0)
    assert pipe.fit(z, place)[-1].detector_.bandwidth_ == {"": 2.0}
    assert pipe.predict(z + 100).tolist() == [-1] * 90


@pytest.mark.parametrize(
    ("detector", "tnr", "text"),
    [
        (None, 0.9, "`detector` of OutlierEstimator must be a detector that needs no attacks and no images, got None"),
        (KD, 0.9, "needs no attacks"),
        (MAHA(magnitude=0.1), 0.9, "no images"),
        (KD(), 1.0, r"`tnr` of OutlierEstimator must be a share in \(0, 1\), as in 0.90, got 1.0"),
    ],
)
def test_wrong_parameters(detector, tnr, text, rows):
    with pytest.raises(InputError, match=text):
        OutlierEstimator(detector, tnr=tnr).fit(*rows)


def test_a_detector_that_learns_attacks_is_refused(rows):
    class Learns(Plain):
        learns_attacks = True

    with pytest.raises(InputError, match="needs no attacks"):
        OutlierEstimator(Learns()).fit(*rows)


def test_wrong_rows(rows):
    z, place = rows
    estimator = OutlierEstimator(MAHA())
    with pytest.raises(NotFittedError):
        estimator.predict(z)
    with pytest.raises(ValueError, match="NaN"):
        estimator.fit(np.where(z > 5, np.nan, z))
    with pytest.raises(InputError, match="labels"):
        estimator.fit(z, place[:-1])
    with pytest.raises(InputError, match="at least two cases of each class"):
        estimator.fit(z, np.arange(90))
    with pytest.raises(ValueError, match="1d array"):
        estimator.fit(z, np.stack([place, place], axis=1))
    with pytest.raises(ValueError, match="3 features"):
        estimator.fit(z, place).predict(z[:, :3])
