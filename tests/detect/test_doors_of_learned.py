"""The laws for the detectors that need examples or the network's head: files, odd features, the images door."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from detect.learned import Wrap, cases, fit, normal, sides
from medaegis._errors import DataError, InputError
from medaegis.detect import Detector, Examples

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
