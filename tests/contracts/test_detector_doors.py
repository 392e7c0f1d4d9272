"""The laws of detectors, over the one list: files, odd features, and the door of images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from contracts.detector_list import AnyFeatures, Wrap, cases, innermost, normal, reads_predicted
from medaegis._errors import DataError, InputError, NotFittedError
from medaegis.detect import BU, KD, LID, MAHA, Combined, Detector, Examples, extract
from medaegis.detect._names import DETECTORS

# files


def test_save_and_load_give_equal_scores(fitted: Detector, wrap: Wrap, tmp_path: Path):
    z, labels = cases(n=20, seed=1)
    fitted.calibrate(wrap(z), labels)
    fitted.save(tmp_path / "detector")
    back = type(fitted).load(tmp_path / "detector")
    assert torch.equal(back.score(wrap(z), labels), fitted.score(wrap(z), labels))
    assert torch.equal(back.score(wrap(z)), fitted.score(wrap(z)))
    assert (back.threshold_, back.threshold_spread_) == (fitted.threshold_, fitted.threshold_spread_)
    assert back.layers == fitted.layers
    assert back.fitted_layers() == fitted.fitted_layers()
    assert json.dumps(back.state()[1]) == json.dumps(fitted.state()[1])
    if not isinstance(fitted, Combined):  # whose parameter is another detector
        assert back.get_params() == fitted.get_params()


def test_a_missing_threshold_stays_missing(fitted: Detector, tmp_path: Path):
    fitted.save(tmp_path / "detector")
    assert type(fitted).load(tmp_path / "detector").threshold_ is None


def test_a_file_of_another_kind(fitted: Detector, tmp_path: Path):
    fitted.save(tmp_path / "detector")
    for other in set(DETECTORS.values()) - {type(fitted)}:
        with pytest.raises(DataError, match=f"does not hold a {other.__name__} detector"):
            other.load(tmp_path / "detector")
    save_file({"w": torch.zeros(1)}, tmp_path / "weights")
    with pytest.raises(DataError, match="does not hold"):
        type(fitted).load(tmp_path / "weights")


def test_damaged_files(fitted: Detector, tmp_path: Path):
    path = tmp_path / "detector"
    with pytest.raises(DataError, match="cannot be read"):
        type(fitted).load(path)
    fitted.save(path)
    whole = path.read_bytes()
    for content in (b"", b"text", whole[:20], whole[:-8]):
        path.write_bytes(content)
        with pytest.raises(DataError, match="cannot be read"):
            type(fitted).load(path)


def test_incomplete_files(fitted: Detector, tmp_path: Path):
    path = tmp_path / "detector"
    fitted.save(path)
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["medaegis"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # not a dict
    less = [(tensors, {k: v for k, v in header.items() if k != name}) for name in set(header) - {"detector"}]
    less += [({k: v for k, v in tensors.items() if k != name}, header) for name in tensors]
    for parts, values in less:
        save_file(parts, path, metadata={"medaegis": json.dumps(values)})
        with pytest.raises(DataError, match="is incomplete"):
            type(fitted).load(path)
    save_file(tensors, path, metadata={"medaegis": "[1]"})
    with pytest.raises(DataError, match="does not hold"):
        type(fitted).load(path)


def test_a_folder_that_does_not_exist(fitted: Detector, tmp_path: Path):
    with pytest.raises(DataError, match="cannot be written"):
        fitted.save(tmp_path / "none" / "detector")


# odd features: a stated result or an error that says what to do


def test_not_finite(make: Callable[[], Detector], fitted: Detector, wrap: Wrap):
    z, labels = cases()
    for bad in (torch.nan, torch.inf):
        spoilt = z.clone()
        spoilt[4, 1] = bad
        for call in (lambda f=spoilt: make().fit(wrap(f), labels), lambda f=spoilt: fitted.score(wrap(f), labels)):
            with pytest.raises(InputError, match="finite"):
                call()


def test_one_case_a_class(make: Callable[[], Detector], wrap: Wrap):
    z, _ = cases(n=9)
    with pytest.raises(InputError, match=r"at least two cases of each class, got \{5: 1\}"):
        make().fit(wrap(z), torch.tensor([0] * 8 + [5]))


def test_two_cases_a_class(make: Callable[[], Detector], wrap: Wrap):
    z, labels = cases(n=6)
    detector = make().fit(wrap(z), labels)
    assert (detector.score(wrap(z + 500), labels) > detector.score(wrap(z), labels)).all()


def test_one_class(make: Callable[[], Detector], wrap: Wrap):
    z = normal(20, 4)
    detector = make().fit(wrap(z), torch.zeros(20, dtype=torch.int64))
    assert (detector.score(wrap(z + 50)) > detector.score(wrap(z)).max()).all()


def test_one_feature(make: Callable[[], Detector], single: Wrap):
    z, labels = cases(d=1)
    detector = make().fit(single(z), labels)
    assert (detector.score(single(z + 500), labels) > detector.score(single(z), labels)).all()


def test_a_constant_feature(make: Callable[[], Detector], wrap: Wrap):
    z, labels = cases()
    z[:, 2] = 0.1
    detector = make().fit(wrap(z), labels)
    plain = detector.score(wrap(z), labels)
    assert plain.isfinite().all()
    moved = z.clone()
    moved[:, 2] = 100
    assert (detector.score(wrap(moved), labels) > plain).all()


def test_constant_features(make: Callable[[], Detector], single: Wrap):
    z, labels = torch.full((30, 3), 0.1), torch.arange(30) % 2
    detector = make()
    read = innermost(detector)
    if isinstance(read, KD) and isinstance(read.bandwidth, str):
        with pytest.raises(InputError, match="all reference cases are equal"):
            detector.fit(single(z), labels)
    elif isinstance(read, LID):
        with pytest.raises(InputError, match="more cases without duplicates"):
            detector.fit(single(z), labels)
    else:
        detector.fit(single(z), labels)
        assert (detector.score(single(z + 1), labels) > detector.score(single(z), labels)).all()
        assert (detector.score(single(z + 1), labels) < 10).all()


def test_more_features_than_cases(make: Callable[[], Detector], single: Wrap):
    place = torch.arange(12) % 2
    z = normal(12, 50) + place[:, None]
    detector = make().fit(single(z), place)
    held = normal(12, 50, seed=1) + place[:, None]
    scores = detector.score(single(held), place)
    assert scores.isfinite().all()
    assert (detector.score(single(held + 50), place) > scores).all()


def test_shapes_that_do_not_fit(fitted: Detector, wrap: Wrap, single: Wrap):
    z, labels = cases()
    names = fitted.fitted_layers()
    bad = {
        "finite": lambda: fitted.score(wrap(z * torch.nan)),
        r"\(n, d\)": lambda: fitted.score(z[0]),
        "at least one layer": lambda: fitted.score({}),
        "with layers": lambda: fitted.score({"other": single(z)}),
        "of as many channels as in fit": lambda: fitted.score(dict.fromkeys(names, single(torch.cat([z, z], dim=1)))),
        r"`labels` of \w+ must be of shape \(60,\)": lambda: fitted.fit(wrap(z), labels[:59]),
        "of the same n at every layer": lambda: fitted.fit({"a": single(z), "b": single(z[:9])}, labels),
    }
    for message, call in bad.items():
        with pytest.raises(InputError, match=message):
            call()


def test_a_class_that_was_not_in_train(fitted: Detector, wrap: Wrap):
    z, labels = cases(n=6)
    labels[3] = 77
    if reads_predicted(fitted):
        owner = type(innermost(fitted)).__name__
        with pytest.raises(InputError, match=rf"`predicted` of {owner} must be one of the classes.*got \[77\]"):
            fitted.score(wrap(z), labels)
        with pytest.raises(InputError, match=r"of shape \(6,\)"):
            fitted.score(wrap(z), labels[:3])  # and not silently three scores
    else:
        assert fitted.score(wrap(z), labels).isfinite().all()


# the second door: images and a network


class Net(nn.Module):
    """A small network with two activation layers and a dropout that must stay off."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.relu = nn.Conv2d(1, 4, 3), nn.ReLU()
        self.second, self.relu2 = nn.Conv2d(4, 5, 3), nn.ReLU()
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu2(self.second(self.relu(self.first(x))))
        return self.head(self.drop(x.mean(dim=(2, 3))))

    @torch.no_grad()
    def by_hand(self, x: Tensor, layers: Any, side: int | None) -> tuple[AnyFeatures, Tensor]:
        """What a detector of these layers reads, by its own sums, and the predicted classes."""
        first = self.first(x).relu()
        second = self.second(first).relu()
        last = second.mean(dim=(2, 3))
        found = {"relu": first, "relu2": second}
        features = {n: z.mean(dim=(2, 3)) if side is None else adaptive_avg_pool2d(z, side) for n, z in found.items()}
        features["penultimate"] = last
        predicted = self.head(last).argmax(dim=1)
        if layers == "penultimate":
            return last, predicted
        return {name: features[name] for name in (found if layers == "relu" else layers)}, predicted


