"""Conformance checks of odd features: each gives finite scores or an error that says what is wrong."""

from __future__ import annotations

import torch
from torch import Tensor

from medaegis.detect._bench import Bench, Change, demand_stated, one_layer
from medaegis.detect._examples import AnyFeatures


def not_finite(bench: Bench) -> None:
    """NaN and infinity in features give finite scores or a stated error, in `fit` and in `score`."""
    for wrap in (one_layer, bench.by_name()):
        for bad in (torch.nan, torch.inf):
            _check_bad(bench, wrap, bad)


def _check_bad(bench: Bench, wrap: Change, bad: float) -> None:
    (z, labels), spoil = bench.near(8, seed=1), _spoiling(wrap, bad)
    detector = bench.fitted(wrap)
    demand_stated(lambda: detector.score(spoil(z), labels), f"`score` of features with {bad}")
    demand_stated(lambda: bench.fitted(spoil).score(wrap(z), labels), f"`fit` on features with {bad}")


def constant_feature(bench: Bench) -> None:
    """A channel that never varies in Train gives finite scores or a stated error, where it moves too."""
    z, labels = bench.near(8, seed=1)

    def flat(z: Tensor) -> Tensor:
        return torch.cat([z[:, :-1], torch.full_like(z[:, -1:], 0.1)], dim=1)

    for query in (flat(z), z):
        demand_stated(lambda q=query: bench.fitted(flat).score(q, labels), "A constant feature")


def one_feature(bench: Bench) -> None:
    """A layer of one channel gives finite scores or a stated error."""
    z, labels = bench.near(8, seed=1)
    demand_stated(lambda: bench.fitted(lambda f: f[:, :1].clone()).score(z[:, :1], labels), "A single feature")


def one_case_a_class(bench: Bench) -> None:
    """A class with one case gives finite scores or a stated error."""
    cases = bench.near(9)
    cases.labels[:8], cases.labels[8] = bench.classes[0], bench.classes[-1]

    def score() -> Tensor:
        detector = bench.new()
        bench.fit(detector, one_layer, cases)
        return detector.score(*cases)

    demand_stated(score, "A class with one case")


def _spoiling(wrap: Change, bad: float) -> Change:
    """`wrap`, after one value is made bad."""

    def spoil(z: Tensor) -> AnyFeatures:
        spoilt = z.clone()
        spoilt[4, -1] = bad
        return wrap(spoilt)

    return spoil
