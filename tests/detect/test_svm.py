from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import Tensor

from medaegis._errors import InputError
from medaegis.detect import SVM, Examples, make_detector


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sides(d: int = 3, n: int = 40, m: int = 25) -> Examples:
    """Channels of very different scale, more negatives than positives, and overlap: scaling and weights count."""
    scale = torch.logspace(-2, 2, d, dtype=torch.float64)
    return Examples(normal(n, d, seed=1) * scale, (normal(m, d, seed=2) + 1) * scale)


def halves(examples: Examples) -> tuple[Tensor, Tensor]:
    assert isinstance(examples.negative, Tensor)
    assert isinstance(examples.positive, Tensor)
    return examples.negative, examples.positive


def train(examples: Examples, n: int = 20) -> tuple[Tensor, Tensor]:
    return normal(n, halves(examples)[0].shape[1]), torch.arange(n) % 2


def scikit_learn(examples: Examples, penalty: float, query: Tensor) -> np.ndarray:
    low, high = halves(examples)
    svc = SVC(kernel="rbf", C=penalty, gamma="scale", class_weight="balanced")
    fitted = make_pipeline(StandardScaler(), svc).fit(torch.cat([low, high]).numpy(), [0] * len(low) + [1] * len(high))
    return fitted.decision_function(query.numpy())


@pytest.mark.parametrize("penalty", [0.3, 1.0])
@pytest.mark.parametrize("d", [1, 3, 64])
def test_agrees_with_scikit_learn(penalty: float, d: int):
    examples = sides(d)
    svm = SVM(penalty).fit(*train(examples), examples=examples)
    query = torch.cat([*halves(examples), normal(20, d, seed=3) * 10])
    expected = scikit_learn(examples, penalty, query)
    np.testing.assert_allclose(svm.score(query).numpy(), expected, rtol=1e-9, atol=1e-11)


def test_positives_score_higher_and_above_zero():
    examples = Examples(normal(30, 4), normal(30, 4, seed=1) + 6)
    svm = SVM().fit(*train(examples), examples=examples)
    assert (svm.score(examples.negative) < 0).all()
    assert (svm.score(examples.positive) > 0).all()


def test_the_boundary_is_curved():
    # negatives on a ring around the positives: no line tells them apart
    angle = torch.linspace(0, 6.2, 40, dtype=torch.float64)
    ring = 4 * torch.stack([angle.cos(), angle.sin()], dim=1)
    svm = SVM().fit(ring, torch.zeros(40).long(), examples=Examples(ring, normal(40, 2) * 0.5))
    assert svm.score(torch.tensor([[0.0, 0.0]])) > 0
    assert svm.score(ring).max() < 0


def test_both_sides_weigh_alike():
    # 10 times as many negatives at one place: the middle stays undecided
    low, high = normal(10, 1) * 1e-3, normal(10, 1) * 1e-3 + 1
    svm = SVM().fit(low, torch.zeros(10).long(), examples=Examples(low.repeat(10, 1), high))
    middle = torch.tensor([[0.5]], dtype=torch.float64)
    expected = scikit_learn(Examples(low.repeat(10, 1), high), 1.0, middle)
    assert svm.score(middle).item() == pytest.approx(expected.item())
    assert svm.score(low).max() < 0 < svm.score(high).min()


def test_far_away_only_the_intercept_is_left():
    examples = sides()
    svm = SVM().fit(*train(examples), examples=examples)
    assert svm.score(torch.full((1, 3), 1e6)).item() == svm.machines_[""].intercept.item()


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6])
def test_a_constant_feature_does_not_divide_by_zero(constant: float):
    low, high = (torch.cat([z, torch.full((len(z), 1), constant)], dim=1) for z in halves(sides()))
    examples = Examples(low, high)
    svm = SVM().fit(*train(examples), examples=examples)
    assert svm.machines_[""].scale[3] == 1
    assert svm.score(high).isfinite().all()
    assert svm.score(high + torch.tensor([0, 0, 0, 0.5])).isfinite().all()


def test_features_that_are_all_equal_give_one_finite_score():
    same = torch.full((6, 2), 0.1)
    scores = SVM().fit(same, torch.zeros(6).long(), examples=Examples(same, same)).score(same)
    assert scores.isfinite().all()
    assert (scores == scores[0]).all()


def test_layers_are_fitted_alone_and_averaged():
    low, high = normal(20, 3), normal(20, 3, seed=1) + 2
    two = Examples({"a": low, "b": 9 * low[:, :2]}, {"a": high, "b": 9 * high[:, :2]})
    known = {"a": low, "b": low[:, :2]}
    svm = SVM().fit(known, torch.zeros(20).long(), examples=two)
    query = {"a": normal(5, 3, seed=2), "b": normal(5, 2, seed=3)}
    alone = SVM().fit(low, torch.zeros(20).long(), examples=Examples(low, high)).score(query["a"])
    assert torch.equal(svm.layer_scores(query)["a"], alone)
    torch.testing.assert_close(svm.score(query), torch.stack(list(svm.layer_scores(query).values())).mean(dim=0))


def test_errors_say_what_to_do():
    examples = sides()
    z, labels = train(examples)
    bad = {
        r"SVM learns from attacks: fit\(features, labels, examples=": None,
        r"at least 2 negative and 2 positive cases, got \(1, 25\)": examples._replace(negative=normal(1, 3)),
        "SVM's positive examples must be with layers": examples._replace(positive={"a": normal(9, 3)}),
        "SVM's negative examples must be of as many channels": examples._replace(negative=normal(9, 2)),
        "SVM's negative examples must be finite": examples._replace(negative=normal(9, 3) * torch.nan),
    }
    for message, given in bad.items():
        with pytest.raises(InputError, match=message):
            SVM().fit(z, labels, examples=given)
    for penalty in (0, -1.0, float("inf"), True, None):
        with pytest.raises(InputError, match="`penalty` of SVM must be a number > 0"):
            make_detector("SVM", penalty=penalty)