@pytest.fixture
def network() -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net().double().train()


def images(n: int, seed: int = 0, power: float = 1) -> Tensor:
    """Away from 0 and 1, where a moved image would be clipped."""
    drawn = torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return 0.1 + 0.8 * drawn**power


def sides() -> dict[str, Tensor]:
    return {"negative": images(9, seed=2), "positive": images(8, seed=3, power=3)}


LAYERS = ["penultimate", "relu", ("relu2", "penultimate"), ["relu"]]


@pytest.fixture(params=LAYERS, ids=str)
def choosing(request: pytest.FixtureRequest, make: Callable[[], Detector]) -> Callable[[], Detector]:
    """Detectors of these layers."""
    if isinstance(make(), BU) and request.param != "penultimate":
        pytest.skip("BU reads the penultimate layer")

    def chosen() -> Detector:
        detector = make()
        if not isinstance(detector, BU):
            innermost(detector).layers = request.param
        return detector

    return chosen


def test_the_images_door_is_the_features_door(choosing: Callable[[], Detector], network: Net):
    detector, other = choosing(), choosing()
    train, labels, query = images(40), torch.arange(40) % 3, images(11, seed=1)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    assert detector.fit_images(network, train, labels, batch_size=16, **sides()) is detector
    scores = detector.score_images(network, query, batch_size=4)
    assert network.training
    assert network.drop.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())

    def read(x: Tensor) -> tuple[AnyFeatures, Tensor]:
        return network.by_hand(x, innermost(other).layers, other.map_side)

    if (
        isinstance(innermost(detector), MAHA) and detector.needs_images
    ):  # what it reads of them is its own: tests/detect/test_maha.py
        assert torch.equal(scores, detector.score(*detector.read_images(network, query, batch_size=4)))
        assert not torch.allclose(scores, detector.score(*read(query)))
        return
    (low, low_classes), (high, high_classes) = (read(x) for x in sides().values())
    examples = Examples(low, high, low_classes, high_classes)
    other.prepare(network).fit(read(train)[0], labels, examples=examples)
    torch.testing.assert_close(scores, other.score(*read(query)), rtol=1e-8, atol=1e-8)


