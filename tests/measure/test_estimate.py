from __future__ import annotations

import math

import numpy as np
import pytest

from medaegis._errors import InputError
from medaegis.measure import Estimate, bootstrap
from medaegis.measure._estimate import Weights, draw_counts


def mean_of(values: np.ndarray):
    return lambda counts: counts @ values / counts.sum(axis=1)


def test_value_and_n_are_those_of_the_cases():
    found = bootstrap(mean_of(np.array([1.0, 2.0, 6.0])), 3)
    assert (found.value, found.n) == (3.0, 3)
    assert found.low <= 3.0 <= found.high


def test_interval_covers_the_truth_as_often_as_it_says():
    random = np.random.default_rng(0)
    samples = random.normal(size=(400, 40))
    found = [bootstrap(mean_of(row), 40, draws=400, seed=i) for i, row in enumerate(samples)]
    covered = np.mean([e.low <= 0 <= e.high for e in found])
    assert 0.90 < covered < 0.97  # a percentile interval of 40 cases falls a little short of 0.95
    width = np.mean([e.high - e.low for e in found])
    assert width == pytest.approx(2 * 1.96 / math.sqrt(40), rel=0.06)


def test_level_sets_the_width():
    values = np.random.default_rng(1).normal(size=200)
    narrow, wide = (bootstrap(mean_of(values), 200, level=level) for level in (0.5, 0.95))
    assert (wide.high - wide.low) / (narrow.high - narrow.low) == pytest.approx(1.96 / 0.6745, rel=0.1)


def test_the_same_seed_gives_the_same_interval_and_touches_no_global_state():
    values = np.random.default_rng(1).normal(size=30)
    state = np.random.get_state()[1].copy()  # noqa: NPY002  # the global state is what must not change
    first, again, other = (bootstrap(mean_of(values), 30, seed=seed) for seed in (5, 5, 6))
    assert first == again
    assert first != other
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002  # as above


def test_cases_of_a_group_are_drawn_together():
    counts = draw_counts(5, groups=["b", "a", "b", "c", "b"], seed=0, draws=200)
    assert np.array_equal(counts[:, 0], counts[:, 2])
    assert np.array_equal(counts[:, 0], counts[:, 4])
    assert not np.array_equal(counts[:, 0], counts[:, 1])
    assert (counts[:, [0, 1, 3]].sum(axis=1) == 3).all()  # three patients drawn from three


def test_without_groups_every_case_is_drawn_alone():
    counts = draw_counts(5, groups=None, seed=0, draws=300)
    assert (counts.sum(axis=1) == 5).all()
    assert counts.mean() == pytest.approx(1)
    assert np.abs(np.corrcoef(counts.T) - np.eye(5)).max() < 0.45  # -0.25 expected off the diagonal


def test_copies_of_a_patient_do_not_narrow_the_interval():
    values = np.random.default_rng(2).normal(size=50)
    names = [f"patient{i}" for i in range(50)]
    once = bootstrap(mean_of(values), 50)
    copied = np.tile(values, 4)
    naive = bootstrap(mean_of(copied), 200)
    honest = bootstrap(mean_of(copied), 200, groups=names * 4)
    assert honest.high - honest.low == pytest.approx(once.high - once.low, rel=0.1)
    assert (honest.high - honest.low) / (naive.high - naive.low) == pytest.approx(2, rel=0.1)


def test_the_order_of_cases_does_not_matter():
    random = np.random.default_rng(3)
    values, names = random.normal(size=40), [f"p{i % 13}" for i in range(40)]
    order = random.permutation(40)
    turned = bootstrap(mean_of(values[order]), 40, groups=[names[i] for i in order])
    assert turned == pytest.approx(bootstrap(mean_of(values), 40, groups=names))


@pytest.mark.parametrize("groups", [["a", "b"], np.array(["a", "b"]), ("a", "b")])
def test_groups_may_be_any_sequence_of_the_right_length(groups: object):
    assert bootstrap(mean_of(np.array([0.0, 1.0])), 2, groups=groups).value == 0.5  # type: ignore[arg-type]
    with pytest.raises(InputError, match="`groups` of bootstrap must be 3 names, got 2"):
        bootstrap(mean_of(np.zeros(3)), 3, groups=groups)  # type: ignore[arg-type]


def test_undefined_is_nan():
    def never(counts: Weights) -> Weights:
        return np.full(len(counts), np.nan)

    found = bootstrap(never, 4)
    assert np.isnan(found[:3]).all()
    assert found.n == 4


def test_resamples_that_do_not_define_the_figure_are_left_out():
    def ratio(counts: Weights) -> Weights:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(counts[:, 0] > 0, counts[:, 1] / counts[:, 0], np.nan)

    found = bootstrap(ratio, 2)
    assert found.value == 1.0
    assert (found.low, found.high) == (0.0, 1.0)  # (2, 0) gives 0 and (1, 1) gives 1; (0, 2) is not defined


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("n", {"n": 0}),
        ("draws", {"draws": 0}),
        ("draws", {"draws": 2.5}),
        ("level", {"level": 0.0}),
        ("level", {"level": 1.0}),
        ("level", {"level": 95}),
    ],
)
def test_arguments(name: str, arguments: dict[str, object]):
    with pytest.raises(InputError, match=f"`{name}` of bootstrap"):
        bootstrap(mean_of(np.zeros(2)), **{"n": 2, **arguments})  # type: ignore[arg-type]


def test_one_case_has_no_width():
    assert bootstrap(mean_of(np.array([0.3])), 1) == Estimate(0.3, 0.3, 0.3, 1)
