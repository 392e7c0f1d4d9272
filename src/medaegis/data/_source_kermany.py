"""Kermany's paediatric chest X-rays: the Kaggle tree with train|val|test, and the flat tree of two class folders."""

from __future__ import annotations

import re
from pathlib import Path

from medaegis._errors import DataError
from medaegis.data._listing import SUBSETS, Case, Listing, images_below, subfolders

CLASSES = ("NORMAL", "PNEUMONIA")
_PATIENT = re.compile(r"(person\d+)_|((?:NORMAL2-)?IM-\d+)[-.]", re.IGNORECASE)


def patient_of(name: str) -> str:
    """The patient in a Kermany file name, "" if there is none.

    `IM-0117` and `NORMAL2-IM-0117` are two series with numbers of their own, so they are two patients.

    Example:
        >>> patient_of("person123_bacteria_45.jpeg"), patient_of("NORMAL2-IM-0117-0001.jpeg")
        ('person123', 'NORMAL2-IM-0117')
    """
    found = _PATIENT.match(name)
    return (found[1] or found[2]) if found else ""


def subset_folders(root: Path) -> dict[Path, str]:
    """The folders that hold class folders, each with its official subset: train|val|test, else the root itself."""
    found = {path: SUBSETS[name.lower()] for name, path in subfolders(root).items() if name.lower() in SUBSETS}
    return found or {root: ""}


def looks_like_kermany(root: Path) -> bool:
    """Whether the class folders are NORMAL and PNEUMONIA, directly or below train|val|test."""
    return all({name.upper() for name in subfolders(folder)} >= set(CLASSES) for folder in subset_folders(root))


def list_kermany(root: Path) -> Listing:
    """List the Kermany tree under `root`; NORMAL is 0 and PNEUMONIA is 1.

    Raises:
        DataError: a class folder is missing.
    """
    cases: list[Case] = []
    for folder, official in subset_folders(root).items():
        found = {name.upper(): path for name, path in subfolders(folder).items()}
        if not set(CLASSES) <= set(found):
            raise DataError(
                f"{folder} must hold the folders NORMAL and PNEUMONIA (Kermany tree), got {sorted(found)[:8]}. "
                f"Point to the folder above train/, val/ and test/, or take the source `folder`."
            )
        for label, name in enumerate(CLASSES):
            cases += [Case(path, label, patient_of(path.name), official) for path in images_below(found[name])]
    return Listing(tuple(cases), CLASSES)
