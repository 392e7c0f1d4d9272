"""Volumes seen otherwise: their middle slices as images, or every side halved."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool3d

from medaegis._errors import require
from medaegis.data._dataset import Pixels


def middle_slices(volumes: Pixels) -> Pixels:
    """The middle slice of each volume (n, c, d, h, w) as an image of three equal channels (n, 3, h, w).

    Three, because networks that others have trained on photographs take three.

    Raises:
        InputError: they are no volumes.

    Example:
        >>> middle_slices(np.arange(4, dtype=np.uint8).reshape(1, 1, 4, 1, 1)).ravel()
        array([2, 2, 2], dtype=uint8)
    """
    _check(volumes)
    flat = volumes[:, :, volumes.shape[2] // 2]
    return np.repeat(flat, 3, axis=1) if flat.shape[1] == 1 else np.ascontiguousarray(flat)


def halved(volumes: Pixels) -> Pixels:
    """Volumes (n, c, d, h, w) with half the slices, height and width: an eighth of the voxels, each a mean of eight.

    Odd sides are rounded up; the places that are averaged overlap there.

    Raises:
        InputError: they are no volumes.

    Source: HFC-23 section V-G ("we 2x-downsample the 3D images").

    Example:
        >>> halved(np.arange(8, dtype=np.uint8).reshape(1, 1, 2, 2, 2)).ravel()
        array([4], dtype=uint8)
    """
    _check(volumes)
    depth, height, width = (-(-side // 2) for side in volumes.shape[2:])
    found = np.empty((*volumes.shape[:2], depth, height, width), volumes.dtype)
    for i, volume in enumerate(volumes):
        pooled = adaptive_avg_pool3d(torch.from_numpy(volume.astype(np.float64)), (depth, height, width))
        found[i] = np.floor(pooled.numpy() + 0.5)
    return found


def _check(volumes: Pixels) -> None:
    require(volumes.ndim == 5, "images", "a view of volumes", "of shape (n, c, d, h, w)", volumes.shape)


VIEWS = {"middle": middle_slices, "halved": halved}
