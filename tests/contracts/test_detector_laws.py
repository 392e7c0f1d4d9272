"""The laws of HOUSE.md, "The parts of a detector", over one list of all detectors and both kinds of features."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from sklearn.base import clone
from torch import Tensor, nn

from medaegis._errors import DataError, InputError, NotFittedError
from medaegis.detect import BU, DNN, KD, KNN, LID, MAHA, MVG, SVM, Combined, Detector, Examples, HFCScore, extract
from medaegis.detect._names import DETECTORS

MAKERS: dict[str, Callable[[], Detector]] = {
    "KD": KD,
    "KD median": lambda: KD("median"),
    "KD 1.0": lambda: KD(1.0),
    "KD centred": lambda: KD(centred=True),
    "MAHA": MAHA,
    "MAHA seed 1": lambda: MAHA(seed=1),
    "HFC": HFCScore,
    "HFC seed 1": lambda: HFCScore(seed=1),
    "LID 5": lambda: LID(5),  # some laws have six cases
    "LID 5 of 30": lambda: LID(5, minibatch=30, seed=1),
    "KNN 2": lambda: KNN(2),  # some laws have two cases a class
    "KNN 1": lambda: KNN(1),
    "KNN among all": lambda: KNN(5, by_class=False),
    "MVG": MVG,
    "MVG by class": lambda: MVG(by_class=True, seed=1),
    "Combined MAHA": lambda: Combined(MAHA()),
    "Combined LID": lambda: Combined(LID(5)),
    "Combined KD": lambda: Combined(KD()),
    "Combined KD mean": lambda: Combined(KD(), how="mean"),
}
CLASSES = (2, 10, 3)

Wrap = Callable[[Tensor], Tensor | dict[str, Tensor]]


def innermost(detector: Detector) -> Detector:
    return innermost(detector.detector) if isinstance(detector, Combined) else detector


def reads_predicted(detector: Detector) -> bool:
    read = innermost(detector)
    return read.by_class if isinstance(read, KNN | MVG) else isinstance(read, KD | HFCScore)


def with_examples(detector: Detector) -> Detector:
    """The detector; where it learns from attacks, its `fit` makes examples from the features if it is given none."""
    if detector.learns_attacks:
        fit = detector.fit
        detector.fit = lambda z, y, *, examples=None: fit(z, y, examples=examples or examples_of(z, y))  # type: ignore[method-assign]
    return detector


def examples_of(features: Tensor | dict[str, Tensor], labels: Tensor) -> Examples:
    """Negatives near the features, and positives beyond all classes."""

    def near(z: Tensor) -> Tensor:
        return z.double() + 0.5 * normal(*z.shape, seed=9).to(z.device)

    if isinstance(features, Tensor):
        return Examples(near(features), near(features) + 25, labels, labels)
    parts = {name: near(z) for name, z in features.items()}
    return Examples(parts, {name: z + 25 for name, z in parts.items()}, labels, labels)


def of_kind(kind: str, **options: Any) -> Detector:
    """A detector by its name; the combined one takes MAHA with these options."""
    if kind == "BU" and options.pop("layers", "penultimate") != "penultimate":
        pytest.skip("BU reads the penultimate layer")
    return with_examples(Combined(MAHA(**options)) if kind == "Combined" else DETECTORS[kind](**options))


def one_layer(z: Tensor) -> Tensor:
    return z


def two_layers(z: Tensor) -> dict[str, Tensor]:
    return {"deep|relu#2": z, "a": torch.cat([z[:, :2] * 3, z[:, 1:]], dim=1)}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cases(n: int = 60, d: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Features and labels of three classes that are no ranks, two of which sort differently as text."""
    place = torch.arange(n) % 3
    return normal(n, d, seed=seed) + 6 * place[:, None], torch.tensor(CLASSES)[place]


