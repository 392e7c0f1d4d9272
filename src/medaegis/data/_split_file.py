"""A split as JSON text with the names of its cases, so that it can be stored with a run and checked again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from medaegis._errors import DataError
from medaegis.data._splits import AdversarialSplit, Split, check_no_leak

AnySplit = TypeVar("AnySplit", Split, AdversarialSplit)
_FIX = "Take the split that was stored with this data, or split again."


def split_to_json(split: Split | AdversarialSplit, names: Sequence[str]) -> str:
    """Write a split by names, one list a part, in the order of the positions.

    Args:
        split: the split.
        names: (n,) the names of all cases, to which the split's positions refer.

    Example:
        >>> split_to_json(AdversarialSplit(np.array([1]), np.array([0])), ["a", "b"])
        '{"kind": "AdversarialSplit", "parts": {"train": ["b"], "test": ["a"]}}'
    """
    parts = {part: [names[i] for i in positions.tolist()] for part, positions in split._asdict().items()}
    return json.dumps({"kind": type(split).__name__, "parts": parts})


def split_from_json(text: str, names: Sequence[str], kind: type[AnySplit]) -> AnySplit:
    """Read a split back and find its cases by name; the cases may have another order, and there may be more.

    Args:
        text: from `split_to_json`.
        names: (n,) the names of all cases.
        kind: `Split` or `AdversarialSplit`.

    Raises:
        DataError: no such JSON, another kind of split, or a case that is not in `names`.
        LeakError: a case is in two parts.

    Example:
        >>> text = '{"kind": "AdversarialSplit", "parts": {"train": ["b"], "test": ["a"]}}'
        >>> split_from_json(text, ["a", "b"], AdversarialSplit).train
        array([1])
    """
    place = {name: i for i, name in enumerate(names)}
    parts = _parse(text, kind.__name__, kind._fields)
    lost = [name for part in parts.values() for name in part if name not in place]
    if lost:
        raise DataError(
            f"Every case of a stored split must be in the data, got {lost[:3]} ({len(lost)} missing). {_FIX}"
        )
    found = {part: _positions(part, members, place) for part, members in parts.items()}
    check_no_leak(found, names, by="image", names=names)
    return kind(**found)


def _positions(part: str, members: list[str], place: dict[str, int]) -> NDArray[np.int64]:
    if len(set(members)) != len(members):
        raise DataError(f"Each case must come once in the part {part!r} of a stored split, got a repeated name. {_FIX}")
    return np.array([place[name] for name in members], dtype=np.int64)


def _parse(text: str, kind: str, fields: tuple[str, ...]) -> dict[str, list[str]]:
    try:
        stored: Any = json.loads(text)
        if stored["kind"] == kind and set(stored["parts"]) == set(fields):
            return {part: [str(name) for name in stored["parts"][part]] for part in fields}
    except (ValueError, TypeError, KeyError):
        pass  # the same trouble as another kind of split
    raise DataError(f"A stored split must be JSON of a {kind} with the parts {fields}, got {text[:80]!r}. {_FIX}")
