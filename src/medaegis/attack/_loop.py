"""The only attack loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from medaegis._types import PerCase, Tapped
from medaegis.attack._batch import Batch, Made
from medaegis.attack._best import Best
from medaegis.attack._gradient import network_input, no_gradient, scaled_gradient
from medaegis.attack._objectives import Goal, TwoGoals, two_goals
from medaegis.attack._projection import goal_gradient
from medaegis.attack._spaces import Chart
from medaegis.attack._steps import Iterate
from medaegis.attack._transforms import Identity

if TYPE_CHECKING:
    from medaegis.attack._attack import Attack

_DONE = {False: 1, True: 2}  # the rank at which `keep="first"` ends a case, without and with a guard


def search(attack: Attack, batch: Batch) -> Made:
    """Run an attack's loop, with its restarts, on one batch."""
    made, best = _once(attack, batch)
    for _ in range(attack.restarts - 1):
        index = _unfinished(attack, best)
        if not len(index):
            break
        again, other = _once(attack, batch.rows(index))
        for whole, part in zip(best, Best(*(part[index] for part in best)).better(*other), strict=True):
            whole[index] = part
        for whole, part in zip(made[1:], again[1:], strict=True):
            whole[index] += part
    return made._replace(x=best.x)


def _unfinished(attack: Attack, best: Best) -> Tensor:
    """Rows that another restart could still change."""
    ended = attack.keep == "first"
    return (best.rank < _DONE[attack.guard is not None]).nonzero().flatten() if ended else torch.arange(len(best.x))


def _once(attack: Attack, batch: Batch) -> tuple[Made, Best]:
    """One run from one start; the rank of what it returns is known only where something needs it."""
    leaving = attack.keep == "first"
    run = _Run.start(attack, batch)
    out = _Collected.start(batch.x0) if leaving else None
    for step in range(attack.steps):
        seen = _evaluate(attack, run, step)
        run = run.counted(seen)
        if attack.keep != "last":
            run = run.ranked(attack, seen)
        if out is not None:
            run, seen = out.leave(run, seen, attack)
            if not len(run.point):
                break
        now = Iterate(run.point, seen.gradient, seen.value, step, attack.steps, run.chart.project, goals=seen.goals)
        point, state = attack.step.update(now, run.state)
        run = run._replace(point=point, state=state)
        batch.advance(len(point) * attack.draws)
    return _finish(attack, run, out)


class _Seen(NamedTuple):
    """One evaluation: images, objective (b,), pass, gradient of the objective to the point, and both goals, if two."""

    x: Tensor
    value: PerCase
    tapped: Tapped
    gradient: Tensor
    goals: TwoGoals | None = None


class _Run(NamedTuple):
    """Where one run stands: `cases` are the rows of the whole batch that are still in it."""

    batch: Batch
    cases: Tensor
    chart: Chart
    point: Tensor
    state: Any
    best: Best
    zero: Tensor
    stuck: Tensor
    taken: Tensor

    @staticmethod
    def start(attack: Attack, batch: Batch) -> _Run:
        region = attack.constraint.around(batch.x0)
        x = region.start(batch.random) if attack.random_start else batch.x0.clone()
        chart = attack.space.over(batch.x0, region)
        point = chart.enter(x)
        none = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        cases = torch.arange(len(x), device=x.device)
        best = Best.start(chart.image(point))
        return _Run(batch, cases, chart, point, attack.step.init(point), best, none, none, none)

    def counted(self, seen: _Seen) -> _Run:
        """With this step's zero gradients counted."""
        zero = seen.gradient.abs().amax(dim=tuple(range(1, seen.gradient.dim()))) == 0  # 7 times faster than a norm
        stuck = zero & ~self.batch.goal.fooled(seen.tapped.logits)
        return self._replace(zero=self.zero + zero, stuck=self.stuck + stuck, taken=self.taken + 1)

    def ranked(self, attack: Attack, seen: _Seen | None = None) -> _Run:
        """With the present images ranked: as they are, without the attacker's own transform."""
        plain = isinstance(attack.transform, Identity) and attack.draws == 1
        if seen is None or not plain:
            seen = _look(attack, self)
        return self._replace(best=self.best.better(seen.x, seen.value, _rank(attack, seen.tapped, self.batch.goal)))

    def rows(self, attack: Attack, index: Tensor) -> _Run:
        """The run of some of its cases."""
        batch = self.batch.rows(index)
        chart = attack.space.over(batch.x0, attack.constraint.around(batch.x0))

        def pick(part: Any) -> Any:
            return part[index] if isinstance(part, Tensor) else part

        best = Best(*(pick(part) for part in self.best))
        kept = (pick(part) for part in (self.zero, self.stuck, self.taken))
        return _Run(batch, self.cases[index], chart, self.point[index], tree_map(pick, self.state), best, *kept)


