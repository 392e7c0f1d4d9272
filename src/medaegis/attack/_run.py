"""The only attack loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from medaegis._errors import InputError, is_a, is_int, require
from medaegis._progress import progress_bar
from medaegis._types import PIXEL_RANGE, Flags, Images, Labels, Logits, PerCase
from medaegis.attack._attack import Attack
from medaegis.attack._objectives import Goal
from medaegis.attack._random import CaseRandom, case_seeds
from medaegis.models import Taps, accelerate, frozen, seeded


class AttackResult(NamedTuple):
    """What an attack made, judged again on the images returned by the untouched network.

    Attributes:
        x: adversarial images (n, c, *space), exactly inside the budget and [0, 1].
        fooled: (n,) bool; the prediction on `x` is the target, or, without a target, is not the true class.
        prediction: (n,) class predicted on `x`.
        logits: (n, k) on `x`.
        objective: (n,) value of the attack's objective on `x`; smaller is better for the attacker.
        zero_gradient: (n,) number of steps at which the case's whole gradient was zero (or not finite).
        steps: number of gradient steps that were made.
    """

    x: Images
    fooled: Flags
    prediction: Labels
    logits: Logits
    objective: PerCase
    zero_gradient: Labels
    steps: int


def run_attack(
    attack: Attack,
    model: nn.Module,
    x: Images,
    y: Labels,
    *,
    target: Labels | None = None,
    generator: torch.Generator | None = None,
    batch_size: int = 32,
    progress: bool = False,
) -> AttackResult:
    """Attack images of a network that you own.

    The model is left as it came: mode, parameters, buffers, gradients and hooks; so are the caller's tensors and the
    global random state, also when something raises. A case's result does not depend on the other cases of its batch.

    Args:
        attack: what `medaegis.attack.bim(...)` and the other presets make.
        model: maps images in [0, 1] to logits (n, k), k >= 2.
        x: clean images (n, c, *space), floating point, in [0, 1].
        y: true classes (n,).
        target: wanted classes (n,), or None for an untargeted attack.
        generator: source of the random draws; one seed a case is taken from it. None stands for seed 0.
        batch_size: cases that go through the network together; changes speed and memory only.
        progress: show a bar with rate and remaining time.

    Returns:
        `AttackResult`, on the device of `x`.

    Raises:
        InputError: an argument has the wrong shape, type or range, or the model gives no logits (n, k), or its
            logits carry no gradient to the images.

    Source: HFC-21 eq. 2 and Algorithm 1 of its supplement.

    Example:
        >>> import medaegis as ma
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> x, y = torch.rand(3, 1, 2, 2), torch.tensor([0, 1, 0])
        >>> ma.run_attack(ma.attack.bim(eps=2 / 256, steps=5), net, x, y, target=1 - y).x.shape
        torch.Size([3, 1, 2, 2])
    """
    check_cases(x, y, target, batch_size)
    _check_parts(attack, model, generator)
    device = next((parameter.device for parameter in model.parameters()), x.device)
    seeds = case_seeds(len(x), generator) if attack.random_start else torch.zeros(len(x), dtype=torch.int64)
    bar = progress_bar(len(x) * attack.steps, attack.name, unit="step", show=progress)
    parts: list[_Part] = []
    with frozen(model), seeded(0, device), bar as advance:
        _check_classes(model, x[:1].to(device), y, target)
        layers = attack.objective.layers
        judge = Taps(model, "relu" if layers is None else layers or "none")
        fast = accelerate(model, x[:2].to(device), layers=judge.layers)
        taps = Taps(fast.model, judge.layers)
        for start in range(0, len(x), batch_size):
            rows = slice(start, start + batch_size)
            x0 = x[rows].detach().to(device)
            goal = Goal(y[rows].long().to(device), None if target is None else target[rows].long().to(device))
            random = CaseRandom.from_seeds(seeds[rows].tolist())
            made, zero = attack_batch(attack, taps, fast.memory_format, x0, goal, random, advance)
            parts.append(_judge(attack, judge, made, goal, zero))
    return _joined(parts, x.device, attack.steps)


class _Part(NamedTuple):
    x: Tensor
    fooled: Tensor
    logits: Tensor
    objective: Tensor
    zero_gradient: Tensor


def attack_batch(
    attack: Attack,
    taps: Taps,
    layout: torch.memory_format,
    x0: Tensor,
    goal: Goal,
    random: CaseRandom,
    advance: Callable[[int], None],
) -> tuple[Tensor, Tensor]:
    """Adversarial images of one batch and, for each case, its number of zero gradients; `taps` is on a frozen copy."""
    x0 = x0.contiguous(memory_format=layout)
    region = attack.constraint.around(x0)
    x = region.start(random) if attack.random_start else x0.clone()
    state: Any = attack.step.init(x0)
    zero = torch.zeros(len(x0), dtype=torch.int64, device=x0.device)
    best = _Best.start(x) if attack.keep == "best" else None
    for _ in range(attack.steps):
        value, logits, gradient = _evaluate(attack, taps, x, goal, random)
        best = best.better(x, value, goal.fooled(logits)) if best else None
        zero += _is_zero(gradient)
        move, state = attack.step.update(gradient, state)
        x = region.project(x + move)
        advance(len(x))
    if best and attack.steps:
        value, logits, _ = _evaluate(attack, taps, x, goal, random)
        x = best.better(x, value, goal.fooled(logits)).x
    return x, zero


def _evaluate(attack: Attack, taps: Taps, x: Tensor, goal: Goal, random: CaseRandom) -> tuple[Tensor, Tensor, Tensor]:
    """Objective (b,), logits (b, k) and gradient of the objective to the images, with NaN and infinity made zero."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_(True)
        tapped = taps(attack.transform(leaf.clone(), random))  # a copy: the network may write into its input
        value = attack.objective(tapped, goal)
        if not value.requires_grad:
            raise InputError(
                f"The objective of {attack.name} carries no gradient to the images: the model computes without one. "
                "Remove no_grad, detach and argmax from its forward pass, or attack a differentiable substitute."
            )
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), tapped.logits.detach(), gradient.nan_to_num(0.0, 0.0, 0.0)


