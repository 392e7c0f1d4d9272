"""Synthetic images as a source: drawn at the size asked for, nothing read from disk."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medaegis._errors import require
from medaegis.data._dataset import Dataset

PHANTOM_CLASSES = {"phantom-fundus": ("no retinopathy", "retinopathy"), "phantom-chest": ("NORMAL", "PNEUMONIA")}


def phantom_dataset(kind: str, n: int, *, size: int = 256, channels: int = 3, seed: int = 0) -> Dataset:
    """Draw a data set of synthetic images; free of patients and licences, for tests and first trials.

    Args:
        kind: "phantom-fundus" or "phantom-chest".
        n: number of images.
        size: height and width in pixels.
        channels: 1 or 3; one channel is the rounded luma 0.299 R + 0.587 G + 0.114 B.
        seed: of the drawing.

    Raises:
        InputError: an unknown kind, n < 1, another number of channels.

    Example:
        >>> len(phantom_dataset("phantom-chest", 8, size=64))
        8
    """
    require(kind in PHANTOM_CLASSES, "kind", "phantom_dataset", f"one of {tuple(PHANTOM_CLASSES)}", kind)
    require(n >= 1, "n", "phantom_dataset", "an int >= 1", n)
    require(channels in (1, 3), "channels", "phantom_dataset", "1 or 3", channels)
    images, labels, groups = _draw(kind, n, size, seed)
    if channels == 1:
        luma = np.tensordot(np.array([0.299, 0.587, 0.114]), images, axes=(0, 1))
        images = np.rint(luma)[:, None].astype(np.uint8)
    names = tuple(f"{kind}-{seed}-{i:05d}" for i in range(n))
    return Dataset(images, labels, PHANTOM_CLASSES[kind], names, groups, ("",) * n)


def _draw(kind: str, n: int, size: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], tuple[str, ...]]:
    if kind == "phantom-fundus":
        from medaegis.data._phantom_fundus import fundus_phantoms as draw
    else:
        from medaegis.data._phantom_chest import chest_phantoms as draw
    drawn = draw(n, size=size, seed=seed)
    return drawn.images, drawn.labels, drawn.groups
