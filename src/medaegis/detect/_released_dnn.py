"""DNN as the released code has it: layers without a non-linearity between them, last weights kept."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy, linear

from medaegis._types import Features, Flags, PerCase, Tapped
from medaegis.detect._released_data import ReleasedData, ReleasedScores, layer_of
from medaegis.models import PENULTIMATE, ieee_float32

WIDTHS = (96, 192, 192, 1)
STEPS, BATCH, LEARNING_RATE, WEIGHT_DECAY = 200, 64, 1e-3, 1e-4


class LinearNet(NamedTuple):
    """Four dense layers and nothing between them: together one affine function.

    Attributes:
        weights: (96, d), (192, 96), (192, 192), (1, 192).
        biases: (96,), (192,), (192,), (1,).
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]

    def logits(self, z: Features) -> PerCase:
        """Logits (n,) of features (n, d): above 0 where an adversarial example is more probable.

        Example:
            >>> LinearNet((torch.full((1, 1), 2.0),), (torch.ones(1),)).logits(torch.tensor([[3.0]]))
            tensor([7.])
        """
        for weight, bias in zip(self.weights, self.biases, strict=True):
            z = linear(z, weight, bias)
        return z[:, 0]


def train_linear_net(z: Features, positive: Flags, *, generator: torch.Generator) -> LinearNet:
    """200 Adam steps on 64 cases each, drawn with replacement; the weights after the last step, right or wrong.

    Args:
        z: features (n, d), as they are; training runs in their precision.
        positive: (n,) bool.
        generator: on the CPU, of first weights (as `nn.Linear`'s) and draws.

    Example:
        >>> z = torch.linspace(-1, 1, 40)[:, None]
        >>> net = train_linear_net(z, z[:, 0] > 0, generator=torch.Generator().manual_seed(0))
        >>> (net.logits(torch.tensor([[-1.0], [1.0]])) > 0).tolist()
        [False, True]
    """
    shapes = list(zip(WIDTHS, (z.shape[1], *WIDTHS), strict=False))
    weights = tuple(_first((out, wide), wide, z, generator) for out, wide in shapes)
    net = LinearNet(weights, tuple(_first((out,), wide, z, generator) for out, wide in shapes))
    optimizer = torch.optim.Adam([*net.weights, *net.biases], lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    with torch.enable_grad(), ieee_float32():
        for _ in range(STEPS):
            rows = torch.randint(len(z), (BATCH,), generator=generator)
            optimizer.zero_grad()
            binary_cross_entropy(net.logits(z[rows]).sigmoid(), positive[rows].to(z)).backward()
            optimizer.step()
    return LinearNet(tuple(w.detach() for w in net.weights), tuple(b.detach() for b in net.biases))


def _first(shape: tuple[int, ...], wide: int, like: Tensor, generator: torch.Generator) -> Tensor:
    drawn = torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1
    return (drawn / wide**0.5).to(like).requires_grad_()


def released_dnn(data: ReleasedData, *, generator: torch.Generator) -> ReleasedScores:
    """Mean over layers of the probabilities of one linear network a layer.

    Choices, and what `DNN` does instead: no non-linearity between the layers (ours: ReLU; this lowers the figure of
    attacks that a hyperplane does not part from clean features). A fixed number of steps and the last weights (ours: a
    quarter of the cases chooses when to stop; a network that has learned too much or too little is kept, so this adds
    noise and on average lowers the figure). Features are not scaled (ours: standardised; the same direction).
    The clean cases count twice, since "noise" equals clean (ours: clean and noise, both kinds weighing alike; this
    raises the figure, as noise never has to pass), and failed adversarial examples are learned too. Probabilities are
    averaged over layers (ours: logits are summed). The released networks are convolutions on whole activations, with
    max-pooling between the first two and after them, their only non-linearity; these see channel means, as every
    detector here, so they are weaker.

    Args:
        data: `learn_clean`, `learn_adversarial`, `test_clean` and the scored examples are used, without the
            penultimate layer.
        generator: on the CPU, of first weights and draws.

    Example:
        >>> from medaegis.detect._released_toy import toy_data
        >>> found = released_dnn(toy_data(), generator=torch.Generator().manual_seed(0))
        >>> bool(found.adversarial.mean() > found.clean.mean())
        True
    """
    names = [name for name in data.learn_clean.features if name != PENULTIMATE] or [PENULTIMATE]
    nets: dict[str, LinearNet] = {}
    for name in names:
        low, high = layer_of(data.learn_clean, name), layer_of(data.learn_adversarial, name)
        z = torch.cat([low, low, high])
        nets[name] = train_linear_net(z, torch.arange(len(z)) >= 2 * len(low), generator=generator)

    def score(part: Tapped) -> Tensor:
        return torch.stack([net.logits(layer_of(part, name)).sigmoid() for name, net in nets.items()]).mean(dim=0)

    return ReleasedScores(score(data.test_clean), score(data.scored))
