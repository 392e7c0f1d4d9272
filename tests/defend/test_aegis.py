"""The guard: one decision an image whatever its batch, thresholds by hand, parts without leaks, nothing changed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from defend.guards import QUICK, Gray, Jittery, alone, learned, quick_guard
from defend.toy import network, toy_images
from medaegis import DataError, InputError
from medaegis.data import Dataset
from medaegis.defend import JPEG, Aegis, BitDepth, Shielded, shield_accepts
from medaegis.defend._aegis import _checkpoint_name
from medaegis.defend._aegis_data import aegis_data, aegis_parts
from medaegis.defend._aegis_verdict import passes

SIZES = (1, 7, 64)


@pytest.fixture(scope="module")
def guard() -> Aegis:
    return quick_guard()


@pytest.fixture(scope="module")
def jittery() -> Aegis:
    return quick_guard(Jittery(learned()))


def test_the_verdict_is_that_of_the_shield_on_what_the_cushion_lets_through(guard) -> None:
    x, _ = toy_images(20, 5)
    verdict = guard(x)
    expected = shield_accepts(Shielded(guard.classifier, guard.shields), JPEG(80).apply(x), guard.thresholds)
    assert torch.equal(verdict.prediction, expected.prediction)
    assert torch.equal(verdict.accepted, expected.accepted)
    assert verdict.score.tolist() == pytest.approx(expected.score.tolist(), abs=1e-5)
    assert verdict.probability.tolist() == pytest.approx(expected.probability.tolist(), abs=1e-5)
    bare = shield_accepts(Shielded(guard.classifier, guard.shields), x, guard.thresholds)
    assert (verdict.score - bare.score).abs().max() > 1e-4  # so the Cushion does something here


def test_batches_move_the_numbers_of_the_jittery_network(jittery) -> None:
    """So the law below means something: with any logit as threshold, one of two batch sizes would decide otherwise."""
    x, _ = toy_images(64, 5)
    one, many = (passes(jittery.system(), x, size).shields for size in (1, 64))
    assert (one != many).all()
    assert (one - many).abs().max() < 5e-4


@pytest.mark.parametrize("kind", ["guard", "jittery"])
def test_decisions_do_not_depend_on_the_batch(kind, request) -> None:
    """Each case's own logit as the threshold: accepted at it, rejected one float above, in batches of any size."""
    guard = request.getfixturevalue(kind)
    x, _ = toy_images(64, 5)
    own = alone(guard, x)
    for i in range(0, 64, 11):
        for threshold, wanted in ((own[i], True), (torch.nextafter(own[i], torch.tensor(torch.inf)), False)):
            strict = replace(guard, thresholds=threshold.repeat(2))
            verdicts = [strict(x, batch_size=size) for size in SIZES]
            assert all(bool(verdict.accepted[i]) is wanted for verdict in verdicts)
            assert all(torch.equal(verdict.accepted, verdicts[0].accepted) for verdict in verdicts)
            assert all(torch.equal(verdict.prediction, verdicts[0].prediction) for verdict in verdicts)


def test_the_class_of_a_tie_does_not_depend_on_the_batch(jittery) -> None:
    """The head's bias makes one case after another a tie of the two classes."""
    x, _ = toy_images(64, 5)
    logits = passes(jittery.system(), x, 1).logits
    head = jittery.classifier.inner[-1]
    before = head.bias.detach().clone()
    for i in range(0, 64, 9):
        with torch.no_grad():
            head.bias.copy_(before + torch.stack([logits[i, 1] - logits[i, 0], torch.tensor(0.0)]))
        found = [jittery(x, batch_size=size) for size in SIZES]
        head.bias.data.copy_(before)
        assert all(torch.equal(verdict.prediction, found[0].prediction) for verdict in found)
        assert all(torch.equal(verdict.accepted, found[0].accepted) for verdict in found)


def test_neither_layout_nor_type_of_the_images_changes_a_decision() -> None:
    x, y = toy_images(120, 1)
    guard = quick_guard(nn.Sequential(Gray(), learned()), data=(x.repeat(1, 3, 1, 1), y, None))
    images = toy_images(40, 5)[0].repeat(1, 3, 1, 1)
    for threshold in alone(guard, images)[::8]:
        strict = replace(guard, thresholds=threshold.repeat(2))
        plain = strict(images)
        for given in (images.contiguous(memory_format=torch.channels_last), images.double()):
            assert torch.equal(strict(given).accepted, plain.accepted)


def test_the_share_accepted_of_each_class_is_the_one_asked_for() -> None:
    """By hand from the same parts: the threshold is the class's tenth of its own calibration logits."""
    net, (x, y) = learned(), toy_images(200, 1)
    guard = quick_guard(net, data=(x, y, None), tnr=0.8, cushion=None)
    held = aegis_parts(net, None, aegis_data((x, y, None)), tnr=0.8, batch_size=32, seed=0).calibration
    for c in (0, 1):
        own = passes(guard.system(), x[held[y[held] == c]], 64).shields[:, c].double()
        assert guard.thresholds[c].item() == pytest.approx(own.quantile(0.2).item(), abs=1e-5)
    assert guard.facts.counts["calibration"] == {"0": int((y[held] == 0).sum()), "1": int((y[held] == 1).sum())}


