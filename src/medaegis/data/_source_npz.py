"""One .npz file with images and labels as arrays: MedMNIST's layout, and x_train, y_train as copies of CIFAR have."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medaegis._errors import DataError
from medaegis.data._dataset import Dataset, Note, Pixels
from medaegis.data._duplicates import merge_groups
from medaegis.data._geometry import Frame, fit, fit_volume
from medaegis.data._listing import SUBSETS, Listing, entries, is_folder

_LUMA = np.array([0.299, 0.587, 0.114])
_PARTS = ("train", "val", "test")
_KEYS = tuple((f"{part}_images", f"{part}_labels", part) for part in _PARTS) + tuple(
    (f"x_{part}", f"y_{part}", part) for part in _PARTS
)


class _Part(NamedTuple):
    """One subset: images (n, h, w) or (n, h, w, c), or volumes (n, d, h, w); labels (n,), and its name."""

    images: Pixels
    labels: NDArray[np.int64]
    name: str


def find_npz(root: Path) -> list[Path]:
    """The .npz files directly in a folder."""
    return [root / e.name for e in entries(root) if e.name.lower().endswith(".npz") and not is_folder(e)]


def looks_like_npz(root: Path) -> bool:
    """Whether there is exactly one .npz file."""
    return len(find_npz(root)) == 1


def list_npz(root: Path) -> Listing:
    """The file as a table, with its classes: its images are no files of their own, so there are no cases to list.

    Raises:
        DataError: there is not exactly one .npz file, or its labels cannot be read.
    """
    file = _the_file(root)
    arrays = _arrays(file, ("class_names", *(y for _, y, _ in _KEYS)))
    labels = [_checked_labels(file, y, arrays[y], len(arrays[y])) for _, y, _ in _KEYS if y in arrays]
    return Listing((), _class_names(file, arrays, labels), tables=(file,))


def npz_dataset(root: Path, frame: Frame, *, limit: int | None = None) -> Dataset:
    """Read the one .npz file of a folder, without unpickling anything.

    It holds `train_images` and `train_labels` (and the same with `val_` and `test_`) as MedMNIST has them, or
    `x_train` and `y_train`; images (n, h, w) or (n, h, w, c) of 8 or 16 bits, c 1 or 3, and one label each. With a
    depth in the frame, volumes (n, d, h, w) or (n, d, h, w, 1), whose voxels are taken as cubes. The names of the
    classes are taken from `class_names`, where there is such an array. Each image goes the way of an image file: short
    side resized, centre cropped; of volumes see `fit_volume`. Equal images count as one patient.

    Args:
        root: the folder.
        frame: the geometry.
        limit: at most so many cases of a class, chosen by a hash of the name.

    Raises:
        DataError: not exactly one .npz file, it is damaged, or its arrays are not as above.
    """
    file = _the_file(root)
    arrays = _arrays(file)
    parts = _parts(file, arrays, volumes=frame.depth is not None)
    classes = _class_names(file, arrays, [part.labels for part in parts])
    names, labels = _names(parts), np.concatenate([part.labels for part in parts])
    chosen = _limited(names, labels, limit)
    raw = [image for part in parts for image in part.images]
    framed = _framed if frame.depth is None else _framed_volume
    kept = [names[i] for i in chosen]
    merged = merge_groups(kept, [hashlib.blake2b(raw[i].tobytes()).digest() for i in chosen])
    notes = [Note(kept[i], f"same content as {kept[j]}: taken as one patient") for i, j in merged.first.items()]
    return Dataset(
        _filled((framed(raw[i], frame) for i in chosen), len(chosen)),
        labels[chosen],
        classes,
        tuple(kept),
        merged.groups,
        tuple(name.split("/")[0] for name in kept),
        notes=tuple(notes),
    )


def _the_file(root: Path) -> Path:
    found = find_npz(root)
    if len(found) != 1:
        names = ", ".join(path.name for path in found[:4]) or "none"
        raise DataError(f"{root} must hold one .npz file, got {names}. Give each file a folder of its own.")
    return found[0]


def _arrays(file: Path, only: Collection[str] | None = None) -> dict[str, NDArray[Any]]:
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files if only is None or name in only}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{file} must be a whole .npz file of plain arrays, got: {error}. Download it again.") from None


def _parts(file: Path, arrays: Mapping[str, NDArray[Any]], *, volumes: bool) -> list[_Part]:
    """The subsets, sorted by name."""
    found = [
        _Part(
            (_checked_volumes if volumes else _checked_images)(file, x, arrays[x]),
            _checked_labels(file, y, arrays[y], len(arrays[x])),
            SUBSETS[part],
        )
        for x, y, part in _KEYS
        if x in arrays and y in arrays
    ]
    if not found or len({part.name for part in found}) < len(found):
        raise DataError(
            f"{file} must hold train_images and train_labels (MedMNIST), or x_train and y_train, and likewise for val "
            f"and test; got {', '.join(arrays) or 'no array'}. Rename its arrays."
        )
    if len({part.images.shape[1:] for part in found} | {str(part.images.dtype) for part in found}) > 2:
        raise DataError(f"The images of all parts of {file} must have one shape and type. Make them equal.")
    return sorted(found, key=lambda part: part.name)


def _checked_images(file: Path, name: str, images: NDArray[Any]) -> Pixels:
    flat = images.ndim == 3 or (images.ndim == 4 and images.shape[3] in (1, 3))
    if images.dtype in (np.dtype(np.uint8), np.dtype(np.uint16)) and flat:
        return images
    volumes = " For volumes, say how many slices are wanted: depth=…" if images.ndim >= 4 and not flat else ""
    raise DataError(
        f"`{name}` in {file} must be uint8 or uint16 of shape (n, h, w), (n, h, w, 1) or (n, h, w, 3), "
        f"got {images.dtype} of shape {images.shape}.{volumes}"
    )


def _checked_volumes(file: Path, name: str, images: NDArray[Any]) -> Pixels:
    """Volumes (n, d, h, w)."""
    whole = images[..., 0] if images.ndim == 5 and images.shape[4] == 1 else images
    if images.dtype in (np.dtype(np.uint8), np.dtype(np.uint16)) and whole.ndim == 4 and min(whole.shape[1:]) > 0:
        return whole
    raise DataError(
        f"`{name}` in {file} must be uint8 or uint16 volumes of shape (n, d, h, w), got {images.dtype} of shape "
        f"{images.shape}. For images, leave `depth` out."
    )


def _checked_labels(file: Path, name: str, labels: NDArray[Any], n: int) -> NDArray[np.int64]:
    flat = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if flat.shape == (n,) and flat.dtype.kind in "iu" and (n == 0 or int(flat.min()) >= 0):
        return flat.astype(np.int64)
    raise DataError(
        f"`{name}` in {file} must be whole numbers from 0, one for each of {n} images, got {labels.dtype} of shape "
        f"{labels.shape}. Several labels an image are not read."
    )


def _class_names(
    file: Path, arrays: Mapping[str, NDArray[Any]], labels: Sequence[NDArray[np.int64]]
) -> tuple[str, ...]:
    count = 1 + max((int(part.max()) for part in labels if len(part)), default=-1)
    if "class_names" not in arrays:
        return tuple(f"class {i}" for i in range(count))
    names = tuple(str(name) for name in arrays["class_names"].reshape(-1))
    if len(names) < count:
        raise DataError(f"`class_names` in {file} must name all {count} classes, got {names[:8]}. Add the others.")
    return names


def _names(parts: Sequence[_Part]) -> list[str]:
    return [f"{part.name}/{i:06d}" for part in parts for i in range(len(part.labels))]


def _limited(names: Sequence[str], labels: NDArray[np.int64], limit: int | None) -> list[int]:
    """Positions of the cases that stay, ascending."""
    if limit is None:
        return list(range(len(names)))
    kept: list[int] = []
    for label in np.unique(labels):
        here = np.flatnonzero(labels == label).tolist()
        kept += sorted(here, key=lambda i: hashlib.blake2b(names[i].encode()).digest())[:limit]
    return sorted(kept)


def _framed(image: Pixels, frame: Frame) -> Pixels:
    """One stored image, (h, w) or (h, w, c), as (channels, size, size)."""
    planes = image[None] if image.ndim == 2 else np.moveaxis(image, 2, 0)
    if len(planes) == 3 and frame.channels == 1:
        planes = np.rint(np.tensordot(_LUMA, planes, axes=1)).astype(image.dtype)[None]
    whole = fit(np.ascontiguousarray(planes), frame)
    return np.broadcast_to(whole, (frame.channels, *whole.shape[1:]))


def _framed_volume(image: Pixels, frame: Frame) -> Pixels:
    """One stored volume, (d, h, w), as (channels, depth, size, size)."""
    assert frame.depth is not None
    whole = fit_volume(image.astype(np.float32), frame.depth, frame)
    full = np.iinfo(image.dtype).max
    return np.broadcast_to(np.clip(np.rint(whole), 0, full).astype(image.dtype), (frame.channels, *whole.shape))


def _filled(images: Iterator[Pixels], n: int) -> Pixels:
    """As `np.stack`, without holding everything twice."""
    first = next(images)
    whole: Pixels = np.empty((n, *first.shape), first.dtype)
    whole[0] = first
    for i, image in enumerate(images, start=1):
        whole[i] = image
    return whole
