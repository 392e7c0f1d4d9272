"""A volume as its file gives it, and the same in one orientation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medaegis.data._geometry import Frame, shape_in_space
from medaegis.data._pixels import RefusedError

MAX_VOXELS = 2**29  # 2 GiB of float32
_OBLONG = 100
"""Pixels longer than so many times their width are taken for a wrong header."""
TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""DICOM's axes run to the left, the back and the head; NIfTI's to the right, the front and the head."""


class Voxels(NamedTuple):
    """A volume as it was stored.

    Attributes:
        values: three axes in the file's order, in the file's units.
        affine: (4, 4), from indices to millimetres to the right, the front and the head.
        patients: who the patient is, in two ways, the surer first; "" where the file does not say.
        inverted: whether the least value is shown white.
        remarks: what a reader of the results may want to know.
    """

    values: NDArray[np.float32]
    affine: NDArray[np.float64]
    patients: tuple[str, str] = ("", "")
    inverted: bool = False
    remarks: tuple[str, ...] = ()


class Oriented(NamedTuple):
    """A volume in one orientation.

    Attributes:
        values: (d, h, w): slices from the feet to the head, rows from the front to the back, columns from the patient's
            right to the left, as axial slices are shown.
        spacing: height and width of a pixel in millimetres.
    """

    values: NDArray[np.float32]
    spacing: tuple[float, float]


def oriented(voxels: Voxels) -> Oriented:
    """Turn and flip axes until they come closest to head, back and left; nothing is interpolated.

    Raises:
        RefusedError: the affine does not say where the axes lead.

    Example:
        >>> from_right = Voxels(np.arange(8, dtype=np.float32).reshape(2, 2, 2), np.diag([-1.0, -1.0, 2.0, 1.0]))
        >>> bool((oriented(from_right).values == from_right.values.T).all())
        True
    """
    from nibabel.affines import voxel_sizes
    from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

    affine = voxels.affine
    axes = io_orientation(affine) if np.isfinite(affine).all() else np.array([np.nan])
    if np.isnan(axes).any():
        raise RefusedError("its header gives no orientation (the affine is singular or not finite)")
    turn = ornt_transform(axes, axcodes2ornt(("S", "P", "L")))
    values = np.ascontiguousarray(apply_orientation(voxels.values, turn))
    _, height, width = voxel_sizes(affine @ inv_ornt_aff(turn, voxels.values.shape))
    return Oriented(values, (float(height), float(width)))


def check_values(values: NDArray[np.float32]) -> None:
    """Raise `RefusedError` for values that make no picture: none, not finite, or all equal; and for single slices."""
    if values.size == 0:
        raise RefusedError(f"empty: {' x '.join(map(str, values.shape))} voxels")
    if min(values.shape) < 2:
        raise RefusedError(f"{' x '.join(map(str, values.shape))} voxels, which is a picture and no volume")
    bad = int(values.size - np.isfinite(values).sum())
    if bad:
        raise RefusedError(f"{bad} of {values.size} voxels are NaN or infinite")
    if values.min() == values.max():
        raise RefusedError(f"empty: every voxel is {float(values.flat[0]):g}")


def check_resized(body: Oriented, frame: Frame) -> None:
    """Raise `RefusedError` where pixels are so oblong, or slices such strips, that resizing would fill the memory."""
    count, *plane = body.values.shape
    height, width = body.spacing
    if not 1 / _OBLONG <= height / width <= _OBLONG:
        raise RefusedError(f"its header says pixels of {height:.3g} x {width:.3g} mm")
    tall, wide = shape_in_space(plane[0], plane[1], frame.resize, body.spacing)
    if count * tall * wide > MAX_VOXELS:
        raise RefusedError(f"{count} slices of {wide} x {tall} pixels once resized, more than {MAX_VOXELS} voxels")
