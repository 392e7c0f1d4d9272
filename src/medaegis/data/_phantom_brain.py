"""Made-up head CT volumes with a haemorrhage of one of four causes: the stand-in for HFC-23's private Brain set."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

from medaegis.data._phantom_bleeds import AGES, CAUSES, bled, draw_bleed
from medaegis.data._phantom_head import build_head, draw_head
from medaegis.data._phantom_parts import Array, blurred, check_counts
from medaegis.data._phantom_volume import Pose, cloud, pushed, voxels, warped

WINDOW = (0.0, 80.0)  # Hounsfield units that become 0 and 255: the window that radiologists read a brain in
_NUMBER = 3  # sets these draws apart from those of other phantoms
# Sixteen volumes of twelve patients: the last four have a second one. Any four neighbours from a multiple of four on
# have the four causes.
_PATIENTS = (*range(12), *range(8, 12))


class Volumes(NamedTuple):
    """Made-up volumes with labels and patients.

    Attributes:
        images: (n, 1, depth, size, size), uint8; slices from the base of the skull to its top.
        labels: (n,), int64, positions in `CAUSES`.
        groups: n patient ids; volumes of one patient show one anatomy, one bleed and share a label.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    groups: tuple[str, ...]


def brain_phantoms(n: int, *, size: int = 64, depth: int = 30, seed: int = 0) -> Volumes:
    """Draw CT volumes of made-up heads that bled, for one of four causes; see `CAUSES`.

    A head has skin, skull, face, brain with sulci, deep nuclei, ventricles and cisterns, chalk where it is harmless,
    and the patient's own shape, age and pose. The bleed lies where its cause puts it and presses the brain aside; blood
    in the ventricles comes with every cause. A third of the patients have two volumes. Case i depends on `seed` and i
    only.

    HFC-23's Brain set (1,486 volumes of one hospital) is private; this stands in for it with its four classes and the
    shape of its volumes, and carries none of its patients.

    Args:
        n: number of volumes, at least 1; every n that is a multiple of 4 is balanced.
        size: height and width in voxels, 32 to 1024.
        depth: number of slices, 8 to 256; the paper has 30.
        seed: an int in [0, 2**32 - 1]; another seed makes other patients.

    Returns:
        Volumes (n, 1, depth, size, size) as uint8, labels (n,) as positions in `CAUSES`, and n patient ids.

    Raises:
        InputError: an argument is not an int in its range.

    Source: HFC-23 section V-A, for the causes and the number of slices.

    Example:
        >>> images, labels, groups = brain_phantoms(4, size=32, depth=8)
        >>> images.shape, sorted(labels.tolist()), len(set(groups))
        ((4, 1, 8, 32, 32), [0, 1, 2, 3], 4)
    """
    check_counts("brain_phantoms", n=n, size=size, depth=depth, seed=seed)
    images = np.empty((n, 1, depth, size, size), np.uint8)
    labels = np.empty(n, np.int64)
    groups: list[str] = []
    for i in range(n):
        patient, visit = 12 * (i // 16) + _PATIENTS[i % 16], int(i % 16 >= 12)
        order = default_rng([seed, _NUMBER, patient // 4, 3]).permutation(len(CAUSES))
        labels[i] = order[patient % 4]
        generators = [default_rng([seed, _NUMBER, patient, word]) for word in (0, 1 + visit)]
        images[i, 0] = _scan(generators[0], generators[1], int(labels[i]), depth, size)
        groups.append(f"brain-s{seed}-p{patient:05d}")
    return Volumes(images, labels, tuple(groups))


def _scan(patient: Generator, visit: Generator, cause: int, depth: int, size: int) -> NDArray[np.uint8]:
    head = draw_head(patient, AGES[cause])
    bleed, wider = draw_bleed(patient, cause)
    head = head._replace(ventricles=head.ventricles * wider)
    space = voxels(depth, size, _pose(visit))
    inner = warped(space, patient, 0.012)
    for clot in bleed.clots:
        inner = pushed(inner, clot.centre, clot.mass)
    anatomy = build_head(head, space, inner, patient)
    hu = bled(bleed, head, anatomy, inner, space, patient)
    return _windowed(_scanned(visit, hu))


def _pose(rng: Generator) -> Pose:
    """How the patient lies: the gantry is tilted along the skull's base, and nobody lies quite straight."""
    turns = (0.16 + rng.normal(0, 0.05), rng.normal(0, 0.03), rng.normal(0, 0.05))
    zoom = rng.uniform(1.12, 1.26)
    return Pose(turns, zoom, (rng.normal(0, 0.02), rng.normal(0, 0.02), rng.normal(-0.08, 0.02)))


def _scanned(rng: Generator, hu: Array) -> Array:
    """What the scanner makes of it: a blur within slices, a slow drift, and grain."""
    seen = blurred(np.clip(hu, -120, 180), rng.uniform(0.008, 0.014))
    drift = rng.uniform(0, 1.2) * cloud(rng, (len(hu), hu.shape[1], hu.shape[2]), 2)
    grain = rng.standard_normal(hu.shape, np.float32)
    return seen + drift + rng.uniform(2.0, 4.5) * grain


def _windowed(hu: Array) -> NDArray[np.uint8]:
    low, high = WINDOW
    return np.rint(255 * np.clip((hu - low) / (high - low), 0, 1)).astype(np.uint8)