def test_calibrating_on_images_is_calibrating_on_what_is_read_of_them(make: Callable[[], Detector], network: Net):
    detector = make().fit_images(network, images(40), torch.arange(40) % 3, **sides())
    clean = images(31, seed=5)
    detector.calibrate(*detector.read_images(network, clean), tnr=0.8)
    wanted = detector.threshold_, detector.threshold_spread_
    assert detector.calibrate_images(network, clean, tnr=0.8, batch_size=7) is detector
    assert (detector.threshold_, detector.threshold_spread_) == pytest.approx(wanted, rel=1e-9)
    assert int((detector.score_images(network, clean) > detector.threshold_ + 1e-9).sum()) == 6
    with pytest.raises(NotFittedError, match="is not fitted"):
        make().calibrate_images(network, clean)


def test_the_gradient_reaches_the_images(make: Callable[[], Detector], network: Net):
    detector = make().fit_images(network, images(40), torch.arange(40) % 3, **sides())
    x = images(3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda q: detector.score_images(network, q), (x,), atol=1e-4, fast_mode=True)
    with torch.no_grad():
        assert not detector.score_images(network, x).requires_grad
    assert not detector.score_images(network, x.detach()).requires_grad


def test_no_graph_is_built_inside_no_grad(network: Net):
    seen: list[bool] = []
    network.head.register_forward_hook(lambda *_: seen.append(torch.is_grad_enabled()))
    x = images(1).requires_grad_()
    extract(network, x, ["penultimate"])
    extract(network, x.detach(), ["penultimate"])
    with torch.no_grad():
        extract(network, x, ["penultimate"])
    assert seen == [True, False, False]


def test_the_images_door_checks_its_arguments(make: Callable[[], Detector], network: Net):
    detector = make().fit_images(network, images(40), torch.arange(40) % 3, **sides())
    with pytest.raises(InputError, match="at least one image"):
        detector.score_images(network, images(0))
    with pytest.raises(InputError, match="batch_size"):
        detector.score_images(network, images(2), batch_size=0)
    with pytest.raises(InputError, match="given together with `negative`"):
        detector.fit_images(network, images(40), torch.arange(40) % 3, positive=images(2))