def picked(features: Tensor | dict[str, Tensor], rows: Tensor | slice) -> Tensor | dict[str, Tensor]:
    if isinstance(features, Tensor):
        return features[rows]
    return {name: z[rows] for name, z in features.items()}


@pytest.fixture(params=MAKERS.values(), ids=MAKERS)
def make(request: pytest.FixtureRequest) -> Callable[[], Detector]:
    return lambda: with_examples(request.param())


@pytest.fixture(params=[one_layer, two_layers])
def wrap(request: pytest.FixtureRequest) -> Wrap:
    return request.param


@pytest.fixture
def fitted(make: Callable[[], Detector], wrap: Wrap) -> Detector:
    z, labels = cases()
    return make().fit(wrap(z), labels)


def test_the_list_is_complete():
    elsewhere = {SVM, DNN, BU}  # tests/detect/test_laws_of_learned.py
    assert {type(make()) for make in MAKERS.values()} == set(DETECTORS.values()) - elsewhere


def test_parameters_are_scikit_learns(make: Callable[[], Detector]):
    detector = make()
    copy = clone(detector)
    assert copy is not detector
    old, new = (
        {name: value for name, value in part.get_params().items() if not isinstance(value, Detector)}
        for part in (detector, copy)
    )
    assert new == old
    key = "layers" if "layers" in old else "detector__layers"
    assert copy.set_params(**{key: ["a"]}).layers == ["a"]
    assert detector.layers != ["a"]


# fit


def test_fit_returns_self_and_leaves_its_inputs_alone(make: Callable[[], Detector], wrap: Wrap):
    z, labels = cases()
    given, before, old_labels = wrap(z), wrap(z.clone()), labels.clone()
    detector = make()
    assert detector.fit(given, labels) is detector
    parts = zip(*(x.values() if isinstance(x, dict) else [x] for x in (given, before)), strict=True)
    assert all(torch.equal(new, old) for new, old in parts)
    assert torch.equal(labels, old_labels)


def test_a_fitted_detector_does_not_change_with_the_features_it_saw(make: Callable[[], Detector]):
    z, labels = cases()
    detector, query = make().fit(z, labels), normal(5, 4, seed=1)
    before = detector.score(query)
    z.zero_()
    assert torch.equal(detector.score(query), before)


def test_fit_keeps_no_graph(make: Callable[[], Detector], wrap: Wrap):
    z, labels = cases()
    detector = make().fit(wrap(z.requires_grad_()), labels)
    assert not detector.score(wrap(normal(5, 4))).requires_grad


def test_fitting_twice_is_fitting_anew(make: Callable[[], Detector]):
    z, labels = cases()
    query = normal(5, 4)
    once = make().fit(z, labels)
    twice = make().fit(normal(50, 4, seed=5), torch.arange(50) % 2).fit(z, labels)
    assert torch.equal(once.score(query), twice.score(query))


def test_fit_and_score_leave_the_global_random_state_alone(make: Callable[[], Detector], wrap: Wrap):
    z, labels = cases()
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    first = make().fit(wrap(z), labels).score(wrap(z))
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(make().fit(wrap(z), labels).score(wrap(z)), first)


def test_unfitted_raises(make: Callable[[], Detector], wrap: Wrap, tmp_path: Path):
    z, labels = cases()
    detector = make()
    for call in (lambda: detector.score(wrap(z), labels), lambda: detector.calibrate(wrap(z), labels)):
        with pytest.raises(NotFittedError, match=f"{type(detector).__name__} is not fitted"):
            call()
    with pytest.raises(NotFittedError, match="is not fitted"):
        detector.save(tmp_path / "detector")
    assert not (tmp_path / "detector").exists()
    with pytest.raises(NotFittedError, match="call calibrate"):
        make().fit(wrap(z), labels).flags(wrap(z))


# score


def test_a_score_a_case_in_float64(fitted: Detector, wrap: Wrap):
    z, labels = cases(n=7, seed=1)
    scores = fitted.score(wrap(z), labels)
    assert scores.shape == (7,)
    assert scores.dtype == torch.float64
    assert scores.isfinite().all()
    assert fitted.score(wrap(z[:0]), labels[:0]).shape == (0,)


