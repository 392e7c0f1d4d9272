"""Volumes from NIfTI files and DICOM series: one orientation, exact values, what is refused."""

from __future__ import annotations

import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, ornt_transform
from pydicom import dcmread

from data.medical_files import nifti, series
from data.volume_files import LPS, hounsfield, spoil_series, spoiled_nifti
from medaegis.data import (
    BadImageError,
    Case,
)
from medaegis.data._geometry import Frame, fit_volume, make_frame
from medaegis.data._pixels import RefusedError
from medaegis.data._volume import decode_volume
from medaegis.data._voxels import Oriented, check_resized

WHOLE = "-362,1300"  # -1012 to 288: all of `hounsfield`


def read(path: Path, *, size: int = 12, depth: int = 6, window: str | None = WHOLE) -> np.ndarray:
    """(d, h, w) at the file's own resolution by default, the middle 12 of 16 columns."""
    slices = tuple(sorted(path.iterdir())) if path.is_dir() else ()
    frame = make_frame(size, size, None, "test", depth=depth, window=window)
    return decode_volume(Case(path, 0, slices=slices), frame).pixels[0]


def as_shown(values: np.ndarray, low: float = -1012, high: float = 288) -> np.ndarray:
    """What must come out of (slice, row, column) values, by hand."""
    return np.rint(65535 * np.clip((values[:, :, 2:14].astype(np.float64) - low) / (high - low), 0, 1))


def written(path: Path, values: np.ndarray, codes: str, spacing: tuple[float, float, float] = (5, 1, 1)) -> Path:
    """The volume (slice, row, column) as a NIfTI file whose three axes run as `codes` says."""
    stored, affine = values.transpose(2, 1, 0), LPS @ np.diag([spacing[2], spacing[1], spacing[0], 1.0])
    turn = ornt_transform(axcodes2ornt("LPS"), axcodes2ornt(codes))
    turned = nibabel.apply_orientation(stored, turn)
    return nifti(path, turned, affine @ inv_ornt_aff(turn, stored.shape))


@pytest.mark.parametrize("codes", ["LPS", "RAS", "LAS", "PSR", "AIL", "SPL", "IRA"])
def test_every_orientation_of_a_file_gives_the_same_volume(tmp_path, codes) -> None:
    values = hounsfield()
    path = written(tmp_path / "a.nii.gz", values, codes)
    assert nibabel.aff2axcodes(nibabel.load(path).affine) == tuple(codes)
    assert np.abs(read(path) - as_shown(values)).max() <= 1  # float32 before it is rounded


def test_axes_by_hand(tmp_path) -> None:
    """A bright voxel on the patient's right, in front, at the head lies in the last slice, first row, first column."""
    values = np.zeros((12, 12, 6), np.int16)
    values[11, 11, 5] = 80  # NIfTI's own axes: right, front, head
    shown = read(nifti(tmp_path / "a.nii", values), window="40,80")
    assert np.argwhere(shown).tolist() == [[5, 0, 0]]
    assert shown.max() == 65535


PLANES = {  # directions of a row and of a column, and the NIfTI codes of (column, row, slice) axes
    "axial": ((1, 0, 0, 0, 1, 0), "LPS"),
    "axial from the head": ((-1, 0, 0, 0, 1, 0), "RPI"),
    "coronal": ((1, 0, 0, 0, 0, -1), "LIP"),
    "sagittal": ((0, 1, 0, 0, 0, -1), "PIR"),
}


@pytest.mark.parametrize("plane", PLANES)
def test_a_series_and_a_nifti_file_of_one_volume_are_equal(tmp_path, plane) -> None:
    directions, codes = PLANES[plane]
    stored = hounsfield(3, (12, 14, 16))
    folder = series(
        tmp_path / "s",
        stored,
        directions=directions,
        spacing=(1.5, 0.5, 0.75),
        order=[5, 0, 11, 3, 1, 2, 4, 7, 6, 10, 9, 8],
    )
    normal = np.cross(directions[:3], directions[3:])
    affine = np.eye(4)
    affine[:3, :3] = np.stack([0.75 * np.array(directions[:3]), 0.5 * np.array(directions[3:]), 1.5 * normal], axis=1)
    affine = LPS @ affine
    assert nibabel.aff2axcodes(affine) == tuple(codes)
    path = nifti(tmp_path / "a.nii.gz", stored.transpose(2, 1, 0), affine)
    for options in ({"size": 8, "depth": 5}, {"size": 9, "depth": 20, "window": None}):
        assert np.array_equal(read(folder, **options), read(path, **options))
    frame = make_frame(8, None, None, "test", depth=5)
    slices = tuple(sorted(folder.iterdir()))
    assert decode_volume(Case(folder, 0, slices=slices), frame).digest == decode_volume(Case(path, 0), frame).digest


