"""The sources by name: which there are, which one a folder looks like, and the list of cases that one gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from medaegis._errors import DataError, require
from medaegis.data._listing import Listing, entries, is_folder, relative_name, with_classes
from medaegis.data._source_aptos import list_aptos, looks_like_aptos
from medaegis.data._source_cifar import list_cifar, looks_like_cifar
from medaegis.data._source_folders import list_folder, list_graded, looks_like_folder, looks_like_graded
from medaegis.data._source_kermany import list_kermany, looks_like_kermany
from medaegis.data._source_npz import list_npz, looks_like_npz
from medaegis.data._source_phantom import PHANTOM_CLASSES
from medaegis.data._source_volumes import list_volumes, looks_like_volumes

LabelKind: TypeAlias = Literal["binary", "grades"]


# In the order in which they are tried: the most particular layout first.
_LOOKS_LIKE: dict[str, Callable[[Path], bool]] = {
    "volumes": looks_like_volumes,
    "aptos": looks_like_aptos,
    "kermany": looks_like_kermany,
    "cifar10": looks_like_cifar,
    "graded": looks_like_graded,
    "folder": looks_like_folder,
    "npz": looks_like_npz,
}
_GRADED = {"aptos": list_aptos, "graded": list_graded}
_PLAIN = {
    "kermany": list_kermany,
    "folder": list_folder,
    "npz": list_npz,
    "cifar10": list_cifar,
    "volumes": list_volumes,
}
OF_VOLUMES = ("volumes", "npz")  # sources that can hold volumes


def source_names() -> tuple[str, ...]:
    """The names that `load_dataset` takes as `source`.

    Example:
        >>> source_names()[:7]
        ('volumes', 'aptos', 'kermany', 'cifar10', 'graded', 'folder', 'npz')
    """
    return (*_LOOKS_LIKE, *PHANTOM_CLASSES)


def detect_source(root: str | Path, *, volumes: bool = False) -> str:
    """Guess from the layout which source a folder is: the first of `source_names` whose layout fits.

    Args:
        root: the folder.
        volumes: it is to be read as volumes: class folders then hold volumes, whatever their names are.

    Raises:
        DataError: `root` is no readable folder, or no layout fits.
    """
    folder = check_root(root)
    if volumes:
        return "npz" if looks_like_npz(folder) else "volumes"
    for name, fits in _LOOKS_LIKE.items():
        if fits(folder):
            return name
    raise DataError(
        f"{folder} must have a layout that is known: a folder for each class (also below train/, val/, test/), "
        f"train.csv with images, cifar-10-batches-py/, or one .npz file; got {_contents(folder)}. "
        "Point to the folder that holds the class folders."
    )


def list_cases(
    root: str | Path, *, source: str | None = None, labels: LabelKind = "binary", classes: Sequence[str] = ()
) -> Listing:
    """List a source's image files with labels, patients and official subsets, without opening an image.

    Args:
        root: the data's folder.
        source: one of `source_names`, but no phantom; guessed from the layout by default.
        labels: "binary" or "grades"; only sources with grades (`aptos`, `graded`) know grades.
        classes: names of those that are kept; all by default.

    Returns:
        The cases sorted by name. An `npz` has its images inside one file: it gives that file as a table, and no cases;
        `cifar10` likewise gives its batches.

    Raises:
        InputError: an unknown source, kind of label or class.
        DataError: the folder is not as the source needs it; the text says what is wrong.
    """
    require(source is None or source in _LOOKS_LIKE, "source", "list_cases", f"one of {tuple(_LOOKS_LIKE)}", source)
    require(labels in ("binary", "grades"), "labels", "list_cases", '"binary" or "grades"', labels)
    folder = check_root(root)
    name = source or detect_source(folder)
    fix = f"The source `{name}` has no grades; leave `labels` at its default."
    require(name in _GRADED or labels == "binary", "labels", "list_cases", '"binary"', labels, fix)
    listing = _GRADED[name](folder, binary=labels == "binary") if name in _GRADED else _PLAIN[name](folder)
    listing = with_classes(listing, classes)
    return listing._replace(cases=tuple(sorted(listing.cases, key=lambda case: relative_name(case.path, folder))))


def check_root(root: str | Path | None) -> Path:
    """The folder as a path.

    Raises:
        DataError: it is None, does not exist, or is no folder.
    """
    if root is None:
        raise DataError("The data's root must be a folder, got None. Only phantoms need none: name one as the source.")
    folder = Path(root).expanduser()
    if folder.is_dir():
        return folder
    got = "a file" if folder.exists() else "nothing there"
    raise DataError(f"The data's root {folder} must be an existing folder, got {got}. Check the spelling.")


def _contents(folder: Path) -> str:
    names = [entry.name + ("/" if is_folder(entry) else "") for entry in entries(folder)]
    return f"{', '.join(names[:6])}{' …' if len(names) > 6 else ''}" if names else "an empty folder"
