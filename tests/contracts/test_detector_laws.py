"""The laws of HOUSE.md, "The parts of a detector", over one list of all detectors.

Most laws are the public checks, so that ours and those of other packages keep the same. The tests after them hold
what the checks leave open: exact texts, float64, the sharper forms of a law that all of ours keep.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from sklearn.base import clone
from torch import nn

from contracts.detector_list import (
    CLASSES,
    MAKERS,
    Wrap,
    cases,
    first_of_each_class,
    head,
    innermost,
    normal,
    one_layer,
    picked,
    reads_predicted,
    shaped,
    two_layers,
)
from medaegis._errors import InputError, NotFittedError
from medaegis.detect import BU, DNN, KD, MAHA, SVM, Combined, Detector, detector_checks
from medaegis.detect._names import DETECTORS

CHECKS = detector_checks()
AGREES = {
    "KD": "test_agrees_with_scikit_learn",
    "BU": "test_agrees_with_passes_through_the_real_head",
    "LID": "test_agrees_with_brute_force",
    "MAHA": "test_agrees_with_scipy",
    "SVM": "test_agrees_with_scikit_learn",
    "DNN": "test_a_net_is_torch_s_own_layers",
    "HFC_score": "test_agrees_with_scipy_s_densities",
    "KNN": "test_agrees_with_scikit_learn",
    "MVG": "test_agrees_with_scipy",
    "Combined": "test_equals_a_pipeline_of_scikit_learn",
}
"""The test, in tests/detect, of each detector against an independent implementation."""


def test_the_list_is_complete():
    assert set(first_of_each_class()) == set(DETECTORS.values())
    assert len(AGREES) == len(DETECTORS)


@pytest.mark.parametrize("name", AGREES)
def test_each_agrees_with_an_independent_implementation(name: str):
    tree = ast.parse((Path(__file__).parents[1] / f"detect/test_{name.lower()}.py").read_text())
    assert AGREES[name] in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", [name for name in MAKERS if not name.startswith("BU")])
def test_the_public_checks(name: str, check: str):
    CHECKS[check](MAKERS[name])


@pytest.mark.parametrize("check", ["model_is_left_alone", *CHECKS])
@pytest.mark.parametrize("name", [name for name in MAKERS if name.startswith("BU")])
def test_the_public_checks_of_those_that_need_a_network(name: str, check: str):
    detector_checks(model=nn.Sequential(nn.Flatten(), head(4)))[check](MAKERS[name])


def test_a_network_is_left_alone(make: Callable[[], Detector]):
    detector_checks(model=nn.Sequential(nn.Flatten(), head(4)).train())["model_is_left_alone"](make)


def test_who_learns_attacks(make: Callable[[], Detector]):
    detector = make()
    regresses = isinstance(detector, Combined) and detector.how == "logistic"
    assert detector.learns_attacks == (regresses or isinstance(innermost(detector), SVM | DNN))


def test_parameters_are_scikit_learns(make: Callable[[], Detector]):
    detector = make()
    old, new = (
        {name: value for name, value in part.get_params().items() if not isinstance(value, Detector)}
        for part in (detector, clone(detector))
    )
    assert new == old
    if isinstance(detector, BU):
        return  # its layer is the penultimate one
    key = "layers" if "layers" in old else "detector__layers"
    assert clone(detector).set_params(**{key: ["a"]}).layers == ["a"]
    assert detector.layers != ["a"]


# fit


def test_unfitted_says_what_to_do(make: Callable[[], Detector], wrap: Wrap, tmp_path: Path):
    z, labels = cases()
    detector = make()
    name, examples = type(detector).__name__, ", examples=..." if detector.learns_attacks else ""
    calls = (
        lambda: detector.score(wrap(z), labels),
        lambda: detector.layer_scores(wrap(z), labels),
        lambda: detector.calibrate(wrap(z), labels),
        lambda: detector.save(tmp_path / "detector"),
        detector.fitted_layers,
        detector.state,
    )
    text = f"^{name} is not fitted yet: call fit\\(features, labels{examples}\\) first\\.$"
    for call in calls:
        with pytest.raises(NotFittedError, match=text):
            call()
    assert not (tmp_path / "detector").exists()
    with pytest.raises(NotFittedError, match="call calibrate"):
        make().fit(wrap(z), labels).flags(wrap(z))


# score


def test_a_score_a_case_in_float64(fitted: Detector, wrap: Wrap):
    z, labels = cases(n=7, seed=1)
    for query in (z, z.float()):
        scores = fitted.score(wrap(query), labels)
        assert scores.shape == (7,)
        assert scores.dtype == torch.float64
        assert scores.isfinite().all()
    assert fitted.score(wrap(z[:0]), labels[:0]).shape == (0,)
    by_layer = fitted.layer_scores(wrap(z), labels)
    assert set(by_layer) in ({""}, set(fitted.fitted_layers()))
    assert all(scores.shape == (7,) for scores in by_layer.values())


def test_farther_scores_higher(fitted: Detector, wrap: Wrap):
    direction = normal(20, 4, seed=3)
    labels = torch.full((20,), CLASSES[2])  # the outermost class; going away from it is going away from all
    near, far, very_far = (fitted.score(wrap(12 + direction.abs() * s), labels) for s in (0.3, 6, 60))
    assert (near < far).all()
    # beyond its examples an SVM knows nothing and says so: the score falls back to its intercept
    assert isinstance(innermost(fitted), SVM) or (far < very_far).all()


def test_the_order_of_the_train_cases_and_layers_does_not_matter_to_kernel_density():
    z, labels = cases()
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    for wrap in (one_layer, two_layers):
        features = wrap(z)
        turned = picked(features, order)
        if isinstance(turned, dict):
            turned = dict(reversed(turned.items()))
        plain, other = KD().fit(features, labels), KD().fit(turned, labels[order])
        torch.testing.assert_close(other.score(features, labels), plain.score(features, labels), rtol=1e-10, atol=1e-12)


def test_scores_of_layers_are_averaged(make: Callable[[], Detector]):
    if isinstance(make(), BU | Combined) and make().learns_attacks | isinstance(make(), BU):
        pytest.skip("reads one layer, or weighs them as it has learned")
    z, labels = cases()
    both = shaped(make(), two_layers)
    layers, query = both(z), both(normal(8, 4, seed=2))
    together = make().fit(layers, labels).score(query, labels[:8])
    alone = [make().fit({name: layers[name]}, labels).score({name: query[name]}, labels[:8]) for name in layers]
    wanted = torch.stack(alone).sum(dim=0) if isinstance(make(), DNN) else torch.stack(alone).mean(dim=0)
    # MAHA draws each layer's held-out quarter in turn, so a layer alone may choose another strength of shrinkage
    tolerance = 0.05 if isinstance(make(), MAHA) else 1e-10
    torch.testing.assert_close(together, wanted, rtol=tolerance, atol=tolerance)


def test_layers_that_were_not_fitted_are_ignored(fitted: Detector, wrap: Wrap, single: Wrap):
    z, labels = cases(n=9, seed=1)
    others = {"unused": torch.zeros(9, 1), "": single(z), **two_layers(single(z))}
    assert torch.equal(fitted.score(others, labels), fitted.score(wrap(z), labels))


def test_predicted_is_read_where_the_detector_says_so(fitted: Detector, wrap: Wrap):
    z, labels = cases(n=12, seed=1)
    other = torch.tensor(CLASSES)[(torch.arange(12) + 1) % 3]
    changed = fitted.score(wrap(z), other) - fitted.score(wrap(z), labels)
    if reads_predicted(fitted):
        assert (changed > 0).all()
    else:
        assert torch.equal(changed, torch.zeros(12, dtype=torch.float64))
    assert torch.equal(fitted.score(wrap(z)), fitted.score(wrap(z), labels))  # None takes the best class


# gradients


def test_gradients_agree_with_finite_differences(fitted: Detector, wrap: Wrap):
    assert fitted.differentiable
    z, labels = cases(n=5, seed=1)
    assert torch.autograd.gradcheck(lambda f: fitted.score(wrap(f), labels), (z.requires_grad_(),))
    assert torch.autograd.gradcheck(lambda f: fitted.score(wrap(f)), (z,))
    (gradient,) = torch.autograd.grad(fitted.score(wrap(z)).sum(), z)
    assert (gradient != 0).any(dim=1).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_other_precisions(make: Callable[[], Detector], wrap: Wrap, dtype: torch.dtype):
    z, labels = cases()
    z = z.to(dtype).double()
    query = normal(6, 4, seed=1).to(dtype)
    exact = make().fit(wrap(z), labels)
    coarse = make().fit(wrap(z.float()), labels)
    f = query.clone().requires_grad_()
    scores = exact.score(wrap(f), labels[:6])
    # `wrap` multiplies by 3, which half precision rounds
    tolerance = 1e-5 if dtype == torch.float32 else 0.1
    torch.testing.assert_close(scores, exact.score(wrap(query.double()), labels[:6]), rtol=tolerance, atol=tolerance)
    # libsvm stops at a tolerance of 1e-3, and may do so elsewhere for features that differ in the eighth digit
    tolerance = 1e-3 if isinstance(innermost(exact), SVM) else 1e-5
    torch.testing.assert_close(
        coarse.score(wrap(query), labels[:6]), exact.score(wrap(query), labels[:6]), rtol=tolerance, atol=tolerance
    )
    (gradient,) = torch.autograd.grad(scores.sum(), f)
    assert gradient.dtype == dtype
    assert (gradient != 0).any(dim=1).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_fitting_runs_in_double_precision(make: Callable[[], Detector], single: Wrap, dtype: torch.dtype):
    z, labels = cases()
    z = z.to(dtype)
    coarse, exact = make().fit(single(z), labels), make().fit(single(z).double(), labels)
    scores = coarse.score(single(z), labels)
    torch.testing.assert_close(scores, exact.score(single(z).double(), labels), rtol=1e-12, atol=1e-12)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_other_devices(make: Callable[[], Detector], fitted: Detector, wrap: Wrap):
    z, labels = cases()
    here = fitted.score(wrap(z), labels)
    for detector in (fitted, make().fit(wrap(z.cuda()), labels.cuda())):
        there = detector.score(wrap(z.cuda()), labels.cuda())
        assert there.is_cuda
        torch.testing.assert_close(there.cpu(), here, rtol=1e-6, atol=1e-6)


# thresholds


def test_calibrate_lets_the_share_pass(fitted: Detector, wrap: Wrap):
    z, labels = cases(n=201, seed=1)
    assert fitted.threshold_ is None
    assert fitted.calibrate(wrap(z), labels, tnr=0.8) is fitted
    flags = fitted.flags(wrap(z), labels)
    assert flags.dtype == torch.bool
    assert int(flags.sum()) == 40
    assert torch.equal(flags, fitted.score(wrap(z), labels) > fitted.threshold_)


def test_calibrate_needs_cases(fitted: Detector, wrap: Wrap):
    z, labels = cases()
    with pytest.raises(InputError, match="at least one score"):
        fitted.calibrate(wrap(z[:0]), labels[:0])
