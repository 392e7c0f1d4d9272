"""Splits: nobody on two sides, the shares, the classes, the same seed the same split; planted leaks are found."""

from __future__ import annotations

import json

import numpy as np
import pytest

from medaegis._errors import DataError, InputError, LeakError
from medaegis.data import (
    AdversarialSplit,
    Split,
    check_no_leak,
    split_adversarial,
    split_cases,
    split_from_json,
    split_to_json,
)


def patients(n: int = 1000, seed: int = 0, mixed: bool = False) -> tuple[np.ndarray, list[str]]:
    """Labels of three classes (60, 30, 10 %) and patients of one to eight cases; mixed: classes within a patient."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(n), rng.integers(1, 9, n))[:n]
    kind = rng.choice(3, n, p=[0.6, 0.3, 0.1])
    return (kind if mixed else kind[group]), [f"p{i}" for i in group]


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_patients_stay_together_and_shares_hold_in_each_class(mixed, seed) -> None:
    labels, groups = patients(seed=seed, mixed=mixed)
    split = split_cases(labels, groups, seed=seed)
    assert np.array_equal(np.sort(np.concatenate(split)), np.arange(1000))
    sides = [{groups[i] for i in part} for part in split]
    assert len(sides[0] | sides[1] | sides[2]) == len(sides[0]) + len(sides[1]) + len(sides[2])
    total = np.bincount(labels)
    for part, share in zip(split, (0.72, 0.08, 0.2), strict=True):
        assert np.abs(np.bincount(labels[part], minlength=3) - share * total).max() <= 3


def test_by_image_is_exact_and_divides_patients() -> None:
    labels, groups = patients()
    split = split_cases(labels, groups, by="image", seed=0)
    assert np.abs(np.bincount(labels[split.test]) - 0.2 * np.bincount(labels)).max() <= 0.5
    assert {groups[i] for i in split.train} & {groups[i] for i in split.test}


def test_the_seed_and_only_the_seed_decides() -> None:
    labels, groups = patients()
    np.random.seed(1)  # noqa: NPY002 - the global state must not matter
    first = split_cases(labels, groups, seed=3)
    np.random.seed(2)  # noqa: NPY002
    assert all(map(np.array_equal, first, split_cases(labels, groups, seed=3)))
    assert not np.array_equal(first.test, split_cases(labels, groups, seed=4).test)


def test_every_patient_comes_into_test_about_equally_often() -> None:
    labels = np.repeat([0, 1], 50)
    groups = [f"p{i // 2}" for i in range(100)]
    times = np.bincount(np.concatenate([split_cases(labels, groups, seed=s).test for s in range(400)]), minlength=100)
    assert abs(times.mean() / 400 - 0.2) < 0.01
    assert times.min() > 45  # expected 80, standard deviation 8
    assert times.max() < 115


def test_patient_names_do_not_decide() -> None:
    labels, groups = patients()
    ends = [f"{group[::-1]}" for group in groups]
    shares = [np.mean(split_cases(labels, names, seed=0).test) for names in (groups, ends)]
    assert all(400 < share < 600 for share in shares)


def test_no_validation_is_allowed() -> None:
    labels, groups = patients()
    split = split_cases(labels, groups, validation_share=0, seed=0)
    assert len(split.validation) == 0
    assert len(split.train) + len(split.test) == 1000


def test_the_smallest_set_that_works_and_the_first_that_does_not() -> None:
    split = split_cases([0, 0, 0, 1, 1, 1], list("abcdef"), seed=0)
    assert [len(part) for part in split] == [2, 2, 2]
    with pytest.raises(DataError, match=r"every class, got .*'validation': \[1, 1\]"):
        split_cases([0, 0, 0, 1, 1], list("abcde"), seed=0)


@pytest.mark.parametrize("groups", [["p"] * 12, ["p"] * 6 + ["q"] * 6])
def test_too_few_patients(groups) -> None:
    with pytest.raises(DataError, match="every class"):
        split_cases([0, 1] * 6, groups, seed=0)


def test_an_empty_set() -> None:
    with pytest.raises(DataError, match="every class"):
        split_cases(np.array([], dtype=int), [], seed=0)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("labels", {"labels": [0.0, 1.0]}),
        ("labels", {"labels": [[0, 1]]}),
        ("groups", {"groups": ["a"]}),
        ("test_share", {"test_share": 0.0}),
        ("test_share", {"test_share": 1.0}),
        ("validation_share", {"validation_share": 1.0}),
        ("by", {"by": "case"}),
    ],
)
def test_wrong_arguments(name, change) -> None:
    with pytest.raises(InputError, match=f"`{name}`"):
        split_cases(**({"labels": [0, 1], "groups": ["a", "b"], "seed": 0} | change))


# --- AdvTrain and AdvTest -------------------------------------------------------------------------------------------


def test_adversarial_parts_come_from_the_candidates_only() -> None:
    labels, groups = patients()
    test = split_cases(labels, groups, seed=0).test
    right = test[np.random.default_rng(0).random(len(test)) < 0.9]
    split = split_adversarial(right, labels, groups, seed=0)
    assert np.array_equal(np.sort(np.concatenate(split)), right)
    assert not {groups[i] for i in split.train} & {groups[i] for i in split.test}
    wanted = 0.7 * np.bincount(labels[right])
    assert np.abs(np.bincount(labels[split.train], minlength=3) - wanted).max() <= 8


def test_adversarial_split_needs_every_class() -> None:
    labels = np.array([0, 1] * 20)
    with pytest.raises(DataError, match=r"'train': \[\d+, 0\]"):
        split_adversarial(np.arange(0, 40, 2), labels, [str(i) for i in range(40)], seed=0)
    with pytest.raises(DataError, match="every class"):
        split_adversarial([], labels, [str(i) for i in range(40)], seed=0)


@pytest.mark.parametrize("candidates", [[0, 0], [40], [-1], [0.5], np.ones(40, bool)])
def test_candidates_are_distinct_positions(candidates) -> None:
    with pytest.raises(InputError, match="candidates"):
        split_adversarial(candidates, [0, 1] * 20, [str(i) for i in range(40)], seed=0)


# --- leaks ----------------------------------------------------------------------------------------------------------

GROUPS = ["p0", "p0", "p1", "p1", "p2"]


@pytest.mark.parametrize("by", ["patient", "image"])
def test_a_planted_case_is_found(by) -> None:
    with pytest.raises(LeakError, match=r"Case 1 is in both 'train' and 'test'"):
        check_no_leak({"train": [0, 1], "validation": [2, 3], "test": [4, 1]}, GROUPS, by=by)


def test_a_planted_patient_is_found_by_patient_only() -> None:
    parts = {"train": [0, 1], "validation": [2], "test": [4, 3]}
    names = [f"{i}.png" for i in range(5)]
    with pytest.raises(LeakError, match=r"'p1' is in both 'validation' \(case 2.png\) and 'test' \(case 3.png\)"):
        check_no_leak(parts, GROUPS, names=names)
    check_no_leak(parts, GROUPS, by="image")


def test_a_leak_from_train_into_a_later_split_is_found() -> None:
    labels, groups = patients()
    split = split_cases(labels, groups, seed=0)
    late = split_adversarial(split.test, labels, groups, seed=0)
    check_no_leak({"train": split.train, "AdvTrain": late.train, "AdvTest": late.test}, groups)
    leaked = np.append(late.test, split.train[0])
    with pytest.raises(LeakError):
        check_no_leak({"train": split.train, "AdvTrain": late.train, "AdvTest": leaked}, groups)


@pytest.mark.parametrize("part", [[0, 0], [5], [-1]])
def test_positions_that_cannot_be_are_refused(part) -> None:
    with pytest.raises(InputError, match="`train`"):
        check_no_leak({"train": part}, GROUPS)


# --- stored splits --------------------------------------------------------------------------------------------------


def test_a_stored_split_follows_names_into_another_order() -> None:
    labels, groups = patients()
    names = [f"{i}.png" for i in range(1000)]
    split = split_cases(labels, groups, seed=0)
    shuffled = np.random.default_rng(0).permutation(1000)
    found = split_from_json(split_to_json(split, names), [names[i] for i in shuffled], Split)
    for before, after in zip(split, found, strict=True):
        assert after.dtype == np.int64
        assert np.array_equal(shuffled[after], before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["parts"]["test"].append("z"), r"\['z'\] \(1 missing\)"),
        (lambda d: d["parts"]["train"].append("a"), "once in the part 'train'"),
        (lambda d: d["parts"]["test"].append("a"), "in both 'train' and 'test'"),
        (lambda d: d["parts"].pop("test"), "parts"),
        (lambda d: d.update(kind="Split"), "AdversarialSplit"),
        (lambda d: d.update(parts=[]), "parts"),
        (lambda d: d["parts"].update(test=3), "parts"),
    ],
)
def test_a_changed_file_is_refused(change, message) -> None:
    stored = json.loads(split_to_json(AdversarialSplit(np.array([0]), np.array([1])), ["a", "b"]))
    change(stored)
    with pytest.raises(DataError, match=message):
        split_from_json(json.dumps(stored), ["a", "b"], AdversarialSplit)


def test_no_json_is_refused() -> None:
    with pytest.raises(DataError, match="must be JSON"):
        split_from_json("{", ["a"], Split)
