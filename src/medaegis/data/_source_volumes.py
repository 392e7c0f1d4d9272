"""Class folders of volumes: NIfTI files, and folders with the slices of one DICOM series each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from medaegis.data._dataset import Skipped
from medaegis.data._listing import (
    Case,
    Listing,
    dicoms_in,
    entries,
    folders_below,
    images_in,
    is_folder,
    relative_name,
)
from medaegis.data._source_folders import class_folders, two_class_folders

NIFTI = (".nii", ".nii.gz")
_PATIENT = re.compile(r"(sub-[a-z0-9]+|(?:patient|person|subject|pat|case)[-_ ]?\d+)(?![a-z0-9])", re.IGNORECASE)


def is_nifti_name(name: str) -> bool:
    """Whether a file's name ends as a NIfTI file's does, in upper or lower case.

    Example:
        >>> is_nifti_name("a.NII.gz"), is_nifti_name("a.gz")
        (True, False)
    """
    return name.lower().endswith(NIFTI)


def patient_in(path: str) -> str:
    """The patient in a volume's path below its class folder.

    A part such as `sub-07`, `patient_12` or `case3` names the patient; else the first folder does; else the file's
    name without its ending, so that two files of one name in two class folders are one patient.

    Example:
        >>> patient_in("sub-07_ses-1_ct.nii.gz"), patient_in("P12/ct.nii"), patient_in("0412.nii.gz")
        ('sub-07', 'P12', '0412')
    """
    found = _PATIENT.search(path)
    if found:
        return found[1]
    first, _, rest = path.partition("/")
    return first if rest else re.sub(r"\.nii(\.gz)?$", "", first, flags=re.IGNORECASE)


def looks_like_volumes(root: Path) -> bool:
    """Whether there are at least two class folders with NIfTI files, and no images, directly in some of them."""
    folders = [folder for found in class_folders(root).values() for folder, _ in found]
    if len(folders) < 2 or any(images_in(folder) for folder in folders):
        return False
    return any(_niftis_in(folder) for folder in folders)


def has_nifti(folder: Path) -> bool:
    """Whether there is a NIfTI file in a folder or below it."""
    return any(_niftis_in(below) for below in folders_below(folder))


def list_volumes(root: Path) -> Listing:
    """List a tree of class folders, at the root or below train|val|test; classes are the sorted folder names.

    Every NIfTI file below a class folder is a case. So is every folder below it that holds DICOM files: they are taken
    as the slices of one series. A DICOM file in the class folder itself belongs to no series and is skipped.

    Raises:
        DataError: fewer than two class folders.
    """
    found = two_class_folders(
        root, "Sort the volumes into one folder a class: NIfTI files, or a folder of DICOM files for each series."
    )
    names = tuple(sorted(found))
    cases: list[Case] = []
    skipped: list[Skipped] = []
    for label, name in enumerate(names):
        for folder, official in found[name]:
            cases += _cases(folder, label, official)
            reason = "a DICOM file outside a series' folder; give each series a folder of its own"
            skipped += [Skipped(relative_name(path, root), reason) for path in dicoms_in(folder)]
    return Listing(tuple(cases), names, tuple(skipped))


def _cases(top: Path, label: int, official: str) -> Iterator[Case]:
    for folder in folders_below(top):
        slices = () if folder == top else tuple(dicoms_in(folder))
        if slices:
            yield Case(folder, label, "", official, slices)
        for path in _niftis_in(folder):
            yield Case(path, label, patient_in(relative_name(path, top)), official)


def _niftis_in(folder: Path) -> list[Path]:
    return [folder / e.name for e in entries(folder) if is_nifti_name(e.name) and not is_folder(e)]