def test_parts_share_no_patient_and_hold_no_case_that_the_network_gets_wrong() -> None:
    net, (x, y) = learned(), toy_images(160, 1)
    told = y.clone()
    told[:7] = 1 - told[:7]
    groups = [f"patient {i // 4}" for i in range(160)]
    data = aegis_data((x, told, groups))
    parts = aegis_parts(net, JPEG(), data, tnr=0.9, batch_size=32, seed=0)
    used = torch.cat([parts.learn, parts.calibration])
    right = net(JPEG().apply(x)).argmax(dim=1) == told
    assert sorted(used.tolist()) == right.nonzero()[:, 0].tolist()
    assert not {groups[i] for i in parts.learn} & {groups[i] for i in parts.calibration}
    guard = quick_guard(net, data=(x, told, groups))
    counts = guard.facts.counts
    assert sum(map(sum, (part.values() for part in counts.values()))) == 160
    assert sum(counts["left out"].values()) == int((~right).sum())


def test_a_dataset_gives_the_guard_of_its_images() -> None:
    x, y = toy_images(120, 1)
    pixels, names = (x * 255).round().byte().numpy(), tuple(f"{i:03d}" for i in range(120))
    data = Dataset(pixels, y.numpy(), ("well", "ill"), names, names, ("",) * 120)
    one, two = quick_guard(data=data), quick_guard(data=(data.tensor(), y, names))
    assert torch.equal(one.thresholds, two.thresholds)
    assert (one.facts.class_names, two.facts.class_names) == (("well", "ill"), ("0", "1"))


def test_nothing_of_the_users_changes() -> None:
    net = learned().train()
    net[1].eval()
    modes, state = [m.training for m in net.modules()], {k: v.clone() for k, v in net.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    guard = quick_guard(net)
    guard(toy_images(3, 0)[0])
    assert torch.equal(torch.rand(1), expected)
    assert [m.training for m in net.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_a_checkpoint_is_of_one_cushion_and_of_these_images() -> None:
    x, y = toy_images(8, 0)
    moved = x.clone()
    moved[3, 0, 0, 0] += 1e-4
    names = {
        _checkpoint_name(aegis_data((images, y, None)), cushion)
        for images in (x, moved)
        for cushion in (None, JPEG(80), JPEG(81), BitDepth(3))
    }
    assert len(names) == 8


def test_a_stopped_fit_goes_on(tmp_path) -> None:
    longer = replace(QUICK, epochs=2)
    whole = quick_guard(settings=longer, checkpoint=tmp_path)
    assert len(list(tmp_path.glob("shields-*/*"))) == 1
    again = quick_guard(settings=longer, checkpoint=tmp_path)
    assert again.facts.history == whole.facts.history
    assert torch.equal(again.thresholds, whole.thresholds)


def test_an_image_with_an_undefined_logit_is_not_accepted(guard) -> None:
    class Broken(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x * torch.where(x.flatten(1).mean(dim=1) > 0.9, torch.nan, 1.0)[:, None, None, None])

    net = Broken(learned())
    broken = quick_guard(net)
    assert broken(torch.ones(1, 1, 16, 16)).accepted.tolist() == [False]


def test_errors(guard) -> None:
    x, y = toy_images(120, 1)
    for images, text in (
        (x[:0], "n >= 1"),
        (x[:, :, :8], r"\(n, 1, 16, 16\)"),
        (x + 1, "images in \\[0, 1\\]"),
        (x.byte(), "floating-point"),
        (torch.full_like(x, torch.nan), "NaN"),
    ):
        with pytest.raises(InputError, match=text):
            guard(images)
    with pytest.raises(InputError, match="`batch_size`"):
        guard(x, batch_size=0)
    with pytest.raises(InputError, match="`tnr` of Aegis"):
        quick_guard(tnr=1.0)
    with pytest.raises(InputError, match="`cushion` of Aegis"):
        quick_guard(cushion="jpeg")
    with pytest.raises(InputError, match="a Dataset, or"):
        quick_guard(data=x)
    with pytest.raises(InputError, match="groups, one a case"):
        quick_guard(data=(x, y, ["a"]))
    with pytest.raises(InputError, match="labelled"):
        quick_guard(data=(x, y.float(), None))
    with pytest.raises(InputError, match="gives logits"):
        quick_guard(network(classes=3), data=(x, y, None))
    with pytest.raises(DataError, match="at least 100 calibration cases"):
        quick_guard(tnr=0.99)
    with pytest.raises(DataError, match="none of the 120 cases right"):
        quick_guard(data=(x, 1 - y, None))
    with pytest.raises(InputError, match="`thresholds` of Aegis"):
        replace(guard, thresholds=torch.tensor([0.0, torch.nan]))
