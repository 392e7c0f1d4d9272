"""Trees where the folder's name is the class: any ImageFolder-like tree, and folders 0 to 4 of retinopathy grades."""

from __future__ import annotations

from pathlib import Path

from medaegis._errors import DataError
from medaegis.data._listing import SUBSETS, Case, Listing, images_below, images_in, subfolders

GRADES = ("0", "1", "2", "3", "4")
BINARY_NAMES = ("no retinopathy", "retinopathy")
GRADE_NAMES = ("grade 0", "grade 1", "grade 2", "grade 3", "grade 4")


def grade_names(binary: bool) -> tuple[str, ...]:
    """The class names of the retinopathy task: two, or one a grade."""
    return BINARY_NAMES if binary else GRADE_NAMES


def grade_label(grade: int, binary: bool) -> int:
    """The label of a retinopathy grade: any grade above 0 is positive in the binary task."""
    return int(grade > 0) if binary else grade


def official_of(name: str) -> str:
    """The subset that a file name begins with, as in `test_IDRiD_001.jpg`; "" if none."""
    return SUBSETS.get(name.split("_", 1)[0].lower(), "") if "_" in name else ""


def looks_like_graded(root: Path) -> bool:
    """Whether the folders are at least two of 0 to 4 and nothing else."""
    found = set(subfolders(root))
    return len(found) >= 2 and found <= set(GRADES)


def list_graded(root: Path, *, binary: bool) -> Listing:
    """List folders 0 to 4; the patient is unknown, the official subset is in the file name.

    Raises:
        DataError: there is no such folder, or there is another one beside them.
    """
    found = subfolders(root)
    others = [name for name in found if name not in GRADES]
    if others or not found:
        raise DataError(
            f"Every folder in {root} must be a grade 0 to 4, got {others[:8] or 'none'}. "
            f"Move other folders away, or take the source `folder`."
        )
    cases = tuple(
        Case(path, grade_label(int(grade), binary), "", official_of(path.name))
        for grade, folder in found.items()
        for path in images_below(folder)
    )
    return Listing(cases, grade_names(binary))


def looks_like_folder(root: Path) -> bool:
    """Whether there are at least two class folders and no image lies beside them."""
    return len(class_folders(root)) >= 2 and not images_in(root)


def list_folder(root: Path) -> Listing:
    """List a tree of class folders, at the root or below train|val|test; classes are the sorted folder names.

    Raises:
        DataError: fewer than two class folders.
    """
    found = two_class_folders(
        root, "Point to the folder that holds the class folders, or sort the images into one folder a class."
    )
    names = tuple(sorted(found))
    cases = tuple(
        Case(path, label, "", official)
        for label, name in enumerate(names)
        for folder, official in found[name]
        for path in images_below(folder)
    )
    return Listing(cases, names)


def two_class_folders(root: Path, fix: str) -> dict[str, list[tuple[Path, str]]]:
    """The class folders, of which there must be two.

    Raises:
        DataError: there are fewer; the text ends with the fix.
    """
    found = class_folders(root)
    if len(found) < 2:
        raise DataError(
            f"{root} must hold a folder for each of at least two classes, got {sorted(found) or 'no folder'}. {fix}"
        )
    return found


def class_folders(root: Path) -> dict[str, list[tuple[Path, str]]]:
    """By class name, its folders with their official subset."""
    top = subfolders(root)
    by_subset = bool(top) and all(name.lower() in SUBSETS for name in top)
    parents = {path: SUBSETS[name.lower()] for name, path in top.items()} if by_subset else {root: ""}
    found: dict[str, list[tuple[Path, str]]] = {}
    for parent, official in parents.items():
        for name, folder in subfolders(parent).items():
            found.setdefault(name, []).append((folder, official))
    return found
