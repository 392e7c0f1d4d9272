"""The same file under two names is one patient: otherwise a copy of a Train image could stand in Test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Merged(NamedTuple):
    """What merging found.

    Attributes:
        groups: (n,) the patient of each case; patients that share a file carry the first one's name.
        first: position of each repeated case -> position of the first case with the same content.
    """

    groups: tuple[str, ...]
    first: dict[int, int]


def merge_groups(groups: Sequence[str], digests: Sequence[bytes]) -> Merged:
    """Unite the groups of cases whose files are equal byte for byte.

    Example:
        >>> merge_groups(["p1", "p2", "p2", "p3"], [b"a", b"b", b"a", b"c"])
        Merged(groups=('p1', 'p1', 'p1', 'p3'), first={2: 0})
    """
    parent = {group: group for group in groups}

    def root(group: str) -> str:
        while parent[group] != group:
            parent[group] = parent[parent[group]]
            group = parent[group]
        return group

    seen: dict[bytes, int] = {}
    first: dict[int, int] = {}
    for i, digest in enumerate(digests):
        j = seen.setdefault(digest, i)
        if j != i:
            first[i] = j
            parent[root(groups[i])] = root(groups[j])
    return Merged(tuple(root(group) for group in groups), first)
