"""Synthetic images as a source: drawn at the size asked for, nothing read from disk."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medaegis._errors import require
from medaegis.data._dataset import Dataset
from medaegis.data._phantom_bleeds import CAUSES

BRAIN = "phantom-brain"
PHANTOM_CLASSES = {
    "phantom-fundus": ("no retinopathy", "retinopathy"),
    "phantom-chest": ("NORMAL", "PNEUMONIA"),
    BRAIN: CAUSES,
}
VOLUME_PHANTOMS = (BRAIN,)


def phantom_dataset(
    kind: str, n: int, *, size: int = 256, channels: int = 3, seed: int = 0, depth: int | None = None
) -> Dataset:
    """Draw a data set of synthetic images; free of patients and licences, for tests and first trials.

    Args:
        kind: "phantom-fundus", "phantom-chest", or "phantom-brain", whose images are volumes.
        n: number of images.
        size: height and width in pixels.
        channels: 1 or 3; one channel is the rounded luma 0.299 R + 0.587 G + 0.114 B, three of a volume are equal.
        seed: of the drawing.
        depth: slices of a volume; None for images.

    Raises:
        InputError: an unknown kind, n < 1, another number of channels, a volume without depth, or an image with one.

    Example:
        >>> len(phantom_dataset("phantom-chest", 8, size=64))
        8
        >>> phantom_dataset("phantom-brain", 4, size=32, channels=1, depth=12).images.shape
        (4, 1, 12, 32, 32)
    """
    require(kind in PHANTOM_CLASSES, "kind", "phantom_dataset", f"one of {tuple(PHANTOM_CLASSES)}", kind)
    require(n >= 1, "n", "phantom_dataset", "an int >= 1", n)
    require(channels in (1, 3), "channels", "phantom_dataset", "1 or 3", channels)
    solid = kind in VOLUME_PHANTOMS
    rule = f"an int for {kind}, which draws volumes" if solid else f"None for {kind}, which draws images"
    fix = "Say how many slices are wanted, as in depth=30." if solid else ""
    require(solid == (depth is not None), "depth", "phantom_dataset", rule, depth, fix)
    images, labels, groups = _draw(kind, n, size, depth, seed)
    if solid and channels == 3:
        images = images.repeat(3, axis=1)
    if channels == 1 and not solid:
        luma = np.tensordot(np.array([0.299, 0.587, 0.114]), images, axes=(0, 1))
        images = np.rint(luma)[:, None].astype(np.uint8)
    names = tuple(f"{kind}-{seed}-{i:05d}" for i in range(n))
    return Dataset(images, labels, PHANTOM_CLASSES[kind], names, groups, ("",) * n)


def _draw(
    kind: str, n: int, size: int, depth: int | None, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64], tuple[str, ...]]:
    if depth is not None:
        from medaegis.data._phantom_brain import brain_phantoms

        return brain_phantoms(n, size=size, depth=depth, seed=seed)
    if kind == "phantom-fundus":
        from medaegis.data._phantom_fundus import fundus_phantoms as draw
    else:
        from medaegis.data._phantom_chest import chest_phantoms as draw
    drawn = draw(n, size=size, seed=seed)
    return drawn.images, drawn.labels, drawn.groups
