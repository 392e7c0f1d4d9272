"""Every detector of this package as a function without arguments."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from medaegis.detect import Detector
from medaegis.detect._names import DETECTORS

NEED_A_MODEL = {"BU"}
OPTIONS: dict[str, dict[str, Any]] = {}  # for a class that takes arguments, or is quicker with some


def factory(name: str) -> Callable[[], Detector]:
    return partial(DETECTORS[name], **OPTIONS.get(name, {}))
