"""Conformance checks of scores, gradients and thresholds."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from medaegis._errors import MedaegisError
from medaegis.detect._bench import Bench, Change, demand, demand_error, one_layer
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
    z, labels = bench.near(30, seed=1)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    for wrap in (one_layer, bench.by_name()):
        detector = bench.fitted(wrap)
        whole, turned = detector.score(wrap(z), labels), detector.score(wrap(z[order]), labels[order])
        demand(_close(turned, whole[order]), "Scores must not depend on the order of the cases.")
        for size in (1, 7):
            batches = zip(z.split(size), labels.split(size), strict=True)
            parts = [detector.score(wrap(part), some) for part, some in batches]
            demand(_close(torch.cat(parts), whole), f"Scores must not depend on the batch; {size} at a time, they do.")


def far_above_near(bench: Bench) -> None:
    """Of pairs of a held-out normal case and one far from all classes, at least nine in ten are ranked right."""
    near, far = bench.near(20, seed=1), bench.far(20, seed=2)
    for wrap in (one_layer, bench.by_name()):
        scores = bench.fitted(wrap).score(wrap(torch.cat([near.z, far.z])), torch.cat([near.labels, far.labels]))
        share = (scores[20:, None] > scores[:20]).double().mean().item()
        demand(share >= 0.9, f"Far cases must score above near ones; they do in {share:.0%} of pairs.")


def gradient(bench: Bench) -> None:
    """Where `differentiable`, the gradient agrees with finite differences; where not, none is claimed."""
    for wrap in (one_layer, bench.by_name()):
        detector, (z, labels) = bench.fitted(wrap), bench.near(5, seed=1)
        for case, label in zip(z.split(1), labels.split(1), strict=True):
            _check_slope(detector, wrap, case, label)


def _check_slope(detector: Detector, wrap: Change, case: Tensor, label: Tensor) -> None:
    leaf = case.clone().requires_grad_()
    score = detector.score(wrap(leaf), label)
    if not detector.differentiable:
        demand(not score.requires_grad, "`score` must give no gradient where `differentiable` is False.")
        return
    demand(score.requires_grad, "`score` must keep the gradient, or the class must say differentiable = False.")
    (got,) = torch.autograd.grad(score.sum(), leaf)
    with torch.no_grad():
        wanted = _finite_differences(lambda moved: detector.score(wrap(moved), label), case)
    worst = ((got - wanted).abs() / (1 + wanted.abs())).max().item()
    demand(worst < 1e-3, f"The gradient must agree with finite differences; it is off by {worst:.2g}.")


def _finite_differences(score: Callable[[Tensor], Tensor], case: Tensor, step: float = 1e-5) -> Tensor:
    """The slope of one case's score along each of its values, in the case's own shape, from both sides."""
    moves = step * torch.eye(case.numel(), dtype=case.dtype).reshape(-1, *case.shape)
    return torch.stack([score(case + move) - score(case - move) for move in moves]).reshape(case.shape) / (2 * step)


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
    wrap, (z, labels) = bench.by_name(), bench.near(8, seed=1)
    detector = bench.fitted(wrap)
    layers, names = wrap(z), list(detector.fitted_layers())
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


def _close(scores: Tensor, wanted: Tensor) -> bool:
    return torch.allclose(scores, wanted, rtol=1e-8, atol=1e-10)
