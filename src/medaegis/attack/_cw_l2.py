"""Carlini and Wagner's L2 attack: the smallest perturbation, weighed against an objective."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from medaegis._errors import is_int, is_number, require
from medaegis._types import PIXEL_RANGE, Flags, Images, PerCase
from medaegis.attack._adam import AdamStep
from medaegis.attack._attack import Attacker, check_objective, short_name
from medaegis.attack._batch import Batch, Made
from medaegis.attack._best import Best
from medaegis.attack._constraints import spatial
from medaegis.attack._deepfool import uphill
from medaegis.attack._gradient import network_input, no_gradient
from medaegis.attack._l2 import L2
from medaegis.attack._margins import Margin, margin_of
from medaegis.attack._objectives import Objective
from medaegis.attack._steps import Decaying, Iterate

_BETAS = (0.8, 0.99)  # shorter memories than Adam's own, for searches of tens of steps
_UNIT = (1e-6, 0.1)  # smallest and largest root mean square that the linearisation may promise, in pixel units
_GROWTH = 10.0  # of c while nothing has fooled the network
_LARGEST_C = 1e30
_SAFE = 1e-3  # share of the clean margin by which a success must be over the boundary: the judge rounds differently
_CHECKS = 10  # of progress in a search, at least 5 steps apart
_PROGRESS = 1e-4  # share of the loss that a case must gain between two checks, or its search ends
_WORTH = 1e-2  # share of the length that a further search must gain, or the case is finished


@dataclass(frozen=True)
class CarliniWagnerL2(Attacker):
    """The search that `cw_l2` makes; see there for its arguments."""

    steps: int
    searches: int
    step_size: float
    kappa: float
    first_c: float
    objective: Objective
    constraint: L2 | None = None
    name: str = "CW-L2"

    def __post_init__(self) -> None:
        owner = "cw_l2"
        check_objective(self.objective, owner)
        for name in ("steps", "searches"):
            require(is_int(value := getattr(self, name)) and value >= 1, name, owner, "an int >= 1", value)
        for name in ("step_size", "first_c"):
            require(is_number(value := getattr(self, name)) and value > 0, name, owner, "a number > 0", value)
        require(is_number(self.kappa) and self.kappa >= 0, "kappa", owner, "a number >= 0", self.kappa)

    @property
    def random(self) -> bool:
        """Nothing is drawn."""
        return False

    @property
    def passes(self) -> int:
        """Gradient steps of all searches, without the first pass over the clean image."""
        return self.steps * self.searches

    def plus(self, objective: Objective) -> CarliniWagnerL2:
        """The same attack with a further term in J, as in `cw_l2().plus(hfc(bank))`."""
        check_objective(objective, f"{self.name}.plus")
        name = f"{self.name}+{short_name(objective)}"
        return replace(self, objective=self.objective + objective, name=name)

    def make(self, batch: Batch) -> Made:
        """Search the smallest success of each case, then bring it into the budget."""
        made = _searched(self, batch)
        if self.constraint is None:
            return made
        return made._replace(x=self.constraint.around(batch.x0).project(made.x))


def cw_l2(
    eps: float | None = None,
    *,
    steps: int = 100,
    searches: int = 5,
    step_size: float = 0.5,
    kappa: float = 0.0,
    first_c: float = 3.0,
) -> CarliniWagnerL2:
    """Carlini & Wagner's L2 attack: Adam on |d|_2^2 + c J with J = `Margin(kappa)`, and a search for c, case by case.

    A case that has fooled the network by `kappa` at some step of a search goes on with a smaller c, half-way between
    the largest that failed and the smallest that succeeded; one that has not, with a c ten times as large. The image
    returned is the success with the smallest |d|_2, or, without one, the iterate with the smallest J.

    Where we differ from the paper: Adam moves the pixels themselves, cut to [0, 1], because through tanh a pixel at
    exactly 0 or 1 never moves; c and the step size are counted in what one pass over the clean image promises (the
    distance D to the linearised boundary, and the c = 2 D / |gradient| that just reaches it), so no setting depends on
    the size of images or on the scale of logits; steps get shorter along a cosine; a search starts from the best
    success so far; a search ends for a case that has stopped to gain, and a case ends when a further search has made
    its success less than 1 % smaller, without regard to its batch. A success must be over the boundary by 1/1000 of
    the clean margin, so that it is one for the untouched network too, whose rounding differs from the fast copy's.

    Args:
        eps: None for the smallest perturbation found, whatever its size; a number for a budget into which it is
            projected, a root mean square in pixel units, [0, 1).
        steps: largest number of Adam steps of a search, >= 1.
        searches: largest number of values of c, >= 1.
        step_size: first step of a pixel, > 0, as a share of the linear distance's root mean square.
        kappa: confidence: by how much the wanted logit must exceed the others, >= 0.
        first_c: first c, > 0, as a multiple of the one that reaches the linearised boundary. Since J has an edge at
            -kappa, every large enough c has the same optimum, and a c that is too small none that fools.

    Raises:
        InputError: an argument is out of range.

    Source: Carlini & Wagner 2017, section VI-A, objective f_6.

    Example:
        >>> from medaegis.attack import l2_size, run_attack
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 2, bias=False))
        >>> net[1].weight.data = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
        >>> x = torch.full((1, 1, 1, 2), 0.4)  # f_0 - f_1 = 2.8, |w| = 5, so the boundary is 0.56 away
        >>> made = run_attack(cw_l2(), net, x, torch.tensor([0])).x
        >>> 0.56 < l2_size(made - x, "l2").item() < 0.57
        True
    """
    constraint = None if eps is None else L2(eps)
    return CarliniWagnerL2(steps, searches, step_size, kappa, first_c, Margin(kappa), constraint)


class _Whole(NamedTuple):
    """Results by row of the whole batch, written in place.

    Attributes:
        best: smallest success, or smallest J.
        counts: steps without gradient, those of them not fooled, and all steps, (3, b).
        found: whether the present search has had a success, (b,).
        flat: whether a case has been found to have no gradient at all, (b,).
    """

    best: Best
    counts: Tensor
    found: Flags
    flat: Flags

    @staticmethod
    def start(x0: Images) -> _Whole:
        none = torch.zeros(len(x0), dtype=torch.bool, device=x0.device)
        return _Whole(Best.start(x0), none.long().repeat(3, 1), none, none.clone())

    def length(self) -> PerCase:
        """|d| of the smallest success, infinite without one, (b,)."""
        return torch.where(self.best.rank == 1, self.best.value, torch.inf)


class _Search(NamedTuple):
    """The cases that are still searched, and where their c may lie.

    Attributes:
        batch: their part of the batch.
        cases: their rows in the whole batch.
        unit: what one unit of a search's point is in pixel units, (b,).
        over: the margin that counts as a success, (b,).
        c: present weight of J, (b,).
        low: largest c that has failed, (b,).
        high: smallest c that has succeeded, (b,).
    """

    batch: Batch
    cases: Tensor
    unit: PerCase
    over: PerCase
    c: PerCase
    low: PerCase
    high: PerCase

    def rows(self, index: Tensor) -> _Search:
        """The search of some of its cases."""
        return _Search(self.batch.rows(index), *(part[index] for part in self[1:]))

    def narrowed(self, whole: _Whole) -> _Search:
        """With the next c of each case."""
        found = whole.found[self.cases]
        low, high = torch.where(found, self.low, self.c), torch.where(found, self.c, self.high)
        c = torch.where(high.isinf(), low * _GROWTH, (low + high) / 2).clamp_max(_LARGEST_C)
        return self._replace(c=c, low=low, high=high)


def _searched(attack: CarliniWagnerL2, batch: Batch) -> Made:
    """All searches of one batch; a case that is fooled as it comes, or has no gradient, leaves."""
    whole = _Whole.start(batch.x0)
    search = _first(attack, batch)
    for _ in range(attack.searches):
        if not len(search.cases):
            break
        whole.found.fill_(False)
        before = whole.length()[search.cases]
        _descend(attack, search, whole)
        gained = whole.length()[search.cases] < (1 - _WORTH) * before
        hopeful = (gained | before.isinf()) & ~whole.flat[search.cases]
        search = search.narrowed(whole).rows(hopeful.nonzero().flatten())
    return Made(whole.best.x, *whole.counts)


def _first(attack: CarliniWagnerL2, batch: Batch) -> _Search:
    """The scales of all searches, from the margin's gradient at the clean images; without the cases already there."""
    seen = _look(Margin(), attack.name, batch, batch.x0)
    gap = (seen.margin + attack.kappa).nan_to_num(1.0).clamp(0, 1e30)
    slope, _ = uphill(-seen.gradient, batch.x0, "l2")
    root = batch.x0[0].numel() ** 0.5
    distance = torch.where(slope > 0, gap / slope, torch.inf).clamp(_UNIT[0] * root, _UNIT[1] * root)
    c = attack.first_c * torch.where(slope > 0, 2 * distance / slope, 1.0).clamp_max(_LARGEST_C)
    cases = torch.arange(len(gap), device=gap.device)
    over = -attack.kappa - _SAFE * gap
    search = _Search(batch, cases, distance / root, over, c, torch.zeros_like(c), torch.full_like(c, torch.inf))
    there = seen.fooled & (seen.margin <= -attack.kappa)
    return search.rows((~there).nonzero().flatten())


