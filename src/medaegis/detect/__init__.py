"""Detectors: fitted on what is normal, they score what is adversarial."""

from medaegis.detect._bench import ConformanceError
from medaegis.detect._bu import BU
from medaegis.detect._combined import Combined
from medaegis.detect._conformance import check_detector, detector_checks
from medaegis.detect._detector import Detector, by_layer, to_score
from medaegis.detect._dnn import DNN
from medaegis.detect._estimator import OutlierEstimator
from medaegis.detect._evading import Evading, evading
from medaegis.detect._examples import AnyFeatures, Examples
from medaegis.detect._features import extract
from medaegis.detect._guard import DetectorGuard, guard
from medaegis.detect._hfc_score import HFCScore
from medaegis.detect._kd import KD
from medaegis.detect._knn import KNN
from medaegis.detect._lid import LID
from medaegis.detect._maha import MAHA
from medaegis.detect._mvg import MVG
from medaegis.detect._names import DetectorWarning, find_detectors, make_detector
from medaegis.detect._svm import SVM
from medaegis.detect._together import score_tapped, score_together

__all__ = [
    "BU",
    "DNN",
    "KD",
    "KNN",
    "LID",
    "MAHA",
    "MVG",
    "SVM",
    "AnyFeatures",
    "Combined",
    "ConformanceError",
    "Detector",
    "DetectorGuard",
    "DetectorWarning",
    "Evading",
    "Examples",
    "HFCScore",
    "OutlierEstimator",
    "by_layer",
    "check_detector",
    "detector_checks",
    "evading",
    "extract",
    "find_detectors",
    "guard",
    "make_detector",
    "score_tapped",
    "score_together",
    "to_score",
]
