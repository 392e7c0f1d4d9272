"""What pulls how hard: the share of each term in an objective's gradient, and weights of HFC chosen by it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from medaegis._errors import is_int, is_number, require
from medaegis._types import Images, Labels
from medaegis.attack._attack import Attack
from medaegis.attack._checks import check_cases
from medaegis.attack._gradient import network_input, scaled_gradient
from medaegis.attack._hfc import HFC, hfc
from medaegis.attack._objectives import Goal, Objective
from medaegis.attack._run import run_attack
from medaegis.density import MixtureBank
from medaegis.models import Taps, frozen

WIDEST = 100.0
"""A layer's weight is between this and its inverse, however faint its gradient."""


class GradientSizes(NamedTuple):
    """Gradients to the images, term by term.

    Attributes:
        names: of the t terms: `CrossEntropy`, `HFC layer1.0.relu`, ….
        sizes: mean absolute value over the pixels of each term's gradient, for each case, (n, t).
    """

    names: tuple[str, ...]
    sizes: Tensor

    def shares(self) -> Tensor:
        """Share of each term in the sum of their sizes, (n, t); NaN for a case without any gradient.

        Example:
            >>> GradientSizes(("a", "b"), torch.tensor([[1.0, 3.0]])).shares()
            tensor([[0.2500, 0.7500]])
        """
        return self.sizes / self.sizes.sum(dim=1, keepdim=True)


def gradient_sizes(
    objective: Objective,
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    target: Labels | None = None,
    batch_size: int = 32,
) -> GradientSizes:
    """How large a gradient each term of an objective has at given images, HFC layer by layer.

    With a sign step, the term with the largest gradient decides where most pixels go: where HFC's share is near 0 the
    attack hides nothing, near 1 it no longer fools.

    Args:
        objective: as in `attack.objective`.
        model: maps images in [0, 1] to logits; left as it came.
        x: images (n, c, *space): clean ones for the start of an attack, adversarial ones for its end.
        y: true classes (n,).
        target: wanted classes (n,), or None.
        batch_size: cases in one pass; a pass is followed by one backward pass for each term.

    Raises:
        InputError: an argument has the wrong shape, type or range.

    Example:
        >>> from medaegis.attack import cross_entropy
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> x, y = torch.rand(3, 1, 2, 2), torch.tensor([0, 1, 0])
        >>> gradient_sizes(cross_entropy, net, x, y).names
        ('CrossEntropy',)
    """
    check_cases(x, y, target, batch_size)
    device = next((parameter.device for parameter in model.parameters()), x.device)
    wanted = "relu" if objective.layers is None else objective.layers or "none"
    taps, names, sizes = Taps(model, wanted), (), list[Tensor]()
    with frozen(model):
        for start in range(0, len(x), batch_size):
            rows = slice(start, start + batch_size)
            goal = Goal(y[rows].long().to(device), None if target is None else target[rows].long().to(device))
            names, part = _sizes(objective, taps, x[rows].detach().to(device), goal)
            sizes.append(part.to(x.device))
    return GradientSizes(names, torch.cat(sizes))


def _sizes(objective: Objective, taps: Taps, x: Tensor, goal: Goal) -> tuple[tuple[str, ...], Tensor]:
    if objective.reads_clean:
        with torch.no_grad():
            goal = goal._replace(clean=taps(x.clone()))
    with torch.enable_grad():
        leaf = x.clone().requires_grad_(True)
        tapped = taps(network_input(leaf))
        parts = objective.parts(tapped, goal)
        gradients = [scaled_gradient(value, tapped, leaf, retain=True) for value in parts.values()]
    axes = tuple(range(1, x.dim()))
    return tuple(parts), torch.stack([gradient.abs().mean(dim=axes) for gradient in gradients], dim=1)


class ChosenHFC(NamedTuple):
    """HFC with chosen weights.

    Attributes:
        objective: to be added to the attack.
        success: share of the cases that the attack with it fools.
        plain: share that the attack without it fools.
        kept: whether no more than `most_lost` is lost; if not, `objective` has the smallest weight that was tried.
        tried: weight and success of every run, in the order in which they were made.
    """

    objective: HFC
    success: float
    plain: float
    kept: bool
    tried: tuple[tuple[float, float], ...]


