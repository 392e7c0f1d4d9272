"""Conformance checks of scores, gradients, thresholds, odd features and files."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from medaegis._errors import DataError, MedaegisError
from medaegis.detect._bench import Bench, Change, demand, demand_error, demand_stated, one_layer, two_layers
from medaegis.detect._detector import Detector


def one_score_a_case(bench: Bench) -> None:
    """Scores are (n,), of floating point and finite, also of no case at all."""
    detector, (z, labels) = bench.fitted(one_layer), bench.near(7, seed=1)
    for n in (7, 1, 0):
        scores = detector.score(z[:n], labels[:n])
        demand(scores.shape == (n,), f"The scores of {n} cases must be of shape ({n},), got {tuple(scores.shape)}.")
        demand(scores.is_floating_point(), f"Scores must be of floating point, got {scores.dtype}.")
        demand(bool(scores.isfinite().all()), "Scores of normal cases must be finite.")


def order_and_batch_size(bench: Bench) -> None:
    """A case's score does not depend on which other cases are scored with it."""
    detector, (z, labels) = bench.fitted(one_layer), bench.near(30, seed=1)
    whole = detector.score(z, labels)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    demand(_close(detector.score(z[order], labels[order]), whole[order]), "Scores must not depend on the order.")
    for size in (1, 7):
        parts = [detector.score(z[i : i + size], labels[i : i + size]) for i in range(0, 30, size)]
        demand(
            _close(torch.cat(parts), whole), f"Scores must not depend on the batch; they differ in batches of {size}."
        )


def far_above_near(bench: Bench) -> None:
    """Of pairs of a held-out normal case and one far from all classes, at least nine in ten are ranked right."""
    near, far = bench.near(20, seed=1), bench.far(20, seed=2)
    for wrap in (one_layer, two_layers):
        scores = bench.fitted(wrap).score(wrap(torch.cat([near.z, far.z])), torch.cat([near.labels, far.labels]))
        share = (scores[20:, None] > scores[:20]).double().mean().item()
        demand(share >= 0.9, f"Far cases must score above near ones; they do in {share:.0%} of pairs.")


def gradient(bench: Bench) -> None:
    """Where `differentiable`, the gradient agrees with finite differences; where not, none is claimed."""
    detector, (z, labels) = bench.fitted(one_layer), bench.near(5, seed=1)
    scores = detector.score(z.requires_grad_(), labels)
    if not detector.differentiable:
        demand(not scores.requires_grad, "`score` must give no gradient where `differentiable` is False.")
        return
    demand(scores.requires_grad, "`score` must keep the gradient, or the class must say differentiable = False.")
    for case, label in zip(z.detach().split(1), labels.split(1), strict=True):
        (got,) = torch.autograd.grad(detector.score(case.requires_grad_(), label).sum(), case)
        with torch.no_grad():
            wanted = _finite_differences(detector, case, label)
        worst = ((got - wanted).abs() / (1 + wanted.abs())).max().item()
        demand(worst < 1e-3, f"The gradient must agree with finite differences; it is off by {worst:.2g}.")


def single_precision(bench: Bench) -> None:
    """Features in float32, as networks give them, score as the same numbers in float64."""
    detector, (z, labels) = bench.fitted(Tensor.float), bench.near(8, seed=1)
    coarse, fine = detector.score(z.float(), labels).double(), detector.score(z.float().double(), labels).double()
    close = torch.allclose(coarse, fine, rtol=1e-3, atol=1e-3 * float(fine.abs().max()))
    demand(close, "Features in float32 must score as the same numbers in float64.")


def one_layer_or_a_mapping(bench: Bench) -> None:
    """One layer's tensor has the name ""; of a mapping, layers are told apart by name and others are ignored."""
    single = bench.fitted(one_layer).fitted_layers()
    demand(single == ("",), f'`fitted_layers` after a single tensor must be ("",), got {single}.')
    detector, (z, labels) = bench.fitted(two_layers), bench.near(8, seed=1)
    layers, names = two_layers(z), list(detector.fitted_layers())
    demand(bool(names) and set(names) <= set(layers), f"`fitted_layers` must be of {list(layers)}, got {names}.")
    scores = detector.score(layers, labels)
    demand(bool(scores.isfinite().all()), "Scores of a mapping of layers must be finite.")
    turned = detector.score(dict(reversed(layers.items())), labels)
    demand(_close(turned, scores), "Layers must be told apart by name, not by their place in the mapping.")
    more = {"not fitted": torch.zeros(8, 1, dtype=z.dtype), **layers}
    demand(_close(detector.score(more, labels), scores), "Layers that were not fitted must be ignored.")
    less = {name: value for name, value in more.items() if name != names[0]}
    demand_error(lambda: detector.score(less, labels), MedaegisError, f"A mapping without the layer {names[0]}")


