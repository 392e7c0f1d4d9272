"""One pass of the network for all detectors, and what each would say by itself."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from medaegis._errors import InputError, NotFittedError
from medaegis._types import Tapped
from medaegis.detect import (
    BU,
    DNN,
    KD,
    KNN,
    LID,
    MAHA,
    MVG,
    SVM,
    Combined,
    Detector,
    HFCScore,
    score_tapped,
    score_together,
)


class Net(nn.Module):
    """Counts its passes."""

    def __init__(self) -> None:
        super().__init__()
        self.passes = 0
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.conv, self.second = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 5, 3)
            self.relu, self.head = nn.ReLU(), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        return self.head(self.relu(self.second(self.relu(self.conv(x)))).mean(dim=(2, 3)))


def images(n: int, seed: int = 0) -> Tensor:
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def net() -> Net:
    return Net().eval()


@pytest.fixture(scope="module")
def fitted(net: Net) -> dict[str, Detector]:
    made: dict[str, Detector] = {
        "KD": KD(),
        "KD, one activation": KD("median", layers=("relu#2",)),
        "BU": BU(),
        "LID": LID(5, minibatch=20),
        "MAHA": MAHA(),
        "MAHA, two": MAHA(layers=("penultimate", "relu")),
        "SVM": SVM(),
        "DNN": DNN(4, epochs=3),
        "HFC": HFCScore(layers="relu"),
        "KNN": KNN(3),
        "MVG": MVG(by_class=True),
        "LID:logistic": Combined(LID(5, minibatch=20)),
    }
    x, labels = images(40), torch.arange(40) % 2
    low = images(20, seed=1)
    high = (3 * low).clamp_max(1)
    return {name: detector.fit_images(net, x, labels, negative=low, positive=high) for name, detector in made.items()}


@pytest.mark.parametrize(("n", "batch_size", "passes"), [(7, 3, 3), (7, 64, 1), (1, 1, 1)])
def test_one_pass_a_batch_whatever_is_scored(
    net: Net, fitted: dict[str, Detector], n: int, batch_size: int, passes: int
) -> None:
    net.passes = 0
    score_together(fitted, net, images(n, seed=2), batch_size=batch_size)
    assert net.passes == passes


def test_the_head_is_called_once_a_batch_too(net: Net, fitted: dict[str, Detector]) -> None:
    # BU multiplies the features by the head's weight itself
    calls: list[int] = []
    handle = net.head.register_forward_hook(lambda *_: calls.append(1))
    score_together({"BU": fitted["BU"], "KD": fitted["KD"]}, net, images(4))
    handle.remove()
    assert len(calls) == 1


def test_each_is_what_the_detector_says_by_itself(net: Net, fitted: dict[str, Detector]) -> None:
    x = images(7, seed=2)
    found = score_together(fitted, net, x, batch_size=3)
    assert list(found) == list(fitted)
    for name, detector in fitted.items():
        torch.testing.assert_close(found[name], detector.score_images(net, x, batch_size=3), rtol=1e-12, atol=0)
        assert found[name].shape == (7,)


def test_gradients_are_those_of_each_by_itself(net: Net, fitted: dict[str, Detector]) -> None:
    x = images(3, seed=2).requires_grad_()
    found = score_together(fitted, net, x)
    for name, detector in fitted.items():
        (mine,) = torch.autograd.grad(found[name].sum(), x, retain_graph=True)
        (alone,) = torch.autograd.grad(detector.score_images(net, x).sum(), x)
        assert alone.abs().max() > 0
        torch.testing.assert_close(mine, alone, rtol=1e-4, atol=1e-6 * float(alone.abs().max()))
    assert not any(scores.requires_grad for scores in score_together(fitted, net, x.detach()).values())


def test_a_door_of_its_own_is_used(net: Net, fitted: dict[str, Detector]) -> None:
    class Twice(KNN):
        def score_images(self, model: nn.Module, images: Tensor, *, batch_size: int = 64) -> Tensor:
            return 2 * super().score_images(model, images, batch_size=batch_size)

    x = images(5, seed=2)
    known = {"KD": fitted["KD"], "twice": Twice(3).fit_images(net, images(40), torch.arange(40) % 2)}
    found = score_together({"twice": known["twice"], "KD": known["KD"]}, net, x)
    assert list(found) == ["twice", "KD"]
    torch.testing.assert_close(found["twice"], 2 * fitted["KNN"].score_images(net, x))


def test_layers_that_a_detector_was_not_fitted_on_are_kept_from_it() -> None:
    class Counting(KNN):
        def score(self, features, predicted=None):  # type: ignore[no-untyped-def]  # as the interface
            return torch.tensor([float(len(features))])

    z, labels = torch.rand(6, 2), torch.zeros(6, dtype=torch.int64)
    detector = Counting(1, layers="relu").fit({"a": z, "b": z}, labels)
    tapped = Tapped(torch.zeros(1, 2), dict.fromkeys(("a", "c", "b", "penultimate"), z[:1]))
    assert score_tapped({"": detector}, tapped)[""].item() == 2


def test_what_is_wrong_is_named(net: Net, fitted: dict[str, Detector]) -> None:
    with pytest.raises(InputError, match="`detectors` of score_together must be one or more detectors"):
        score_together({}, net, images(1))
    with pytest.raises(InputError, match="`images` of extract"):
        score_together(fitted, net, images(0))
    with pytest.raises(NotFittedError, match="MVG is not fitted"):
        score_together({"MVG": MVG()}, net, images(1))
    with pytest.raises(NotFittedError, match="MAHA is not fitted"):
        score_together({"MAHA": MAHA()}, net, images(1))
    tensor = MAHA().fit(torch.rand(8, 5), torch.arange(8) % 2)  # at no layer that has a name
    with pytest.raises(InputError, match="at least one layer"):
        score_together({"MAHA": tensor}, net, images(1))


def test_a_detector_that_moves_its_images_is_asked_by_itself() -> None:
    """One pass of the images as they are would give MAHA with magnitude the wrong features."""
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(32, 2))
    x = torch.rand(30, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(30) % 2
    moved, still = (MAHA(magnitude=m).fit_images(net, x, labels) for m in (8 / 256, 0.0))
    found = score_together({"moved": moved, "still": still}, net, x[:5])
    assert torch.allclose(found["moved"], moved.score_images(net, x[:5]))
    assert torch.allclose(found["still"], still.score_images(net, x[:5]))
    assert not torch.allclose(found["moved"], found["still"])