def _is_zero(gradient: Tensor) -> Tensor:
    return gradient.abs().amax(dim=tuple(range(1, gradient.dim()))) == 0


class _Best(NamedTuple):
    """The best iterate of each case so far: fooled before not fooled, then the smaller objective."""

    x: Tensor
    value: Tensor
    fooled: Tensor

    @staticmethod
    def start(x: Tensor) -> _Best:
        value = torch.full((len(x),), torch.inf, dtype=x.dtype, device=x.device)
        return _Best(x.clone(), value, torch.zeros_like(value, dtype=torch.bool))

    def better(self, x: Tensor, value: Tensor, fooled: Tensor) -> _Best:
        wins = (fooled & ~self.fooled) | ((fooled == self.fooled) & (value < self.value))
        chosen = torch.where(wins.reshape(-1, *(1,) * (x.dim() - 1)), x, self.x)
        return _Best(chosen, torch.where(wins, value, self.value), torch.where(wins, fooled, self.fooled))


def _judge(attack: Attack, judge: Taps, x: Tensor, goal: Goal, zero: Tensor) -> _Part:
    x = x.contiguous()
    with torch.no_grad():
        tapped = judge(x.clone())
        value = attack.objective(tapped, goal)
    return _Part(x, goal.fooled(tapped.logits), tapped.logits, value, zero)


def _joined(parts: list[_Part], device: torch.device, steps: int) -> AttackResult:
    x, fooled, logits, objective, zero = (torch.cat(column).to(device) for column in zip(*parts, strict=True))
    return AttackResult(x, fooled, logits.argmax(dim=1), logits, objective, zero, steps)


def check_cases(x: Tensor, y: Tensor, target: Tensor | None, batch_size: int, *, owner: str = "run_attack") -> None:
    """Raise `InputError` unless images, labels and target fit each other; see `run_attack`.

    Example:
        >>> check_cases(torch.zeros(1, 1, 2, 2), torch.tensor([0]), None, 8)
    """
    require(is_a(x, Tensor), "x", owner, "a torch tensor", type(x), "Use torch.from_numpy for arrays.")
    require(x.is_floating_point(), "x", owner, "a floating-point tensor", x.dtype, "Divide uint8 images by 255.")
    require(x.dim() >= 2 and x.numel() > 0, "x", owner, "(n, c, *space), not empty", tuple(x.shape))
    low, high = x.min().item(), x.max().item()
    inside = PIXEL_RANGE[0] <= low and high <= PIXEL_RANGE[1]
    fix = "Put mean/std normalisation inside the model and divide 8-bit images by 255."
    require(inside, "x", owner, "finite, with pixels in [0, 1]", (low, high), fix)
    for name, labels in (("y", y), ("target", target)):
        if labels is not None:
            _check_labels(labels, len(x), name, owner)
    require(is_int(batch_size) and batch_size >= 1, "batch_size", owner, "an int >= 1", batch_size)


def _check_labels(labels: Tensor, n: int, name: str, owner: str) -> None:
    require(is_a(labels, Tensor), name, owner, "a torch tensor", type(labels), "Use torch.as_tensor.")
    whole = not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)
    got = f"{labels.dtype} of shape {tuple(labels.shape)}"
    require(whole and labels.shape == (n,), name, owner, f"integers of shape ({n},), one class a case", got)


def _check_parts(attack: Attack, model: nn.Module, generator: torch.Generator | None) -> None:
    owner = "run_attack"
    require(is_a(attack, Attack), "attack", owner, "an Attack", attack, "Call the preset, as in bim(eps=1/256).")
    require(is_a(model, nn.Module), "model", owner, "a torch.nn.Module", type(model), "Wrap functions in a Module.")
    good = generator is None or is_a(generator, torch.Generator)
    require(good, "generator", owner, "a torch.Generator", generator, "Use torch.Generator().manual_seed(seed).")


def _check_classes(model: nn.Module, one: Tensor, y: Tensor, target: Tensor | None) -> None:
    """Raise `InputError` unless the network gives logits (n, k) and every label is one of the k classes."""
    with torch.no_grad():
        logits = model(one.clone())
    owner, fix = "run_attack", "For one output, stack (-logit, logit) / 2; of several outputs, return the logits only."
    shaped = is_a(logits, Tensor) and logits.dim() == 2 and len(logits) == 1 and logits.shape[1] >= 2
    got = f"{type(logits).__name__} of shape {tuple(logits.shape)}" if is_a(logits, Tensor) else type(logits)
    require(shaped, "model", owner, "a network from (n, c, *space) to logits (n, k) with k >= 2", got, fix)
    rule = f"classes from 0 to {logits.shape[1] - 1}, since the model has {logits.shape[1]} logits"
    for name, labels in (("y", y), ("target", target)):
        if labels is not None:
            ends = (int(labels.min()), int(labels.max()))
            inside = ends[0] >= 0 and ends[1] < logits.shape[1]
            require(inside, name, owner, rule, f"labels from {ends[0]} to {ends[1]}", "Count classes from 0.")