def test_farther_scores_higher(fitted: Detector, wrap: Wrap):
    direction = normal(20, 4, seed=3)
    labels = torch.full((20,), CLASSES[2])  # the outermost class; going away from it is going away from all
    near, far, very_far = (fitted.score(wrap(12 + direction.abs() * s), labels) for s in (0.3, 6, 60))
    assert (near < far).all()
    assert (far < very_far).all()


def test_order_and_batch_size_do_not_change_scores(fitted: Detector, wrap: Wrap):
    z, labels = cases(n=30, seed=1)
    features, whole = wrap(z), fitted.score(wrap(z), labels)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        fitted.score(picked(features, order), labels[order]), whole[order], rtol=1e-10, atol=1e-12
    )
    for size in (1, 7):
        parts = [fitted.score(picked(features, slice(i, i + size)), labels[i : i + size]) for i in range(0, 30, size)]
        torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-10, atol=1e-12)


def test_the_order_of_the_train_cases_and_layers_does_not_matter_to_kernel_density(wrap: Wrap):
    z, labels = cases()
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    features = wrap(z)
    turned = picked(features, order)
    if isinstance(turned, dict):
        turned = dict(reversed(turned.items()))
    plain, other = KD().fit(features, labels), KD().fit(turned, labels[order])
    torch.testing.assert_close(other.score(features, labels), plain.score(features, labels), rtol=1e-10, atol=1e-12)


def test_scores_of_layers_are_averaged(make: Callable[[], Detector]):
    if make().learns_attacks:
        pytest.skip("weighs them as it has learned")
    z, labels = cases()
    layers, query = two_layers(z), two_layers(normal(8, 4, seed=2))
    together = make().fit(layers, labels).score(query, labels[:8])
    alone = [make().fit({name: layers[name]}, labels).score({name: query[name]}, labels[:8]) for name in layers]
    # MAHA draws each layer's held-out quarter in turn, so a layer alone may choose another strength of shrinkage
    tolerance = 0.05 if isinstance(make(), MAHA) else 1e-10
    torch.testing.assert_close(together, torch.stack(alone).mean(dim=0), rtol=tolerance, atol=tolerance)


def test_layers_that_were_not_fitted_are_ignored(fitted: Detector):
    z, labels = cases(n=9, seed=1)
    features = {"": z, **two_layers(z)}
    expected = fitted.score(two_layers(z) if len(state_layers(fitted)) == 2 else z, labels)
    assert torch.equal(fitted.score({"unused": torch.zeros(9, 1), **features}, labels), expected)


def state_layers(detector: Detector) -> set[str]:
    return set(detector.fitted_layers())


def test_predicted_is_read_where_the_detector_says_so(fitted: Detector, wrap: Wrap):
    z, labels = cases(n=12, seed=1)
    other = torch.tensor(CLASSES)[(torch.arange(12) + 1) % 3]
    changed = fitted.score(wrap(z), other) - fitted.score(wrap(z), labels)
    if reads_predicted(fitted):
        assert (changed > 0).all()
        assert torch.equal(fitted.score(wrap(z)), fitted.score(wrap(z), labels))  # None takes the best class
    else:
        assert torch.equal(changed, torch.zeros(12, dtype=torch.float64))
        assert torch.equal(fitted.score(wrap(z)), fitted.score(wrap(z), labels))


# gradients


