"""Volumes from NIfTI files and DICOM series: one orientation, exact values, what is refused, folders of them."""

from __future__ import annotations

import gzip
import shutil
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, ornt_transform
from pydicom import dcmread

from data.medical_files import dicom, nifti, series
from medaegis._errors import DataError, InputError
from medaegis.data import (
    BadImageError,
    Case,
    Dataset,
    DataWarning,
    check_no_leak,
    detect_source,
    fingerprint,
    list_cases,
    load_dataset,
    split_cases,
)
from medaegis.data._geometry import Frame, fit_volume, make_frame
from medaegis.data._pixels import RefusedError
from medaegis.data._source_volumes import patient_in
from medaegis.data._volume import decode_volume
from medaegis.data._voxels import Oriented, check_resized

SHAPE = (6, 12, 16)  # slices, rows, columns
WHOLE = "-362,1300"  # -1012 to 288: all of `hounsfield`


def hounsfield(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1000, 280, shape).astype(np.int16)


def read(path: Path, *, size: int = 12, depth: int = 6, window: str | None = WHOLE) -> np.ndarray:
    """(d, h, w) at the file's own resolution by default, the middle 12 of 16 columns."""
    slices = tuple(sorted(path.iterdir())) if path.is_dir() else ()
    frame = make_frame(size, size, None, "test", depth=depth, window=window)
    return decode_volume(Case(path, 0, slices=slices), frame).pixels[0]


def as_shown(values: np.ndarray, low: float = -1012, high: float = 288) -> np.ndarray:
    """What must come out of (slice, row, column) values, by hand."""
    return np.rint(65535 * np.clip((values[:, :, 2:14].astype(np.float64) - low) / (high - low), 0, 1))


LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # columns to the left, rows to the back, slices to the head, in NIfTI's axes


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


def spoil_series(folder: Path, kind: str) -> None:
    """Make one series bad."""
    path = folder / "002.dcm"
    header = dcmread(path)
    if kind == "missing":
        path.unlink()
        return
    if kind == "twice":
        shutil.copy(path, folder / "900.dcm")
        return
    if kind == "one":
        for other in sorted(folder.iterdir())[1:]:
            other.unlink()
        return
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-50])
        return
    if kind == "size":
        dicom(path, np.zeros((12, 12), np.uint16), SeriesInstanceUID=header.SeriesInstanceUID)
        return
    changes = {
        "series": ("SeriesInstanceUID", "1.2.3"),
        "directions": ("ImageOrientationPatient", [1, 0, 0, 0, 0, 1]),
        "spacing": ("PixelSpacing", [2, 2]),
        "no size": ("PixelSpacing", [0, 0]),
        "uneven": ("ImagePositionPatient", [0, 0, 12]),
        "no position": ("ImagePositionPatient", None),
        "patient": ("PatientID", "P2"),
        "crooked": ("ImageOrientationPatient", [1, 0, 0, 1, 0, 0]),
    }
    setattr(header, *changes[kind])
    header.save_as(path)


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


def spoiled_nifti(path: Path, kind: str) -> Path:
    values = hounsfield().astype(np.float32)
    arrays = {
        "4-D": np.stack([values, values], axis=3),
        "2-D": values[0],
        "one slice": values[:, :, :1],
        "nan": np.where(values == values.max(), np.nan, values),
        "constant": np.full(SHAPE, 7, np.float32),
        "complex": values.astype(np.complex64),
    }
    nifti(path, arrays.get(kind, values))
    data = bytearray(gzip.decompress(path.read_bytes()))
    if kind == "lie":
        data[42:48] = struct.pack("<3h", 60, 120, 160)
    if kind == "negative":
        data[42:44] = struct.pack("<h", -6)
    if kind == "huge":
        data[42:48] = struct.pack("<3h", 30000, 30000, 30000)
    if kind == "singular":
        data[280:328] = bytes(48)  # sform's rows
    if kind == "one way":
        data[280:328] = struct.pack("<12f", 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0)
    if kind == "oblong":
        data[280:328] = struct.pack("<12f", 1e6, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)
    path.write_bytes(gzip.compress(bytes(data)))
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    if kind == "checksum":
        whole = bytearray(path.read_bytes())
        whole[-6] ^= 1
        path.write_bytes(whole)
    if kind in ("text", "nothing"):
        path.write_bytes(b"hello " * 99 if kind == "text" else b"")
    return path


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


