from __future__ import annotations

from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from medaegis._errors import DataError, InputError
from medaegis.detect import KD, LID, MAHA, Combined, Detector, Examples, extract, make_detector


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def layers(n: int, seed: int, shift: float = 0.0) -> tuple[dict[str, Tensor], Tensor]:
    """Three layers of two classes; a shift shows at the first strongly, at the second weakly and at the last not."""
    labels = torch.arange(n) % 2
    parts = {
        name: normal(n, d, seed=10 * seed + d) + 4 * labels[:, None] for name, d in zip("abc", (3, 5, 4), strict=True)
    }
    return {"a": parts["a"] + shift, "b": parts["b"] + shift / 3, "c": parts["c"]}, labels


def examples(n: int = 40, m: int = 25, shift: float = 1.5) -> Examples:
    (low, low_labels), (high, high_labels) = layers(n, 1), layers(m, 2, shift)
    return Examples(low, high, low_labels, high_labels)


def matrix(detector: Detector, features: dict[str, Tensor], predicted: Tensor) -> np.ndarray:
    return torch.stack(list(detector.layer_scores(features, predicted).values()), dim=1).numpy()


SOLVERS = [({"solver": "newton-cholesky", "tol": 1e-8}, 1e-9), ({"tol": 1e-12, "max_iter": 10_000}, 1e-4)]


@pytest.mark.parametrize(("options", "tolerance"), SOLVERS, ids=["its own solver", "lbfgs"])
@pytest.mark.parametrize("inner", [MAHA(), KD(), LID(5)], ids=["MAHA", "KD", "LID"])
def test_equals_a_pipeline_of_scikit_learn(inner: Detector, options: dict[str, Any], tolerance: float):
    train, labels = layers(80, 0)
    taught = examples()
    combined = Combined(inner).fit(train, labels, examples=taught)
    assert taught.negative_predicted is not None
    assert taught.positive_predicted is not None
    alone = cast(Detector, clone(inner)).fit(train, labels)
    x = np.concatenate(
        [
            matrix(alone, taught.negative, taught.negative_predicted),  # type: ignore[arg-type]
            matrix(alone, taught.positive, taught.positive_predicted),  # type: ignore[arg-type]
        ]
    )
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", **options))
    pipeline.fit(x, np.array([0] * 40 + [1] * 25))
    query, predicted = layers(20, 3, shift=0.7)
    expected = pipeline.decision_function(matrix(alone, query, predicted))
    np.testing.assert_allclose(combined.score(query, predicted), expected, rtol=tolerance, atol=tolerance)


def test_the_layer_that_tells_most_weighs_most():
    combined = Combined(MAHA()).fit(*layers(80, 0), examples=examples())
    spreads = np.stack([s.numpy() for s in combined.layer_scores(layers(200, 4)[0]).values()]).std(axis=1)
    a, b, c = combined.weights_.numpy() * spreads
    assert a > b
    assert a > 3 * abs(c)


def test_it_tells_better_than_the_mean():
    train, taught = layers(200, 0), examples(200, 200)
    (clean, clean_labels), (shifted, shifted_labels) = layers(300, 5), layers(300, 6, shift=1.5)

    def right(detector: Detector) -> float:
        """The share of pairs in the right order."""
        low, high = detector.score(clean, clean_labels), detector.score(shifted, shifted_labels)
        return (high[:, None] > low).double().mean().item()

    logistic = right(Combined(MAHA()).fit(*train, examples=taught))
    assert logistic > right(Combined(MAHA(), how="mean").fit(*train)) + 0.02


def test_the_mean_needs_no_examples_and_equals_the_detectors_own():
    train, labels = layers(80, 0)
    query, predicted = layers(20, 3)
    mean = Combined(KD(), how="mean").fit(train, labels)
    assert not mean.learns_attacks
    torch.testing.assert_close(mean.score(query, predicted), KD().fit(train, labels).score(query, predicted))


def test_both_kinds_weigh_alike_however_many():
    # among equals, the threshold of the regression lies in the middle
    train, labels = normal(100, 2), torch.arange(100) % 2
    low, high = normal(30, 2, seed=1), normal(30, 2, seed=2) + 2
    once = Combined(MAHA()).fit(train, labels, examples=Examples(low, high))
    many = Combined(MAHA()).fit(train, labels, examples=Examples(low.repeat(20, 1), high))
    query = normal(50, 2, seed=3) + 1
    agree = (once.score(query) > 0) == (many.score(query) > 0)
    assert agree.double().mean() > 0.9


def test_gradients_agree_with_finite_differences():
    combined = Combined(LID(5)).fit(*layers(80, 0), examples=examples())
    assert combined.differentiable
    query, predicted = layers(4, 3)
    query["a"].requires_grad_()
    assert torch.autograd.gradcheck(lambda a: combined.score({**query, "a": a}, predicted), (query["a"],))


