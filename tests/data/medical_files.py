"""Small DICOM and NIfTI files, written with pydicom and nibabel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def dicom(path: Path, stored: np.ndarray, *, bits: int = 16, **tags: Any) -> Path:
    """A file with these stored values, gray (h, w) or RGB (h, w, 3); a tag that is None is left out."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    header.SOPClassUID, header.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    header.Rows, header.Columns = stored.shape[:2]
    header.SamplesPerPixel = 1 if stored.ndim == 2 else 3
    if stored.ndim == 3:
        header.PlanarConfiguration = 0
    header.PhotometricInterpretation = "MONOCHROME2" if stored.ndim == 2 else "RGB"
    header.BitsAllocated = 8 * stored.dtype.itemsize
    header.BitsStored = min(bits, header.BitsAllocated)
    header.HighBit = header.BitsStored - 1
    header.PixelRepresentation = int(stored.dtype.kind == "i")
    for name, value in tags.items():
        if value is not None:
            setattr(header, name, value)
    header.PixelData = stored.astype(stored.dtype.newbyteorder("<")).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    header.save_as(path, enforce_file_format=True)
    return path


def series(
    folder: Path,
    hounsfield: np.ndarray,
    *,
    spacing: tuple[float, float, float] = (5.0, 1.0, 1.0),
    directions: tuple[float, ...] = AXIAL,
    start: tuple[float, float, float] = (0.0, 0.0, 0.0),
    order: list[int] | None = None,
    **tags: Any,
) -> Path:
    """A series of slices (slice, row, column) in Hounsfield units; files are named in the order that is given."""
    row, column = np.array(directions[:3]), np.array(directions[3:])
    normal, uid = np.cross(row, column), generate_uid()
    for name, k in enumerate(order or range(len(hounsfield))):
        where = np.array(start) + k * spacing[0] * normal
        told: dict[str, Any] = {
            "SeriesInstanceUID": uid,
            "InstanceNumber": name + 1,
            "ImagePositionPatient": [float(v) for v in where],
            "ImageOrientationPatient": list(directions),
            "PixelSpacing": list(spacing[1:]),
            "RescaleSlope": 1,
            "RescaleIntercept": -1024,
            "PatientID": "P1",
        }
        stored = (hounsfield[k] + 1024).astype(np.uint16)
        dicom(folder / f"{name:03d}.dcm", stored, **(told | tags))
    return folder


def nifti(path: Path, values: np.ndarray, affine: np.ndarray | None = None) -> Path:
    """A NIfTI file; the axes run to the right, the front and the head by default."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine).to_filename(path)
    return path
