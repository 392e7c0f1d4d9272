"""The laws of HOUSE.md for the detectors that need examples or the network's head: fitting and scoring."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.base import clone
from torch import Tensor

from detect.learned import HEAD, Wrap, cases, fit, normal, one_layer, picked, sides, tensors_of, two_layers
from medaegis._errors import InputError, NotFittedError
from medaegis.detect import DNN, SVM, Detector, Examples
from medaegis.detect._names import DETECTORS


def test_they_are_known_by_name(make: Callable[[], Detector]):
    detector = make()
    assert DETECTORS[type(detector).__name__] is type(detector)
    assert detector.learns_attacks == isinstance(detector, SVM | DNN)


def test_parameters_are_scikit_learns(make: Callable[[], Detector], wrap: Wrap):
    detector = make()
    assert clone(detector).get_params() == detector.get_params()
    copy = clone(fit(detector, wrap))  # parameters without what was learned
    assert copy.get_params() == detector.get_params()
    with pytest.raises(NotFittedError, match="is not fitted"):
        copy.score(wrap(cases()[0]))


def test_examples_are_asked_for(make: Callable[[], Detector]):
    detector, (z, labels) = make().prepare(HEAD), cases()
    if detector.learns_attacks:
        with pytest.raises(InputError, match=r"fit\(features, labels, examples=Examples\(negative, positive\)\)"):
            detector.fit(z, labels)
    else:
        assert torch.equal(detector.fit(z, labels).score(z), fit(make(), one_layer).score(z))


# fit


def test_fit_returns_self_and_leaves_its_inputs_alone(make: Callable[[], Detector], wrap: Wrap):
    (z, labels), examples = cases(), sides(wrap)
    given = (wrap(z), labels, *examples[:2])
    before = [tensor.clone() for tensor in tensors_of(given)]
    detector = make().prepare(HEAD)
    assert detector.fit(given[0], labels, examples=examples) is detector
    assert all(torch.equal(new, old) for new, old in zip(tensors_of(given), before, strict=True))


def test_a_fitted_detector_does_not_change_with_what_it_saw(make: Callable[[], Detector]):
    examples, z = sides(one_layer), cases()[0]
    detector, query = fit(make(), one_layer, z, examples), normal(5, 4, seed=1)
    before = detector.score(query)
    for tensor in (z, *tensors_of(examples)):
        tensor.zero_()
    assert torch.equal(detector.score(query), before)


def test_fit_keeps_no_graph(make: Callable[[], Detector], wrap: Wrap):
    examples = Examples(wrap(normal(24, 4).requires_grad_()), wrap((normal(20, 4) + 1).requires_grad_()))
    detector = fit(make(), wrap, cases()[0].requires_grad_(), examples)
    assert not detector.score(wrap(normal(5, 4))).requires_grad
    assert all(not tensor.requires_grad for tensor in detector.state()[0].values())


def test_fitting_twice_is_fitting_anew(make: Callable[[], Detector], wrap: Wrap):
    query = wrap(normal(5, 4))
    twice = fit(make(), wrap, examples=Examples(wrap(normal(9, 4)), wrap(normal(8, 4, seed=1))))
    assert torch.equal(fit(twice, wrap).score(query), fit(make(), wrap).score(query))


def test_fit_and_score_leave_the_global_random_state_alone(make: Callable[[], Detector], wrap: Wrap):
    query = wrap(normal(5, 4))
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    first = fit(make(), wrap).score(query)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(fit(make(), wrap).score(query), first)


def test_unfitted_raises(make: Callable[[], Detector], wrap: Wrap, tmp_path: Path):
    z, detector = wrap(cases()[0]), make()
    calls = (lambda: detector.score(z), lambda: detector.calibrate(z), detector.fitted_layers, detector.state)
    for call in (*calls, lambda: detector.save(tmp_path / "detector")):
        with pytest.raises(NotFittedError, match=f"{type(detector).__name__} is not fitted"):
            call()
    assert not (tmp_path / "detector").exists()


# score


def test_a_score_a_case_in_float64(fitted: Detector, wrap: Wrap):
    z, labels = cases(n=7, seed=1)
    scores = fitted.score(wrap(z.float()), labels)
    assert scores.shape == (7,)
    assert scores.dtype == torch.float64
    assert scores.isfinite().all()
    assert torch.equal(fitted.score(wrap(z.float())), scores)  # predicted classes are not read
    assert fitted.score(wrap(z[:0])).shape == (0,)
    assert set(fitted.layer_scores(wrap(z))) in ({""}, set(fitted.fitted_layers()))


def test_order_and_batch_size_do_not_change_scores(fitted: Detector, wrap: Wrap):
    features = wrap(cases(seed=1)[0])
    whole, order = fitted.score(features), torch.randperm(30, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(fitted.score(picked(features, order)), whole[order], rtol=1e-10, atol=1e-12)
    for size in (1, 7):
        parts = [fitted.score(picked(features, slice(i, i + size))) for i in range(0, 30, size)]
        torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-10, atol=1e-12)


def test_layers_that_were_not_fitted_are_ignored(fitted: Detector, wrap: Wrap):
    z = cases(seed=1)[0]
    more = {"unused": torch.zeros(30, 1), "": z, **two_layers(z)}
    assert torch.equal(fitted.score(more), fitted.score(wrap(z)))


def test_gradients_agree_with_finite_differences(fitted: Detector, wrap: Wrap):
    assert fitted.differentiable
    z = cases(n=5, seed=1)[0].requires_grad_()
    assert torch.autograd.gradcheck(lambda f: fitted.score(wrap(f)), (z,))
    (gradient,) = torch.autograd.grad(fitted.score(wrap(z)).sum(), z)
    assert (gradient != 0).any(dim=1).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_other_precisions(make: Callable[[], Detector], dtype: torch.dtype):
    z, (low, high) = cases()[0].to(dtype), (part.to(dtype) for part in tensors_of(sides(one_layer)))
    examples, wide = Examples(low, high), Examples(low.double(), high.double())
    exact, coarse = fit(make(), one_layer, z.double(), wide), fit(make(), one_layer, z, examples)
    query = z[:5].clone().requires_grad_()
    torch.testing.assert_close(coarse.score(query), exact.score(query.double()), rtol=1e-12, atol=1e-12)
    assert torch.autograd.grad(coarse.score(query).sum(), query)[0].dtype == dtype


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_other_devices(make: Callable[[], Detector], wrap: Wrap):
    z, labels = cases()
    examples = Examples(*map(on_gpu, sides(wrap)[:2]))
    there = make().prepare(HEAD).fit(on_gpu(wrap(z)), labels.cuda(), examples=examples)
    here = fit(make(), wrap)
    for detector in (there, here):
        scores = detector.score(on_gpu(wrap(z)))
        assert scores.is_cuda
        torch.testing.assert_close(scores.cpu(), here.score(wrap(z)), rtol=1e-6, atol=1e-6)


def on_gpu(features: Any) -> Any:
    return features.cuda() if isinstance(features, Tensor) else {name: z.cuda() for name, z in features.items()}
