"""The extra runs that show whether an attack was strong enough, on the first cases, and what they say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from medaegis.data import spread
from medaegis.experiment._context import Context
from medaegis.experiment._named_attack import RESTARTS, SINGLE, STEPS, WHY_NOT, NamedAttack, comparisons
from medaegis.experiment._stages_own import AttackedChunk
from medaegis.experiment._weakness import Check, Outcome, not_below, not_run, reaches_all

BUDGET = "Success is complete at a large budget"
TRANSFER = "White-box is not below transfer"
NAMES = (BUDGET, SINGLE, TRANSFER, STEPS, RESTARTS)


@dataclass(frozen=True, eq=False)
class Probes:
    """Extra runs on some of the attacked cases.

    Args:
        form: a chunk without rows, from which the runs are made.
        rows: positions of all attacked cases.
        labels: of all images.
        n: cases of the checks, 0 for none.
        substitute: `package.module:factory`, or "".
        substitute_hash: its hash.
    """

    form: AttackedChunk
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    n: int
    substitute: str = ""
    substitute_hash: str = ""

    @property
    def places(self) -> NDArray[np.int64]:
        """Which of the attacked cases are used, as positions among them."""
        return spread(self.labels[self.rows], self.n)

    def compared(self) -> dict[str, AttackedChunk | str]:
        """The run that each comparison needs, or why there is none."""
        attack = self.form.attack
        nothing = "noise follows no gradient" if attack.steps == 0 else ""
        transfer: AttackedChunk | str = "no substitute given"
        if self.substitute:
            made = self._run(attack)
            transfer = replace(made, substitute=self.substitute, substitute_hash=self.substitute_hash)
        others = comparisons(attack)
        runs = {name: nothing or (self._run(other) if other else WHY_NOT[name]) for name, other in others.items()}
        return runs | {TRANSFER: nothing or transfer}

    def budgets(self, context: Context) -> Iterator[AttackedChunk]:
        """Runs at larger and larger budgets, until every case is fooled."""
        for attack in self.form.attack.larger_budgets():
            stage = self._run(attack)
            yield stage
            if bool(context.get(stage).tensors["fooled"].all()):
                return

    def stages(self, context: Context) -> Iterator[AttackedChunk]:
        """Everything that must be computed; each is, before the next is asked for."""
        if self.n == 0:
            return
        yield from (run for run in self.compared().values() if not isinstance(run, str))
        yield from self.budgets(context)

    def checks(self, fooled: Tensor, context: Context) -> list[Check]:
        """What the stored runs say.

        Args:
            fooled: of the attack itself, on the cases of `places`.
            context: where the runs are.
        """
        if self.n == 0:
            return [not_run(name, "switched off with --checks 0") for name in NAMES]
        own = Outcome(self.form.attack.words, fooled)
        return [self._budget_check(own, context), *(self._comparison(name, own, context) for name in NAMES[1:])]

    def _run(self, attack: NamedAttack) -> AttackedChunk:
        return replace(self.form, attack=attack, rows=tuple(self.rows[self.places].tolist()))

    def _budget_check(self, own: Outcome, context: Context) -> Check:
        attack = self.form.attack
        if not attack.larger_budgets():
            return not_run(BUDGET, "noise follows no gradient" if attack.steps == 0 else "the attack has no budget")
        larger = [
            (stage.attack.budget, Outcome(stage.attack.words, context.get(stage).tensors["fooled"]))
            for stage in self.budgets(context)
        ]
        return reaches_all(BUDGET, [(attack.budget, own), *larger])

    def _comparison(self, name: str, own: Outcome, context: Context) -> Check:
        run = self.compared()[name]
        if isinstance(run, str):
            return not_run(name, run)
        title = "the same attack made on the substitute" if run.substitute else run.attack.words
        return not_below(name, own, Outcome(title, context.get(run).tensors["fooled"]))