# --- folders --------------------------------------------------------------------------------------------------------


def tree(root: Path, n: int = 4) -> Path:
    """Two classes; in each n NIfTI files and n series."""
    for label in range(2):
        for i in range(n):
            seed = 10 * label + i
            nifti(root / "ab"[label] / f"sub-{label}{i // 2}_run-{i}_ct.nii.gz", hounsfield(seed))
            series(root / "ab"[label] / f"p{i}" / "1", hounsfield(100 + seed), PatientID=f"P{label}{i // 2}")
    return root


def test_a_mixed_folder(tmp_path) -> None:
    assert detect_source(tree(tmp_path)) == "volumes"
    data = load_dataset(tmp_path, size=8, depth=5)
    assert data.images.shape == (16, 1, 5, 8, 8)
    assert data.images.dtype == np.uint16
    assert data.tensor([0, 3]).shape == (2, 1, 5, 8, 8)
    assert data.class_names == ("a", "b")
    assert data.names[:5] == ("a/p0/1", "a/p1/1", "a/p2/1", "a/p3/1", "a/sub-00_run-0_ct.nii.gz")
    assert data.groups[0] == data.groups[1] != data.groups[2]
    assert data.groups[4:8] == ("sub-00", "sub-00", "sub-01", "sub-01")
    split = split_cases(data.labels, data.groups, test_share=0.4, validation_share=0.3, seed=0)
    check_no_leak(split._asdict(), data.groups)
    assert data.skipped == data.notes == ()


def test_names_of_patients() -> None:
    assert patient_in("scan_patient-12b.nii") == "scan_patient-12b"
    assert patient_in("x/Patient_12_t1.nii.gz") == "Patient_12"
    assert patient_in("P1/2020/ct.nii.gz") == "P1"
    assert patient_in("A.NII.GZ") == "A"


def test_the_fingerprint_is_of_every_slice(tmp_path) -> None:
    listing = list_cases(tree(tmp_path), source="volumes")
    assert len(listing.files) == 8 + 8 * SHAPE[0]
    before = fingerprint(listing.files, tmp_path)
    path = tmp_path / "a" / "p1" / "1" / "004.dcm"
    header = dcmread(path)
    header.PixelData = bytes(len(header.PixelData))
    header.save_as(path)
    assert fingerprint(list_cases(tmp_path, source="volumes").files, tmp_path) != before


def test_a_copy_in_another_format_is_the_same_patient(tmp_path) -> None:
    tree(tmp_path)
    affine = LPS @ np.diag([1.0, 1.0, 5.0, 1.0])
    nifti(tmp_path / "a" / "copy.nii", hounsfield(100).transpose(2, 1, 0), affine)
    data = load_dataset(tmp_path, size=8, depth=5)
    assert data.groups[data.names.index("a/copy.nii")] == data.groups[data.names.index("a/p0/1")]
    assert "same content" in data.notes[0].text


def test_limit_and_order_do_not_depend_on_each_other(tmp_path) -> None:
    tree(tmp_path)
    few, all_ = (load_dataset(tmp_path, size=8, depth=5, limit=limit) for limit in (3, None))
    assert len(few) == 6
    places = [all_.names.index(name) for name in few.names]
    assert np.array_equal(few.images, all_.images[places])


def test_bad_volumes_are_skipped_and_the_others_stay(tmp_path, skips) -> None:
    tree(tmp_path, n=8)
    before = load_dataset(tmp_path, size=8, depth=5)
    spoil_series(tmp_path / "a" / "p1" / "1", "missing")
    spoiled_nifti(tmp_path / "b" / "sub-10_run-0_ct.nii.gz", "4-D")
    with skips() as caught:
        after = load_dataset(tmp_path, size=8, depth=5)
    assert caught[0].filename == __file__
    assert [skipped.name for skipped in after.skipped] == ["a/p1/1", "b/sub-10_run-0_ct.nii.gz"]
    kept = [i for i, name in enumerate(before.names) if name in after.names]
    assert np.array_equal(after.images, before.images[kept])
    with pytest.raises(BadImageError, match="slice is missing"):
        load_dataset(tmp_path, size=8, depth=5, on_bad="error")
    dicom(tmp_path / "a" / "loose.dcm", np.zeros((4, 4), np.uint16))
    with skips():
        reasons = dict(load_dataset(tmp_path, size=8, depth=5).skipped)
    assert "outside a series' folder" in reasons["a/loose.dcm"]


