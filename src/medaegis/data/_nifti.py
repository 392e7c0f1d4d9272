"""One NIfTI file, plain or compressed, to voxels with their orientation."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from typing import Any

import numpy as np

from medaegis.data._pixels import RefusedError
from medaegis.data._voxels import MAX_VOXELS, Voxels

_MOST_BYTES = 8 * MAX_VOXELS + 2**20


def read_nifti(data: bytes) -> Voxels:
    """The voxels of a NIfTI-1 or NIfTI-2 file, scaled by its slope and intercept.

    Raises:
        RefusedError: no such file, damaged, or no single volume of real numbers; the text is the reason.
    """
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    whole = _unpacked(data)
    try:
        image: Any = _image_class(whole).from_bytes(whole)
        _check(image, len(whole))
        values = np.asarray(image.get_fdata(dtype=np.float32, caching="unchanged"))
    except (ImageFileError, HeaderDataError, OSError, ValueError, TypeError, OverflowError, EOFError) as error:
        raise RefusedError(f"damaged or incomplete NIfTI ({str(error).strip() or type(error).__name__})") from None
    affine = np.asarray(image.affine, dtype=np.float64)
    return Voxels(values.reshape(values.shape[:3]), affine, remarks=_remarks(image, len(whole)))


def _remarks(image: Any, size: int) -> tuple[str, ...]:
    codes = image.header["sform_code"], image.header["qform_code"]
    remarks = ("its header states no orientation; taken as stored",) if max(map(int, codes)) == 0 else ()
    told = int(image.dataobj.offset) + image.get_data_dtype().itemsize * int(np.prod(image.shape))
    return (
        remarks if size <= told else (*remarks, f"{size - told} bytes more than its header says, which were not read")
    )


def _unpacked(data: bytes) -> bytes:
    """The content, with the checksum of a compressed file looked at."""
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        with gzip.open(io.BytesIO(data)) as file:
            whole = file.read(_MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise RefusedError(f"damaged or truncated ({error})") from None
    if len(whole) > _MOST_BYTES:
        raise RefusedError(f"more than {_MOST_BYTES} bytes once unpacked (decompression bomb?)")
    return whole


def _image_class(data: bytes) -> Any:
    from nibabel.nifti1 import Nifti1Image
    from nibabel.nifti2 import Nifti2Image

    sizes = {struct.unpack(order + "i", data[:4])[0] for order in "<>"} if len(data) >= 352 else set[int]()
    if 540 in sizes:
        return Nifti2Image
    if 348 not in sizes:
        raise RefusedError("no NIfTI file")
    return Nifti1Image


def _check(image: Any, size: int) -> None:
    """What the header says, before any voxel is read."""
    shape = tuple(int(n) for n in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        more = f", {int(np.prod(shape[3:]))} volumes in one file; save the one that is meant" if len(shape) > 3 else ""
        raise RefusedError(f"{len(shape)}-D ({' x '.join(map(str, shape))}){more}")
    if min(shape) < 1:
        raise RefusedError(f"empty: {' x '.join(map(str, shape))} voxels")
    kind = image.get_data_dtype()
    if kind.kind not in "iuf":
        raise RefusedError(f"voxels of type {kind}, which are no real numbers")
    voxels = int(np.prod([float(n) for n in shape]))
    if voxels > MAX_VOXELS:
        raise RefusedError(f"{' x '.join(map(str, shape))} voxels, more than {MAX_VOXELS}")
    if size < voxels * kind.itemsize:
        raise RefusedError(f"its header says {' x '.join(map(str, shape))} voxels of {kind}, but the file is too short")
