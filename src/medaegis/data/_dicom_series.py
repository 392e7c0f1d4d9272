"""The DICOM files of one folder to voxels: one series, its slices in the order in which they lie in the patient."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medaegis.data._decode import read_bytes
from medaegis.data._dicom import (
    dicom_errors,
    is_dicom,
    modality_values,
    open_dicom,
    overfull,
    patients_of,
    stored_values,
)
from medaegis.data._pixels import RefusedError
from medaegis.data._voxels import MAX_VOXELS, TO_RAS, Voxels

_MISSING = 1.5
"""Slices farther apart than so many usual distances have one missing between them."""
_UNEVEN = 0.1
"""Distances may differ from the usual one by this share of it."""


class _Slice(NamedTuple):
    """One slice.

    Attributes:
        name: of its file.
        values: (h, w), after the modality's step.
        series: its SeriesInstanceUID.
        patients: as `patients_of` gives them.
        inverted: whether it is MONOCHROME1.
        number: InstanceNumber, NaN without one.
        position: (3,) millimetres in DICOM's axes; None where the file does not say.
        directions: (2, 3): along a row, and down a column; None where the file does not say.
        spacing: height and width of a pixel in millimetres; None where the file does not say.
        thickness: of the slice in millimetres, or 1.
        remarks: on its values.
    """

    name: str
    values: NDArray[np.float32]
    series: str
    patients: tuple[str, str]
    inverted: bool
    number: float
    position: NDArray[np.float64] | None
    directions: NDArray[np.float64] | None
    spacing: tuple[float, float] | None
    thickness: float
    remarks: tuple[str, ...]


def read_series(files: Sequence[Path]) -> Voxels:
    """The slices of one series as a volume, in the order of their positions along the normal of their planes.

    Without positions the order is that of InstanceNumber, and slices are taken as axial ones from the feet up.

    Raises:
        RefusedError: a file cannot be read, there are several series, sizes, directions or pixel spacings, a slice is
            missing or comes twice, or slices are unevenly spaced; the text is the reason and names files.
    """
    slices: list[_Slice] = []
    for path in files:
        try:
            slices.append(_read(path))
        except RefusedError as error:
            raise RefusedError(f"{path.name}: {error}") from None
        if slices[-1].values.size * len(files) > MAX_VOXELS:
            raise RefusedError(f"{len(files)} slices of {_size(slices[-1])}, more than {MAX_VOXELS} voxels")
    _check_one_series(slices)
    located = [one.position is not None and one.directions is not None for one in slices]
    if any(located) and not all(located):
        raise RefusedError(f"{slices[located.index(False)].name} has no position, but others have")
    ordered, affine, remarks = _by_position(slices) if all(located) else _by_number(slices)
    if ordered[0].spacing is None:
        remarks += ("no PixelSpacing: pixels taken as square",)
    remarks += next((one.remarks for one in ordered if one.remarks), ())
    values = np.stack([one.values for one in ordered])
    return Voxels(values, TO_RAS @ affine, ordered[0].patients, ordered[0].inverted, remarks)


def _read(path: Path) -> _Slice:
    data = read_bytes(path)
    if not is_dicom(data):
        raise RefusedError("no DICOM file (no DICM mark)")
    with dicom_errors():
        header = open_dicom(data)
        stored = stored_values(header)
        if stored.ndim != 2 or str(header.PhotometricInterpretation) not in ("MONOCHROME1", "MONOCHROME2"):
            raise RefusedError(f"a slice in colour ({header.PhotometricInterpretation})")
        spacing = _numbers(header, "PixelSpacing", 2)
        directions = _numbers(header, "ImageOrientationPatient", 6)
        return _Slice(
            path.name,
            modality_values(stored, header).astype(np.float32),
            str(header.get("SeriesInstanceUID") or ""),
            patients_of(header),
            str(header.PhotometricInterpretation) == "MONOCHROME1",
            float(header.get("InstanceNumber") or "nan"),
            _numbers(header, "ImagePositionPatient", 3),
            None if directions is None else _checked_directions(directions.reshape(2, 3)),
            None if spacing is None else _checked_spacing(spacing),
            float(header.get("SliceThickness") or 1),
            overfull(stored, header),
        )


def _numbers(header: Any, name: str, count: int) -> NDArray[np.float64] | None:
    found = header.get(name)
    if found is None or found == "" or len(found) == 0:
        return None
    values = np.array([float(value) for value in found])
    if values.shape != (count,) or not np.isfinite(values).all():
        raise RefusedError(f"{name} {list(map(str, found))}, which is not {count} numbers")
    return values


def _checked_directions(directions: NDArray[np.float64]) -> NDArray[np.float64]:
    if not np.allclose(directions @ directions.T, np.eye(2), atol=1e-2):
        raise RefusedError("ImageOrientationPatient is no pair of directions at right angles")
    return directions


def _checked_spacing(spacing: NDArray[np.float64]) -> tuple[float, float]:
    if spacing.min() <= 0:
        raise RefusedError(f"PixelSpacing {spacing.tolist()}, which is no size of a pixel")
    return float(spacing[0]), float(spacing[1])


def _check_one_series(slices: Sequence[_Slice]) -> None:
    """Raise `RefusedError` unless all slices are alike in what they must share."""
    if len(slices) < 2:
        raise RefusedError("one slice, which is a picture and no volume")
    series = Counter(one.series for one in slices)
    if len(series) > 1:
        counts = " + ".join(str(count) for _, count in series.most_common())
        raise RefusedError(f"{len(series)} series in one folder ({counts} files); give each a folder of its own")
    _check_alike(slices, "sizes", _size)
    _check_alike(slices, "patients", lambda one: one.patients[0])
    _check_alike(slices, "photometric interpretations", lambda one: "MONOCHROME1" if one.inverted else "MONOCHROME2")
    _check_alike(slices, "pixel spacings", lambda one: _rounded(one.spacing, 4))
    _check_alike(slices, "directions", lambda one: _rounded(one.directions, 2))


def _check_alike(slices: Sequence[_Slice], what: str, of: Callable[[_Slice], str]) -> None:
    first = of(slices[0])
    other = next((one for one in slices if of(one) != first), None)
    if other is not None:
        pair = f"{slices[0].name}: {first or 'none'}, {other.name}: {of(other) or 'none'}"
        raise RefusedError(f"slices of different {what} ({pair})")


def _size(one: _Slice) -> str:
    return f"{one.values.shape[1]} x {one.values.shape[0]} pixels"


def _rounded(values: Any, digits: int) -> str:
    return "" if values is None else str((np.round(np.asarray(values), digits) + 0.0).tolist())


def _by_position(slices: Sequence[_Slice]) -> tuple[list[_Slice], NDArray[np.float64], tuple[str, ...]]:
    """Slices along the normal, and the affine from (slice, row, column) to DICOM's millimetres."""
    directions = slices[0].directions
    assert directions is not None
    normal = np.cross(directions[0], directions[1])
    places = np.array([float(_position(one) @ normal) for one in slices])
    order = np.argsort(places, kind="stable")
    ordered = [slices[i] for i in order]
    _check_even(ordered, np.diff(places[order]))
    step = (_position(ordered[-1]) - _position(ordered[0])) / (len(ordered) - 1)
    tilt = np.degrees(np.arccos(np.clip(step @ normal / np.linalg.norm(step), -1, 1)))
    remarks = (f"gantry tilted by {tilt:.0f} degrees; the shear is not corrected",) if tilt > 1 else ()
    return ordered, _affine(step, directions, ordered[0], _position(ordered[0])), remarks