def test_shuffled_slices_are_put_in_order_by_position(tmp_path) -> None:
    values = hounsfield()
    folder = series(tmp_path / "s", values, order=[3, 0, 5, 1, 4, 2], start=(7.0, -3.0, 40.0))
    assert np.array_equal(read(folder), as_shown(values))


def test_slopes_of_single_slices_and_monochrome1(tmp_path) -> None:
    values = hounsfield()
    folder = series(tmp_path / "s", values)
    path = folder / "002.dcm"
    header = dcmread(path)
    header.RescaleSlope, header.RescaleIntercept = 0.5, -1000
    header.PixelData = (2 * (values[2].astype(np.int32) + 1000)).astype("<u2").tobytes()
    header.save_as(path)
    assert np.array_equal(read(folder), as_shown(values))
    dark = series(tmp_path / "d", values, PhotometricInterpretation="MONOCHROME1")
    assert np.abs(read(dark) - (65535 - as_shown(values))).max() <= 1


def test_windows(tmp_path) -> None:
    values = np.zeros((12, 12, 6), np.int16)
    values[0, 0, 0], values[11, 11, 5] = -1000, 40
    in_hu = nifti(tmp_path / "hu.nii", values)
    assert read(in_hu, window=None).max() == round(65535 * (40 + 160) / 400)  # 40,400
    assert read(in_hu, window="40,80").max() == round(65535 / 2)
    ramp = np.arange(1000, dtype=np.float32).reshape(10, 10, 10)
    shown = read(nifti(tmp_path / "mr.nii", ramp), size=10, depth=10, window=None)
    low, high = np.percentile(ramp, (0.5, 99.5))
    expected = np.rint(65535 * np.clip((ramp.transpose(2, 1, 0)[:, ::-1, ::-1] - low) / (high - low), 0, 1))
    assert np.abs(shown - expected).max() <= 1
    spot = np.zeros((12, 12, 6), np.float32)
    spot[3, 3, 3] = 5
    assert sorted(set(read(nifti(tmp_path / "spot.nii", spot), window=None).flat)) == [0, 65535]
    with pytest.raises(BadImageError, match="nothing inside the window 900 to 1100: its values are -1000 to 40"):
        read(in_hu, window="1000,200")


def test_pixels_that_are_not_square_keep_their_aspect(tmp_path) -> None:
    """A disc in millimetres is as wide as it is high, from 2 mm rows as from 1 mm rows."""
    y, x = np.mgrid[0:32, 0:64]
    disc = (np.hypot((y - 15.5) * 2, x - 31.5) < 20).astype(np.int16) * 80
    path = written(tmp_path / "a.nii", np.stack([disc] * 4), "LPS", spacing=(5, 2, 1))
    shown = read(path, size=64, depth=4, window="40,80")[1] > 32768
    assert abs(int(shown.any(axis=0).sum()) - int(shown.any(axis=1).sum())) <= 2
    assert abs(int(shown.any(axis=0).sum()) - 40) <= 2


def test_resampling_keeps_the_extent_the_mean_and_constant_slices() -> None:
    frame = Frame(8, 8, 1, 4)
    steps = np.repeat(np.arange(8, dtype=np.float32), 64).reshape(8, 8, 8)
    halved = fit_volume(steps, 4, frame)[:, 0, 0]
    assert halved == pytest.approx([1.25 / 1.75, 2.5, 4.5, 7 - 1.25 / 1.75])  # weights 0.75, 0.75, 0.25 at the ends
    assert halved.mean() == pytest.approx(3.5)
    assert np.array_equal(fit_volume(steps, 8, frame), steps)
    doubled = fit_volume(steps, 16, frame)[:, 0, 0]
    assert doubled[[0, 15]].tolist() == [0, 7]
    assert (np.diff(doubled) >= 0).all()


def test_numbers_of_slices_and_channels(tmp_path) -> None:
    path = nifti(tmp_path / "a.nii.gz", hounsfield(shape=(16, 12, 9)))
    for depth in (1, 4, 30):
        frame = make_frame(8, None, 3, "test", depth=depth)
        pixels = decode_volume(Case(path, 0), frame).pixels
        assert pixels.shape == (3, depth, 8, 8)
        assert np.array_equal(pixels[0], pixels[2])


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "reason"),
    {
        "missing": r"1 slice is missing between 001\.dcm and 003\.dcm \(10 mm apart, others 5 mm\)",
        "twice": r"two slices at one place \(002\.dcm, 900\.dcm\)",
        "one": "one slice, which is a picture",
        "cut": r"002\.dcm: damaged or incomplete",
        "size": r"different sizes \(000\.dcm: 16 x 12 pixels, 002\.dcm: 12 x 12 pixels\)",
        "series": r"2 series in one folder \(5 \+ 1 files\)",
        "directions": "slices of different directions",
        "spacing": "slices of different pixel spacings",
        "no size": "no size of a pixel",
        "uneven": "slices are 3 to 7 mm apart",
        "no position": r"002\.dcm has no position, but others have",
        "patient": "slices of different patients",
        "crooked": "right angles",
    }.items(),
)
def test_a_bad_series_says_why(tmp_path, kind, reason) -> None:
    spoil_series(series(tmp_path / "s", hounsfield()), kind)
    with pytest.raises(BadImageError, match=reason) as caught:
        read(tmp_path / "s")
    assert "a folder of one DICOM series" in str(caught.value)


