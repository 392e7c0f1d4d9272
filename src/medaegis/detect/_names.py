"""Detectors by name."""

from __future__ import annotations

from typing import Any

from medaegis._errors import require
from medaegis.detect._bu import BU
from medaegis.detect._detector import Detector
from medaegis.detect._dnn import DNN
from medaegis.detect._hfc_score import HFCScore
from medaegis.detect._kd import KD
from medaegis.detect._maha import MAHA
from medaegis.detect._svm import SVM

DETECTORS: dict[str, type[Detector]] = {"KD": KD, "MAHA": MAHA, "HFC": HFCScore, "SVM": SVM, "DNN": DNN, "BU": BU}


def make_detector(name: str, **options: Any) -> Detector:
    """A detector that is not fitted yet.

    Args:
        name: "KD", "MAHA", "HFC", "SVM", "DNN" or "BU".
        **options: what its class takes.

    Raises:
        InputError: an unknown name.

    Example:
        >>> make_detector("KD", bandwidth=1.0).bandwidth
        1.0
    """
    require(name in DETECTORS, "detector", "make_detector", f"one of {list(DETECTORS)}", name)
    return DETECTORS[name](**options)
