"""What a source gives before any image is opened: the files with their labels, and how a folder tree is walked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from medaegis._errors import DataError
from medaegis.data._dataset import Skipped

IMAGE_FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".webp": "WEBP",
    ".dcm": "DICOM",
    ".dicom": "DICOM",
}
JUNK_FOLDERS = frozenset({"__macosx", "@eadir", "$recycle.bin", "system volume information"})
SUBSETS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


class Case(NamedTuple):
    """One listed image file or volume, not decoded yet.

    Attributes:
        path: where it lies; of a DICOM series, its folder.
        label: position in the listing's `class_names`.
        group: the patient; "" where it is unknown.
        official: the publisher's subset: "train", "val", "test" or "".
        slices: the files of a DICOM series; empty for a single file.
    """

    path: Path
    label: int
    group: str = ""
    official: str = ""
    slices: tuple[Path, ...] = ()


class Listing(NamedTuple):
    """All cases of a source, without any image opened.

    Attributes:
        cases: the image files or volumes.
        class_names: one name a class.
        skipped: cases that are missing on disk.
        tables: further files that the labels come from, such as train.csv; part of the data's fingerprint.
    """

    cases: tuple[Case, ...]
    class_names: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()
    tables: tuple[Path, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that the labelled data depends on: what to hand to `fingerprint`."""
        return tuple(file for case in self.cases for file in case.slices or (case.path,)) + self.tables


def relative_name(path: Path, root: Path) -> str:
    """The name of a case: its path relative to the root, with forward slashes."""
    return path.relative_to(root).as_posix()


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder, sorted by name, without hidden entries and junk folders.

    Raises:
        DataError: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as found:
            every = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(
            f"Folder {folder} must be readable, got: {error.strerror or error}. Check its permissions (ls -ld)."
        ) from None
    return [e for e in every if not e.name.startswith(".") and e.name.lower() not in JUNK_FOLDERS]


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one; a link that leads in a circle is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def subfolders(folder: Path) -> dict[str, Path]:
    """The folders in a folder by name, sorted."""
    return {entry.name: folder / entry.name for entry in entries(folder) if is_folder(entry)}


def is_image_name(name: str) -> bool:
    """Whether a file's extension is one of an image format, in upper or lower case."""
    return os.path.splitext(name)[1].lower() in IMAGE_FORMATS


def images_in(folder: Path) -> list[Path]:
    """The image files directly in a folder, sorted: by extension, or without one but with DICOM's mark.

    A dangling link counts (decoding reports it).
    """
    return [folder / entry.name for entry in entries(folder) if _is_image(entry)]


def dicoms_in(folder: Path) -> list[Path]:
    """The DICOM files directly in a folder, sorted: by extension, or without one but with DICOM's mark."""
    return [path for path in images_in(folder) if IMAGE_FORMATS.get(path.suffix.lower(), "DICOM") == "DICOM"]


def images_below(folder: Path) -> Iterator[Path]:
    """The image files in a folder and below it, sorted; each real folder once, so that link loops end."""
    return (parent / entry.name for parent, entry in _walk(folder, set()) if not is_folder(entry) and _is_image(entry))


def folders_below(folder: Path) -> Iterator[Path]:
    """A folder and all below it, sorted; each real folder once."""
    yield folder
    yield from (parent / entry.name for parent, entry in _walk(folder, set()) if is_folder(entry))


def _is_image(entry: os.DirEntry[str]) -> bool:
    return not is_folder(entry) and (is_image_name(entry.name) or has_dicom_mark(entry))


def has_dicom_mark(entry: os.DirEntry[str]) -> bool:
    """Whether a file without a telling extension is DICOM by its content.

    Scanners name files `IM000001`, or by a UID such as `1.2.840.5.17`; other extensions are not opened.
    `DICOMDIR` is an index of files.
    """
    suffix = os.path.splitext(entry.name)[1]
    if (suffix and not suffix[1:].isdigit()) or entry.name.upper() == "DICOMDIR":
        return False
    try:
        if not entry.is_file():
            return False
        with open(entry.path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _walk(folder: Path, seen: set[tuple[int, int]]) -> Iterator[tuple[Path, os.DirEntry[str]]]:
    """Each entry with its folder; a folder's own entries follow it."""
    listed = entries(folder)
    here = folder.stat()
    if (here.st_dev, here.st_ino) in seen:
        return
    seen.add((here.st_dev, here.st_ino))
    for entry in listed:
        yield folder, entry
        if is_folder(entry):
            yield from _walk(folder / entry.name, seen)
