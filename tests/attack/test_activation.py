"""The mean activation as an objective: its value, its layer, and what it does to an attack."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from medaegis._errors import InputError
from medaegis._types import Tapped
from medaegis.attack import bim, cross_entropy, mean_activation, run_attack
from medaegis.attack._objectives import Goal


class Doubled(nn.Module):
    """relu(2 x - 0.5), then two logits: every pixel counts alike."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.act(2 * x - 0.5).flatten(1))


GOAL = Goal(torch.tensor([0]), None)


def test_value_is_the_mean_over_channels_and_places() -> None:
    activation = torch.rand(3, 5, 4, 6, generator=torch.Generator().manual_seed(0))
    tapped = Tapped(torch.zeros(3, 2), {"a": activation.mean(dim=(2, 3)), "b": torch.zeros(3, 1)})
    down, up = (mean_activation("a", way)(tapped, GOAL) for way in ("down", "up"))
    assert torch.allclose(down, activation.flatten(1).mean(dim=1))
    assert torch.equal(up, -down)


def test_label_and_target_change_nothing() -> None:
    tapped = Tapped(torch.randn(2, 3), {"a": torch.rand(2, 4)})
    goals = [Goal(torch.tensor([0, 1]), None), Goal(torch.tensor([2, 2]), torch.tensor([0, 0]))]
    first, second = (mean_activation("a")(tapped, goal) for goal in goals)
    assert torch.equal(first, second)


@pytest.mark.parametrize(("way", "sign"), [("down", -1), ("up", 1)])
def test_bim_moves_every_pixel_by_the_whole_budget(way, sign) -> None:
    x = torch.full((2, 1, 2, 2), 0.5)
    attack = replace(bim(eps=8 / 256, steps=5), objective=mean_activation("act", way))
    made = run_attack(attack, Doubled(), x, torch.zeros(2, dtype=torch.int64))
    assert torch.allclose(made.x, x + sign * 8 / 256, atol=1e-7)
    assert torch.allclose(-sign * made.objective, torch.tensor(0.5 + sign * 16 / 256), atol=1e-6)


def test_adds_to_other_objectives_and_names_its_layer() -> None:
    total = cross_entropy + mean_activation("act")
    assert total.layers == ("act",)
    attack = bim(eps=1 / 256, steps=3, objective=total)
    x = torch.full((1, 1, 2, 2), 0.5)
    assert run_attack(attack, Doubled(), x, torch.tensor([0]), target=torch.tensor([1])).x.shape == x.shape


@pytest.mark.parametrize("arguments", [("act", "sideways"), ("",), (3,)])
def test_bad_arguments(arguments) -> None:
    with pytest.raises(InputError, match="of mean_activation"):
        mean_activation(*arguments)


def test_unknown_layer_is_named() -> None:
    attack = bim(eps=1 / 256, steps=1, objective=mean_activation("nowhere"))
    with pytest.raises(InputError, match="nowhere"):
        run_attack(attack, Doubled(), torch.full((1, 1, 2, 2), 0.5), torch.tensor([0]))