def test_only_some_in_hounsfield_units_is_told(tmp_path) -> None:
    tree(tmp_path)
    nifti(tmp_path / "b" / "mr.nii", np.abs(hounsfield(77)))
    with pytest.warns(DataWarning, match="16 of 17 volumes .* such as b/mr.nii") as caught:
        load_dataset(tmp_path, size=8, depth=5)
    assert caught[0].filename == __file__
    load_dataset(tmp_path, size=8, depth=5, window="40,400")  # one for all: no warning


def test_slices_of_folders_are_images_without_a_depth(tmp_path) -> None:
    for label in "ab":
        for i in range(3):
            series(tmp_path / label / f"s{i}", hounsfield(10 * ord(label) + i), PatientID=f"{label}{i}")
    assert detect_source(tmp_path) == "folder"
    data = load_dataset(tmp_path, size=8)
    assert data.images.shape == (36, 3, 8, 8)
    assert len(set(data.groups)) == 6


def test_depth_and_source_must_go_together(tmp_path, make) -> None:
    tree(tmp_path / "v")
    make.two_classes(tmp_path / "i")
    with pytest.raises(InputError, match="`depth` of load_dataset must be an int for volumes"):
        load_dataset(tmp_path / "v", size=8)
    nifti(tmp_path / "n" / "a" / "deep" / "1.nii", hounsfield())
    (tmp_path / "n" / "b").mkdir()
    with pytest.raises(DataError, match="There are NIfTI files below: `depth` reads volumes"):
        load_dataset(tmp_path / "n", size=8)
    with pytest.raises(InputError, match="which reads images"):
        load_dataset(tmp_path / "i", size=8, depth=4, source="folder")
    with pytest.raises(DataError, match=r"usable volumes \(NIfTI files, .* a: 0, b: 0"):
        load_dataset(tmp_path / "i", size=8, depth=4)
    with pytest.raises(InputError, match="depth"):
        load_dataset(tmp_path / "v", size=8, depth=0)
    np.savez(tmp_path / "v" / "x.npz", train_images=np.zeros((6, 4, 4, 4), np.uint8), train_labels=np.arange(6) % 2)
    with pytest.raises(InputError, match="`window` of load_dataset must be None for `npz`"):
        load_dataset(tmp_path / "v", size=8, depth=4, source="npz", window="40,80")


def test_volumes_of_an_npz_file(tmp_path) -> None:
    stored = np.random.default_rng(0).integers(0, 256, (8, 6, 10, 10), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", train_images=stored, train_labels=np.arange(8) % 2)
    data = load_dataset(tmp_path, size=10, resize=10, depth=6)
    assert np.array_equal(data.images[:, 0], stored)
    assert data.images.dtype == np.uint8
    assert load_dataset(tmp_path, size=8, depth=3, channels=3).images.shape == (8, 3, 3, 8, 8)
    np.savez(tmp_path / "a.npz", train_images=stored[..., None], train_labels=np.arange(8) % 2)
    assert np.array_equal(load_dataset(tmp_path, size=10, resize=10, depth=6).images, data.images)
    np.savez(tmp_path / "a.npz", train_images=stored[:, 0], train_labels=np.arange(8) % 2)
    with pytest.raises(DataError, match="For images, leave `depth` out"):
        load_dataset(tmp_path, size=8, depth=3)


def test_a_dataset_of_volumes_is_checked() -> None:
    with pytest.raises(InputError, match=r"\(n, c, d, h, w\)"):
        Dataset(np.zeros((1, 1, 2, 2, 2, 2), np.uint8), np.zeros(1, np.int64), ("a",), ("x",), ("x",), ("",))
