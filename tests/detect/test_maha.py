from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from torch import Tensor, nn

from medaegis import InputError, NotFittedError
from medaegis.density._covariance import RIDGE
from medaegis.detect import MAHA, Combined, evading, guard, make_detector
from medaegis.detect._combined import _regress


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_agrees_with_scipy():
    labels = torch.arange(90) % 3
    z = normal(90, 4) @ normal(4, 4, seed=1) + 5 * labels[:, None]
    maha = MAHA().fit(z, labels)
    means = np.stack([z[labels == c].numpy().mean(axis=0) for c in range(3)])
    centred = z.numpy() - means[labels.numpy()]
    s = centred.T @ centred / 90
    diagonal, a = np.diag(s), maha.gaussians_[""].strength
    precision = np.linalg.inv((1 - a) * s + np.diag(a * diagonal + RIDGE * diagonal.mean()))
    query = normal(15, 4, seed=2) * 5
    expected = [min(mahalanobis(row, mean, precision) ** 2 for mean in means) / 4 for row in query.numpy()]
    np.testing.assert_allclose(maha.score(query).numpy(), expected, rtol=1e-9)


def test_the_ranking_needs_the_centring_by_class():
    # two classes 20 apart: a case 3 spreads off along that axis is farther out than one 2 spreads off along the other
    labels = torch.arange(400) % 2
    z = normal(400, 2) + torch.stack([20.0 * labels, 0.0 * labels], dim=1)
    scores = MAHA().fit(z, labels).score(torch.tensor([[-3.0, 0.0], [0.0, 2.0]]))
    assert scores[0] > scores[1] + 1


def test_clean_cases_score_about_one_at_every_layer():
    labels = torch.arange(300) % 2
    features, held = (
        {"wide": 100 * normal(300, 20, seed=s), "thin": 1e-3 * normal(300, 200, seed=s + 1).relu()} for s in (0, 5)
    )
    scores = MAHA().fit(features, labels).layer_scores(held)
    assert list(scores) == ["wide", "thin"]
    assert all(0.5 < value.mean() < 2 for value in scores.values())


# the move of images before they are scored


def pixels_as_features(d: int = 6) -> nn.Module:
    """The input of the last layer is the image itself, so that everything can be said by hand."""
    network = nn.Sequential(nn.Flatten(), nn.utils.skip_init(nn.Linear, d, 2)).double()
    network[1].weight.data, network[1].bias.data = normal(2, d, seed=8), normal(2, seed=9)
    return network


def deep() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        return nn.Sequential(*layers, nn.Linear(5, 2)).double().eval()


def images(n: int, *shape: int, seed: int = 0, low: float = 0.1, high: float = 0.9) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(n, 1, *(shape or (8, 8)), generator=draw, dtype=torch.float64)


def moving(network: nn.Module, magnitude: float, *shape: int, layers: object = "penultimate", n: int = 80) -> MAHA:
    return MAHA(magnitude=magnitude, layers=layers).fit_images(network, images(n, *shape), torch.arange(n) % 2)


def test_the_move_by_hand():
    network, step = pixels_as_features(), 0.05
    maha, query = moving(network, step, 2, 3), images(9, 2, 3, seed=1, low=0, high=1)
    fitted, z = maha.gaussians_[""], query.flatten(1)
    nearest = fitted.means[fitted.quadratics(z).argmin(dim=1)]
    slope = (z - nearest) @ fitted.whitener @ fitted.whitener.T  # half of the gradient of (z - mu)^T S^-1 (z - mu)
    moved = (z - step * slope.sign()).clamp(0, 1)
    features, predicted = maha.read_images(network, query)
    assert torch.equal(features, moved)
    assert torch.equal(predicted, network(query).argmax(dim=1))
    assert torch.equal(maha.score_images(network, query), maha.score(moved))


@pytest.mark.parametrize("layers", ["penultimate", "relu", ["1", "penultimate"]])
def test_the_move_reduces_the_distance(layers: object):
    # the released code's move has the other sign, and increases it
    network, query = deep(), images(40, seed=1)
    plain, maha = (moving(network, step, layers=layers) for step in (0, 1e-4))
    before, after = plain.score_images(network, query), maha.score_images(network, query)
    assert (after < before).all()
    x = query.clone().requires_grad_()
    (slope,) = torch.autograd.grad(plain.score_images(network, x).sum(), x)
    predicted_fall = 1e-4 * slope.abs().flatten(1).sum(dim=1)  # to first order
    torch.testing.assert_close(before - after, predicted_fall, rtol=0.02, atol=0)
    assert (plain.score_images(network, query + 1e-4 * slope.sign()) > before).all()


