from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from detect.broken import BROKEN
from detect.plain import Plain
from medaegis import InputError, MedaegisError
from medaegis.detect import ConformanceError, check_detector, detector_checks

CHECKS = detector_checks()


@pytest.fixture
def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, 2)).double().train()


def test_a_detector_that_keeps_the_laws():
    assert check_detector(Plain) == list(CHECKS)


class Learns(Plain):
    """Weighs its distance by how well it tells the examples apart."""

    learns_attacks = True

    def fit(self, features, labels, *, examples=None):
        if examples is None:
            raise InputError("`examples` of Learns must be given.")
        super().fit(features, labels)
        low, high = (super(Learns, self).score(z).mean().item() for z in (examples.negative, examples.positive))
        self.slope_ = (high - low) / (high + low)
        return self

    def score(self, features, predicted=None):
        return super().score(features) * getattr(self, "slope_", 1)

    def state(self):
        tensors, values = super().state()
        return tensors, values | {"slope_": self.slope_}

    @classmethod
    def restore(cls, tensors, values):
        detector = super().restore(tensors, values)
        detector.slope_ = values["slope_"]
        return detector


def test_a_detector_that_learns_attacks_and_keeps_the_laws():
    assert check_detector(Learns) == list(CHECKS)


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_law_is_caught_by_its_check(kind: type[Plain]):
    with pytest.raises(
        ConformanceError, match=rf"^{kind.__name__} fails 1 of {len(CHECKS)} checks:\n  \w+: "
    ) as caught:
        check_detector(kind)
    assert list(caught.value.failures) == [BROKEN[kind]]
    assert caught.value.failures[BROKEN[kind]] in str(caught.value)


def test_every_check_can_fail():
    assert set(BROKEN.values()) == set(CHECKS)


def test_the_error_is_ours_and_an_assertion():
    assert issubclass(ConformanceError, MedaegisError)
    assert issubclass(ConformanceError, AssertionError)


def test_every_failure_is_listed():
    class Worse(Plain):
        def score(self, features, predicted=None):
            raise ZeroDivisionError("by design")

    with pytest.raises(ConformanceError) as caught:
        check_detector(Worse)
    assert {"far_above_near", "one_feature", "unfitted_raises"} <= set(caught.value.failures)
    assert "fit_returns_self" not in caught.value.failures
    assert caught.value.failures["far_above_near"] == "ZeroDivisionError('by design')"


def test_no_detector():
    with pytest.raises(InputError, match=r"`make` of check_detector must be a function that returns a new Detector"):
        check_detector(dict)  # type: ignore[arg-type]


def test_the_checks_leave_the_global_random_state_alone():
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    check_detector(Plain)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
    assert random.getstate() == before[2]


# detectors that need the network


class Logits(Plain):
    """Reads the network's last layer: without it there is no score."""

    def prepare(self, model):
        self.head_ = list(model.children())[-1]
        return self

    def score(self, features, predicted=None):
        scores = super().score(features)
        z = features if isinstance(features, torch.Tensor) else features["penultimate"]
        if z.shape[1] != self.head_.in_features:
            raise InputError("as many channels as the last layer has")
        with torch.no_grad():
            assert bool((predicted < self.head_.out_features).all())
            self.head_(z.double())
        return scores


def test_a_model_sets_the_width_and_the_classes(network: nn.Module):
    assert check_detector(Logits, model=network) == ["model_is_left_alone", *CHECKS]
    with pytest.raises(ConformanceError, match="head_"):
        check_detector(Logits)


@pytest.mark.parametrize("harm", ["eval", "zero", "grad"])
def test_a_changed_model_is_caught(network: nn.Module, harm: str):
    class Harmful(Logits):
        def prepare(self, model):
            super().prepare(model)
            if harm == "eval":
                model.eval()
            elif harm == "zero":
                self.head_.bias.data.add_(1)
            else:
                self.head_.bias.grad = torch.ones_like(self.head_.bias)
            return self

    with pytest.raises(ConformanceError) as caught:
        check_detector(Harmful, model=network)
    assert list(caught.value.failures) == ["model_is_left_alone"]
