from __future__ import annotations

from collections.abc import Callable

import pytest

from detect.learned import MAKERS, Wrap, fit, named_layer, one_layer, two_layers
from medaegis.detect import BU, Detector


@pytest.fixture(params=MAKERS.values(), ids=MAKERS)
def make(request: pytest.FixtureRequest) -> Callable[[], Detector]:
    return request.param


@pytest.fixture(params=[one_layer, named_layer, two_layers])
def wrap(request: pytest.FixtureRequest, make: Callable[[], Detector]) -> Wrap:
    if request.param is two_layers and isinstance(make(), BU):
        pytest.skip("BU reads the penultimate layer alone")
    return request.param


@pytest.fixture
def fitted(make: Callable[[], Detector], wrap: Wrap) -> Detector:
    return fit(make(), wrap)
