"""Images to be scored, with or without labels: which files there are, and their pixels, a batch at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from medaegis._errors import DataError
from medaegis._types import Images
from medaegis.data import BadImageError
from medaegis.data._decode import decode, strict_pillow
from medaegis.data._geometry import Frame
from medaegis.data._listing import images_below
from medaegis.data._workers import worker_count

TENSORS = ".safetensors"


class Place(NamedTuple):
    """Where one image is: a file, or a row of the tensor `x` in a safetensors file."""

    path: Path
    row: int | None = None


class Read(NamedTuple):
    """Some images after decoding.

    Attributes:
        names: of all of them.
        problems: why one cannot be used, "" where it can; one a name.
        images: (m, c, h, w) float32 in [0, 1], of the good ones.
    """

    names: tuple[str, ...]
    problems: tuple[str, ...]
    images: Images


@dataclass(frozen=True)
class ImageFiles:
    """Images and the names that tables give them; made by `list_images`."""

    names: tuple[str, ...]
    places: tuple[Place, ...]

    def __len__(self) -> int:
        """The number of images."""
        return len(self.places)

    def read(self, frame: Frame, *, batch_size: int, skip: bool = False) -> Iterator[Read]:
        """Decode image files as `load_dataset` does, a batch at a time; tensors are taken as they are.

        Args:
            frame: geometry.
            batch_size: images at a time.
            skip: tell of an unusable file in `problems`, in place of an error.

        Raises:
            BadImageError: a file is no whole image, and `skip` is False; the text names it.
        """

        def read(place: Place) -> Images | str:
            try:
                return _pixels(place, frame)
            except BadImageError as error:
                if skip:
                    return error.reason
                raise

        for start in range(0, len(self), batch_size):
            with strict_pillow(), ThreadPoolExecutor(worker_count()) as pool:
                done = list(pool.map(read, self.places[start : start + batch_size]))
            good = [image for image in done if isinstance(image, Tensor)]
            problems = tuple("" if isinstance(image, Tensor) else image for image in done)
            whole = torch.stack(good) if good else torch.zeros(0, frame.channels, frame.size, frame.size)
            yield Read(self.names[start : start + batch_size], problems, whole)


def _pixels(place: Place, frame: Frame) -> Images:
    if place.row is not None:
        return _row(place.path, place.row, frame)
    if place.path.suffix == TENSORS:
        raise BadImageError(place.path, "no safetensors file with images (n, c, h, w) as `x`")
    pixels = decode(place.path, frame).pixels
    return torch.from_numpy(pixels.astype(np.float32)).div_(float(np.iinfo(pixels.dtype).max))


def _row(path: Path, row: int, frame: Frame) -> Images:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:  # pyright: ignore[reportUnknownVariableType]  # untyped library
            image: Tensor = file.get_slice("x")[row]
    except (OSError, SafetensorError) as error:
        raise BadImageError(path, f"row {row} cannot be read ({error})") from None
    wanted = (frame.channels, frame.size, frame.size)
    if tuple(image.shape) != wanted or not image.is_floating_point():
        raise BadImageError(path, f"row {row} is {image.dtype} of shape {tuple(image.shape)}, not float of {wanted}")
    if not bool(((image >= 0) & (image <= 1)).all()):
        raise BadImageError(path, f"row {row} has values outside [0, 1]")
    return image.float().clone()


def list_images(places: Sequence[str | Path]) -> ImageFiles:
    """All images of folders, labelled or not, and single files, each once.

    Besides image files, the safetensors files of `medaegis attack` count, directly in a folder or by name: each row of
    their `x` is an image, named FILE[ROW].

    Args:
        places: folders and files. A file of a folder is named by its path from there (with the folder's own name
            before it where there are several places); a single file by its path as it was given.

    Raises:
        DataError: a place does not exist, or there is no image.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("b.png", "a.png", "notes.txt"):
        ...         _ = Path(folder, name).write_text("")
        ...     list_images([folder]).names
        ('a.png', 'b.png')
    """
    found: dict[Place, str] = {}
    for place in places:
        for file, name in _files_of(place, several=len(places) > 1).items():
            for row in _rows_of(file):
                found.setdefault(Place(file, row), name if row is None else f"{name}[{row}]")
    if not found:
        raise DataError(
            f"There is no image (JPEG, PNG, TIFF, BMP, GIF, WEBP or DICOM) in {', '.join(map(str, places))}."
        )
    names = (os.fsencode(name).decode("utf-8", "replace") for name in found.values())
    return ImageFiles(tuple(names), tuple(found))


def _files_of(place: str | Path, *, several: bool) -> dict[Path, str]:
    """The files of one place with their names."""
    path = Path(place).expanduser()
    if not path.exists():
        raise DataError(f"`--data` {place} must be a folder of images or an image, got nothing there.")
    if not path.is_dir():
        return {path: str(place)}
    lead = f"{path.name}/" if several else ""
    below = [*images_below(path), *sorted(path.glob(f"*{TENSORS}"))]
    return {file: lead + file.relative_to(path).as_posix() for file in below}


def _rows_of(file: Path) -> list[int] | list[None]:
    """The rows of a tensor file; None for any other file, and for one that cannot be read, which reading then says."""
    if file.suffix != TENSORS:
        return [None]
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as opened:  # pyright: ignore[reportUnknownVariableType]  # untyped library
            shape: list[int] = opened.get_slice("x").get_shape()
    except (OSError, SafetensorError):
        return [None]
    return list(range(shape[0])) if len(shape) == 4 else [None]