def test_without_positions_the_number_orders_slices(tmp_path) -> None:
    values = hounsfield()
    nothing = {"ImagePositionPatient": None, "ImageOrientationPatient": None, "PixelSpacing": None}
    folder = series(tmp_path / "s", values, **nothing)
    (folder / "000.dcm").rename(folder / "zzz.dcm")
    frame = make_frame(12, 12, None, "test", depth=6, window=WHOLE)
    done = decode_volume(Case(folder, 0, slices=tuple(sorted(folder.iterdir()))), frame)
    assert np.array_equal(done.pixels[0], as_shown(values))
    assert [remark.split(":")[0] for remark in done.remarks] == ["no positions", "no PixelSpacing"]
    with pytest.raises(BadImageError, match="the order is unknown"):
        read(series(tmp_path / "t", values, InstanceNumber=None, **nothing))


def test_a_tilted_gantry_is_told(tmp_path) -> None:
    folder = series(tmp_path / "s", hounsfield())
    for k, path in enumerate(sorted(folder.iterdir())):
        header = dcmread(path)
        header.ImagePositionPatient = [0, 1.0 * k, 5.0 * k]
        header.save_as(path)
    frame = make_frame(12, 12, None, "test", depth=6)
    done = decode_volume(Case(folder, 0, slices=tuple(sorted(folder.iterdir()))), frame)
    assert done.remarks == ("gantry tilted by 11 degrees; the shear is not corrected",)


@pytest.mark.parametrize(
    ("kind", "reason"),
    {
        "4-D": r"4-D \(6 x 12 x 16 x 2\), 2 volumes in one file",
        "2-D": r"2-D \(12 x 16\)",
        "one slice": "a picture and no volume",
        "nan": "1 of 1152 voxels are NaN or infinite",
        "constant": "empty: every voxel is 7",
        "complex": "no real numbers",
        "lie": "header says 60 x 120 x 160 voxels of float32, but the file is too short",
        "negative": "damaged or incomplete NIfTI|empty",
        "huge": "more than 536870912",
        "singular": "gives no orientation",
        "one way": "gives no orientation",
        "oblong": r"pixels of 1 x 1e\+06 mm",
        "cut": "truncated",
        "checksum": "damaged or truncated",
        "text": "no NIfTI file",
        "nothing": "zero bytes",
    }.items(),
)
def test_a_bad_nifti_file_says_why(tmp_path, kind, reason) -> None:
    with pytest.raises(BadImageError, match=reason):
        read(spoiled_nifti(tmp_path / "a.nii.gz", kind))


def test_a_strip_that_would_fill_the_memory_is_refused() -> None:
    strip = Oriented(np.zeros((2, 2, 30000), np.float32), (1.0, 1.0))
    with pytest.raises(RefusedError, match="2 slices of 4200000 x 280 pixels once resized"):
        check_resized(strip, Frame(256, 280, 1, 2))


def test_unusual_nifti_files_that_are_good(tmp_path) -> None:
    values = hounsfield()
    stored = values.transpose(2, 1, 0)
    affine = LPS @ np.diag([1.0, 1.0, 5.0, 1.0])
    paths = [tmp_path / name for name in ("four.nii", "second.nii.gz", "big.nii", "scaled.nii")]
    nifti(paths[0], stored[..., None], affine)
    nibabel.Nifti2Image(stored, affine).to_filename(paths[1])
    nibabel.Nifti1Image(stored, affine, nibabel.Nifti1Header(endianness=">")).to_filename(paths[2])
    data = bytearray(nifti(paths[3], (2 * stored + 2048).astype(np.int16), affine).read_bytes())
    data[112:120] = struct.pack("<2f", 0.5, -1024)  # slope and intercept
    paths[3].write_bytes(data)
    for path in paths:
        assert np.array_equal(read(path), as_shown(values)), path
    paths[0].write_bytes(paths[0].read_bytes() + bytes(7))
    frame = make_frame(12, 12, None, "test", depth=6, window=WHOLE)
    assert decode_volume(Case(paths[0], 0), frame).remarks == (
        "7 bytes more than its header says, which were not read",
    )
    loose = nibabel.Nifti1Image(stored, None)
    loose.header.set_sform(None, 0)
    loose.header.set_qform(None, 0)
    loose.to_filename(paths[0])
    assert "no orientation" in decode_volume(Case(paths[0], 0), frame).remarks[0]
