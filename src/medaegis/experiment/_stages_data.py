"""Stages from a folder (or a phantom generator) to decoded images and a split by patient."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medaegis._errors import require
from medaegis.data import (
    Dataset,
    Note,
    Skipped,
    Split,
    check_no_leak,
    detect_source,
    fingerprint,
    list_cases,
    load_dataset,
    split_adversarial,
    split_cases,
    split_from_json,
    split_to_json,
)
from medaegis.data._geometry import Frame, make_frame
from medaegis.data._load import check_kind
from medaegis.data._sources import LabelKind, check_root
from medaegis.data._views import VIEWS
from medaegis.experiment._context import Context
from medaegis.experiment._stage import Result, Stage, unkeyed

Index = NDArray[np.int64]
PHANTOM = "phantom-"
Part = Literal["", "first", "second"]
"""All of Train and validation, or one of their halves."""


@dataclass(frozen=True)
class Images(Stage):
    """Decoded images of one source. Make it with `images_stage`, which hashes the files.

    Args:
        source: a name of `medaegis.data.source_names`.
        content: hash of the files, or "" for phantoms.
        size: height and width in pixels.
        labels: "binary" or "grades".
        limit: most cases a class, or None.
        n: number of phantoms.
        seed: of the phantoms.
        channels: 1 or 3.
        depth: number of slices of a volume, or None for images.
        window: "centre,width" of DICOM and NIfTI files, or None for the default; see `medaegis.data.load_dataset`.
        classes: names of those that are kept; all where none is named.
        view: "" for what is read; of volumes, "middle" for their middle slices, "halved" for half of every side.
        root: the folder.
    """

    source: str
    content: str
    size: int
    labels: LabelKind = "binary"
    limit: int | None = None
    n: int = 0
    seed: int = 0
    channels: int = 3
    depth: int | None = None
    window: str | None = None
    classes: tuple[str, ...] = ()
    view: str = ""
    root: str = unkeyed("")

    @property
    def inputs(self) -> tuple[Stage, ...]:
        """A view is made from the images as they were read."""
        return (replace(self, view=""),) if self.view else ()

    def compute(self, context: Context) -> Result:
        """Decode once; a view reads nothing again."""
        if self.view:
            tensors, info = context.get(self.inputs[0])
            seen = VIEWS[self.view](tensors["images"].numpy())
            return Result(tensors | {"images": torch.from_numpy(seen)}, info)
        found = load_dataset(
            self.root or None,
            source=self.source,
            size=self.size,
            channels=self.channels,
            depth=self.depth,
            window=self.window,
            labels=self.labels,
            limit=self.limit,
            classes=self.classes,
            n=self.n or 400,
            seed=self.seed,
            progress=context.progress,
        )
        info = {
            name: getattr(found, name) for name in ("class_names", "names", "groups", "official", "skipped", "notes")
        }
        return Result({"images": torch.from_numpy(found.images), "labels": torch.from_numpy(found.labels)}, info)

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, slices (of volumes), height and width of one case, as it is seen.

        Example:
            >>> volumes = Images("nifti", "", size=48, channels=1, depth=24)
            >>> volumes.shape, replace(volumes, view="middle").shape, replace(volumes, view="halved").shape
            ((1, 24, 48, 48), (3, 48, 48), (1, 12, 24, 24))
        """
        sides = (self.size, self.size) if self.depth is None else (self.depth, self.size, self.size)
        read = np.zeros((1, self.channels, *sides), np.uint8)
        return tuple((VIEWS[self.view](read) if self.view else read).shape[1:])

    @property
    def frame(self) -> Frame:
        """The geometry and the window with which the files are read."""
        return make_frame(self.size, None, self.channels, "images", depth=self.depth, window=self.window)

    def dataset(self, context: Context) -> Dataset:
        """The stored images as a `Dataset`."""
        tensors, info = context.get(self)
        return Dataset(
            tensors["images"].numpy(),
            tensors["labels"].numpy(),
            *(tuple(info[name]) for name in ("class_names", "names", "groups", "official")),
            skipped=tuple(Skipped(*item) for item in info["skipped"]),
            notes=tuple(Note(*item) for item in info["notes"]),
        )