class _Collected(NamedTuple):
    """Results by row of the whole batch, filled as cases leave."""

    best: Best
    counts: Tensor

    @staticmethod
    def start(x0: Tensor) -> _Collected:
        return _Collected(Best.start(x0), torch.zeros(3, len(x0), dtype=torch.int64, device=x0.device))

    def store(self, run: _Run) -> None:
        for whole, part in zip(self.best, run.best, strict=True):
            whole[run.cases] = part
        self.counts[:, run.cases] = torch.stack([run.zero, run.stuck, run.taken])

    def leave(self, run: _Run, seen: _Seen, attack: Attack) -> tuple[_Run, _Seen]:
        """Without the cases that have reached what they can."""
        done = run.best.rank >= _DONE[attack.guard is not None]
        if not bool(done.any()):
            return run, seen
        self.store(run)
        index = (~done).nonzero().flatten()
        if not len(index):
            return run._replace(point=run.point[:0]), seen
        tapped = Tapped(seen.tapped.logits[index], {})
        goals = seen.goals and TwoGoals(*(part[index] for part in seen.goals))
        return run.rows(attack, index), _Seen(seen.x[index], seen.value[index], tapped, seen.gradient[index], goals)


def _finish(attack: Attack, run: _Run, out: _Collected | None) -> tuple[Made, Best]:
    if out is not None:
        if len(run.point):
            out.store(run.ranked(attack))
        return Made(out.best.x, *out.counts), out.best
    with torch.no_grad():
        x = run.chart.image(run.point)
    if attack.keep == "best":
        best = run.ranked(attack).best if attack.steps else run.best._replace(x=x)
    elif attack.restarts > 1:
        best = run._replace(best=Best.start(x)).ranked(attack).best
    else:
        best = run.best._replace(x=x)
    return Made(best.x, run.zero, run.stuck, run.taken), best


def _rank(attack: Attack, tapped: Tapped, goal: Goal) -> Tensor:
    fooled = goal.fooled(tapped.logits)
    if attack.guard is None:
        return fooled.long()
    with torch.no_grad():
        return fooled.long() + (fooled & attack.guard(tapped))


def _look(attack: Attack, run: _Run) -> _Seen:
    """The present images as they are, without gradient."""
    with torch.no_grad():
        x = run.chart.image(run.point)
        tapped = run.batch.taps(x.clone())
        return _Seen(x, attack.objective(tapped, run.batch.goal), tapped, run.point)


def _evaluate(attack: Attack, run: _Run, step: int) -> _Seen:
    """The mean over the attack's draws of objective and gradient."""
    first = _pass(attack, run)
    if attack.draws == 1:
        return first
    value, gradient, goals = first.value.clone(), first.gradient.clone(), first.goals
    for _ in range(attack.draws - 1):
        more = _pass(attack, run)
        value += more.value
        gradient += more.gradient
        if goals is not None and more.goals is not None:
            goals = goals.with_another(more.goals)
    goals = goals and goals._replace(own=goals.own / attack.draws, added=goals.added / attack.draws)
    return first._replace(value=value / attack.draws, gradient=gradient / attack.draws, goals=goals)


def _pass(attack: Attack, run: _Run) -> _Seen:
    """Objective and gradient of one pass."""
    with torch.enable_grad():
        leaf = run.point.detach().requires_grad_(True)
        x = run.chart.image(leaf)
        tapped = run.batch.taps(network_input(attack.transform(x, run.batch.random)))
        goals = two_goals(attack.objective, tapped, run.batch.goal)
        value = attack.objective(tapped, run.batch.goal) if goals is None else goals.own + goals.added
        if not value.requires_grad:
            raise no_gradient(attack.name)
        gradient = (
            scaled_gradient(value, tapped, leaf)
            if goals is None
            else goal_gradient(goals, attack.projection, tapped, leaf)
        )
    features = {name: z.detach() for name, z in tapped.features.items()}
    goals = goals and TwoGoals(*(part.detach() for part in goals))
    return _Seen(x.detach(), value.detach(), Tapped(tapped.logits.detach(), features), gradient, goals)