class _Seen(NamedTuple):
    """A pass: J (b,), the margin (b,), whether the network is fooled (b,), and J's gradient (b, c, *space)."""

    value: PerCase
    margin: PerCase
    fooled: Flags
    gradient: Images


def _look(objective: Objective, name: str, batch: Batch, x: Images) -> _Seen:
    with torch.enable_grad():
        leaf = x.detach().requires_grad_(True)
        tapped = batch.taps(network_input(leaf))
        value = objective(tapped, batch.goal)
        if not value.requires_grad:
            raise no_gradient(name)
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
    logits = tapped.logits.detach()
    return _Seen(value.detach(), margin_of(logits, batch.goal), batch.goal.fooled(logits), gradient)


class _Run(NamedTuple):
    """One search under way: the perturbation in units of `search.unit`, and Adam's state.

    Attributes:
        search: its cases.
        point: (b, c, *space).
        state: of the step rule.
        lowest: smallest |d|^2 + c J so far, in squared units, (b,).
        before: the same at the last check of progress, (b,).
    """

    search: _Search
    point: Tensor
    state: Any
    lowest: PerCase
    before: PerCase

    def image(self) -> Images:
        x0 = self.search.batch.x0
        return (x0 + spatial(self.search.unit, x0.shape) * self.point).clamp_(*PIXEL_RANGE)

    def project(self, point: Tensor) -> Tensor:
        x0 = self.search.batch.x0
        unit = spatial(self.search.unit, x0.shape)
        return torch.clamp(point, (PIXEL_RANGE[0] - x0) / unit, (PIXEL_RANGE[1] - x0) / unit)

    def checked(self, loss: PerCase, *, at_check: bool) -> tuple[_Run, Flags]:
        """With the present loss (b,); and which cases have gained too little since the last check, (b,) bool."""
        lowest = torch.minimum(self.lowest, loss.nan_to_num(torch.inf))
        if not at_check:
            return self._replace(lowest=lowest), torch.zeros_like(lowest, dtype=torch.bool)
        idle = (self.before - lowest) <= _PROGRESS * lowest.abs()
        return self._replace(lowest=lowest, before=lowest), idle

    def rows(self, index: Tensor) -> _Run:
        def pick(part: Any) -> Any:
            return part[index] if isinstance(part, Tensor) else part

        return _Run(self.search.rows(index), *tree_map(pick, tuple(self[1:])))