def test_the_detector_that_was_given_is_not_fitted():
    maha = MAHA()
    combined = Combined(maha).fit(*layers(80, 0), examples=examples())
    assert combined.detector is maha
    assert not hasattr(maha, "gaussians_")


def test_examples_without_predicted_classes():
    taught = examples()._replace(negative_predicted=None, positive_predicted=None)
    combined = Combined(KD()).fit(*layers(80, 0), examples=taught)
    clean, shifted = (combined.score(layers(40, 7, shift)[0]).mean() for shift in (0.0, 1.5))
    assert clean < 0 < shifted


# as scikit-learn's


def test_parameters_reach_the_wrapped_detector():
    combined = Combined(KD(0.5, centred=True), how="mean")
    copy = cast(Combined, clone(combined))
    assert copy.detector is not combined.detector
    assert copy.detector.get_params() == combined.detector.get_params()
    assert copy.set_params(detector__bandwidth=2.0, how="logistic").get_params()["detector__bandwidth"] == 2.0
    assert copy.learns_attacks
    assert cast(Combined, clone(Combined(MAHA()))).layers == "relu"


def test_it_is_what_it_wraps():
    class Blunt(MAHA):
        differentiable = False
        learns_attacks = True

    combined = Combined(Blunt(layers=["a"]), how="mean")
    assert (combined.differentiable, combined.learns_attacks, combined.layers) == (False, True, ["a"])
    parts = {"a": normal(2, 1), "b": normal(2, 1)}
    assert list(combined.pick(parts)) == ["a"]


def test_saved_around_another_combination(tmp_path: Path):
    outer = Combined(Combined(KD(layers="relu"), how="mean")).fit(*layers(80, 0), examples=examples())
    outer.save(tmp_path / "combined")
    back = Combined.load(tmp_path / "combined")
    query, predicted = layers(20, 3)
    assert torch.equal(back.score(query, predicted), outer.score(query, predicted))
    assert back.get_params()["detector__detector__layers"] == "relu"
    again = back.fit(*layers(80, 0), examples=examples())
    assert torch.equal(again.score(query, predicted), outer.score(query, predicted))


def test_a_detector_of_someone_else_cannot_be_restored(tmp_path: Path):
    class Mine(MAHA):
        pass

    Combined(Mine(), how="mean").fit(*layers(80, 0)).save(tmp_path / "combined")
    with pytest.raises(DataError, match="cannot be restored around Mine"):
        Combined.load(tmp_path / "combined")


def test_the_images_door_hands_examples_on():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)).double()
    train, low, high = (normal(n, 1, 6, 6, seed=n).sigmoid() for n in (60, 20, 21))
    high = (high * 3).clamp(0, 1)
    prepared: list[nn.Module] = []

    class Watched(MAHA):
        def prepare(self, model: nn.Module) -> Self:
            prepared.append(model)
            return self

    combined = Combined(Watched())
    combined.fit_images(net, train, torch.arange(60) % 2, negative=low, positive=high)
    assert prepared == [net]
    assert combined.fitted_layers() == ("1",)
    read = [extract(net, x, "relu").features for x in (train, low, high)]
    parts = [{"1": features["1"]} for features in read]
    byhand = Combined(MAHA()).fit(parts[0], torch.arange(60) % 2, examples=Examples(parts[1], parts[2]))
    torch.testing.assert_close(combined.score_images(net, high), byhand.score(parts[2]))


# arguments


def test_missing_examples():
    with pytest.raises(InputError, match=r'`examples` of Combined must be given.*take how="mean"'):
        Combined(MAHA()).fit(*layers(80, 0))


@pytest.mark.parametrize("side", ["negative", "positive"])
def test_no_example_of_one_kind(side: str):
    empty = {side: layers(0, 1)[0], f"{side}_predicted": None}
    with pytest.raises(InputError, match="at least one negative and one positive"):
        Combined(MAHA()).fit(*layers(80, 0), examples=examples()._replace(**empty))


def test_examples_with_other_layers():
    taught = examples()._replace(positive={"a": normal(5, 3)}, positive_predicted=None)
    with pytest.raises(InputError, match="with layers"):
        Combined(MAHA()).fit(*layers(80, 0), examples=taught)


@pytest.mark.parametrize("options", [{"detector": "MAHA"}, {"detector": MAHA}, {"detector": MAHA(), "how": "max"}])
def test_the_constructor_checks_its_arguments(options: dict[str, object]):
    with pytest.raises(InputError, match=f"`{list(options)[-1]}` of Combined"):
        make_detector("Combined", **options)
