"""DeepFool: step after step to the nearest boundary of the linearised network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from medaegis._errors import is_int, is_number, require
from medaegis._types import PIXEL_RANGE, Flags, Images, Logits, PerCase
from medaegis.attack._attack import Attacker, without_objective
from medaegis.attack._batch import Batch, Made
from medaegis.attack._constraints import Constraint, Linf, spatial
from medaegis.attack._gradient import network_input, no_gradient
from medaegis.attack._l2 import L2
from medaegis.attack._margins import Margin, margin_of
from medaegis.attack._objectives import Goal, Objective, without_class

Norm = Literal["l2", "linf"]
_SHORTEST = 1e-6  # step in pixel units, as a root mean square for L2: at an exact tie the linear distance is 0
_FOLLOWED = 3  # rivals that are looked at after a case's first step, the nearest ones then
_LONGEST = 1e6  # step: beyond every image, and far from overflow
_CAREFUL, _SHARE = 4, 0.5  # first steps of a case with pixels at an end of the range, and the share of the way they go


@dataclass(frozen=True)
class DeepFool(Attacker):
    """The search that `deepfool` makes; see there for its arguments."""

    steps: int = 50
    overshoot: float = 0.02
    candidates: int = 10
    norm: Norm = "l2"
    constraint: Constraint | None = None

    name = "DeepFool"
    objective = Margin()

    def __post_init__(self) -> None:
        owner = "deepfool"
        require(is_int(self.steps) and self.steps >= 0, "steps", owner, "an int >= 0", self.steps)
        good = is_number(self.overshoot) and self.overshoot >= 0
        require(good, "overshoot", owner, "a number >= 0", self.overshoot)
        require(is_int(self.candidates) and self.candidates >= 2, "candidates", owner, "an int >= 2", self.candidates)
        require(self.norm in ("l2", "linf"), "norm", owner, '"l2" or "linf"', self.norm)

    @property
    def random(self) -> bool:
        """Nothing is drawn."""
        return False

    @property
    def passes(self) -> int:
        """Forward passes of a case; each has as many backward passes as there are rival classes."""
        return self.steps

    def plus(self, objective: Objective) -> Attacker:
        """Raise `InputError`: there is no objective to add to."""
        raise without_objective(self.name, objective)

    def make(self, batch: Batch) -> Made:
        """Walk each case over its nearest boundary, then into the budget."""
        made = _walked(self, batch)
        if self.constraint is None:
            return made
        return made._replace(x=self.constraint.around(batch.x0).project(made.x))


def deepfool(
    eps: float | None = None, *, steps: int = 50, overshoot: float = 0.02, candidates: int = 10, norm: Norm = "l2"
) -> DeepFool:
    """DeepFool: the way to the nearest boundary of the network's linearisation, again and again until fooled.

    With w = the gradient of f_k - f_y for the rival class k whose boundary |f_k - f_y| / |w|_q is nearest, a step is
    (1 + overshoot) |f_k - f_y| / |w|_2^2 w, or, with `norm="linf"`, (1 + overshoot) |f_k - f_y| / |w|_1 sign(w).
    With a target, the only boundary is that towards it: w = the gradient of f_t - max_(j != t) f_j.

    Where we differ from the paper: images stay in [0, 1] after each step, and w leaves out pixels at an end of the
    range that a step would push further out; the overshoot is part of each step, so that the image returned is the one
    that was seen to be fooled; after a case's first step only the three boundaries that were nearest then are looked
    at. A case that has been fooled, or that nothing can move, takes no further pass. While a case has pixels at an
    end of the range, its first four steps go half of the way: the pixels that are left have to carry everything, and
    whole steps follow the first linearisation too far.

    Args:
        eps: None for the smallest perturbation found, whatever its size; a number for a budget into which it is
            projected, in pixel units [0, 1): a root mean square with `norm="l2"`, Linf with `norm="linf"`.
        steps: largest number of steps, >= 0. A case that is not fooled by then returns its last image.
        overshoot: how much further than the linear distance each step goes, >= 0.
        candidates: number of classes looked at, >= 2: the true one, and the most probable others on the clean image,
            each of which costs one backward pass at the first step.
        norm: what is made small, `"l2"` or `"linf"`.

    Raises:
        InputError: an argument is out of range.

    Source: Moosavi-Dezfooli et al. 2016, Algorithm 2, and its section 3.4 for Linf.

    Example:
        >>> from medaegis.attack import run_attack
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 2, bias=False))
        >>> net[1].weight.data = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
        >>> x = torch.full((1, 1, 1, 2), 0.5)  # f_0 - f_1 = 3.5, |w| = 5, so the boundary is 0.7 away
        >>> run_attack(deepfool(steps=1), net, x, torch.tensor([0])).x - x
        tensor([[[[-0.4284, -0.5000]]]])
    """
    require(norm in ("l2", "linf"), "norm", "deepfool", '"l2" or "linf"', norm)
    constraint = None if eps is None else L2(eps) if norm == "l2" else Linf(eps)
    return DeepFool(steps, overshoot, candidates, norm, constraint)


class _Walk(NamedTuple):
    """Where the walk stands: `cases` are the rows of `x` and `counts` that are still on their way."""

    batch: Batch
    cases: Tensor
    rivals: Tensor | None
    x: Images
    counts: Tensor

    @staticmethod
    def start(batch: Batch) -> _Walk:
        cases = torch.arange(len(batch.x0), device=batch.x0.device)
        return _Walk(batch, cases, None, batch.x0.clone(), cases.new_zeros(3, len(cases)))

    def rows(self, index: Tensor) -> _Walk:
        """The walk of some of its cases, into the same results."""
        rivals = None if self.rivals is None else self.rivals[index]
        return self._replace(batch=self.batch.rows(index), cases=self.cases[index], rivals=rivals)


class _Seen(NamedTuple):
    """A pass: its images (b, c, *space), and the logits (r, k) of those `rows` of them that matter."""

    leaf: Images
    logits: Logits
    rows: Tensor


def _walked(attack: DeepFool, batch: Batch) -> Made:
    """Every case over its boundary; a case leaves when it is fooled, or when nothing can move it."""
    walk = _Walk.start(batch)
    for step in range(attack.steps):
        seen = _pass(attack, walk)
        if walk.rivals is None and batch.goal.target is None:
            walk = walk._replace(rivals=_rivals(seen.logits, batch.goal, attack.candidates))
        walk, seen = _without_fooled(attack, walk, seen)
        if not len(walk.cases):
            break
        moved = _move(attack, walk, seen, careful=step < _CAREFUL)
        walk.x[walk.cases] = moved.x
        walk.counts[:, walk.cases] += torch.stack([~moved.alive, ~moved.alive, torch.ones_like(moved.alive)])
        walk.batch.advance(len(walk.cases))
        walk = walk._replace(rivals=moved.rivals)
        if not bool(moved.alive.all()):
            walk = walk.rows(moved.alive.nonzero().flatten())
        if not len(walk.cases):
            break
    return Made(walk.x, *walk.counts)


def _pass(attack: DeepFool, walk: _Walk) -> _Seen:
    with torch.enable_grad():
        leaf = walk.x[walk.cases].contiguous(memory_format=walk.batch.layout).requires_grad_(True)
        logits = walk.batch.taps(network_input(leaf)).logits
    if not logits.requires_grad:
        raise no_gradient(attack.name)
    return _Seen(leaf, logits, torch.arange(len(leaf), device=leaf.device))


def _rivals(logits: Logits, goal: Goal, candidates: int) -> Tensor:
    """The most probable wrong classes of each case, (b, min(candidates, k) - 1)."""
    others = without_class(logits.detach(), goal.label).nan_to_num(nan=-torch.inf)
    return others.topk(min(candidates, logits.shape[1]) - 1, dim=1).indices


def _without_fooled(attack: DeepFool, walk: _Walk, seen: _Seen) -> tuple[_Walk, _Seen]:
    """Without the fooled cases; in a new pass, if that is cheaper than to drag them through the backward passes."""
    stay = (~walk.batch.goal.fooled(seen.logits.detach())).nonzero().flatten()
    left = len(walk.cases) - len(stay)
    if not left:
        return walk, seen
    walk = walk.rows(stay)
    backward = 1 if walk.rivals is None else walk.rivals.shape[1]
    if len(stay) and backward * left > len(stay):
        return walk, _pass(attack, walk)
    with torch.enable_grad():
        return walk, seen._replace(logits=seen.logits[stay], rows=stay)


class _Moved(NamedTuple):
    """Images after a step (b, c, *space), which cases had a way to go (b,), and the rivals to look at next (b, r)."""

    x: Images
    alive: Flags
    rivals: Tensor | None


def _move(attack: DeepFool, walk: _Walk, seen: _Seen, *, careful: bool) -> _Moved:
    """One step of each case over its nearest boundary, or half of the way there."""
    x = walk.x[walk.cases]
    with torch.enable_grad():
        gaps = _gaps(seen.logits, walk)
    nearest = _Way(torch.full_like(gaps[:, 0], torch.inf), torch.zeros_like(x))
    distances = torch.empty_like(gaps, requires_grad=False)
    for rival in range(gaps.shape[1]):
        more = rival + 1 < gaps.shape[1]
        (gradient,) = torch.autograd.grad(gaps[:, rival].sum(), seen.leaf, retain_graph=more)
        way = _way(gaps[:, rival].detach(), gradient[seen.rows], x, attack.norm)
        nearest, distances[:, rival] = nearest.or_nearer(way), way.distance
    alive = nearest.distance < torch.inf
    shortest = _SHORTEST * (x[0].numel() ** 0.5 if attack.norm == "l2" else 1)
    length = (1 + attack.overshoot) * nearest.distance.clamp(shortest, _LONGEST)
    if careful:
        walled = ((x == PIXEL_RANGE[0]) | (x == PIXEL_RANGE[1])).flatten(1).any(dim=1)
        length = torch.where(walled, _SHARE * length, length)
    near = distances.topk(min(_FOLLOWED, gaps.shape[1]), dim=1, largest=False).indices
    rivals = None if walk.rivals is None else walk.rivals.gather(1, near)
    return _Moved((x + spatial(length, x.shape) * nearest.direction).clamp_(*PIXEL_RANGE), alive, rivals)


def _gaps(logits: Logits, walk: _Walk) -> Tensor:
    """How far each rival's logit is above the one to be left (b, r); with a target, the target's above all others."""
    if walk.rivals is None:
        return -margin_of(logits, walk.batch.goal)[:, None]
    return logits.gather(1, walk.rivals) - logits.gather(1, walk.batch.goal.label[:, None])


class _Way(NamedTuple):
    """To a boundary: its distance (b,), infinite where there is no way, and the direction (b, c, *space) of norm 1."""

    distance: PerCase
    direction: Images

    def or_nearer(self, other: _Way) -> _Way:
        """The nearer of both, case by case."""
        nearer = other.distance < self.distance
        direction = torch.where(spatial(nearer, self.direction.shape), other.direction, self.direction)
        return _Way(torch.where(nearer, other.distance, self.distance), direction)


def _way(gap: PerCase, gradient: Images, x: Images, norm: Norm) -> _Way:
    """The way uphill that closes `gap`."""
    slope, direction = uphill(gradient, x, norm)
    distance = gap.abs() / slope
    return _Way(torch.where((slope > 0) & distance.isfinite(), distance, torch.inf), direction)


def uphill(gradient: Images, x: Images, norm: Norm) -> tuple[PerCase, Images]:
    """How steep a function is at images `x` (b, c, *space), and in which direction, inside the pixel range.

    Pixels at an end of the range that would go further out count for nothing. The gradient is divided by its largest
    value first, so that no square underflows or overflows.

    Returns:
        The rise (b,) for each unit of the norm, and the direction (b, c, *space), of norm 1, or 0 where it is flat.

    Example:
        >>> slope, direction = uphill(torch.tensor([[3.0, -4.0, 9.0]]), torch.tensor([[0.5, 0.5, 1.0]]), "l2")
        >>> slope, direction
        (tensor([5.]), tensor([[ 0.6000, -0.8000,  0.0000]]))
    """
    low, high = PIXEL_RANGE
    gradient = gradient.masked_fill(((x <= low) & (gradient < 0)) | ((x >= high) & (gradient > 0)), 0)
    space = tuple(range(1, x.dim()))
    top = gradient.abs().amax(dim=space)
    form = gradient / spatial(torch.where(top > 0, top, 1), x.shape)
    length = torch.linalg.vector_norm(form, ord=2 if norm == "l2" else 1, dim=space)
    direction = form / spatial(length.clamp_min(1), x.shape) if norm == "l2" else form.sign()
    return top * length, direction