def choose_hfc(
    attack: Attack,
    bank: MixtureBank,
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    target: Labels | None = None,
    most_lost: float = 0.05,
    rounds: int = 5,
    by_layer: bool = True,
    generator: torch.Generator | None = None,
    batch_size: int = 32,
) -> ChosenHFC:
    """The strongest HFC under which an attack still fools, with weights that let every layer pull alike.

    Layers first: each gets the weight that makes its gradient as large as the mean layer's, on the images that the
    attack without HFC makes. Then the whole: the largest power of two between 2^-`rounds` and 2^`rounds` for which the
    attack fools at most `most_lost` fewer of the cases, found by halving the range; more weight is taken to fool no
    more cases. Where even the smallest loses more it is taken nonetheless, and `kept` is False. This goes beyond the
    papers, which have 1 / C_l and no more.

    Args:
        attack: as without HFC, such as `bim(eps=1/256)`.
        bank: mixtures of the network's normal features.
        model: the network.
        x: cases to choose on (n, c, *space): AdvTrain, never those that are reported.
        y: true classes (n,).
        target: wanted classes (n,), or None.
        most_lost: share of the cases that may be lost, [0, 1].
        rounds: the range of weights, >= 1.
        by_layer: False keeps the papers' weights by layer.
        generator: as `run_attack` takes it; every run gets a copy of the same state.
        batch_size: as `run_attack` takes it.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> from medaegis.attack import bim
        >>> from medaegis.density import fit_bank
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> x, y = torch.rand(8, 1, 2, 2), torch.arange(8) % 2
        >>> bank = fit_bank(Taps(net)(x).features, y, generator=torch.Generator())
        >>> chosen = choose_hfc(bim(eps=0.1, steps=3), bank, net, x, y, target=1 - y, most_lost=1.0)
        >>> chosen.objective.weight
        32.0
    """
    require(is_number(most_lost) and 0 <= most_lost <= 1, "most_lost", "choose_hfc", "a number in [0, 1]", most_lost)
    require(is_int(rounds) and rounds >= 1, "rounds", "choose_hfc", "an int >= 1", rounds)
    state = (generator or torch.Generator()).get_state()

    def run(one: Attack) -> tuple[float, Tensor]:
        mine = torch.Generator()
        mine.set_state(state)
        made = run_attack(one, model, x, y, target=target, generator=mine, batch_size=batch_size)
        return made.fooled.double().mean().item(), made.x

    plain, adversarial = run(attack)
    weights = _layer_weights(bank, model, adversarial, y, target, batch_size) if by_layer else {}
    tried: list[tuple[float, float]] = []
    low, high = -rounds - 1, rounds + 1  # low loses little enough, high loses too much or was never tried
    while high - low > 1:
        power = (low + high) // 2
        success = run(attack.plus(hfc(bank, weight=2.0**power, layer_weights=weights)))[0]
        tried.append((2.0**power, success))
        low, high = (power, high) if success >= plain - most_lost else (low, power)
    kept = low >= -rounds
    weight = 2.0 ** max(low, -rounds)
    objective = hfc(bank, weight=weight, layer_weights=weights)
    return ChosenHFC(objective, dict(tried)[weight], plain, kept, tuple(tried))


def _layer_weights(
    bank: MixtureBank, model: nn.Module, x: Tensor, y: Tensor, target: Tensor | None, batch_size: int
) -> dict[str, float]:
    found = gradient_sizes(hfc(bank), model, x, y, target=target, batch_size=batch_size)
    mean = found.sizes.double().mean(dim=0)
    weights = (mean.mean() / mean).nan_to_num(1.0, WIDEST, 1 / WIDEST).clamp(1 / WIDEST, WIDEST)
    return {name.removeprefix("HFC "): weight for name, weight in zip(found.names, weights.tolist(), strict=True)}
