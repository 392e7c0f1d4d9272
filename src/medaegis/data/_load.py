"""A folder of images or volumes to one `Dataset`: list, decode on a few threads, report what could not be used."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from medaegis._errors import DataError, require
from medaegis._progress import progress_bar
from medaegis.data._dataset import Dataset, Note, Pixels, Skipped
from medaegis.data._decode import BadImageError, decode, strict_pillow
from medaegis.data._duplicates import merge_groups
from medaegis.data._geometry import Frame, make_frame
from medaegis.data._listing import Case, Listing, relative_name
from medaegis.data._source_cifar import cifar_dataset
from medaegis.data._source_npz import npz_dataset
from medaegis.data._source_phantom import PHANTOM_CLASSES, phantom_dataset
from medaegis.data._source_volumes import has_nifti
from medaegis.data._sources import OF_VOLUMES, LabelKind, check_root, detect_source, list_cases
from medaegis.data._volume import decode_volume
from medaegis.data._warnings import DataWarning
from medaegis.data._window import HU_WINDOW
from medaegis.data._workers import worker_count

OnBad: TypeAlias = Literal["skip", "error"]

BAD_SHARE = 0.10
MIN_PER_CLASS = 3  # one each for Train, validation and Test
_ARRAYS = {"npz": npz_dataset, "cifar10": cifar_dataset}


class _Read(NamedTuple):
    """One case after decoding, without its pixels; `reason` says why there are none, "" if there are."""

    case: Case
    name: str
    reason: str
    digest: bytes = b""
    remarks: tuple[str, ...] = ()
    patients: tuple[str, str] = ("", "")
    hounsfield: bool | None = None


def load_dataset(
    root: str | Path | None,
    *,
    source: str | None = None,
    size: int = 256,
    resize: int | None = None,
    channels: int | None = None,
    depth: int | None = None,
    window: str | None = None,
    labels: LabelKind = "binary",
    on_bad: OnBad = "skip",
    limit: int | None = None,
    classes: Sequence[str] = (),
    n: int = 400,
    seed: int = 0,
    progress: bool = False,
) -> Dataset:
    """Read a folder of labelled images, or of labelled volumes, into memory.

    Each image is turned upright, its short side resized to `resize`, and its centre cropped; never padded or
    stretched, because the aspect ratio alone can give the class away. With `depth`, volumes are read: slices run from
    the feet to the head and go the same way; their number becomes `depth`, whatever their distance.

    Args:
        root: the data's folder; None for phantoms.
        source: one of `source_names`; guessed from the layout by default.
        size: height and width that come out, in pixels.
        resize: short side before the crop, in pixels; size * 280 / 256 by default, as in the papers.
        channels: 1 or 3; by default 3 of images and 1 of volumes.
        depth: number of slices of a volume; None reads images.
        window: "centre,width" of DICOM and NIfTI files, as in "40,80" for a brain in Hounsfield units. By default an
            image gets what its file says, and a volume "40,400" in Hounsfield units, else its own percentiles 0.5 and
            99.5.
        labels: "binary" or "grades"; only sources with grades (`aptos`, `graded`) know grades.
        on_bad: "skip" leaves unusable files out (listed in `skipped`, with one warning); "error" stops at the first.
        limit: at most so many cases of a class, chosen by a hash of the name, so that a smaller limit gives a subset.
        classes: names of those that are kept, at least two; all by default.
        n: number of phantoms; other sources ignore it.
        seed: of the phantoms; other sources ignore it.
        progress: show a bar.

    Returns:
        The cases sorted by name; uint16 if any file has more than 8 bits (8-bit files are then multiplied by 257), else
        uint8. Volumes are (n, channels, depth, size, size), uint16 from DICOM and NIfTI files.

    Raises:
        InputError: an argument breaks its rule.
        DataError: the folder is not as the source needs it, more than 10 % of the files are unusable, or a class has
            fewer than three images.

    Warns:
        DataWarning: files were skipped, 8-bit and 16-bit files are mixed, only some volumes are in Hounsfield units, or
            all DICOM files name one patient or one study.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for i in range(6):
        ...         os.makedirs(f"{folder}/{'ab'[i % 2]}", exist_ok=True)
        ...         Image.new("L", (40, 30), i).save(f"{folder}/{'ab'[i % 2]}/{i}.png")
        ...     data = load_dataset(folder, size=16)
        >>> data.images.shape, data.class_names, data.names[0]
        ((6, 3, 16, 16), ('a', 'b'), 'a/0.png')
    """
    require(on_bad in ("skip", "error"), "on_bad", "load_dataset", '"skip" or "error"', on_bad)
    rule = f"an int >= {MIN_PER_CLASS} or None"
    require(limit is None or limit >= MIN_PER_CLASS, "limit", "load_dataset", rule, limit)
    frame = make_frame(size, resize, channels, "load_dataset", depth=depth, window=window)
    if source in PHANTOM_CLASSES:
        require(root is None, "root", "load_dataset", "None for a phantom, which reads no files", root)
        require(not classes, "classes", "load_dataset", "left out for a phantom", classes)
        return phantom_dataset(source, n, size=size, channels=frame.channels, seed=seed, depth=depth)
    folder = check_root(root)
    name = source or detect_source(folder, volumes=depth is not None)
    check_kind(name, frame)
    listing = list_cases(folder, source=name, labels=labels, classes=classes)
    if name in _ARRAYS:
        whole = _ARRAYS[name](folder, frame, limit=limit, classes=classes)
        _check_counts(folder, whole.class_names, whole.labels.tolist(), (), volumes=depth is not None)
        return whole
    _check_counts(
        folder, listing.class_names, [case.label for case in listing.cases], listing.skipped, volumes=depth is not None
    )
    chosen = listing.cases if limit is None else _limited(listing.cases, folder, limit)
    room = _room(len(chosen), frame)
    reads, pixels = _decode_all(chosen, folder, frame, room, stop=on_bad == "error", progress=progress)
    return _assemble(folder, listing, reads, pixels, room, on_bad)


def check_kind(name: str, frame: Frame) -> None:
    """Volumes need a depth, and images have none."""
    fix = "Say how many slices are wanted, as in depth=30."
    require(name != "volumes" or frame.depth is not None, "depth", "load_dataset", "an int for volumes", None, fix)
    fix = "Volumes are the sources `volumes` and `npz`."
    only = f"None for the source `{name}`, which reads images"
    require(name in OF_VOLUMES or frame.depth is None, "depth", "load_dataset", only, frame.depth, fix)
    plain = name not in _ARRAYS or frame.window is None
    require(plain, "window", "load_dataset", f"None for `{name}`, whose values are taken as they are", frame.window)


def _check_counts(
    folder: Path, classes: Sequence[str], labels: Sequence[int], skipped: Sequence[Skipped], *, volumes: bool
) -> None:
    counts = np.bincount(np.array(labels, dtype=np.int64), minlength=len(classes))
    if counts.min() >= MIN_PER_CLASS:
        return
    found = ", ".join(f"{name}: {count}" for name, count in zip(classes, counts, strict=True))
    lost = f" {len(skipped)} were skipped, the first {skipped[0].name}: {skipped[0].reason}." if skipped else ""
    lost += " There are NIfTI files below: `depth` reads volumes." if not volumes and has_nifti(folder) else ""
    kind = "volumes (NIfTI files, or a folder of DICOM files for each series)" if volumes else "images"
    raise DataError(
        f"Each class in {folder} must have at least {MIN_PER_CLASS} usable {kind} (Train, validation and Test need "
        f"one each), got {found}.{lost} Check that this is the right folder, add images, or leave the class out."
    )


def _limited(cases: Sequence[Case], folder: Path, limit: int) -> tuple[Case, ...]:
    def rank(case: Case) -> bytes:
        return hashlib.blake2b(os.fsencode(relative_name(case.path, folder))).digest()

    kept: set[Path] = set()
    for label in {case.label for case in cases}:
        kept |= {case.path for case in sorted((c for c in cases if c.label == label), key=rank)[:limit]}
    return tuple(case for case in cases if case.path in kept)


def _room(n: int, frame: Frame) -> Pixels | None:
    """The array that volumes are put into one by one, so that memory holds them once; None for images."""
    if frame.depth is None:
        return None
    return np.empty((n, frame.channels, frame.depth, frame.size, frame.size), np.uint16)


def _decode_all(
    cases: Sequence[Case], folder: Path, frame: Frame, room: Pixels | None, *, stop: bool, progress: bool
) -> tuple[list[_Read], list[Pixels]]:
    """What became of each case, and the pixels of the good ones; with a room, they lie at its beginning."""

    def read(case: Case) -> tuple[_Read, Pixels | None]:
        name = relative_name(case.path, folder)
        try:
            image = decode(case.path, frame) if room is None else decode_volume(case, frame)
        except BadImageError as error:
            if stop:
                raise
            return _Read(case, name, error.reason), None
        done = _Read(case, name, "", image.digest, image.remarks, image.patients, image.hounsfield)
        return done, image.pixels

    reads: list[_Read] = []
    pixels: list[Pixels] = []
    with (
        strict_pillow(),
        progress_bar(len(cases), "reading", unit="image", show=progress) as advance,
        ThreadPoolExecutor(worker_count()) as pool,
    ):
        for done, image in pool.map(read, cases):
            reads.append(done)
            if image is not None:
                pixels.append(_put(image, room, len(pixels)))
            advance(1)
    return reads, pixels


def _put(image: Pixels, room: Pixels | None, place: int) -> Pixels:
    if room is None:
        return image
    room[place] = image
    return room[place]


def _assemble(
    folder: Path, listing: Listing, reads: list[_Read], pixels: list[Pixels], room: Pixels | None, on_bad: OnBad
) -> Dataset:
    good = [read for read in reads if not read.reason]
    skipped = listing.skipped + tuple(Skipped(read.name, read.reason) for read in reads if read.reason)
    # With a limit, few of the listed cases are read: the shares of missing and of bad ones are taken separately.
    missing = len(listing.skipped) / max(1, len(listing.cases) + len(listing.skipped))
    bad = (len(reads) - len(good)) / max(1, len(reads))
    too_many = missing + bad > (0 if on_bad == "error" else BAD_SHARE)
    _report_skipped(folder, skipped, len(reads) + len(listing.skipped), too_many)
    labels = [read.case.label for read in good]
    _check_counts(folder, listing.class_names, labels, skipped, volumes=room is not None)
    names = tuple(read.name for read in good)
    _report_windows(folder, good)
    merged = merge_groups(_groups(folder, good), [read.digest for read in good])
    _report_contradictions(names, labels, merged.first)
    notes = [Note(read.name, text) for read in good for text in read.remarks]
    notes += [Note(names[i], f"same content as {names[j]}: taken as one patient") for i, j in merged.first.items()]
    return Dataset(
        images=_stack(folder, pixels) if room is None else room[: len(pixels)],
        labels=np.array(labels, dtype=np.int64),
        class_names=listing.class_names,
        names=names,
        groups=merged.groups,
        official=tuple(read.case.official for read in good),
        skipped=skipped,
        notes=tuple(notes),
    )


def _groups(folder: Path, good: Sequence[_Read]) -> list[str]:
    """The patient of each case: what its file says, else what the listing says, else the case itself."""
    patients = _telling(folder, "PatientID", [read.patients[0] for read in good])
    studies = _telling(folder, "StudyInstanceUID", [read.patients[1] for read in good])
    return [
        patient or study or read.case.group or read.name
        for patient, study, read in zip(patients, studies, good, strict=True)
    ]


def _telling(folder: Path, tag: str, told: list[str]) -> list[str]:
    """The same, or nothing where all name one patient, as a whole folder does from which names were removed."""
    named = [patient for patient in told if patient]
    if len(named) < 2 or len(set(named)) > 1:
        return told
    text = f"All {len(named)} DICOM files or series of {folder} have one {tag}, so it tells no patients apart."
    warnings.warn(f"{text} It is not used.", DataWarning, stacklevel=5)
    return [""] * len(told)


def _report_windows(folder: Path, good: Sequence[_Read]) -> None:
    told = [read.hounsfield for read in good]
    if True in told and False in told:
        few = next(read.name for read in good if read.hounsfield is False)
        text = f"{told.count(True)} of {len(told)} volumes of {folder} are in Hounsfield units and got the window"
        rest = f"{HU_WINDOW}; the others, such as {few}, were scaled by their own values. Give one `window` for all."
        warnings.warn(f"{text} {rest}", DataWarning, stacklevel=4)


def _report_contradictions(names: Sequence[str], labels: Sequence[int], first: Mapping[int, int]) -> None:
    pairs = [(names[j], names[i]) for i, j in first.items() if labels[i] != labels[j]]
    if pairs:
        text = f"{len(pairs)} images have the same content as one of another class, the first {pairs[0]}."
        warnings.warn(f"{text} They are kept; one of the labels must be wrong.", DataWarning, stacklevel=4)


def _report_skipped(folder: Path, skipped: Sequence[Skipped], total: int, too_many: bool) -> None:
    if not skipped:
        return
    first = "; ".join(f"{name} ({reason})" for name, reason in skipped[:3]) + ("; and more" if len(skipped) > 3 else "")
    text = f"{len(skipped)} of {total} images in {folder} cannot be used: {first}."
    if too_many:
        rule = f'at most {BAD_SHARE:.0%}, or none with on_bad="error"'
        raise DataError(f"{text} Allowed: {rule}. Restore or remove these files; was the archive unpacked in full?")
    warnings.warn(f"{text} They are left out and listed in `skipped`.", DataWarning, stacklevel=4)


def _stack(folder: Path, pixels: list[Pixels]) -> Pixels:
    """One array; the list empties as it fills, so that memory holds the images once."""
    deep = [image.dtype == np.uint16 for image in pixels]
    mixed = any(deep) and not all(deep)
    if mixed:
        text = f"{folder} mixes {sum(deep)} images of 16 bits with {len(deep) - sum(deep)} of 8 bits: the 8-bit ones"
        warnings.warn(f"{text} are multiplied by 257, so that 255 becomes 65535.", DataWarning, stacklevel=4)
    dtype = np.uint16 if any(deep) else np.uint8
    whole: Pixels = np.empty((len(pixels), *pixels[0].shape), dtype)
    for i in reversed(range(len(whole))):
        image = pixels.pop()
        whole[i] = image.astype(np.uint16) * 257 if mixed and not deep[i] else image
    return whole
