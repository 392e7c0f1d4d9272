"""Theorems I and II of HFC-23 on random heads, against autograd, with the counter-example that limits the second."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from medaegis._errors import InputError
from medaegis.measure import closed_form_error, consistent_channels, head_direction, head_weight, penultimate_gradient
from medaegis.models import build_model

HEADS = range(25)


def head(seed: int, classes: int, d: int = 12) -> tuple[Tensor, Tensor, torch.Generator]:
    draw = torch.Generator().manual_seed(seed)
    weight = torch.randn(classes, d, generator=draw, dtype=torch.float64)
    return weight, torch.randn(classes, generator=draw, dtype=torch.float64), draw


def features(draw: torch.Generator, n: int = 200, d: int = 12) -> Tensor:
    """Any features, not only those behind a ReLU, from tiny to so large that the softmax is certain."""
    scale = torch.logspace(-3, 1.5, n, dtype=torch.float64)[:, None]
    return scale * torch.randn(n, d, generator=draw, dtype=torch.float64)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_closed_form_is_the_gradient(classes) -> None:
    for seed in HEADS:
        weight, bias, draw = head(seed, classes)
        z = features(draw, 20).requires_grad_(True)
        target = torch.randint(classes, (20,), generator=draw)
        (expected,) = torch.autograd.grad(functional.cross_entropy(z @ weight.T + bias, target, reduction="sum"), z)
        found = penultimate_gradient(weight, z.detach(), target, bias=bias)
        assert torch.allclose(found, expected, atol=1e-12)


def test_two_classes_follow_equation_8() -> None:
    weight, _, draw = head(0, 2)
    z = features(draw)
    found = penultimate_gradient(weight, z, torch.ones(len(z), dtype=torch.int64))
    missing = (z @ weight.T).softmax(dim=1)[:, :1]  # 1 - p_1
    assert torch.allclose(found, missing * (weight[0] - weight[1]), atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_theorem_1_no_sign_ever_changes_with_two_classes(dtype) -> None:
    for seed in HEADS:
        weight, bias, draw = head(seed, 2)
        weight, bias, z = weight.to(dtype), bias.to(dtype), features(draw).to(dtype)
        for target in (0, 1):
            gradient = penultimate_gradient(weight, z, torch.full((len(z),), target), bias=bias)
            wanted = -head_direction(weight, target, 1 - target).sign()
            assert not (gradient.sign() == -wanted).any()
            alive = gradient.abs().amax(dim=1) > 1e-30  # below, float32 has no numbers left for the smaller channels
            assert alive.float().mean() > 0.5
            assert (gradient[alive].sign() == wanted).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_theorem_2_consistent_channels_never_have_a_positive_gradient(dtype) -> None:
    seen = 0
    for seed in HEADS:
        weight, bias, draw = head(seed, 5)
        weight, bias, z = weight.to(dtype), bias.to(dtype), features(draw).to(dtype)
        for c in range(5):
            mask = consistent_channels(weight, c)
            seen += int(mask.sum())
            gradient = penultimate_gradient(weight, z, torch.full((len(z),), c), bias=bias)
            assert (gradient[:, mask] <= 0).all()
    assert seen == 12 * len(HEADS)  # without ties each channel is consistent for exactly one class


def test_other_channels_change_their_sign() -> None:
    """w_i = (0, 1, -1): towards class 0 the gradient is p_1 - p_2, which z turns either way."""
    weight = torch.tensor([[0.0, 0.0], [1.0, -1.0], [-1.0, -1.0]])
    assert consistent_channels(weight, 0).tolist() == [False, True]
    z = torch.tensor([[2.0, 0.0], [-2.0, 0.0]])
    gradient = penultimate_gradient(weight, z, torch.zeros(2, dtype=torch.int64))
    assert gradient[0, 0] > 0 > gradient[1, 0]
    assert (gradient[:, 1] < 0).all()


def test_two_classes_make_every_channel_consistent_for_one_of_them() -> None:
    weight, _, _ = head(3, 2)
    first, second = (consistent_channels(weight, c) for c in (0, 1))
    assert torch.equal(first, ~second)
    assert torch.equal(second, head_direction(weight, 1, 0) > 0)
    tied = torch.ones(2, 1)
    assert consistent_channels(tied, 0).item()
    assert consistent_channels(tied, 1).item()


def test_head_of_a_network_and_its_own_gradient() -> None:
    net = build_model("small-resnet", classes=3, seed=1).model
    weight = head_weight(net)
    assert torch.equal(weight, net.fc.weight)
    weight.zero_()
    assert net.fc.weight.abs().sum() > 0
    z = torch.rand(7, weight.shape[1], generator=torch.Generator().manual_seed(0))
    assert closed_form_error(net, z, torch.arange(7) % 3) < 1e-5
    assert head_weight(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), "0").shape == (3, 4)


def test_bad_arguments() -> None:
    weight = torch.zeros(3, 4)
    for call in (
        lambda: head_direction(weight, 3, 0),
        lambda: head_direction(weight, 1, 1),
        lambda: consistent_channels(weight, -1),
        lambda: consistent_channels(weight[0], 0),
        lambda: penultimate_gradient(weight, torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64)),
        lambda: penultimate_gradient(weight, torch.zeros(2, 4), torch.zeros(3, dtype=torch.int64)),
        lambda: head_weight(nn.ReLU()),
    ):
        with pytest.raises(InputError):
            call()