def images_stage(
    source: str | None,
    root: str | Path | None,
    *,
    size: int,
    limit: int | None = None,
    n: int = 0,
    seed: int = 0,
    labels: LabelKind = "binary",
    channels: int | None = None,
    depth: int | None = None,
    window: str | None = None,
    classes: Sequence[str] = (),
) -> Images:
    """The `Images` stage of a folder, with its source recognised and its files (of the kept classes) hashed.

    Args are those of `Images` and `medaegis.data.load_dataset`; a stage of images has the key that it had before there
    were volumes.

    Raises:
        InputError: depth or window breaks its rule, or does not go with the source; a class that is not there, one
            alone, or classes of a phantom.
        DataError: the folder cannot be used.

    Example:
        >>> images_stage("phantom-chest", None, size=64, n=8).content
        ''
    """
    frame = make_frame(size, None, channels, "images_stage", depth=depth, window=window)
    if source is not None and source.startswith(PHANTOM):
        require(not classes, "classes", "recipe", "left out for a phantom", classes)
        return Images(source, "", size, n=n, seed=seed, channels=frame.channels, depth=depth)
    folder = check_root(root)
    name = source or detect_source(folder, volumes=depth is not None)
    check_kind(name, frame)
    content = fingerprint(list_cases(folder, source=name, labels=labels, classes=classes).files, folder)
    return Images(
        name,
        content,
        size,
        labels=labels,
        limit=limit,
        channels=frame.channels,
        depth=depth,
        window=window,
        classes=tuple(sorted(classes)),
        root=str(folder),
    )


@dataclass(frozen=True)
class SplitCases(Stage):
    """Train, validation and test, by patient or by image; see `medaegis.data.split_cases`.

    Args:
        images: of all cases.
        by: "patient" or "image".
        test_share: share of all cases for Test.
        validation_share: share of the rest for validation.
        seed: of the draws.
        part: which half of Train and of validation is kept; Test is the same for both.
    """

    images: Images
    by: Literal["patient", "image"] = "patient"
    test_share: float = 0.2
    validation_share: float = 0.1
    seed: int = 0
    part: Part = ""

    def compute(self, context: Context) -> Result:
        """Split and store the names of the cases of each part."""
        data = self.images.dataset(context)
        shares = {"test_share": self.test_share, "validation_share": self.validation_share}
        split = split_cases(data.labels, data.groups, by=self.by, seed=self.seed, **shares)
        if self.part:
            split = Split(self._half(split.train, data), self._half(split.validation, data), split.test)
        return Result({}, {"split": json.loads(split_to_json(split, data.names))})

    def _half(self, cases: Index, data: Dataset) -> Index:
        first, second = split_adversarial(cases, data.labels, data.groups, train_share=0.5, by=self.by, seed=self.seed)
        return first if self.part == "first" else second

    def split(self, context: Context) -> Split:
        """The stored split, checked again for leaks.

        Raises:
            LeakError: a case or patient stands on two sides.
        """
        data = self.images.dataset(context)
        split = split_from_json(json.dumps(context.get(self).info["split"]), data.names, Split)
        check_no_leak(split._asdict(), data.groups, by=self.by)
        return split


def cases_at(data: Dataset, index: np.ndarray[Any, np.dtype[np.int64]]) -> tuple[Tensor, Tensor]:
    """Images float32 in [0, 1] and labels of some cases.

    Example:
        >>> from medaegis.data import phantom_dataset
        >>> cases_at(phantom_dataset("phantom-chest", 4, size=32), np.array([0, 2]))[0].shape
        torch.Size([2, 3, 32, 32])
    """
    return data.tensor(index), torch.as_tensor(data.labels[index])
