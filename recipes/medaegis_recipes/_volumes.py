"""The phantom that stands in for the paper's private head CTs, and the user's own volumes in its place."""

from __future__ import annotations

from typing import Any

PHANTOM = "phantom-brain"
STANDS_IN = (
    "Volumes are phantoms: the paper's 1,486 head CTs are private. Give your own with --data DIR, a folder of NIfTI "
    "files or DICOM series for each class, and --set window=40,80."
)


def own_or_phantom(settings: Any) -> Any:
    """Settings with the user's folder where one is given, by its layout; with the phantom where none is."""
    own = settings.data is not None and settings.source == PHANTOM
    return settings.model_copy(update={"source": None}) if own else settings
