from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from medaegis._errors import InputError
from medaegis.detect import KNN, make_detector


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def classes(n: int = 30, d: int = 3) -> tuple[Tensor, Tensor]:
    labels = torch.arange(2 * n) // n
    return normal(2 * n, d) + 5 * labels[:, None], labels


def by_scikit_learn(train: Tensor, query: Tensor, k: int) -> np.ndarray:
    distances, _ = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(train.numpy()).kneighbors(query.numpy())
    return distances[:, -1]


@pytest.mark.parametrize("k", [1, 10, 30])
@pytest.mark.parametrize("d", [2, 64])
def test_agrees_with_scikit_learn(k: int, d: int):
    z, labels = classes(d=d)
    query, predicted = normal(20, d, seed=1), torch.arange(20) % 2
    by_class = np.stack([by_scikit_learn(z[labels == c], query, k) for c in (0, 1)], axis=1)
    knn = KNN(k).fit(z, labels)
    np.testing.assert_allclose(knn.score(query, predicted), by_class[np.arange(20), predicted.numpy()], rtol=1e-12)
    np.testing.assert_allclose(knn.score(query), by_class.min(axis=1), rtol=1e-12)
    among_all = KNN(k, by_class=False).fit(z, labels)
    np.testing.assert_allclose(among_all.score(query, predicted), by_scikit_learn(z, query, k), rtol=1e-12)


def test_the_predicted_class_counts_not_the_closest():
    z, labels = classes()
    knn, inside = KNN().fit(z, labels), z[labels == 1][:5]
    assert (knn.score(inside, torch.zeros(5).long()) > knn.score(inside, torch.ones(5).long()) + 3).all()


def test_none_takes_the_smallest_over_classes_and_not_over_all_cases():
    # one case of either class is near: the second nearest among all is near, of one class it is far
    z = torch.tensor([[1.0], [10.0], [-1.0], [-10.0]])
    query, labels = torch.zeros(1, 1), torch.tensor([0, 0, 1, 1])
    assert KNN(2).fit(z, labels).score(query).item() == 10
    assert KNN(2, by_class=False).fit(z, labels).score(query).item() == 1


# normalised


def test_normalised_compares_directions():
    z, labels = classes()
    query, predicted = normal(20, 3, seed=1), torch.arange(20) % 2
    unit = torch.nn.functional.normalize
    plain = KNN(5).fit(unit(z), labels).score(unit(query), predicted)
    knn = KNN(5, normalised=True).fit(z, labels)
    torch.testing.assert_close(knn.score(query, predicted), plain)
    scale = normal(20, 1, seed=2).exp()
    torch.testing.assert_close(knn.score(query * scale, predicted), plain)
    assert (plain <= 2).all()


def test_normalised_gradients():
    z, labels = classes()
    knn, query = KNN(3, normalised=True).fit(z, labels), normal(5, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(knn.score, (query,))
    (gradient,) = torch.autograd.grad(knn.score(query).sum(), query)
    torch.testing.assert_close(
        (gradient * query).sum(dim=1), torch.zeros(5, dtype=torch.float64)
    )  # length is no matter


def test_a_feature_of_length_zero_is_one_from_every_direction():
    z, labels = classes()
    query = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    scores = KNN(3, normalised=True).fit(z, labels).score(query)
    torch.testing.assert_close(scores, torch.ones(1, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(scores.sum(), query)
    assert gradient.isfinite().all()
    assert gradient.abs().max() <= 1


# distance zero


def test_at_distance_zero_score_and_gradient_are_zero():
    z, labels = classes()
    query = (z[:4] + 1e6).requires_grad_()  # far from the origin, where a matrix of distances has only rounding left
    scores = KNN(1).fit(z + 1e6, labels).score(query)
    assert torch.equal(scores, torch.zeros(4, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(scores.sum(), query)
    assert torch.equal(gradient, torch.zeros_like(gradient))


def test_a_small_distance_is_no_rounding():
    z, labels = classes()
    step = torch.tensor([[3e-9, 4e-9, 0.0]], dtype=torch.float64)
    query = (z[:4] + step).requires_grad_()
    scores = KNN(1).fit(z, labels).score(query)
    torch.testing.assert_close(scores, torch.full((4,), 5e-9, dtype=torch.float64), rtol=1e-5, atol=0)
    (gradient,) = torch.autograd.grad(scores.sum(), query)
    expected = torch.tensor([[0.6, 0.8, 0.0]], dtype=torch.float64).expand(4, 3)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-5)


# arguments


def test_neighbours_beyond_a_class():
    z, labels = classes(n=9)
    with pytest.raises(
        InputError, match=r"each class, got 10. There are 9: take fewer neighbours or more cases, or by_cl"
    ):
        KNN().fit(z, labels)
    assert KNN(by_class=False).fit(z, labels).score(z).isfinite().all()
    with pytest.raises(
        InputError, match=r"at most the number of Train cases, got 19. There are 18: take fewer neighbours or more c"
    ):
        KNN(19, by_class=False).fit(z, labels)


@pytest.mark.parametrize("neighbours", [0, -1, 2.0, True, "5", None])
def test_the_constructor_checks_the_neighbours(neighbours: object):
    with pytest.raises(InputError, match="`neighbours` of KNN must be an int >= 1"):
        make_detector("KNN", neighbours=neighbours)


def test_scores_by_layer():
    z, labels = classes()
    scores = KNN(3).fit({"a": z, "b": 10 * z}, labels).layer_scores({"a": z + 1, "b": 10 * z + 10})
    assert list(scores) == ["a", "b"]
    torch.testing.assert_close(scores["b"], 10 * scores["a"])