def _descend(attack: CarliniWagnerL2, search: _Search, whole: _Whole) -> None:
    """One search with the present c; what it finds goes into `whole`."""
    rule = Decaying(AdamStep(attack.step_size, _BETAS), "cosine")
    run = _started(search, whole, rule)
    every = max(attack.steps // _CHECKS, 5)
    for step in range(attack.steps):
        x = run.image()
        seen = _look(attack.objective, attack.name, run.search.batch, x)
        weight = run.search.c / run.search.unit
        gradient = 2 * run.point + spatial(weight, x.shape) * seen.gradient
        flat = _record(run, seen, x, gradient, whole)
        run.search.batch.advance(len(x))
        loss = run.point.flatten(1).square().sum(dim=1) + weight / run.search.unit * seen.value
        run, idle = run.checked(loss, at_check=step % every == 0)
        done = flat | idle
        if bool(done.any()):
            stay = (~done).nonzero().flatten()
            run, gradient, loss = run.rows(stay), gradient[stay], loss[stay]
        if not len(run.point):
            return
        point, state = rule.update(Iterate(run.point, gradient, loss, step, attack.steps, run.project), run.state)
        run = run._replace(point=point, state=state)


def _started(search: _Search, whole: _Whole, rule: Decaying) -> _Run:
    """A run from the best success of each case, or from its clean image."""
    x0 = search.batch.x0
    known = spatial(whole.best.rank[search.cases] == 1, x0.shape)
    best = whole.best.x[search.cases]
    point = torch.where(known, (best - x0) / spatial(search.unit, x0.shape), 0)
    highest = torch.full_like(search.c, torch.inf)
    return _Run(search, point, rule.init(point), highest, highest)


def _record(run: _Run, seen: _Seen, x: Images, gradient: Tensor, whole: _Whole) -> Flags:
    """Keep what is best and count what is flat; (b,) bool: no gradient to follow."""
    cases = run.search.cases
    success = seen.fooled & (seen.margin <= run.search.over)
    length = (x.double() - run.search.batch.x0.double()).flatten(1).norm(dim=1).to(seen.value)
    value = torch.where(success, length, seen.value.nan_to_num(torch.inf))
    kept = Best(*(part[cases] for part in whole.best)).better(x, value, success.long())
    for all_, part in zip(whole.best, kept, strict=True):
        all_[cases] = part
    flat = gradient.flatten(1).abs().amax(dim=1) == 0
    whole.counts[:, cases] += torch.stack([flat, flat & ~seen.fooled, torch.ones_like(flat)])
    whole.found[cases] |= success
    whole.flat[cases] |= flat
    return flat
