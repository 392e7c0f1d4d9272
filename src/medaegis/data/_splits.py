"""Seeded splits of cases that keep a patient on one side: Train, validation and Test; AdvTrain and AdvTest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from medaegis._errors import DataError, LeakError, require

Positions: TypeAlias = NDArray[np.int64]
By: TypeAlias = Literal["patient", "image"]

_ROUNDS = 10


class Split(NamedTuple):
    """Positions of the cases of each part, sorted.

    Attributes:
        train: fits the classifier and the feature densities.
        validation: chooses the classifier's epoch; carved out of Train.
        test: never seen in training.
    """

    train: Positions
    validation: Positions
    test: Positions


class AdversarialSplit(NamedTuple):
    """Positions of the correctly classified Test cases of each part, sorted.

    Attributes:
        train: AdvTrain, fits the detectors.
        test: AdvTest, scores them.
    """

    train: Positions
    test: Positions


def split_cases(
    labels: ArrayLike,
    groups: Sequence[str],
    *,
    test_share: float = 0.2,
    validation_share: float = 0.1,
    by: By = "patient",
    seed: int,
) -> Split:
    """Split into Train, validation and Test at random, each class in about the same share, no patient divided.

    Args:
        labels: (n,) whole numbers.
        groups: (n,) the patient of each case.
        test_share: share of all cases for Test.
        validation_share: share of the rest for validation, 0 for none.
        by: "patient" keeps all cases with the same group together; "image" ignores groups, as the papers do.
        seed: of the draw.

    Raises:
        InputError: an argument breaks its rule.
        DataError: a part would be empty or lack a class.

    Example:
        >>> parts = split_cases([0, 1] * 50, [f"p{i // 4}" for i in range(100)], seed=0)
        >>> [len(part) for part in parts]
        [72, 8, 20]
    """
    classes, units = _checked(labels, groups, by, "split_cases")
    require(0 < test_share < 1, "test_share", "split_cases", "above 0 and below 1", test_share)
    require(0 <= validation_share < 1, "validation_share", "split_cases", "at least 0 and below 1", validation_share)
    generator = np.random.default_rng(seed)
    every = np.arange(len(classes))
    test = _draw(every, classes, units, test_share, generator)
    rest = np.setdiff1d(every, test)
    validation = _draw(rest, classes, units, validation_share, generator)
    split = Split(np.setdiff1d(rest, validation), validation, test)
    needed = {name: part for name, part in split._asdict().items() if name != "validation" or validation_share > 0}
    _check_classes(needed, classes)
    check_no_leak(split._asdict(), groups, by=by)
    return split


def split_adversarial(
    candidates: ArrayLike,
    labels: ArrayLike,
    groups: Sequence[str],
    *,
    train_share: float = 0.7,
    by: By = "patient",
    seed: int,
) -> AdversarialSplit:
    """Split the Test cases that the classifier gets right into AdvTrain and AdvTest, as `split_cases` does.

    Args:
        candidates: (m,) positions of those cases in `labels`.
        labels: (n,) whole numbers of all cases.
        groups: (n,) the patient of each case.
        train_share: share of the candidates for AdvTrain.
        by: as in `split_cases`.
        seed: of the draw.

    Raises:
        InputError: an argument breaks its rule.
        DataError: a part would be empty or lack a class that `labels` has.

    Example:
        >>> parts = split_adversarial(range(20, 40), [0, 1] * 20, [str(i) for i in range(40)], seed=0)
        >>> len(parts.train), len(parts.test)
        (14, 6)
    """
    classes, units = _checked(labels, groups, by, "split_adversarial")
    require(0 < train_share < 1, "train_share", "split_adversarial", "above 0 and below 1", train_share)
    chosen = _positions(candidates, "candidates", "split_adversarial", len(classes))
    test = _draw(chosen, classes, units, 1 - train_share, np.random.default_rng(seed))
    split = AdversarialSplit(np.setdiff1d(chosen, test), test)
    _check_classes(split._asdict(), classes)
    check_no_leak(split._asdict(), groups, by=by)
    return split


def check_no_leak(
    parts: Mapping[str, ArrayLike], groups: Sequence[str], *, by: By = "patient", names: Sequence[str] | None = None
) -> None:
    """Make sure that no case, and by patient no patient, is in two parts.

    Args:
        parts: positions by the part's name.
        groups: (n,) the patient of each case.
        by: "patient" compares cases and patients, "image" compares cases only.
        names: (n,) the names of the cases, for the error's text.

    Raises:
        InputError: positions outside the cases or repeated within a part.
        LeakError: an overlap; the text names the case or the patient and the two parts.

    Example:
        >>> check_no_leak({"train": [0, 1], "test": [2]}, ["a", "a", "b"])
        >>> check_no_leak({"train": [0, 1], "test": [2]}, ["a", "b", "a"])
        Traceback (most recent call last):
        medaegis._errors.LeakError: Patient 'a' is in both 'train' (case 0) and 'test' (case 2). Split by patient again.
    """
    require(by in ("patient", "image"), "by", "check_no_leak", '"patient" or "image"', by)
    shown = [str(i) for i in range(len(groups))] if names is None else names
    case_of: dict[int, str] = {}
    patient_of: dict[str, tuple[str, int]] = {}
    for part, positions in parts.items():
        for i in map(int, _positions(positions, part, "check_no_leak", len(groups))):
            if i in case_of:
                raise LeakError(f"Case {shown[i]} is in both {case_of[i]!r} and {part!r}. Split again.")
            case_of[i] = part
            first, j = patient_of.setdefault(groups[i], (part, i))
            if by == "patient" and first != part:
                raise LeakError(
                    f"Patient {groups[i]!r} is in both {first!r} (case {shown[j]}) and {part!r} (case {shown[i]}). "
                    f"Split by patient again."
                )


def _checked(labels: ArrayLike, groups: Sequence[str], by: str, owner: str) -> tuple[Positions, Positions]:
    """The labels and, for each case, the number of the unit that stays together."""
    classes: NDArray[Any] = np.asarray(labels)
    require(classes.ndim == 1 and classes.dtype.kind in "iu", "labels", owner, "whole numbers of shape (n,)", classes)
    require(len(groups) == len(classes), "groups", owner, f"one entry for each of {len(classes)} labels", len(groups))
    require(by in ("patient", "image"), "by", owner, '"patient" or "image"', by)
    every = np.arange(len(classes))
    units = np.unique(np.array(groups, dtype=object), return_inverse=True)[1] if by == "patient" else every
    return classes.astype(np.int64), units.astype(np.int64)


def _positions(values: ArrayLike, name: str, owner: str, n: int) -> Positions:
    positions: NDArray[Any] = np.asarray(values)
    positions = positions.astype(np.int64) if positions.size == 0 else positions
    good = positions.ndim == 1 and positions.dtype.kind in "iu" and len(np.unique(positions)) == len(positions)
    inside = good and (len(positions) == 0 or (positions.min() >= 0 and positions.max() < n))
    require(bool(inside), name, owner, f"distinct positions 0 to {n - 1}, of shape (m,)", positions)
    return positions.astype(np.int64)


def _draw(pool: Positions, classes: Positions, units: Positions, share: float, generator: Generator) -> Positions:
    """Draw about `share` of the pool's cases of each class: units in random order, each taken if that comes nearer.

    A unit may hold cases of several classes, so nearness is the squared distance between the drawn and the wanted
    number of each class, relative to what the pool has of it. At least one case of each class is wanted. Later
    rounds take or give back units until none comes nearer.
    """
    if share == 0 or len(pool) == 0:
        return pool[:0]
    counts = _class_counts(pool, classes, units)
    has = counts.sum(axis=0)
    parts = counts / has
    missing = np.maximum(share, 1 / has)
    taken = np.zeros(len(counts), dtype=bool)
    order = generator.permutation(len(counts))
    for _ in range(_ROUNDS):
        before = taken.copy()
        for unit in order:
            left = missing + parts[unit] if taken[unit] else missing - parts[unit]
            if left @ left < missing @ missing:
                missing, taken[unit] = left, not taken[unit]
        if np.array_equal(before, taken):
            break
    return np.sort(pool[taken[np.unique(units[pool], return_inverse=True)[1]]])


def spread(labels: Positions, n: int) -> Positions:
    """Positions of the first n cases, taken from the classes in turn, in ascending order.

    Example:
        >>> spread(np.array([0, 0, 0, 1, 1]), 3)
        array([0, 1, 3])
    """
    turn = np.zeros(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        turn[labels == label] = np.arange(int((labels == label).sum()))
    return np.sort(np.lexsort((labels, turn))[:n])


def _class_counts(pool: Positions, classes: Positions, units: Positions) -> NDArray[np.int64]:
    """(units in the pool, classes): how many cases of each class each unit has."""
    names, unit = np.unique(units[pool], return_inverse=True)
    kinds, kind = np.unique(classes[pool], return_inverse=True)
    counts = np.zeros((len(names), len(kinds)), dtype=np.int64)
    np.add.at(counts, (unit, kind), 1)
    return counts


def _check_classes(parts: Mapping[str, Positions], classes: Positions) -> None:
    kinds = np.unique(classes)
    table = {part: [int(np.sum(classes[positions] == kind)) for kind in kinds] for part, positions in parts.items()}
    if not table or len(kinds) == 0 or any(min(counts) == 0 for counts in table.values()):
        raise DataError(
            f"Each part of a split must have cases of every class, got {table} of the classes {kinds.tolist()}. "
            f"Add images of the rare class, merge classes, or change the shares."
        )