def _by_number(slices: Sequence[_Slice]) -> tuple[list[_Slice], NDArray[np.float64], tuple[str, ...]]:
    """As `_by_position`, for files that do not say where they lie."""
    numbers = Counter(one.number for one in slices)
    if any(count > 1 or not np.isfinite(number) for number, count in numbers.items()):
        raise RefusedError("neither positions nor an InstanceNumber of its own in each file: the order is unknown")
    ordered = sorted(slices, key=lambda one: one.number)
    step = np.array([0.0, 0.0, ordered[0].thickness])
    affine = _affine(step, np.eye(3)[:2], ordered[0], np.zeros(3))
    return ordered, affine, ("no positions: slices in the order of InstanceNumber, taken as axial from the feet up",)


def _position(one: _Slice) -> NDArray[np.float64]:
    assert one.position is not None
    return one.position


def _affine(
    step: NDArray[np.float64], directions: NDArray[np.float64], one: _Slice, start: NDArray[np.float64]
) -> NDArray[np.float64]:
    height, width = one.spacing or (1.0, 1.0)
    whole = np.eye(4)
    whole[:3] = np.stack([step, directions[1] * height, directions[0] * width, start], axis=1)
    return whole


def _check_even(ordered: Sequence[_Slice], gaps: NDArray[np.float64]) -> None:
    """Raise `RefusedError` for slices at one place, missing slices and uneven distances."""
    usual = float(np.median(gaps))
    closest, widest = int(np.argmin(gaps)), int(np.argmax(gaps))
    if gaps[closest] <= max(1e-3, 0.01 * usual):
        raise RefusedError(f"two slices at one place ({ordered[closest].name}, {ordered[closest + 1].name})")
    if gaps[widest] > _MISSING * usual:
        pair = f"between {ordered[widest].name} and {ordered[widest + 1].name}"
        count = max(1, round(float(gaps[widest]) / usual) - 1)
        few = f"{count} slice{'s are' if count > 1 else ' is'} missing {pair}"
        raise RefusedError(f"{few} ({gaps[widest]:.3g} mm apart, others {usual:.3g} mm)")
    if float(np.abs(gaps - usual).max()) > _UNEVEN * usual:
        raise RefusedError(f"slices are {gaps.min():.3g} to {gaps.max():.3g} mm apart; resample them evenly first")
