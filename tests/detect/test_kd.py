from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KernelDensity
from torch import Tensor

from medaegis._errors import InputError
from medaegis.density import choose_bandwidth, leave_one_out_log_density
from medaegis.detect import KD, make_detector


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def classes(n: int = 30, d: int = 3) -> tuple[Tensor, Tensor]:
    labels = torch.arange(2 * n) // n
    return normal(2 * n, d) + 5 * labels[:, None], labels


@pytest.mark.parametrize("bandwidth", [0.26, 1.0])
@pytest.mark.parametrize("d", [2, 64])
def test_agrees_with_scikit_learn(bandwidth: float, d: int):
    z, labels = classes(d=d)
    query, predicted = normal(20, d, seed=1), torch.arange(20) % 2
    found = KD(bandwidth).fit(z, labels).score(query, predicted)
    others = [KernelDensity(bandwidth=bandwidth, leaf_size=100).fit(z[labels == c].numpy()) for c in (0, 1)]
    by_class = np.stack([other.score_samples(query.numpy()) for other in others], axis=1)
    np.testing.assert_allclose(found.numpy(), -by_class[np.arange(20), predicted.numpy()], rtol=1e-9)
    np.testing.assert_allclose(KD(bandwidth).fit(z, labels).score(query).numpy(), -by_class.max(axis=1), rtol=1e-9)


def test_the_predicted_class_counts_not_the_closest():
    z, labels = classes()
    kd = KD().fit(z, labels)
    inside = z[labels == 1][:5]
    assert (kd.score(inside, torch.zeros(5).long()) > kd.score(inside, torch.ones(5).long()) + 5).all()


def test_bandwidth_is_the_geometric_mean_over_classes():
    z, labels = classes()
    z[labels == 1] *= 4
    widths = [choose_bandwidth(z[labels == c], "median") for c in (0, 1)]
    kd = KD("median").fit({"a": z, "b": 2 * z}, labels)
    assert kd.bandwidth_["a"] == pytest.approx(math.sqrt(widths[0] * widths[1]))
    assert kd.bandwidth_["b"] == pytest.approx(2 * kd.bandwidth_["a"])


def test_a_number_is_used_as_it_is():
    assert KD(0.3).fit(*classes()).bandwidth_ == {"": 0.3}


@pytest.mark.parametrize("bandwidth", ["scott", 0.0, -1, float("inf"), True, None])
def test_the_constructor_checks_the_bandwidth(bandwidth: object):
    with pytest.raises(InputError, match="`bandwidth` of KD"):
        make_detector("KD", bandwidth=bandwidth)


# centred


def tight_and_wide(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Class 0 has a tenth of the spread of class 1."""
    labels = torch.arange(n) % 2
    return normal(n, 8, seed=seed) * torch.tensor([0.1, 1.0])[labels][:, None] + 10 * labels[:, None], labels


def test_levels_are_the_median_left_out_densities():
    z, labels = tight_and_wide(60, seed=0)
    kd = KD(centred=True).fit(z, labels)
    for c in (0, 1):
        densities = leave_one_out_log_density(z[labels == c], kd.bandwidth_[""]).numpy()
        assert kd.levels_[""][c] == pytest.approx(np.median(densities))


def test_centred_shifts_the_scores_of_each_class():
    z, labels = tight_and_wide(60, seed=0)
    plain, centred = KD().fit(z, labels), KD(centred=True).fit(z, labels)
    query, predicted = tight_and_wide(20, seed=1)
    levels = torch.tensor([centred.levels_[""][int(c)] for c in predicted], dtype=torch.float64)
    torch.testing.assert_close(centred.score(query, predicted), plain.score(query, predicted) + levels)
    assert plain.levels_ == {"": {0: 0.0, 1: 0.0}}


def test_centred_lets_a_tight_and_a_wide_class_share_a_threshold():
    z, labels = tight_and_wide(400, seed=0)
    clean, predicted = tight_and_wide(400, seed=1)
    spread = torch.tensor([0.1, 1.0])[predicted][:, None]
    adversarial = clean + 1.5 * spread * normal(400, 8, seed=2)

    def found(kd: KD) -> tuple[float, Tensor]:
        scores = [kd.fit(z, labels).score(f, predicted) for f in (clean, adversarial)]
        value = roc_auc_score([0] * 400 + [1] * 400, torch.cat(scores).numpy())
        return float(value), torch.stack([scores[0][predicted == c].median() for c in (0, 1)])

    plain, plain_medians = found(KD())
    centred, centred_medians = found(KD(centred=True))
    assert centred > plain + 0.1
    assert (plain_medians[1] - plain_medians[0]).abs() > 10
    assert centred_medians.abs().max() < 2  # a clean case scores about 0 in either class


def test_levels_are_saved(tmp_path: Path):
    z, labels = tight_and_wide(60, seed=0)
    kd = KD(centred=True).fit(z, labels)
    kd.save(tmp_path / "kd")
    back = KD.load(tmp_path / "kd")
    assert back.centred
    assert back.levels_ == kd.levels_
