"""A labelled set of decoded images or volumes, as plain arrays with a name and a patient for each case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from medaegis._errors import require
from medaegis._types import Images

Pixels: TypeAlias = NDArray[np.uint8 | np.uint16]
Index: TypeAlias = NDArray[Any] | Sequence[int] | slice

OFFICIAL = ("", "train", "val", "test")


class Skipped(NamedTuple):
    """A case that was listed and could not be used.

    Attributes:
        name: path relative to the data's root, with forward slashes; for a missing file, its name in the table.
        reason: why, in words.
    """

    name: str
    reason: str


class Note(NamedTuple):
    """A file that was used, and something about it that a reader of the results may want to know.

    Attributes:
        name: path relative to the data's root, with forward slashes.
        text: what, in words.
    """

    name: str
    text: str


@dataclass(frozen=True, eq=False)
class Dataset:
    """Decoded images with their labels, names and patients; one entry a case in every field but the last two.

    Attributes:
        images: (n, c, h, w), or (n, c, d, h, w) for volumes; uint8 or uint16, full range 0 to 255 or 0 to 65535.
        labels: (n,) int64, positions in `class_names`.
        class_names: one name a class.
        names: (n,) unique; for files, the path relative to the root, with forward slashes.
        groups: (n,) the patient, or the case's own name where the patient is unknown.
        official: (n,) the publisher's subset: "train", "val", "test", or "" where there is none.
        skipped: files that were listed and could not be used.
        notes: files that were used, with a remark.

    Raises:
        InputError: a field has a wrong type, shape or range.

    Example:
        >>> pixels = np.array([0, 51, 255], dtype=np.uint8).reshape(3, 1, 1, 1)
        >>> data = Dataset(pixels, np.array([0, 1, 1]), ("ill", "well"), ("a", "b", "c"), ("p", "p", "q"), ("",) * 3)
        >>> len(data), data.tensor([1]).item()
        (3, 0.20000000298023224)
    """

    images: Pixels
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    names: tuple[str, ...]
    groups: tuple[str, ...]
    official: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[Note, ...] = ()

    def __post_init__(self) -> None:
        """Check the types, the shapes and the ranges; see the class."""
        _check_arrays(self.images, self.labels, len(self.class_names))
        for name in ("names", "groups", "official"):
            values: tuple[str, ...] = getattr(self, name)
            require(len(values) == len(self), name, "Dataset", f"one entry for each of {len(self)} images", len(values))
        require(len(set(self.names)) == len(self), "names", "Dataset", "unique", _first_repeat(self.names))
        other = [subset for subset in self.official if subset not in OFFICIAL]
        require(not other, "official", "Dataset", f"of {OFFICIAL}", other[:1])

    def __len__(self) -> int:
        """The number of cases."""
        return len(self.images)

    def tensor(self, index: Index | None = None) -> Images:
        """The images as float32 in [0, 1]: divided by 255 or 65535, nothing else done.

        Args:
            index: which cases, in which order (positions, a mask or a slice); all by default.

        Returns:
            (n, c, h, w), or (n, c, d, h, w) for volumes; float32, a copy.
        """
        chosen = self.images if index is None else self.images[index]
        full = float(np.iinfo(self.images.dtype).max)
        return torch.as_tensor(chosen.astype(np.float32)).div_(full)


def _check_arrays(images: Pixels, labels: NDArray[np.int64], classes: int) -> None:
    pixel_ok = images.dtype in (np.dtype(np.uint8), np.dtype(np.uint16)) and images.ndim in (4, 5)
    rule = "uint8 or uint16 of shape (n, c, h, w) or (n, c, d, h, w)"
    require(pixel_ok, "images", "Dataset", rule, (str(images.dtype), images.shape))
    label_ok = labels.dtype == np.int64 and labels.shape == images.shape[:1]
    rule = f"int64 of shape ({len(images)},)"
    require(label_ok, "labels", "Dataset", rule, (str(labels.dtype), labels.shape))
    inside = len(labels) == 0 or (labels.min() >= 0 and labels.max() < classes)
    require(bool(inside), "labels", "Dataset", f"0 to {classes - 1}, positions in class_names", np.unique(labels))


def _first_repeat(names: Sequence[str]) -> str:
    seen: set[str] = set()
    return next((name for name in names if name in seen or seen.add(name)), "")
