"""Folders of volumes: what is found, whose it is, what is skipped, and volumes as data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from data.medical_files import dicom, nifti, series
from data.volume_files import LPS, SHAPE, hounsfield, spoil_series, spoiled_nifti
from medaegis._errors import DataError, InputError
from medaegis.data import (
    BadImageError,
    Dataset,
    DataWarning,
    check_no_leak,
    detect_source,
    fingerprint,
    list_cases,
    load_dataset,
    split_cases,
)
from medaegis.data._source_volumes import patient_in


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