def calibration(bench: Bench) -> None:
    """`calibrate` returns the detector and lets the share pass; `flags` are the scores above the threshold."""
    detector, (z, labels) = bench.fitted(one_layer), bench.near(201, seed=1)
    demand(detector.calibrate(z, labels, tnr=0.8) is detector, "`calibrate` must return the detector itself.")
    flags, threshold = detector.flags(z, labels), detector.threshold_
    demand(threshold is not None, "`calibrate` must set `threshold_`.")
    demand(
        torch.equal(flags, detector.score(z, labels) > cast(float, threshold)), "Flags are scores above the threshold."
    )
    demand(
        int(flags.sum()) <= 40, f"calibrate(tnr=0.8) must let 161 of these 201 cases pass, flagged {int(flags.sum())}."
    )


def not_finite(bench: Bench) -> None:
    """NaN and infinity in features give finite scores or a stated error, in `fit` and in `score`."""
    detector, (z, labels) = bench.fitted(one_layer), bench.near(8, seed=1)
    for bad in (torch.nan, torch.inf):
        spoilt = z.clone()
        spoilt[4, -1] = bad
        demand_stated(lambda f=spoilt: detector.score(f, labels), f"`score` of features with {bad}")
        demand_stated(lambda b=bad: bench.fitted(_spoiling(b)).score(z, labels), f"`fit` on features with {bad}")


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


def save_and_load(bench: Bench) -> None:
    """A detector that was saved and loaded scores bit for bit alike, with the same threshold and state."""
    z, labels = bench.near(20, seed=1)
    for wrap in (one_layer, two_layers):
        detector = bench.fitted(wrap)
        detector.calibrate(wrap(z), labels)
        with tempfile.TemporaryDirectory() as folder:
            detector.save(Path(folder) / "detector")
            back = bench.prepared(type(detector).load(Path(folder) / "detector"))
        demand(
            type(back) is type(detector), f"`load` must give a {type(detector).__name__}, got {type(back).__name__}."
        )
        same = torch.equal(back.score(wrap(z), labels), detector.score(wrap(z), labels))
        demand(same, "A loaded detector must score bit for bit as the saved one.")
        demand(back.threshold_ == detector.threshold_, "A loaded detector must keep its threshold.")
        kept = json.dumps(back.state()[1]) == json.dumps(detector.state()[1])
        demand(kept and _same(back.state()[0], detector.state()[0]), "A loaded detector must have the same state.")


def other_files_are_refused(bench: Bench) -> None:
    """`load` refuses the file of another class, and one that is damaged."""
    detector = bench.fitted(one_layer)
    kind = type(detector)
    stranger = cast("type[Detector]", type(f"Other{kind.__name__}", (kind,), {}))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "detector"
        detector.save(path)
        demand_error(lambda: stranger.load(path), DataError, "`load` of another class's file")
        path.write_bytes(b"no detector")
        demand_error(lambda: kind.load(path), DataError, "`load` of a damaged file")


def _spoiling(bad: float) -> Change:
    """A change of one value of the features that a detector is fitted on."""

    def spoil(z: Tensor) -> Tensor:
        spoilt = z.clone()
        spoilt[4, -1] = bad
        return spoilt

    return spoil


def _finite_differences(detector: Detector, case: Tensor, label: Tensor, step: float = 1e-5) -> Tensor:
    """The slope of one case's score along each channel, (1, d), from both sides."""
    moves = step * torch.eye(case.shape[1], dtype=case.dtype)
    ends = [detector.score(case + move, label) - detector.score(case - move, label) for move in moves.split(1)]
    return torch.stack(ends, dim=1) / (2 * step)


def _close(scores: Tensor, wanted: Tensor) -> bool:
    return torch.allclose(scores, wanted, rtol=1e-8, atol=1e-10)


def _same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())
