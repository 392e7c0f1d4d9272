"""`run_attack`: borrow a network, attack batch after batch, judge what came out."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple

import torch
from torch import Tensor, nn

from medaegis._progress import progress_bar
from medaegis._types import Flags, Images, Labels, Logits, PerCase
from medaegis.attack._attack import Attacker
from medaegis.attack._batch import Batch, Made
from medaegis.attack._checks import check_cases, check_classes, check_parts, check_substitute
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
        objective: (n,) value of the attack's objective on `x`; smaller is better for the attacker. Of a transfer
            attack, its value on the substitute.
        zero_gradient: (n,) number of steps at which the case's whole gradient was zero (or not finite).
        stuck: (n,) number of those steps at which the case was not fooled: a sign of a too weak attack, while a zero
            gradient beyond the floor of a margin is none.
        steps: (n,) number of gradient steps that the case took part in.
    """

    x: Images
    fooled: Flags
    prediction: Labels
    logits: Logits
    objective: PerCase
    zero_gradient: Labels
    stuck: Labels
    steps: Labels


def run_attack(
    attack: Attacker,
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
        batch_size: cases that go through the network together; changes speed and memory only. A batch that does not
            fit into memory is halved, with a warning, and the attack goes on.
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
    check_parts(attack, model, generator)
    device = next((parameter.device for parameter in model.parameters()), x.device)
    seeds = _seeds(attack, len(x), generator)
    bar = progress_bar(len(x) * attack.passes, attack.name, unit="step", show=progress)
    with ExitStack() as stack:
        stack.enter_context(frozen(model))
        if attack.substitute is not None:
            stack.enter_context(frozen(attack.substitute))
        stack.enter_context(seeded(0, device))
        advance = stack.enter_context(bar)
        check_classes(model, x[:1].to(device), y, target)
        pair = _prepare(attack, model, x[:2].to(device))
        results, start, size = _Results(x), 0, min(batch_size, len(x))
        while start < len(x):
            rows = slice(start, start + size)
            goal = _goal(attack, y[rows].to(device), None if target is None else target[rows].to(device), seeds[rows])
            try:
                part = _attacked(attack, pair, x[rows].detach().to(device), goal, seeds[rows], advance)
            except RuntimeError as error:
                size = _smaller(size, error)
                continue
            results.add(rows, part)
            start += size
    return results.whole()


def craft(
    attack: Attacker,
    taps: Taps,
    x: Images,
    y: Labels,
    *,
    target: Labels | None = None,
    generator: torch.Generator,
    layout: torch.memory_format = torch.contiguous_format,
) -> Images:
    """Adversarial images on a network that is fast and frozen already: no copy of it, no judging.

    For adversarial training, which attacks batch after batch; everything else takes `run_attack`, whose images these
    are up to rounding.

    Args:
        attack: whose objective reads nothing of the clean images.
        taps: the network, with the attack's layers.
        x: clean images (n, c, *space) on its device.
        y: true classes (n,).
        target: wanted classes (n,), or None.
        generator: as in `run_attack`.
        layout: memory format that the network likes.

    Raises:
        InputError: images, labels or targets have the wrong shape, type or range.

    Example:
        >>> import medaegis as ma
        >>> taps = Taps(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), "none")
        >>> x, y = torch.rand(3, 1, 2, 2), torch.tensor([0, 1, 0])
        >>> craft(ma.attack.bim(eps=2 / 256, steps=5), taps, x, y, generator=torch.Generator()).shape
        torch.Size([3, 1, 2, 2])
    """
    check_cases(x, y, target, len(x))
    seeds = _seeds(attack, len(x), generator)
    goal = _goal(attack, y, target, seeds)
    x0 = x.contiguous(memory_format=layout)
    return _make(attack, taps, layout, x0, goal, seeds, lambda _done: None).x.contiguous()


def _seeds(attack: Attacker, n: int, generator: torch.Generator | None) -> Tensor:
    draws = attack.random or attack.objective.random
    return case_seeds(n, generator) if draws else torch.zeros(n, dtype=torch.int64)


def _goal(attack: Attacker, y: Labels, target: Labels | None, seeds: Tensor) -> Goal:
    seed = seeds.to(y.device) if attack.objective.random else None
    return Goal(y.long(), None if target is None else target.long(), seed=seed)


def _make(
    attack: Attacker,
    taps: Taps,
    layout: torch.memory_format,
    x0: Tensor,
    goal: Goal,
    seeds: Tensor,
    advance: Callable[[int], None],
) -> Made:
    return attack.make(Batch(taps, layout, x0, goal, CaseRandom.from_seeds(seeds.tolist()), advance))


class _Pair(NamedTuple):
    """Who makes adversarial images, on a fast copy, and who judges them: the untouched network."""

    maker: Taps
    layout: torch.memory_format
    judge: Taps
    valuer: Taps


class _Part(NamedTuple):
    made: Made
    logits: Tensor
    fooled: Tensor
    objective: Tensor


def _prepare(attack: Attacker, model: nn.Module, probe: Tensor) -> _Pair:
    source = model if attack.substitute is None else attack.substitute
    if source is not model:
        check_substitute(source, probe[:1], model)
    valuer = Taps(source, "relu" if attack.layers is None else attack.layers or "none")
    fast = accelerate(source, probe, layers=valuer.layers)
    judge = valuer if source is model else Taps(model, "none")
    return _Pair(Taps(fast.model, valuer.layers), fast.memory_format, judge, valuer)


def _attacked(
    attack: Attacker, pair: _Pair, x0: Tensor, goal: Goal, seeds: Tensor, advance: Callable[[int], None]
) -> _Part:
    if attack.objective.reads_clean:
        with torch.no_grad():
            goal = goal._replace(clean=pair.valuer(x0.clone()))
    images = x0.contiguous(memory_format=pair.layout)
    made = _make(attack, pair.maker, pair.layout, images, goal, seeds, advance)
    x = made.x.contiguous()
    with torch.no_grad():
        tapped = pair.judge(x.clone())
        valued = tapped if pair.judge is pair.valuer else pair.valuer(x.clone())
        value = attack.objective(valued, goal)
    return _Part(made._replace(x=x), tapped.logits, goal.fooled(tapped.logits), value)


class _Results:
    """Results that grow batch after batch; the images lie in one tensor from the start, so nothing is held twice."""

    def __init__(self, x: Tensor) -> None:
        self.x = torch.empty_like(x, memory_format=torch.contiguous_format, requires_grad=False)
        self.columns: list[list[Tensor]] = [[] for _ in range(6)]

    def add(self, rows: slice, part: _Part) -> None:
        self.x[rows] = part.made.x
        values = (part.fooled, part.logits, part.objective, *part.made[1:])
        for column, value in zip(self.columns, values, strict=True):
            column.append(value.to(self.x.device))

    def whole(self) -> AttackResult:
        fooled, logits, objective, zero, stuck, taken = (torch.cat(column) for column in self.columns)
        return AttackResult(self.x, fooled, logits.argmax(dim=1), logits, objective, zero, stuck, taken)


def _smaller(size: int, error: RuntimeError) -> int:
    """Half the batch if it did not fit into memory; any other error, or a single case that does not fit, is raised."""
    text = str(error)
    memory = isinstance(error, torch.OutOfMemoryError) or "not enough memory" in text or "can't allocate memory" in text
    if not memory or size == 1:
        raise error
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    half = size // 2
    warnings.warn(f"A batch of {size} did not fit into memory; going on with {half}.", stacklevel=3)
    return half
