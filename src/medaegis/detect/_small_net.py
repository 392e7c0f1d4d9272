"""A small network that tells two kinds of feature vectors, or of maps, apart, as a tuple of tensors."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, conv1d, conv2d, conv3d, linear

from medaegis._errors import NumericsError
from medaegis._types import Features, Flags, PerCase
from medaegis.models import ieee_float32, repeatable

WEIGHT_DECAY = 1e-4
KERNEL = 3


class SmallNet(NamedTuple):
    """Standardisation by channel and three layers with ReLU between them; d channels, h hidden units.

    On vectors all three are dense. On maps the first two are convolutions of side 3, with zeros around the maps, which
    are the channels' means there; what they give is averaged over places before the last, dense one.

    Attributes:
        mean: (d,) subtracted from features.
        scale: (d,) that divides them; 1 for a constant channel.
        weight1: (h, d), or (h, d, 3, 3) for maps of two spatial dimensions.
        bias1: (h,).
        weight2: (h, h), or (h, h, 3, 3).
        bias2: (h,).
        weight3: (1, h).
        bias3: (1,).
    """

    mean: Tensor
    scale: Tensor
    weight1: Tensor
    bias1: Tensor
    weight2: Tensor
    bias2: Tensor
    weight3: Tensor
    bias3: Tensor

    def __call__(self, z: Features) -> PerCase:
        """Logits (n,) of features (n, d), or of maps (n, d, g, g): above 0 where the positive kind is more probable.

        Example:
            >>> zero, one = torch.zeros(1), torch.ones(1, 1)
            >>> SmallNet(zero, zero + 1, one, zero, one, zero, one, zero)(torch.tensor([[-2.0], [3.0]]))
            tensor([0., 3.])
        """
        mean, scale, *parts = (part.to(z) for part in self)
        places = (1,) * (z.dim() - 2)
        x = (z - mean.reshape(-1, *places)) / scale.reshape(-1, *places)
        x = _layer(x, parts[0], parts[1]).relu()
        x = _layer(x, parts[2], parts[3]).relu()
        return linear(x.flatten(2).mean(dim=2) if places else x, parts[4], parts[5])[:, 0]


class Schedule(NamedTuple):
    """How a small network is trained.

    Attributes:
        hidden: units of both hidden layers.
        epochs: at most.
        patience: epochs without a better validation loss before training stops.
        learning_rate: of Adam.
        batch_size: cases a step.
    """

    hidden: int
    epochs: int
    patience: int
    learning_rate: float
    batch_size: int


def train_small_net(
    z: Features, positive: Flags, held: Flags, schedule: Schedule, *, generator: torch.Generator
) -> SmallNet:
    """Train on the cases that are not held out; the weights of the best validation loss are kept.

    Adam on the binary cross-entropy of the logits, in which the two kinds weigh alike; weight decay 1e-4.

    Args:
        z: features (n, d), or maps (n, d, g, g); training runs in their precision, on their device.
        positive: (n,) bool.
        held: (n,) bool, the validation part; both parts need both kinds.
        schedule: how long, and with which steps.
        generator: on the CPU, for first weights and the order of cases.

    Raises:
        NumericsError: no epoch has a finite validation loss.

    Example:
        >>> z, draw = torch.linspace(-1, 1, 40)[:, None], torch.Generator().manual_seed(0)
        >>> schedule = Schedule(hidden=8, epochs=50, patience=50, learning_rate=0.01, batch_size=16)
        >>> net = train_small_net(z, z[:, 0] > 0, torch.arange(40) % 4 == 0, schedule, generator=draw)
        >>> (net(torch.tensor([[-0.9], [0.9]])) > 0).tolist()
        [False, True]
    """
    with torch.enable_grad(), ieee_float32(), repeatable():
        net = _start(z[~held], schedule.hidden, generator)
        optimizer = torch.optim.Adam(net[2:], lr=schedule.learning_rate, weight_decay=WEIGHT_DECAY, fused=True)
        best, best_loss, waited = net, float("inf"), 0
        for _ in range(schedule.epochs):
            _epoch(net, optimizer, z[~held], positive[~held], schedule.batch_size, generator)
            loss = _loss(net, z[held], positive[held])
            waited += 1
            if loss < best_loss:
                best, best_loss, waited = SmallNet(*(part.detach().clone() for part in net)), loss, 0
            if waited >= schedule.patience:
                break
    if best_loss == float("inf"):
        raise NumericsError(
            "Training of a small network gave no finite validation loss: its weights or the held-out features are too "
            "large. Lower the learning rate, or remove cases of extreme features."
        )
    return best


def _layer(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if x.dim() == 2:
        return linear(x, weight, bias)
    convolve = {3: conv1d, 4: conv2d, 5: conv3d}[x.dim()]
    return convolve(x, weight, bias, padding=KERNEL // 2)


def _start(z: Tensor, hidden: int, generator: torch.Generator) -> SmallNet:
    """First weights uniform in +-1 / sqrt(inputs), as those of `nn.Linear` and of `nn.Conv2d`."""
    but_channels, kernel = (0, *range(2, z.dim())), (KERNEL,) * (z.dim() - 2)
    constant = z.amax(dim=but_channels) == z.amin(dim=but_channels)
    scale = torch.where(constant, 1.0, z.std(dim=but_channels, correction=0))
    parts: list[Tensor] = []
    for out, *inputs in ((hidden, z.shape[1], *kernel), (hidden, hidden, *kernel), (1, hidden)):
        for shape in ((out, *inputs), (out,)):
            drawn = torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1
            parts.append((drawn / math.prod(inputs) ** 0.5).to(z).requires_grad_())
    return SmallNet(z.mean(dim=but_channels), scale, *parts)


def _epoch(
    net: SmallNet,
    optimizer: torch.optim.Optimizer,
    z: Tensor,
    positive: Tensor,
    batch_size: int,
    generator: torch.Generator,
) -> None:
    target, weight = positive.to(z), _balance(positive).to(z)
    order = torch.randperm(len(z), generator=generator).to(z.device)
    for rows in order.split(batch_size):
        optimizer.zero_grad()
        loss = binary_cross_entropy_with_logits(net(z[rows]), target[rows], weight=weight[rows])
        loss.backward()
        optimizer.step()


@torch.no_grad()
def _loss(net: SmallNet, z: Tensor, positive: Tensor) -> float:
    return float(binary_cross_entropy_with_logits(net(z), positive.to(z), weight=_balance(positive).to(z)))


def _balance(positive: Tensor) -> Tensor:
    """Weight of each case, of mean 1: both kinds have the same sum."""
    n, high = len(positive), positive.sum()
    return torch.where(positive, n / (2 * high), n / (2 * (n - high)))
