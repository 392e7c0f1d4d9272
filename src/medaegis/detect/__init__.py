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
from medaegis.detect._names import DetectorWarning, detector_class, find_detectors, make_detector
from medaegis.detect._released import RELEASED, released_scores
from medaegis.detect._released_data import LayerScores, ReleasedData, ReleasedScores
from medaegis.detect._released_maha import stepped_distances, unshrunk_gaussians
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
    "RELEASED",
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
    "LayerScores",
    "OutlierEstimator",
    "ReleasedData",
    "ReleasedScores",
    "by_layer",
    "check_detector",
    "detector_checks",
    "detector_class",
    "evading",
    "extract",
    "find_detectors",
    "guard",
    "make_detector",
    "released_scores",
    "score_tapped",
    "score_together",
    "stepped_distances",
    "to_score",
    "unshrunk_gaussians",
]
