"""The stress test: exact on a network worked out by hand, laws on a residual one, and the papers' arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from medaegis._errors import InputError
from medaegis.attack import BPDA, Preprocessed, bim, deepfool, pgd
from medaegis.measure import block_layers, change_ratio, stress_test
from medaegis.models import build_model


def two_layers() -> nn.Sequential:
    """relu(2 x), then relu(1 - that): the second layer falls where the first one rises."""
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(), nn.Conv2d(1, 1, 1), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        for layer, (weight, bias) in zip((net[0], net[2]), ((2.0, 0.0), (-1.0, 1.0)), strict=True):
            layer.weight.fill_(weight)
            layer.bias.fill_(bias)
    return net


def images(*values: float) -> torch.Tensor:
    return torch.tensor(values).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()


def residual() -> tuple[nn.Module, torch.Tensor]:
    net = build_model("small-resnet", classes=2, seed=0).model
    return net, torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_exact_by_hand() -> None:
    eps = 8 / 256
    first, second = stress_test(two_layers(), images(0.25, 0.01, 0.75), eps=eps, steps=4)
    assert (first.layer, second.layer) == ("1", "3")
    assert first.before.tolist() == pytest.approx([0.5, 0.02, 1.5])
    assert first.down.tolist() == pytest.approx([0.5 - 2 * eps, 0.0, 1.5 - 2 * eps])  # 0: a pixel has no less
    assert first.up.tolist() == pytest.approx([0.5 + 2 * eps, 0.02 + 2 * eps, 1.5 + 2 * eps])
    assert second.before.tolist() == pytest.approx([0.5, 0.98, 0.0])
    assert second.down.tolist() == pytest.approx([0.5 - 2 * eps, 0.98 - 2 * eps, 0.0])
    assert second.up.tolist() == pytest.approx([0.5 + 2 * eps, 1.0, 0.0])  # the ReLU of the last one is silent
    assert second.zero_up.tolist() == [0, 3, 4]  # a black pixel silences the first ReLU, and stays
    assert first.raised.tolist() == pytest.approx([2 * eps] * 3)
    assert first.lowered.tolist() == pytest.approx([2 * eps, 0.02, 2 * eps])


def test_layers_move_the_way_asked_and_further_with_more_budget() -> None:
    net, x = residual()
    small, large = (stress_test(net, x, eps=eps / 256, steps=5) for eps in (1, 8))
    assert [layer.layer for layer in small] == list(block_layers(net, x))
    for near, far in zip(small, large, strict=True):
        assert torch.equal(near.before, far.before)
        assert (far.down < near.down).all()
        assert (near.down < near.before).all()
        assert (near.before < near.up).all()
        assert (near.up < far.up).all()


def test_batch_size_changes_nothing_and_the_network_is_left_alone() -> None:
    net, x = residual()
    net.train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    one, all_ = (stress_test(net, x, layers=["relu"], eps=4 / 256, steps=3, batch_size=size) for size in (1, 6))
    assert torch.allclose(one[0].up, all_[0].up, atol=1e-5)
    assert torch.allclose(one[0].down, all_[0].down, atol=1e-5)
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_own_attack_is_used_without_its_objective_and_choice_of_image() -> None:
    x = images(0.25)
    (plain,) = stress_test(two_layers(), x, bim(8 / 256, steps=4).keeping("first"), layers=["1"])
    assert plain.up.item() == pytest.approx(0.5 + 16 / 256)  # "first" would stop at the first fooled image
    (random,) = stress_test(two_layers(), x, pgd(8 / 256, steps=8).restarting(2), layers=["1"])
    assert random.up.item() == pytest.approx(0.5 + 16 / 256, abs=1e-6)
    with pytest.raises(InputError, match="attack"):
        stress_test(two_layers(), x, deepfool())


def test_a_cushion_in_the_model_is_passed_by_its_stand_in_gradient() -> None:
    def coarse(x: torch.Tensor) -> torch.Tensor:
        return (x * 4).floor() / 4

    guarded = Preprocessed(BPDA(coarse), two_layers())
    (found,) = stress_test(guarded, images(0.3), eps=8 / 256, steps=4, layers=["model.1"])
    assert (found.before.item(), found.up.item()) == (0.5, 0.5)  # 0.3 and 0.33 are both 0.25 behind the Cushion
    (found,) = stress_test(guarded, images(0.49), eps=8 / 256, steps=4, layers=["model.1"])
    assert (found.before.item(), found.up.item()) == (0.5, 1.0)
    plain = bim(8 / 256, steps=4).through(BPDA(coarse))
    (guessed,) = stress_test(two_layers(), images(0.3), plain, layers=["1"])
    assert guessed.up.item() == pytest.approx(0.6 + 16 / 256)  # judged without what the attacker only guesses


@pytest.mark.parametrize(
    ("layers", "match"), [([], "different names"), (["1", "1"], "different names"), (["no"], "unknown modules")]
)
def test_bad_layers(layers, match) -> None:
    with pytest.raises(InputError, match=match):
        stress_test(two_layers(), images(0.5), layers=layers)


def test_blocks_of_torchvision_networks() -> None:
    x = torch.rand(1, 3, 32, 32)
    resnet = block_layers(build_model("resnet18", classes=2).model, x)
    assert resnet == ("network.relu", *(f"network.layer{i}.{j}.relu#2" for i in (1, 2, 3, 4) for j in (0, 1)))
    assert block_layers(two_layers(), images(0.5)) == ("1", "3")


def test_ratio_of_the_papers_own_figures() -> None:
    assert 100 * change_ratio([0.425], [2.471]).value == pytest.approx(481, abs=0.5)  # Aegis Table 1, penultimate, up
    assert 100 * change_ratio([0.425], [0.087]).value == pytest.approx(-79.4, abs=0.2)


def test_ratio_is_one_of_means_with_an_interval_over_groups() -> None:
    before, after = np.array([1.0, 1.0, 8.0]), np.array([2.0, 2.0, 8.0])
    found = change_ratio(before, after)
    assert found.value == pytest.approx(0.2)  # the mean of ratios would be 0.667
    assert found.low == pytest.approx(0.0)
    assert found.high == pytest.approx(1.0)
    assert change_ratio(before, after, groups=["a"] * 3)[:3] == pytest.approx((0.2, 0.2, 0.2))
    assert np.isnan(change_ratio([0.0], [1.0]).value)
    for bad in ([1.0], [1.0, float("nan")]):
        with pytest.raises(InputError, match="change_ratio"):
            change_ratio([1.0, 2.0], bad)
