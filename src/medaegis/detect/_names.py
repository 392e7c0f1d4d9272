"""Detectors by name: this package's, and those that others install under the entry point group `medaegis.detectors`."""

from __future__ import annotations

import difflib
import inspect
import warnings
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from medaegis._errors import InputError, MedaegisError
from medaegis.detect._bu import BU
from medaegis.detect._combined import Combined
from medaegis.detect._detector import Detector
from medaegis.detect._dnn import DNN
from medaegis.detect._hfc_score import HFCScore
from medaegis.detect._kd import KD
from medaegis.detect._knn import KNN
from medaegis.detect._lid import LID
from medaegis.detect._maha import MAHA
from medaegis.detect._mvg import MVG
from medaegis.detect._svm import SVM

DETECTORS: dict[str, type[Detector]] = {
    "KD": KD,
    "BU": BU,
    "LID": LID,
    "MAHA": MAHA,
    "SVM": SVM,
    "DNN": DNN,
    "KNN": KNN,
    "MVG": MVG,
    "HFC": HFCScore,
    "Combined": Combined,
}

GROUP = "medaegis.detectors"


class DetectorWarning(UserWarning):
    """An installed detector cannot be used, or its name is taken; the others can be."""


def find_detectors() -> dict[str, type[Detector]]:
    """All detectors by name: ours first, then installed ones; one that cannot be loaded is left out.

    Warns:
        DetectorWarning: an installed detector cannot be loaded, or its name is taken; the text names it.

    Example:
        >>> find_detectors()["KD"].__name__
        'KD'
    """
    found = dict(DETECTORS)
    for entry in entry_points(group=GROUP):
        try:
            if _is_free(entry, found, stacklevel=3):
                found[entry.name] = _loaded(entry)
        except MedaegisError as error:
            warnings.warn(str(error), DetectorWarning, stacklevel=2)
    return found


def make_detector(name: str, **options: Any) -> Detector:
    """A detector that is not fitted yet.

    Args:
        name: one of `find_detectors()`, as "KD", "MAHA" or "HFC"; ours come before installed ones of the same name.
        **options: what its class takes.

    Raises:
        InputError: an unknown name; the text names the nearest.
        MedaegisError: the installed detector of this name cannot be loaded, or is none.

    Warns:
        DetectorWarning: an installed detector of this name is not used, because the name is taken.

    Example:
        >>> make_detector("KD", bandwidth=1.0).bandwidth
        1.0
    """
    return _class_named(name)(**options)


def detector_class(name: str) -> type[Detector]:
    """The class that `make_detector` makes a detector of, whose `load` reads what such a detector saved.

    Raises:
        InputError: an unknown name; the text names the nearest.
        MedaegisError: the installed detector of this name cannot be loaded, or is none.

    Example:
        >>> detector_class("HFC").__name__
        'HFCScore'
    """
    return _class_named(name)


def _class_named(name: str) -> type[Detector]:
    found = {name: DETECTORS[name]} if name in DETECTORS else {}
    installed = entry_points(group=GROUP)
    for entry in installed:
        if entry.name == name and _is_free(entry, found, stacklevel=4):
            found[name] = _loaded(entry)
    if name not in found:
        raise InputError(_unknown(name, sorted({*DETECTORS, *(entry.name for entry in installed)})))
    return found[name]


def _is_free(entry: EntryPoint, found: dict[str, type[Detector]], *, stacklevel: int) -> bool:
    """Whether no detector has this entry's name yet; warns, in the name of the public door's caller, where one has."""
    if entry.name not in found:
        return True
    owner = found[entry.name]
    if f"{owner.__module__}:{owner.__name__}" != entry.value:  # the same class twice on the path hides nothing
        text = f"The installed detector {entry.name} ({entry.value}) is not used: the name is {owner.__module__}'s."
        warnings.warn(text, DetectorWarning, stacklevel=stacklevel)
    return False


def _loaded(entry: EntryPoint) -> type[Detector]:
    named = f"The installed detector {entry.name} ({entry.value})"
    try:
        kind: Any = entry.load()
    except Exception as error:  # another package's module may raise anything
        raise MedaegisError(f"{named} cannot be loaded: {error}") from error
    if not (isinstance(kind, type) and issubclass(kind, Detector)):
        raise MedaegisError(f"{named} must be a subclass of medaegis.detect.Detector, got {kind!r}.")
    if inspect.isabstract(kind):
        missing = ", ".join(sorted(kind.__abstractmethods__))
        raise MedaegisError(f"{named} must define every method of a Detector; it lacks {missing}.")
    return kind


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"`detector` of make_detector must be one of {known}, got {name!r}.{hint}"
