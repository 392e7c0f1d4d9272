"""A classifier with its Shields as one network that attacks, guards and judges can use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from medaegis._errors import is_number, require
from medaegis._types import Flags, Images, Logits, PerCase, Tapped
from medaegis.attack import Goal, Objective
from medaegis.defend._shield_net import Shields
from medaegis.models import Taps

SHIELDS = "shields"
"""Name of the layer of `Shielded` whose features are the Shields' logits (b, k)."""


class ShieldedPass(NamedTuple):
    """What one pass gives.

    Attributes:
        logits: the classifier's (n, k).
        shields: S_y of every class y, (n, k); high for normal images of class y.
    """

    logits: Logits
    shields: Logits


class Shielded(nn.Module):
    """The classifier behind its pre-processing, with the Shields as a layer named `"shields"`.

    To `run_attack` and `Taps` it is a classifier whose layer `"shields"` holds the Shields' logits, so that every
    attack can follow them (`shield_logit`) or must slip past them (`ShieldGuard`), through the one loop. Its own layers
    keep their names with `classifier.` in front; its head is the classifier's.

    Args:
        classifier: images in [0, 1] to logits (n, k).
        shields: on the classifier's taps, one for each of the k classes.
        preprocess: what every image goes through first, differentiable, such as a Cushion with BPDA; None for nothing.

    Example:
        >>> import torch
        >>> from medaegis.defend import tap_plan
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> system = Shielded(net, Shields(tap_plan(net, torch.rand(1, 1, 8, 8)), 2))
        >>> Taps(system, ["shields"])(torch.rand(3, 1, 8, 8)).features["shields"].shape
        torch.Size([3, 2])
    """

    def __init__(
        self, classifier: nn.Module, shields: Shields, preprocess: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        super().__init__()
        self.shields = shields  # before the classifier: the last dense layer, which `Taps` takes for the head, is its
        self.preprocess = preprocess
        self.classifier = classifier

    def forward(self, x: Images) -> Logits:
        """The classifier's logits (n, k) of images (n, c, *space)."""
        return self.both(x).logits

    def both(self, x: Images) -> ShieldedPass:
        """Logits of the classifier and of the Shields, from one pass."""
        tapped = self.tapped(x)
        return ShieldedPass(tapped.logits, self.shields(tapped.features))

    def tapped(self, x: Images) -> Tapped:
        """The classifier's logits and the whole maps that the Shields read."""
        return self._taps(self._seen(x))

    def maps(self, x: Images) -> dict[str, Tensor]:
        """The whole maps alone: the classifier stops behind the deepest one."""
        return self._taps.features(self._seen(x))

    @property
    def _taps(self) -> Taps:
        return Taps(self.classifier, self.shields.plan.names, grid="whole")

    def _seen(self, x: Images) -> Images:
        """What the classifier sees of images."""
        return x if self.preprocess is None else self.preprocess(x)


class ShieldsAlone(nn.Module):
    """The Shields of a system in the place of its classifier, for attacks that follow nothing else.

    Their logits S_y (n, k) are the layer `"shields"` as in the system, and, without gradient, the network's logits.
    Layers of the classifier behind the Shields' deepest tap are not computed.

    Args:
        system: whose Shields.

    Example:
        >>> import torch
        >>> from medaegis.defend import tap_plan
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> system, x = Shielded(net, Shields(tap_plan(net, torch.rand(1, 1, 8, 8)), 2)), torch.rand(3, 1, 8, 8)
        >>> torch.equal(Taps(ShieldsAlone(system), ["shields"])(x).features["shields"], system.both(x).shields)
        True
    """

    def __init__(self, system: Shielded) -> None:
        super().__init__()
        self.shields = system.shields  # before the system, so that this is the layer's name
        self.system = system

    def forward(self, x: Images) -> Logits:
        """The Shields' logits (n, k) of images (n, c, *space), without gradient."""
        return self.shields(self.system.maps(x)).detach()


@dataclass(frozen=True)
class ShieldLogit(Objective):
    """-S of the wanted class: an attack that minimises it raises the logit by which that class's Shield accepts.

    The class is the target, or, without one, the most probable wrong class at present. Added to another attack, as in
    `cw_linf(eps=…).plus(shield_logit)`, it makes the paper's white-box attack WB.

    Args:
        weight: factor, where it is added to other terms; > 0.

    Raises:
        InputError: `weight` is out of range.

    Source: Aegis section 3, J_shield and J_m.aegis.

    Example:
        >>> import torch
        >>> goal = Goal(torch.tensor([0]), torch.tensor([1]))
        >>> ShieldLogit()(Tapped(torch.zeros(1, 2), {"shields": torch.tensor([[5.0, -3.0]])}), goal)
        tensor([3.])
    """

    weight: float = 1.0
    title = "shield"
    layers = (SHIELDS,)

    def __post_init__(self) -> None:
        good = is_number(self.weight) and self.weight > 0
        require(good, "weight", "ShieldLogit", "a number > 0", self.weight)

    def __call__(self, tapped: Tapped, goal: Goal) -> PerCase:
        """Value per case (b,)."""
        wanted = goal.wanted_class(tapped.logits)
        return -self.weight * tapped.features[SHIELDS].gather(1, wanted[:, None])[:, 0]


shield_logit = ShieldLogit()


@dataclass(frozen=True, eq=False)
class ShieldGuard:
    """Lets a case pass that the predicted class's Shield accepts, for `Attack.against` on a `Shielded` network.

    Args:
        thresholds: (k,) of `shield_thresholds`.

    Example:
        >>> import torch
        >>> guard = ShieldGuard(torch.tensor([0.0, 1.0]))
        >>> guard(Tapped(torch.tensor([[0.0, 1.0]]), {"shields": torch.tensor([[5.0, 0.5]])}))
        tensor([False])
    """

    thresholds: Tensor

    @property
    def layers(self) -> tuple[str, ...]:
        """The Shields' logits."""
        return (SHIELDS,)

    def __call__(self, tapped: Tapped) -> Flags:
        """(b,) bool: True for cases that would be accepted."""
        return accepted(tapped.features[SHIELDS], tapped.logits.argmax(dim=1), self.thresholds)


def accepted(shields: Logits, predicted: Tensor, thresholds: Tensor) -> Flags:
    """(n,) bool: the predicted class's Shield is at its threshold or above; NaN is never accepted.

    Example:
        >>> import torch
        >>> accepted(torch.tensor([[1.0, 9.0], [9.0, 1.0]]), torch.tensor([0, 0]), torch.tensor([2.0, 2.0])).tolist()
        [False, True]
    """
    own = shields.gather(1, predicted[:, None])[:, 0]
    return own >= thresholds.to(own)[predicted]
