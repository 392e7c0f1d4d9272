"""White-box attacks on detectors: their gradients lead below their thresholds, and the classifier stays fooled."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from medaegis import InputError, NotFittedError, run_attack
from medaegis._types import Tapped
from medaegis.attack import Goal, bim
from medaegis.detect import BU, DNN, KD, KNN, LID, MAHA, MVG, SVM, Combined, Detector, HFCScore, evading, guard
from medaegis.models import Taps

MAKERS: dict[str, Callable[[], Detector]] = {
    "KD": KD,
    "MAHA": MAHA,
    "LID": lambda: LID(5),
    "KNN": lambda: KNN(3),
    "MVG": MVG,
    "HFC": HFCScore,
    "SVM": SVM,
    "DNN": lambda: DNN(epochs=40),
    "BU": BU,
    "Combined": lambda: Combined(MAHA()),
}


@pytest.fixture(scope="module")
def net() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2))
        made[4].weight.data *= 20  # decisions that a small change turns
        with torch.no_grad():
            made[4].bias.copy_(-made[4](made[:4](drawn(120, 1))).mean(dim=0) + made[4].bias)
    return made.eval()


def drawn(n: int, seed: int) -> Tensor:
    return torch.rand(n, 1, 10, 10, generator=torch.Generator().manual_seed(seed)) * 0.6 + 0.2


def fitted(make: Callable[[], Detector], net: nn.Module) -> Detector:
    train, detector = drawn(120, 1), make()
    labels = net(train).argmax(dim=1)
    more = {}
    if detector.learns_attacks:
        x = drawn(40, 2)
        made = run_attack(bim(eps=0.1, steps=10), net, x, net(x).argmax(dim=1), target=1 - net(x).argmax(dim=1)).x
        more = {"negative": x, "positive": made}
    detector.fit_images(net, train, labels, **more)
    held = drawn(60, 3)
    tapped = Taps(net, ["1", "penultimate"])(held)
    return detector.calibrate(detector.pick(tapped.features), tapped.logits.argmax(dim=1))


@pytest.mark.parametrize("name", MAKERS)
def test_the_attack_lowers_the_score(name: str, net: nn.Module):
    detector, x = fitted(MAKERS[name], net), drawn(24, 4)
    y = net(x).argmax(dim=1)
    plain = bim(eps=0.1, steps=12)
    white = plain.plus(evading(detector, weight=3.0)).projecting("orthogonal")
    before, after = (run_attack(attack, net, x, y, target=1 - y).x for attack in (plain, white))
    excess = [(detector.score_images(net, x) - detector.threshold_).clamp_min(0).mean() for x in (before, after)]
    assert excess[1] < excess[0]
    if name != "BU":  # with six features and a dense head, its goal and the classifier's cannot both be had
        assert slipped(detector, net, after, y) >= slipped(detector, net, before, y)


def slipped(detector: Detector, net: nn.Module, x: Tensor, y: Tensor) -> int:
    """How many fool the network and pass the detector."""
    tapped = Taps(net, ["1", "penultimate"])(x)
    return int((guard(detector)(tapped) & (tapped.logits.argmax(dim=1) != y)).sum())


def towards_one(n: int) -> Goal:
    return Goal(torch.zeros(n, dtype=torch.int64), torch.ones(n, dtype=torch.int64))


def test_the_value_by_hand_and_its_hinge(net: nn.Module):
    detector = fitted(MAHA, net)
    z = torch.stack([torch.zeros(6), torch.full((6,), 50.0)])
    tapped, goal = (
        Tapped(torch.zeros(2, 2), {"1": z}),
        Goal(torch.zeros(2, dtype=torch.int64), torch.ones(2, dtype=torch.int64)),
    )
    found = evading(detector, weight=2.0, margin=0.25)(tapped, goal)
    assert detector.threshold_ is not None
    assert detector.threshold_spread_ is not None
    wanted = 2 * ((detector.score({"1": z}) - detector.threshold_) / detector.threshold_spread_ + 0.25).clamp_min(0)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5)
    normal = Tapped(torch.zeros(120, 2), {"1": Taps(net)(drawn(120, 1)).features["1"]})
    assert (
        evading(detector, margin=0.0)(normal, towards_one(120)) == 0
    ).double().mean() > 0.7  # what passes pulls no more


def test_spread_survives_saving(net: nn.Module, tmp_path):  # pytest's own
    detector = fitted(KD, net)
    detector.save(tmp_path / "kd.safetensors")
    assert KD.load(tmp_path / "kd.safetensors").threshold_spread_ == detector.threshold_spread_


def test_arguments(net: nn.Module):
    detector = fitted(KD, net)
    for wrong in ((), (net,)):
        with pytest.raises(InputError, match="detectors"):
            evading(*wrong)  # pyright: ignore[reportArgumentType]
    with pytest.raises(NotFittedError, match="no threshold"):
        evading(KD().fit(torch.randn(10, 2), torch.arange(10) % 2))
    with pytest.raises(InputError, match="weight"):
        evading(detector, weight=-1)
    with pytest.raises(InputError, match="margin"):
        evading(detector, margin=float("nan"))
