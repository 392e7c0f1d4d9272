"""Which examples are held out for validation, so that no patient, and no twin, stands on both sides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from medaegis._errors import InputError, require
from medaegis._types import Flags
from medaegis.detect._examples import Examples

SHARE = 0.25


def hold_out(examples: Examples, positive: Flags, owner: str, *, generator: torch.Generator) -> Flags:
    """Hold out about a quarter of the negatives and of the positives, by whole units.

    A unit is a patient where the examples name groups; else a clean case and its adversarial twin, the one of the same
    index, where both sides are equally many; else a case.

    Args:
        examples: for their groups.
        positive: (n,) bool, of the examples with the negatives first.
        owner: class of the detector.
        generator: on the CPU, draws the units.

    Returns:
        (n,) bool: held out. Both parts have negatives and positives.

    Raises:
        InputError: one side alone names groups, groups are not one a case, or too few units to hold any out.

    Example:
        >>> both = Examples(torch.zeros(4, 1), torch.ones(4, 1))
        >>> held = hold_out(both, torch.arange(8) > 3, "DNN", generator=torch.Generator().manual_seed(0))
        >>> int(held.sum()), torch.equal(held[:4], held[4:])
        (2, True)
    """
    units = _units(examples, positive, owner)
    members = list(zip(units, (int(p) for p in positive.tolist()), strict=True))
    names = list(dict.fromkeys(units))
    order = [names[i] for i in torch.randperm(len(names), generator=generator).tolist()]
    for most in (0.5, 1.0):  # rather no unit that is more than half of a side
        held = _draw(order, Counter(members), most)
        found = torch.tensor([unit in held for unit in units], device=positive.device)
        if _both_sides(positive[found]) and _both_sides(positive[~found]):
            return found
    raise InputError(
        f"`examples` of {owner} must be of at least two groups a side, so that one can be held out for validation, "
        f"got {len(names)} groups in all. Give cases of more patients, or no groups."
    )


def _units(examples: Examples, positive: Flags, owner: str) -> list[Hashable]:
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    low, high = examples.negative_groups, examples.positive_groups
    require((low is None) == (high is None), "examples", owner, "with groups of both sides or of none", "of one side")
    if low is not None and high is not None:
        _check_groups(low, n_negative, "negative_groups", owner)
        _check_groups(high, n_positive, "positive_groups", owner)
        return [*low, *high]
    if n_negative == n_positive:
        return [*range(n_negative), *range(n_negative)]
    return [*range(len(positive))]


def _check_groups(groups: Sequence[str], n: int, name: str, owner: str) -> None:
    require(len(groups) == n, name, owner, f"one group a case, {n}", len(groups))


def _draw(order: Sequence[Hashable], sizes: Counter[tuple[Hashable, int]], most: float) -> set[Hashable]:
    """Take units in order while a side has none yet, or stays within a quarter; some of each side always stay."""
    total = [sum(count for (_, side), count in sizes.items() if side == s) for s in (0, 1)]
    held, taken = [0, 0], set[Hashable]()
    for unit in order:
        after = [held[s] + sizes[unit, s] for s in (0, 1)]
        touched = [s for s in (0, 1) if sizes[unit, s]]
        wanted = any(held[s] == 0 or after[s] <= SHARE * total[s] for s in touched)
        if wanted and all(after[s] < total[s] and after[s] <= most * total[s] for s in touched):
            held = after
            taken.add(unit)
    return taken


def _both_sides(positive: Tensor) -> bool:
    return bool(positive.any()) and not bool(positive.all())
