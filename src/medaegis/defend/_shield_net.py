"""The Shield's networks: one for each class, on whole feature maps from shallow to deep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d

from medaegis._errors import InputError, NumericsError, is_int, require
from medaegis._types import Logits, PerCase
from medaegis.defend._shield_plan import TapPlan
from medaegis.models import seeded

Maps = Mapping[str, Tensor]

_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_POOLS: tuple[Any, ...] = (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)
_FLOOR = 0.05


class ShieldNet(nn.Module):
    """S of one class: feature maps of different depths to one logit, high for normal images of that class.

    The paper gives no structure beyond "DNN-based detector on features from shallow to deep layers". Ours:

    - Each tap enters at its own depth: its channels, standardised, become `width` channels (half as many again with
      each tap) by a convolution of side 1 and ReLU.
    - What came from shallower taps is brought to the tap's size by a residual block that strides, and added.
    - The logit is a weighted sum of the channel means at every depth, so that a shallow trail reaches it directly.
    - No batch statistics: a case is judged from itself alone, and the network that the training attacker differentiates
      is the one that decides later.

    Args:
        plan: the taps.
        width: channels at the first tap, >= 2.

    Raises:
        InputError: `width` is out of range, or the taps' maps do not have one, two or three spatial dimensions.

    Example:
        >>> net = ShieldNet(TapPlan(("a", "b"), ((3, 8, 8), (5, 4, 4)), ""))
        >>> net([torch.zeros(2, 10, 8, 8), torch.zeros(2, 15, 4, 4)]).shape
        torch.Size([2])
    """

    def __init__(self, plan: TapPlan, *, width: int = 10) -> None:
        super().__init__()
        require(is_int(width) and width >= 2, "width", "ShieldNet", "an int >= 2", width)
        dims = {len(size) - 1 for size in plan.sizes}
        good = len(dims) == 1 and dims <= {1, 2, 3}
        require(good, "plan", "ShieldNet", "taps with one number of spatial dimensions, 1 to 3", plan.sizes)
        self.dims = dims.pop()
        convolution: Any = _LAYERS[self.dims - 1]
        self.widths = tuple(width + i * width // 2 for i in range(len(plan.sizes)))
        self.entries = nn.ModuleList(
            convolution(size[0], w, 1) for size, w in zip(plan.sizes, self.widths, strict=True)
        )
        spaces = [size[1:] for size in plan.sizes]
        steps = [tuple(max(1, round(a / b)) for a, b in zip(*pair, strict=True)) for pair in pairwise(spaces)]
        wide = zip(pairwise(self.widths), steps, strict=True)
        self.blocks = nn.ModuleList(_Down(convolution, a, b, step) for (a, b), step in wide)
        self.head = nn.Linear(sum(self.widths), 1)

    def forward(self, entered: list[Tensor]) -> PerCase:
        """Logit (n,) of the maps behind the entry convolutions, (n, w_i, *space_i) each; `Shields` makes them."""
        state = entered[0].relu()
        seen = [state.flatten(2).mean(dim=2)]
        for block, new in zip(self.blocks, entered[1:], strict=True):
            below: Tensor = block(state)
            if below.shape != new.shape:
                below = _POOLS[self.dims - 1](below, new.shape[2:])
            state = (below + new).relu()
            seen.append(state.flatten(2).mean(dim=2))
        return self.head(torch.cat(seen, dim=1))[:, 0]


class _Down(nn.Module):
    """A residual block that strides: a strided convolution, then one more whose result is added to it."""

    def __init__(self, convolution: Any, inputs: int, outputs: int, step: tuple[int, ...]) -> None:
        super().__init__()
        self.down = convolution(inputs, outputs, 3, stride=step, padding=1)
        self.more = convolution(outputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        state = self.down(x)
        return state + self.more(state.relu())


class Shields(nn.Module):
    """A `ShieldNet` for each class, which share one look at the maps.

    Every map is standardised by channel with `mean` and `scale`, learned once from clean images (`standardise`) and
    folded into the entry convolutions, which run for all classes at once.

    Args:
        plan: the taps.
        classes: number of classes k, >= 2.
        width: channels of each network at the first tap; 10 holds the time of two classes on ResNet-50 at 256 pixels
            under 5 % of its own pass.
        seed: of the initialisation; the global random state is left alone.

    Raises:
        InputError: an argument is out of range.

    Source: Aegis section 3 (S_phi, one for each class).

    Example:
        >>> plan = TapPlan(("a", "b"), ((3, 8, 8), (5, 4, 4)), "")
        >>> shields = Shields(plan, 2)
        >>> shields({"a": torch.rand(6, 3, 8, 8), "b": torch.rand(6, 5, 4, 4)}).shape
        torch.Size([6, 2])
    """

    def __init__(self, plan: TapPlan, classes: int, *, width: int = 10, seed: int = 0) -> None:
        super().__init__()
        require(is_int(classes) and classes >= 2, "classes", "Shields", "an int >= 2", classes)
        self.plan, self.classes, self.width = plan, classes, width
        with seeded(seed, torch.device("cpu")):
            self.nets = nn.ModuleList(ShieldNet(plan, width=width) for _ in range(classes))
        for i, size in enumerate(plan.sizes):
            self.register_buffer(f"mean{i}", torch.zeros(size[0]))
            self.register_buffer(f"scale{i}", torch.ones(size[0]))

    def forward(self, maps: Maps) -> Logits:
        """S_y of every class y, (n, k): high for normal images of class y. The same as `logits`.

        Args:
            maps: by layer name, (n, c, *space), as `Taps(model, plan.names, grid="whole")` gives them.

        Raises:
            InputError: a layer is missing, or a map has other channels or another number of dimensions.
        """
        entered = [self._enter(i, self._map(maps, i)) for i in range(len(self.plan.names))]
        columns = [net([whole[c] for whole in entered]) for c, net in enumerate(self.nets)]
        return torch.stack(columns, dim=1)

    def logits(self, maps: Maps) -> Logits:
        """S_y of every class y, (n, k): high for normal images of class y."""
        return self(maps)

    def scores(self, maps: Maps) -> Logits:
        """-S_y of every class y, (n, k): higher = more adversarial, as every score of this library."""
        return -self(maps)

    def standardise(self, batches: Iterable[Maps]) -> None:
        """Learn mean and scale of every channel from maps of clean images, in float64.

        A channel that hardly moves is divided by 1/20 of its layer's root mean square deviation and no less.

        Raises:
            NumericsError: a map is not finite.

        Example:
            >>> shields = Shields(TapPlan(("a",), ((1, 2, 2),), ""), 2)
            >>> shields.standardise([{"a": torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]])}])
            >>> shields.mean0.item(), round(shields.scale0.item() ** 2, 5)
            (4.0, 5.0)
        """
        sums = [torch.zeros(2, size[0], dtype=torch.float64) for size in self.plan.sizes]
        counts = [0] * len(sums)
        for maps in batches:
            for i in range(len(sums)):
                z = self._map(maps, i).detach().double().transpose(0, 1).flatten(1)
                sums[i] += torch.stack([z.sum(dim=1), z.square().sum(dim=1)]).cpu()
                counts[i] += z.shape[1]
        for i, (total, count) in enumerate(zip(sums, counts, strict=True)):
            mean, square = total / count
            if not square.isfinite().all():
                raise NumericsError(
                    f"The maps of layer {self.plan.names[i]!r} are not finite. Check images and classifier for NaN."
                )
            spread = (square - mean.square()).clamp_min(0)
            scale = spread.clamp_min(_FLOOR**2 * spread.mean()).sqrt()
            self._statistic("mean", i).copy_(mean)
            self._statistic("scale", i).copy_(torch.where(scale > 0, scale, 1))

    def _statistic(self, name: str, i: int) -> Tensor:
        return self.get_buffer(f"{name}{i}")

    def _map(self, maps: Maps, i: int) -> Tensor:
        name, size = self.plan.names[i], self.plan.sizes[i]
        if name not in maps:
            raise InputError(f"`maps` of Shields must hold the layer {name!r}, got {list(maps)}.")
        z = maps[name]
        fix = 'Take them from Taps(model, plan.names, grid="whole").'
        good = z.dim() == len(size) + 1 and z.shape[1] == size[0]
        require(good, "maps", "Shields", f"(n, c, *space) with c = {size[0]} at {name}", tuple(z.shape), fix)
        return z

    def _enter(self, i: int, z: Tensor) -> tuple[Tensor, ...]:
        """All classes' entry convolutions at tap i, one part a class."""
        entries: list[Any] = [net.get_submodule(f"entries.{i}") for net in self.nets]
        scale, mean = self._statistic("scale", i), self._statistic("mean", i)
        weight = torch.cat([entry.weight for entry in entries]).flatten(1) / scale
        bias = torch.cat([entry.bias for entry in entries]) - weight @ mean
        both = weight @ z.flatten(2) + bias[:, None]  # on one case, convolutions of side 1 take longer
        return both.reshape(z.shape[0], -1, *z.shape[2:]).chunk(len(entries), dim=1)
