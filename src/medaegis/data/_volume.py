"""One volume to one array: oriented, windowed, resampled; the same from a NIfTI file and from a DICOM series."""

from __future__ import annotations

import hashlib

import numpy as np

from medaegis.data._dataset import Pixels
from medaegis.data._decode import BadImageError, Decoded, read_bytes
from medaegis.data._dicom_series import read_series
from medaegis.data._geometry import Frame, fit_volume
from medaegis.data._listing import Case
from medaegis.data._nifti import read_nifti
from medaegis.data._pixels import RefusedError
from medaegis.data._voxels import Oriented, check_resized, check_values, oriented
from medaegis.data._window import default_window, in_hounsfield, parse_window, windowed

VOLUME_RULE = "one whole volume (a NIfTI file, or a folder of one DICOM series)"


def decode_volume(case: Case, frame: Frame) -> Decoded:
    """Read one volume: windowed to [0, 1], turned so that slices run from the feet to the head, resampled, 16 bits.

    Args:
        case: a NIfTI file, or the folder of a DICOM series with its files.
        frame: geometry with a depth, and the window.

    Returns:
        Pixels (channels, depth, size, size), uint16; the digest is that of the values before the window.

    Raises:
        BadImageError: it cannot be used.
    """
    assert frame.depth is not None
    try:
        found = read_series(case.slices) if case.slices else read_nifti(read_bytes(case.path))
        check_values(found.values)
        body = oriented(found)
        check_resized(body, frame)
    except RefusedError as error:
        raise BadImageError(case.path, str(error), VOLUME_RULE) from None
    window = default_window(body.values) if frame.window is None else parse_window(frame.window, "decode_volume")
    shares = windowed(body.values, window)
    if shares.min() == shares.max():
        low, high = float(body.values.min()), float(body.values.max())
        reason = f"nothing inside the window {window.low:g} to {window.high:g}: its values are {low:g} to {high:g}"
        raise BadImageError(case.path, reason, VOLUME_RULE)
    pixels = _sixteen_bits(body._replace(values=1 - shares if found.inverted else shares), frame, frame.depth)
    told = in_hounsfield(body.values) if frame.window is None else None
    return Decoded(pixels, _digest(body), found.remarks, found.patients, told)


def _sixteen_bits(body: Oriented, frame: Frame, depth: int) -> Pixels:
    fitted = fit_volume(np.asarray(body.values, dtype=np.float32), depth, frame, spacing=body.spacing)
    whole = np.clip(np.rint(fitted * 65535), 0, 65535).astype(np.uint16)
    return np.broadcast_to(whole, (frame.channels, *whole.shape))


def _digest(body: Oriented) -> bytes:
    """Of shape and values, so that a copy in another format or file is known as one."""
    return hashlib.blake2b(str(body.values.shape).encode() + (body.values + 0.0).tobytes()).digest()