def test_no_magnitude_moves_nothing():
    network, query = deep(), images(7, seed=1)
    maha = moving(network, 0)
    assert not maha.needs_images
    features, _ = maha.read_images(network, query)
    assert torch.equal(maha.score_images(network, query), maha.score(features))
    wanted = MAHA(layers="penultimate").fit_images(network, images(80), torch.arange(80) % 2)
    assert torch.equal(maha.score_images(network, query), wanted.score_images(network, query))


def test_moved_images_stay_images_and_pixels_at_the_border_keep_their_gradient():
    network = pixels_as_features()  # dark images: a step of 0.3 towards their mean goes beyond it, and beyond 0
    maha = MAHA(magnitude=0.3, layers="penultimate")
    maha.fit_images(network, images(80, 2, 3, low=0, high=0.2), torch.arange(80) % 2)
    query = images(20, 2, 3, seed=1, low=0, high=0.3).requires_grad_()
    features, _ = maha.read_images(network, query)
    assert features.min() == 0
    assert (features == 0).double().mean() > 0.2
    bright, _ = maha.read_images(network, torch.full((1, 1, 2, 3), 0.9).double())
    assert bright.max() <= 1
    (gradient,) = torch.autograd.grad(maha.score_images(network, query).sum(), query)
    leaf = features.detach().requires_grad_()
    (wanted,) = torch.autograd.grad(maha.score(leaf).sum(), leaf)
    assert torch.equal(gradient.flatten(1), wanted)  # the move is a constant to it
    assert (gradient != 0).all()


def test_a_score_does_not_depend_on_its_batch_and_works_inside_no_grad():
    network, query = deep(), images(11, seed=1)
    maha = moving(network, 1 / 256, layers="relu")
    whole = maha.score_images(network, query)
    with torch.no_grad():
        parts = maha.score_images(network, query, batch_size=3)
    torch.testing.assert_close(parts, whole, rtol=1e-10, atol=0)
    assert not whole.requires_grad


def test_thresholds_of_images_are_of_moved_images(tmp_path: Path):
    network, clean = deep(), images(100, seed=1)
    maha = moving(network, 1 / 256).calibrate_images(network, clean, tnr=0.9)
    assert int((maha.score_images(network, clean) > maha.threshold_).sum()) == 10
    plain = moving(network, 0).calibrate_images(network, clean, tnr=0.9)
    assert maha.threshold_ < plain.threshold_
    maha.save(tmp_path / "maha")
    back = MAHA.load(tmp_path / "maha")
    assert back.magnitude == 1 / 256
    assert torch.equal(back.score_images(network, clean), maha.score_images(network, clean))


@pytest.mark.parametrize("how", ["logistic", "mean"])
def test_layers_are_weighed_by_the_scores_of_moved_images(how: str):
    network, x, labels = deep(), images(80), torch.arange(80) % 2
    sides = {"negative": images(30, seed=2), "positive": images(30, seed=3) ** 1.2}
    combined = Combined(Combined(MAHA(magnitude=0.02), how), how).fit_images(network, x, labels, **sides)
    if how == "logistic":
        inner = combined.detector_
        low, high = (
            torch.stack([*inner.layer_scores(*inner.read_images(network, s)).values()], dim=1) for s in sides.values()
        )
        weights, bias = _regress(torch.cat([low, high]), torch.tensor([0] * 30 + [1] * 30))
        torch.testing.assert_close((combined.weights_, combined.bias_), (weights, bias), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close((inner.weights_, inner.bias_), (weights, bias), rtol=1e-9, atol=1e-9)
        still = Combined(Combined(MAHA(), "mean")).fit_images(network, x, labels, **sides)
        assert not torch.allclose(combined.weights_, still.weights_)
    query = images(5, seed=4)
    alone = MAHA(magnitude=0.02).fit_images(network, x, labels).read_images(network, query)
    assert torch.equal(combined.score_images(network, query), combined.score(*alone))


def test_those_who_see_features_alone_refuse_it():
    for use in (evading, guard):
        with pytest.raises(InputError, match=r"detectors that score channel means.*got \['MAHA'\]"):
            use(moving(deep(), 1 / 256))


@pytest.mark.parametrize("magnitude", [-0.1, 2, float("nan"), True, "1/256", None])
def test_the_constructor_checks_the_magnitude(magnitude: object):
    with pytest.raises(InputError, match="`magnitude` of MAHA must be a number from 0 to 1"):
        make_detector("MAHA", magnitude=magnitude)


def test_images_are_moved_after_fit_only():
    maha = MAHA(magnitude=1 / 256)
    with pytest.raises(NotFittedError, match="MAHA is not fitted"):
        maha.score_images(deep(), images(2))