def test_gradients_agree_with_finite_differences(fitted: Detector, wrap: Wrap):
    assert fitted.differentiable
    z, labels = cases(n=5, seed=1)
    assert torch.autograd.gradcheck(lambda f: fitted.score(wrap(f), labels), (z.requires_grad_(),))
    assert torch.autograd.gradcheck(lambda f: fitted.score(wrap(f)), (z,))


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
    torch.testing.assert_close(
        coarse.score(wrap(query), labels[:6]), exact.score(wrap(query), labels[:6]), rtol=1e-5, atol=1e-5
    )
    (gradient,) = torch.autograd.grad(scores.sum(), f)
    assert gradient.dtype == dtype
    assert (gradient != 0).any(dim=1).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_other_devices(fitted: Detector, wrap: Wrap):
    z, labels = cases(n=9, seed=1)
    there = fitted.score(wrap(z.cuda()), labels.cuda())
    assert there.is_cuda
    torch.testing.assert_close(there.cpu(), fitted.score(wrap(z), labels), rtol=1e-9, atol=1e-9)


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


# files


def test_save_and_load_give_equal_scores(fitted: Detector, wrap: Wrap, tmp_path: Path):
    z, labels = cases(n=20, seed=1)
    fitted.calibrate(wrap(z), labels)
    fitted.save(tmp_path / "detector")
    back = type(fitted).load(tmp_path / "detector")
    assert torch.equal(back.score(wrap(z), labels), fitted.score(wrap(z), labels))
    assert torch.equal(back.score(wrap(z)), fitted.score(wrap(z)))
    assert back.threshold_ == fitted.threshold_
    assert back.layers == fitted.layers
    assert json.dumps(back.state()[1]) == json.dumps(fitted.state()[1])


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
    for name in set(header) - {"detector"}:
        less = {key: value for key, value in header.items() if key != name}
        save_file(tensors, path, metadata={"medaegis": json.dumps(less)})
        with pytest.raises(DataError, match="is incomplete"):
            type(fitted).load(path)
    tensors.popitem()
    save_file(tensors, path, metadata={"medaegis": json.dumps(header)})
    with pytest.raises(DataError, match="is incomplete"):
        type(fitted).load(path)
    save_file(tensors, path, metadata={"medaegis": "[1]"})
    with pytest.raises(DataError, match="does not hold"):
        type(fitted).load(path)


def test_a_folder_that_does_not_exist(fitted: Detector, tmp_path: Path):
    with pytest.raises(DataError, match="cannot be written"):
        fitted.save(tmp_path / "none" / "detector")


# odd features: a stated result or an error that says what to do


def test_not_finite(make: Callable[[], Detector], wrap: Wrap):
    z, labels = cases()
    detector = make().fit(wrap(z), labels)
    for bad in (torch.nan, torch.inf):
        spoilt = z.clone()
        spoilt[4, 1] = bad
        for call in (lambda f=spoilt: make().fit(wrap(f), labels), lambda f=spoilt: detector.score(wrap(f), labels)):
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


def test_one_feature(make: Callable[[], Detector]):
    z, labels = cases(d=1)
    detector = make().fit(z, labels)
    assert (detector.score(z + 500, labels) > detector.score(z, labels)).all()


def test_a_constant_feature(make: Callable[[], Detector], wrap: Wrap):
    z, labels = cases()
    z[:, 2] = 0.1
    detector = make().fit(wrap(z), labels)
    plain = detector.score(wrap(z), labels)
    assert plain.isfinite().all()
    moved = z.clone()
    moved[:, 2] = 100
    assert (detector.score(wrap(moved), labels) > plain).all()


def test_constant_features(make: Callable[[], Detector]):
    z, labels = torch.full((30, 3), 0.1), torch.arange(30) % 2
    detector = make()
    read = innermost(detector)
    if isinstance(read, KD) and isinstance(read.bandwidth, str):
        with pytest.raises(InputError, match="all reference cases are equal"):
            detector.fit(z, labels)
    elif isinstance(read, LID):
        with pytest.raises(InputError, match="more cases without duplicates"):
            detector.fit(z, labels)
    else:
        detector.fit(z, labels)
        assert (detector.score(z + 1, labels) > detector.score(z, labels)).all()
        assert (detector.score(z + 1, labels) < 10).all()


