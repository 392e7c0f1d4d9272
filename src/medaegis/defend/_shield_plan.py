"""Which layers a Shield reads: from shallow to deep, at the relative depths of the Aegis paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from medaegis._errors import is_a, require
from medaegis._types import Images
from medaegis.models import Taps, frozen

OF_BLOCKS = ((1, 4, 8, 14), 16)
"""Residual blocks of ResNet-50, of how many."""
OF_ACTIVATIONS = ((3, 6, 9, 12), 13)
"""Activations of VGG-16 with a map behind them, of how many."""


class TapPlan(NamedTuple):
    """The layers that a Shield reads, from shallow to deep.

    Attributes:
        names: as `Taps` names them.
        sizes: of one case's map in each, (c, *space).
        rule: how they were chosen, a sentence for the user.
    """

    names: tuple[str, ...]
    sizes: tuple[tuple[int, ...], ...]
    rule: str

    def summary(self) -> str:
        """One line a layer, for logs and reports.

        Example:
            >>> print(TapPlan(("relu",), ((8, 16, 16),), "Chosen by hand.").summary())
            Chosen by hand.
            relu: 8 channels on 16 x 16 places
        """
        lines = [
            f"{name}: {c} channels on {' x '.join(map(str, space))} places"
            for name, (c, *space) in zip(self.names, self.sizes, strict=True)
        ]
        return "\n".join([self.rule, *lines])


def tap_plan(model: nn.Module, example: Images, *, layers: Sequence[str] | None = None) -> TapPlan:
    """Choose the layers that a Shield reads, at the relative depths of the Aegis paper.

    - A network of torchvision's residual blocks: the last activation of its blocks at 1/16, 4/16, 8/16 and 14/16 of
      their number, rounded up; of ResNet-50, blocks 1, 4, 8 and 14.
    - Any other network: its activations at 3/13, 6/13, 9/13 and 12/13 of those whose map has more than one place,
      rounded to the nearest; of VGG-16, the activations 3, 6, 9 and 12.
    - A network too short for four different ones: the different ones.

    Args:
        model: images in [0, 1], (b, c, *space), to logits; left as it is.
        example: at least one image of the size that will follow; the first is used.
        layers: names of layers in place of the choice, in any order; they come back from shallow to deep.

    Returns:
        The plan, with the sizes of the maps; show `plan.summary()` to the user.

    Raises:
        InputError: no activation has a map with several places, a name is unknown, or a layer named has no map.

    Source: Aegis section 4.1, training details.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 8, 3, stride=2), nn.ReLU(), nn.Flatten())
        >>> tap_plan(net, torch.rand(1, 1, 9, 9))[:2]
        (('1', '3'), ((4, 7, 7), (8, 3, 3)))
    """
    good = is_a(example, Tensor) and example.dim() >= 3 and len(example) > 0
    got = tuple(example.shape) if is_a(example, Tensor) else type(example)
    require(good, "example", "tap_plan", "images (n, c, *space), at least one", got)
    maps = _maps(model, example, layers)
    if layers is not None:
        without = [name for name, size in maps.items() if len(size) < 2]
        require(not without, "layers", "tap_plan", "layers that have a map", without)
        return TapPlan(tuple(maps), tuple(maps.values()), f"Tapped layers: the {len(maps)} that were named.")
    maps = {name: size for name, size in maps.items() if torch.Size(size[1:]).numel() > 1 and len(size) > 1}
    require(bool(maps), "model", "tap_plan", "a network with an activation module on a map of several places", "none")
    names, rule = _choice(model, list(maps))
    return TapPlan(names, tuple(maps[name] for name in names), rule)


def _maps(model: nn.Module, example: Tensor, layers: Sequence[str] | None) -> dict[str, tuple[int, ...]]:
    """The size of every layer's map, in the order of calling."""
    device = next((parameter.device for parameter in model.parameters()), example.device)
    with frozen(model), torch.no_grad():
        found = Taps(model, "relu" if layers is None else layers, grid="whole")(example[:1].to(device))
    return {name: tuple(z.shape[1:]) for name, z in found.features.items()}


def _choice(model: nn.Module, activations: list[str]) -> tuple[tuple[str, ...], str]:
    from torchvision.models import resnet
    from torchvision.models.video import resnet as video

    kinds = (resnet.BasicBlock, resnet.Bottleneck, video.BasicBlock, video.Bottleneck)
    blocks = [name for name, module in model.named_modules() if isinstance(module, kinds)]
    last = {block: [name for name in activations if name.startswith(f"{block}.")][-1:] for block in blocks}
    ends = [found[0] for found in last.values() if found]
    if ends:
        (wanted, of), n = OF_BLOCKS, len(ends)
        places = list(dict.fromkeys(-(-n * place // of) for place in wanted))
        kind, chosen = "residual blocks", [ends[place - 1] for place in places]
    else:
        (wanted, of), n = OF_ACTIVATIONS, len(activations)
        places = list(dict.fromkeys(max(1, (2 * n * place + of) // (2 * of)) for place in wanted))
        kind, chosen = "activations", [activations[place - 1] for place in places]
    numbers = ", ".join(map(str, places))
    return tuple(chosen), f"Tapped layers: {kind} {numbers} of {n}, at the relative depths of the Aegis paper."
