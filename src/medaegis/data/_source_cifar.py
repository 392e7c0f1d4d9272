"""CIFAR-10 as its publisher packs it: the folder cifar-10-batches-py, read by torchvision."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medaegis._errors import DataError
from medaegis.data._dataset import Dataset
from medaegis.data._geometry import Frame
from medaegis.data._listing import Listing
from medaegis.data._source_npz import Part, parts_dataset

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10

FOLDER = "cifar-10-batches-py"


def looks_like_cifar(root: Path) -> bool:
    """Whether the publisher's folder is there, or is the root itself."""
    return (root / FOLDER).is_dir() or root.name == FOLDER


def list_cifar(root: Path) -> Listing:
    """The batches as tables, with the ten classes: images are no files of their own, so there are no cases to list.

    Raises:
        DataError: as `cifar_dataset`.
    """
    data, folder = _read(root, train=False), _home(root) / FOLDER
    names = [name for name, _ in (*data.train_list, *data.test_list)]
    return Listing((), tuple(data.classes), tables=tuple(folder / name for name in (*names, data.meta["filename"])))


def cifar_dataset(root: Path, frame: Frame, *, limit: int | None = None, classes: Sequence[str] = ()) -> Dataset:
    """Read the publisher's batches, of 50,000 training and 10,000 test images of 32 x 32 pixels.

    The batches are pickles, which may run code when they are read: torchvision reads them only where their MD5 is the
    publisher's. Each image goes the way of an image file: short side resized, centre cropped; at 64 pixels and more it
    is enlarged. Equal images count as one patient.

    Args:
        root: the folder that holds cifar-10-batches-py, or that folder.
        frame: the geometry.
        limit: at most so many cases of a class, chosen by a hash of the name.
        classes: names of those that are kept; all by default.

    Raises:
        InputError: a class that is not there, or one alone.
        DataError: a batch is missing, or is not the publisher's.
    """
    sets = {"test": _read(root, train=False), "train": _read(root, train=True)}
    parts = [Part(one.data, np.array(one.targets, dtype=np.int64), name) for name, one in sets.items()]
    return parts_dataset(parts, tuple(sets["test"].classes), frame, limit=limit, classes=classes)


def _home(root: Path) -> Path:
    return root.parent if root.name == FOLDER else root


def _read(root: Path, *, train: bool) -> CIFAR10:
    from torchvision.datasets import CIFAR10

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the pickles are of 2009, and newer NumPy remarks on their types
            return CIFAR10(_home(root), train=train, download=False)
    except (RuntimeError, OSError) as error:
        raise DataError(
            f"{_home(root) / FOLDER} must hold the publisher's batches of CIFAR-10 (data_batch_1 to 5, test_batch, "
            f"batches.meta), whole and unchanged, got: {error}. Unpack cifar-10-python.tar.gz again."
        ) from None