def test_more_features_than_cases(make: Callable[[], Detector]):
    place = torch.arange(12) % 2
    z = normal(12, 50) + place[:, None]
    detector = make().fit(z, place)
    held = normal(12, 50, seed=1) + place[:, None]
    scores = detector.score(held, place)
    assert scores.isfinite().all()
    assert (detector.score(held + 50, place) > scores).all()


def test_shapes_that_do_not_fit(fitted: Detector, wrap: Wrap):
    z, labels = cases()
    bad = {
        "finite": lambda: fitted.score(wrap(z * torch.nan)),
        r"\(n, d\), or layer names": lambda: fitted.score(z[0]),
        "at least one layer": lambda: fitted.score({}),
        "with layers": lambda: fitted.score({"other": z}),
        "of as many channels as in fit": lambda: fitted.score(
            {name: torch.cat([z, z], dim=1) for name in state_layers(fitted)}
        ),
        r"`labels` of \w+ must be of shape \(60,\)": lambda: fitted.fit(wrap(z), labels[:59]),
        "of the same n at every layer": lambda: fitted.fit({"a": z, "b": z[:9]}, labels),
    }
    for message, call in bad.items():
        with pytest.raises(InputError, match=message):
            call()


def test_a_class_that_was_not_in_train(fitted: Detector, wrap: Wrap):
    z, labels = cases(n=6)
    labels[3] = 77
    if reads_predicted(fitted):
        with pytest.raises(
            InputError,
            match=rf"`predicted` of {type(innermost(fitted)).__name__} must be one of the classes.*got \[77\]",
        ):
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

    def by_hand(self, x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        first = self.first(x).relu()
        second = self.second(first).relu()
        features = {"relu": first.mean(dim=(2, 3)), "relu2": second.mean(dim=(2, 3))}
        features["penultimate"] = features["relu2"]
        return features, self.head(features["penultimate"])


@pytest.fixture
def network() -> Net:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net().double().train()


def images(n: int, seed: int = 0) -> Tensor:
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


LAYERS = ["penultimate", "relu", ("relu2", "penultimate"), ["relu"]]


@pytest.mark.parametrize("layers", LAYERS, ids=str)
@pytest.mark.parametrize("kind", DETECTORS)
def test_the_images_door_is_the_features_door(kind: str, layers: str | list[str], network: Net):
    detector = of_kind(kind, layers=layers)
    train, labels, query = images(40), torch.arange(40) % 3, images(11, seed=1)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    assert detector.fit_images(network, train, labels, batch_size=16) is detector
    scores = detector.score_images(network, query, batch_size=4)
    assert network.training
    assert network.drop.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    wanted = {"penultimate": None, "relu": ["relu", "relu2"]}.get(layers, layers) if isinstance(layers, str) else layers

    def chosen(x: Tensor) -> Tensor | dict[str, Tensor]:
        with torch.no_grad():
            features, _ = network.by_hand(x)
        return features["penultimate"] if wanted is None else {name: features[name] for name in wanted}

    with torch.no_grad():
        predicted = network.by_hand(query)[1].argmax(dim=1)
    other = of_kind(kind, layers=layers).prepare(network).fit(chosen(train), labels)
    torch.testing.assert_close(scores, other.score(chosen(query), predicted), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("kind", DETECTORS)
def test_the_gradient_reaches_the_images(kind: str, network: Net):
    detector = of_kind(kind).fit_images(network, images(40), torch.arange(40) % 3)
    x = images(3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda q: detector.score_images(network, q), (x,), atol=1e-4)
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


@pytest.mark.parametrize("kind", DETECTORS)
def test_the_images_door_checks_its_arguments(kind: str, network: Net):
    detector = of_kind(kind).fit_images(network, images(40), torch.arange(40) % 3)
    with pytest.raises(InputError, match="at least one image"):
        detector.score_images(network, images(0))
    with pytest.raises(InputError, match="batch_size"):
        detector.score_images(network, images(2), batch_size=0)
