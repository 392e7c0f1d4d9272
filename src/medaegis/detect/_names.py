"""Detectors by name."""

from __future__ import annotations

from typing import Any

from medaegis._errors import require
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


def make_detector(name: str, **options: Any) -> Detector:
    """A detector that is not fitted yet.

    Args:
        name: "KD", "BU", "LID", "MAHA", "SVM", "DNN", "KNN", "MVG", "HFC", or "Combined", whose option `detector` is
            another detector.
        **options: what its class takes.

    Raises:
        InputError: an unknown name.

    Example:
        >>> make_detector("KD", bandwidth=1.0).bandwidth
        1.0
    """
    require(name in DETECTORS, "detector", "make_detector", f"one of {list(DETECTORS)}", name)
    return DETECTORS[name](**options)
