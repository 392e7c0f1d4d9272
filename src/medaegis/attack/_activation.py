"""The mean activation of one layer as an objective: what the stress test makes small or large."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from medaegis._errors import is_a, require
from medaegis._types import PerCase, Tapped
from medaegis.attack._objectives import Goal, Objective

Direction = Literal["down", "up"]
DIRECTIONS: tuple[Direction, ...] = ("down", "up")


@dataclass(frozen=True)
class MeanActivation(Objective):
    """J_down = mean(f) or J_up = -mean(f) of one layer's activation f; it reads neither label nor target.

    Source: HFC-21 section 3. Made by `mean_activation`.
    """

    layer: str
    direction: Direction = "down"

    def __post_init__(self) -> None:
        fix = "Taps(model).names(x) lists a network's activations."
        named = is_a(self.layer, str) and self.layer != ""
        require(named, "layer", "mean_activation", "the name of a layer", self.layer, fix)
        require(self.direction in DIRECTIONS, "direction", "mean_activation", '"down" or "up"', self.direction)

    @property
    def layers(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]  # read only here
        """The one layer."""
        return (self.layer,)

    def __call__(self, tapped: Tapped, goal: Goal) -> PerCase:
        """Value per case (b,)."""
        mean = tapped.features[self.layer].mean(dim=1)
        return mean if self.direction == "down" else -mean


def mean_activation(layer: str, direction: Direction = "down") -> MeanActivation:
    """The stress test's objective, in place of an attack's own loss: `bim(eps=1/256, objective=mean_activation(name))`.

    The mean is over all channels and places of the layer; it equals the mean of the channel means that `Taps` gives,
    because all channels of a layer have the same number of places. The label only decides what counts as fooled.

    Args:
        layer: name of a layer, as `Taps` takes it.
        direction: `"down"` makes the mean small, J_down = mean(f); `"up"` makes it large, J_up = -mean(f).

    Raises:
        InputError: `layer` is no name or `direction` unknown; at the attack, the network has no such layer.

    Source: HFC-21 section 3; HFC-23 section III-B; Aegis section 3.

    Example:
        >>> import torch
        >>> tapped = Tapped(torch.zeros(1, 2), {"1": torch.tensor([[1.0, 3.0]])})
        >>> mean_activation("1", "up")(tapped, Goal(torch.tensor([0]), None))
        tensor([-2.])
    """
    return MeanActivation(layer, direction)
