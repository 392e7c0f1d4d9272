"""One volume to one array: oriented, windowed, resampled."""

from __future__ import annotations

from medaegis.data._decode import BadImageError, Decoded
from medaegis.data._geometry import Frame
from medaegis.data._listing import Case


def decode_volume(case: Case, frame: Frame) -> Decoded:
    """Stub."""
    raise BadImageError(case.path, "not read yet")
