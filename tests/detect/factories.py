"""Every detector of this package as a function without arguments."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from medaegis.detect import MAHA, Detector
from medaegis.detect._names import DETECTORS

NEED_A_MODEL = {"BU"}
OPTIONS: dict[str, dict[str, Any]] = {  # some of scikit-learn's checks have ten cases; training shall be short
    "LID": {"neighbours": 3},
    "KNN": {"neighbours": 2},
    "DNN": {"epochs": 30},
    "Combined": {"detector": MAHA()},
}


def factory(name: str) -> Callable[[], Detector]:
    return partial(DETECTORS[name], **OPTIONS.get(name, {}))
