"""Which layers are tapped: the paper's on its networks, the same relative depths on others."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from defend.toy import network
from medaegis import InputError, build_model
from medaegis.defend import tap_plan


def test_resnet50_taps_blocks_1_4_8_14() -> None:
    """Blocks 3, 4, 6, 3 in four stages: the 4th begins stage 2, the 8th stage 3, the 14th stage 4."""
    plan = tap_plan(torchvision.models.resnet50(weights=None), torch.rand(1, 3, 64, 64))
    assert plan.names == ("layer1.0.relu#3", "layer2.0.relu#3", "layer3.0.relu#3", "layer4.0.relu#3")
    assert plan.sizes == ((256, 16, 16), (512, 8, 8), (1024, 4, 4), (2048, 2, 2))
    assert "1, 4, 8, 14 of 16" in plan.summary()


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("vgg16", ("features.6", "features.13", "features.20", "features.27")),
        ("vgg16_bn", ("features.9", "features.19", "features.29", "features.39")),
    ],
)
def test_vgg16_taps_activations_3_6_9_12(name, names) -> None:
    """Two convolutions, two, three, three, three, with pooling between: counted in torchvision's list by hand."""
    plan = tap_plan(torchvision.models.get_model(name, weights=None), torch.rand(1, 3, 64, 64))
    assert plan.names == names
    assert [size[0] for size in plan.sizes] == [128, 256, 512, 512]


def test_other_residual_networks_by_share_of_their_blocks() -> None:
    """ResNet-18 has 8 blocks: 0.5, 2, 4, 7 rounded up."""
    plan = tap_plan(build_model("resnet18", classes=2).model, torch.rand(2, 3, 64, 64))
    names = ("layer1.0.relu#2", "layer1.1.relu#2", "layer2.1.relu#2", "layer4.0.relu#2")
    assert plan.names == tuple(f"network.{name}" for name in names)


def test_volumes() -> None:
    plan = tap_plan(torchvision.models.video.r3d_18(weights=None), torch.rand(1, 3, 8, 32, 32))
    assert plan.names == ("layer1.0.relu", "layer1.1.relu", "layer2.1.relu", "layer4.0.relu")
    assert all(len(size) == 4 for size in plan.sizes)


def test_a_short_network_gives_each_layer_once_and_none_without_places() -> None:
    """Three activations: 0.7, 1.4, 2.1, 2.8 to the nearest; the dense one and the one on a single place are none."""
    net = network()
    plan = tap_plan(net, torch.rand(1, 1, 16, 16))
    assert (plan.names, plan.sizes) == (("2", "4", "6"), ((8, 16, 16), (16, 8, 8), (16, 4, 4)))
    head = nn.Sequential(net[:7], nn.AdaptiveAvgPool2d(1), nn.ReLU(), nn.Flatten(), nn.Linear(16, 4), nn.ReLU())
    assert tap_plan(head, torch.rand(1, 1, 16, 16)).names == ("0.2", "0.4", "0.6")


def test_chosen_by_hand_in_the_order_of_the_network() -> None:
    assert tap_plan(network(), torch.rand(1, 1, 16, 16), layers=["6", "3"]).sizes == ((16, 8, 8), (16, 4, 4))


def test_errors() -> None:
    with pytest.raises(InputError, match="layers that have a map"):
        tap_plan(network(), torch.rand(1, 1, 16, 16), layers=["8"])
    with pytest.raises(InputError, match="`example` of tap_plan"):
        tap_plan(network(), torch.rand(16, 16))
    with pytest.raises(InputError, match="activation module on a map"):
        tap_plan(nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.ReLU()), torch.rand(1, 1, 2, 2))
