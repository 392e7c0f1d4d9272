"""Every detector of the list, as a layer or a mapping of layers; networks of attacks from one seed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from contracts.detector_list import MAKERS, Wrap, cases, named_layer, one_layer, ready, shaped, two_layers
from medaegis.detect import BU, Detector


@pytest.fixture(params=MAKERS.values(), ids=MAKERS)
def make(request: pytest.FixtureRequest) -> Callable[[], Detector]:
    return lambda: ready(request.param())


@pytest.fixture
def single(make: Callable[[], Detector]) -> Wrap:
    """Features (n, d) as one layer of what the detector reads."""
    return shaped(make(), one_layer)


@pytest.fixture(params=["tensor", "mapping"])
def wrap(request: pytest.FixtureRequest, make: Callable[[], Detector]) -> Wrap:
    """Features (n, d) as one layer, or as a mapping: of one layer for BU, which reads no more, else of two."""
    several = named_layer if isinstance(make(), BU) else two_layers
    return shaped(make(), one_layer if request.param == "tensor" else several)


@pytest.fixture
def fitted(make: Callable[[], Detector], wrap: Wrap) -> Detector:
    z, labels = cases()
    return make().fit(wrap(z), labels)


@pytest.fixture
def same_networks():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
