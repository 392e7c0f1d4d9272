"""One volume that tests write in many ways, and files of it that are bad in one way each."""

from __future__ import annotations

import gzip
import shutil
import struct
from pathlib import Path

import numpy as np
from pydicom import dcmread

from data.medical_files import dicom, nifti

SHAPE = (6, 12, 16)  # slices, rows, columns
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # columns to the left, rows to the back, slices to the head, in NIfTI's axes


def hounsfield(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1000, 280, shape).astype(np.int16)


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
