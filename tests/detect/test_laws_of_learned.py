"""The laws of HOUSE.md for the detectors that need examples or the network's head."""

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
from medaegis.detect import BU, DNN, SVM, Detector, Examples
from medaegis.detect._names import DETECTORS

HEAD = nn.Linear(4, 3)
HEAD.weight.data = torch.randn(3, 4, generator=torch.Generator().manual_seed(9))

MAKERS: dict[str, Callable[[], Detector]] = {
    "SVM": SVM,
    "SVM penalty": lambda: SVM(10),
    "DNN": lambda: DNN(8, epochs=15, learning_rate=0.01),
    "DNN seed": lambda: DNN(4, epochs=5, patience=2, batch_size=7, seed=1),
    "BU": BU,
    "BU exact": lambda: BU(None),
    "BU seed": lambda: BU(9, dropout=0.5, seed=1),
}

Wrap = Callable[[Tensor], Any]


def one_layer(z: Tensor) -> Tensor:
    return z


def named_layer(z: Tensor) -> dict[str, Tensor]:
    return {"deep|relu#2": z}


def two_layers(z: Tensor) -> dict[str, Tensor]:
    return {"deep|relu#2": z, "a": torch.cat([z[:, :2] * 3, z[:, 1:]], dim=1)}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cases(n: int = 30, seed: int = 0) -> tuple[Tensor, Tensor]:
    return normal(n, 4, seed=seed), torch.tensor([2, 10, 3])[torch.arange(n) % 3]


def sides(wrap: Wrap) -> Examples:
    return Examples(wrap(normal(24, 4, seed=5)), wrap(normal(20, 4, seed=6) + 1.5))


def fit(detector: Detector, wrap: Wrap, z: Tensor | None = None, examples: Examples | None = None) -> Detector:
    known, labels = cases()
    given = sides(wrap) if examples is None else examples
    return detector.prepare(HEAD).fit(wrap(known if z is None else z), labels, examples=given)


def picked(features: Any, rows: Tensor | slice) -> Any:
    return features[rows] if isinstance(features, Tensor) else {name: z[rows] for name, z in features.items()}


def tensors_of(x: Any) -> list[Tensor]:
    if isinstance(x, Tensor):
        return [x]
    parts = x.values() if isinstance(x, dict) else (part for part in x if part is not None)
    return [tensor for part in parts for tensor in tensors_of(part)]


@pytest.fixture(params=MAKERS.values(), ids=MAKERS)
def make(request: pytest.FixtureRequest) -> Callable[[], Detector]:
    return request.param


@pytest.fixture(params=[one_layer, named_layer, two_layers])
def wrap(request: pytest.FixtureRequest, make: Callable[[], Detector]) -> Wrap:
    if request.param is two_layers and isinstance(make(), BU):
        pytest.skip("BU reads the penultimate layer alone")
    return request.param


@pytest.fixture
def fitted(make: Callable[[], Detector], wrap: Wrap) -> Detector:
    return fit(make(), wrap)


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


# files


def test_save_and_load_give_equal_scores(fitted: Detector, wrap: Wrap, tmp_path: Path):
    z = wrap(cases(seed=1)[0])
    fitted.calibrate(z).save(tmp_path / "detector")
    back = type(fitted).load(tmp_path / "detector")
    assert torch.equal(back.score(z), fitted.score(z))
    assert back.threshold_ == fitted.threshold_
    assert back.get_params() == fitted.get_params()
    assert back.fitted_layers() == fitted.fitted_layers()
    assert json.dumps(back.state()[1]) == json.dumps(fitted.state()[1])


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


# odd features


def test_not_finite(fitted: Detector, make: Callable[[], Detector], wrap: Wrap):
    spoilt = cases()[0]
    spoilt[4, 1] = torch.nan
    for call in (lambda: fitted.score(wrap(spoilt)), lambda: fit(make(), wrap, spoilt)):
        with pytest.raises(InputError, match="finite"):
            call()


def test_shapes_that_do_not_fit(fitted: Detector, wrap: Wrap):
    z, labels = cases()
    bad = {
        r"\(n, d\), or layer names": lambda: fitted.score(z[0]),
        "with layers": lambda: fitted.score({"other": z}),
        "of as many channels as in fit": lambda: fitted.score(
            {name: torch.cat([z, z], dim=1) for name in fitted.fitted_layers()}
        ),
        r"`labels` of \w+ must be of shape \(30,\)": lambda: fitted.fit(wrap(z), labels[:29], examples=sides(wrap)),
        "at least two cases of each class": lambda: fitted.fit(
            wrap(z), torch.tensor([0] * 29 + [5]), examples=sides(wrap)
        ),
    }
    for message, call in bad.items():
        with pytest.raises(InputError, match=message):
            call()


def test_one_feature_one_class_and_more_features_than_cases(make: Callable[[], Detector]):
    for d, n in ((1, 20), (50, 12)):
        z = normal(n, d)
        head = nn.Linear(d, 2)
        with torch.no_grad():
            head.weight.fill_(0.5)
        examples = Examples(z, z + 4)
        detector = make().prepare(head).fit(z, torch.zeros(n).long(), examples=examples)
        assert detector.score(z).isfinite().all()
        assert (detector.score(z + 4).mean() > detector.score(z).mean()).all()


# the second door


class Net(nn.Module):
    """Two activation layers and a dropout that must stay off."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.relu = nn.Conv2d(1, 4, 3), nn.ReLU()
        self.second, self.relu2 = nn.Conv2d(4, 5, 3), nn.ReLU()
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu2(self.second(self.relu(self.first(x))))
        return self.head(self.drop(x.mean(dim=(2, 3))))

    def features(self, x: Tensor) -> dict[str, Tensor]:
        first = self.relu(self.first(x))
        second = self.relu2(self.second(first)).mean(dim=(2, 3))
        return {"relu": first.mean(dim=(2, 3)), "relu2": second, "penultimate": second}


def test_the_images_door_is_the_features_door(make: Callable[[], Detector]):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Net().double().train()
    draw = torch.Generator().manual_seed(0)
    train, low, high, query = (
        torch.rand(n, 1, 8, 8, generator=draw, dtype=torch.float64) ** p for n, p in ((12, 1), (9, 1), (8, 3), (7, 2))
    )
    labels, detector, other = torch.arange(12) % 3, make(), make()
    detector.fit_images(model, train, labels, negative=low, positive=high, batch_size=5)
    scores = detector.score_images(model, query, batch_size=3)
    assert model.training
    with torch.no_grad():
        features = [other.pick(model.features(x)) for x in (train, low, high, query)]
    other.prepare(model).fit(features[0], labels, examples=Examples(features[1], features[2]))
    torch.testing.assert_close(scores, other.score(features[3]), rtol=1e-8, atol=1e-8)
    assert torch.autograd.gradcheck(lambda x: detector.score_images(model, x), (query[:2].requires_grad_(),), atol=1e-4)
