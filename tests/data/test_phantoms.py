"""The phantoms: reproducible, well formed, not told apart by a trivial statistic, learnt by a small network."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from medaegis._errors import InputError
from medaegis.data._phantom_chest import chest_phantoms
from medaegis.data._phantom_fundus import fundus_phantoms
from medaegis.data._phantom_parts import Phantoms, View, grid, place

KINDS = [pytest.param(fundus_phantoms, id="fundus"), pytest.param(chest_phantoms, id="chest")]


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("make", KINDS)
def test_same_seed_same_bytes_and_other_seed_other_patients(make):
    first, again, other = make(8, size=48, seed=3), make(8, size=48, seed=3), make(8, size=48, seed=4)
    assert first.images.tobytes() == again.images.tobytes()
    assert first.groups == again.groups
    assert all((a != b).any() for a, b in zip(first.images, other.images, strict=True))
    assert not set(first.groups) & set(other.groups)


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("m", [1, 5, 8])
def test_a_case_does_not_depend_on_how_many_follow(make, m):
    few, many = make(m, size=40, seed=2), make(2 * m, size=40, seed=2)
    assert (few.images == many.images[:m]).all()
    assert (few.labels == many.labels[:m]).all()
    assert few.groups == many.groups[:m]


@pytest.mark.parametrize("make", KINDS)
def test_global_random_state_is_neither_read_nor_moved(make):
    np.random.seed(0)  # noqa: NPY002  # the legacy global state is the subject here
    before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002  # as above
    first = make(4, size=40)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002  # as above
    assert torch.equal(torch.get_rng_state(), torch_before)
    np.random.seed(1)  # noqa: NPY002  # as above
    assert (make(4, size=40).images == first.images).all()


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("size", [32, 64, 80])
def test_shapes_types_and_range(make, size):
    phantoms = make(8, size=size)
    assert isinstance(phantoms, Phantoms)
    assert (phantoms.images.shape, phantoms.images.dtype) == ((8, 3, size, size), np.uint8)
    assert (phantoms.labels.shape, phantoms.labels.dtype) == ((8,), np.int64)
    assert len(phantoms.groups) == 8
    brightest, darkest = phantoms.images.max(axis=(1, 2, 3)), phantoms.images.min(axis=(1, 2, 3))
    assert (brightest > 120).all()
    assert (darkest < 60).all()


@pytest.mark.parametrize("make", KINDS)
def test_anatomy_does_not_depend_on_the_size(make):
    small, large = make(8, size=64, seed=6).images / 255, make(8, size=128, seed=6).images / 255
    pooled = large.reshape(8, 3, 64, 2, 64, 2).mean(axis=(3, 5))
    assert (np.abs(pooled - small).mean(axis=(1, 2, 3)) < 0.03).all()


def test_chest_is_gray_and_fundus_is_reddish():
    chest, fundus = chest_phantoms(8, size=64).images, fundus_phantoms(8, size=64).images
    assert (chest == chest[:, :1]).all()
    red, green, blue = fundus.mean(axis=(0, 2, 3))
    assert red > 1.3 * green > 1.3 * blue


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("n", [2, 4, 6, 10, 96])
def test_labels_are_balanced_for_every_even_number(make, n):
    assert make(n, size=32, seed=5).labels.sum() == n // 2


@pytest.mark.parametrize("make", KINDS)
def test_a_patient_has_one_label_and_a_third_have_two_different_images(make):
    images, labels, groups = make(96, size=48, seed=1)
    patients = {group: [i for i in range(96) if groups[i] == group] for group in set(groups)}
    assert all(len({int(labels[i]) for i in cases}) == 1 for cases in patients.values())
    pairs = [cases for cases in patients.values() if len(cases) == 2]
    assert (len(patients), len(pairs)) == (72, 24)
    assert all((images[a] != images[b]).any() for a, b in pairs)


@pytest.mark.parametrize("make", KINDS)
def test_label_order_is_not_a_fixed_pattern(make):
    labels = make(96, size=32, seed=0).labels
    assert 0.3 < (labels[::2] == 1).mean() < 0.7


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"n": 0}, "`n` of .*_phantoms must be an int"),
        ({"n": 2.0}, "`n` of"),
        ({"n": True}, "`n` of"),
        ({"n": 2, "size": 16}, r"`size` of .* in \[32, 1024\], got 16"),
        ({"n": 2, "size": "64"}, "`size` of"),
        ({"n": 2, "seed": -1}, "`seed` of"),
        ({"n": 2, "seed": 2**32}, "`seed` of"),
        ({"n": 2, "seed": None}, "`seed` of"),
    ],
)
def test_bad_arguments_are_named(make, arguments, text):
    with pytest.raises(InputError, match=text):
        make(**arguments)


def test_place_is_the_inverse_of_grid():
    view = View(0.3, 1.2, (0.1, -0.2))
    x, y = grid(8, view)
    line = (2 * np.arange(8) + 1) / 8 - 1
    seen = place(np.stack([x, y], axis=-1), view)
    np.testing.assert_allclose(seen[..., 0], np.broadcast_to(line[None, :], (8, 8)), atol=1e-6)
    np.testing.assert_allclose(seen[..., 1], np.broadcast_to(line[:, None], (8, 8)), atol=1e-6)


def _statistics(images: np.ndarray) -> np.ndarray:
    """Mean, variance and 32-bin histogram of every channel, (n, 102)."""
    rows = [
        [v for c in x for v in (c.mean(), c.var(), *np.histogram(c, 32, (0, 256))[0] / c.size)]
        for x in images.astype(np.float64)
    ]
    return np.array(rows)


@pytest.fixture(scope="module", params=KINDS)
def parts(request: pytest.FixtureRequest) -> tuple[Phantoms, Phantoms]:
    """Many cases to learn from and others to be asked about."""
    return request.param(600, size=64, seed=10), request.param(400, size=64, seed=11)


def test_trivial_statistics_do_not_tell_the_class(parts):
    train, test = parts
    known, asked = _statistics(train.images), _statistics(test.images)
    for strength in (0.01, 1.0):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=5000)).fit(known, train.labels)
        assert roc_auc_score(test.labels, model.decision_function(asked)) < 0.70


def _small_network() -> nn.Module:
    layers: list[nn.Module] = []
    widths = (3, 16, 32, 64)
    for i, (c_in, c_out) in enumerate(pairwise(widths)):
        stride, kernel = (1, 3) if i else (2, 5)
        layers += [
            nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2),
            nn.BatchNorm2d(c_out),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 2))


def _train(train: Phantoms, epochs: int) -> nn.Module:
    x, y = torch.from_numpy(train.images).float() / 255, torch.from_numpy(train.labels)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = _small_network().train()
        optimiser = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=epochs * (len(x) // 32))
        for _ in range(epochs):
            for rows in torch.randperm(len(x)).split(32)[: len(x) // 32]:
                flipped = x[rows].flip(3) if torch.rand(()) < 0.5 else x[rows]
                loss = nn.functional.cross_entropy(network(flipped), y[rows])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
    return network.eval()


@pytest.mark.usefixtures("one_thread")
def test_a_small_network_learns_the_class(parts):
    train, test = parts
    network = _train(train, epochs=20)
    with torch.no_grad():
        logits = network(torch.from_numpy(test.images).float() / 255)
    assert roc_auc_score(test.labels, (logits[:, 1] - logits[:, 0]).numpy()) > 0.95
