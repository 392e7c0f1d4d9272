"""How Shields are trained: the attacks they learn from, the growing budget, the optimiser."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from medaegis._errors import is_a, is_int, is_number, require
from medaegis._late import late
from medaegis.attack import AdamStep, Attack, LowResolution, SignStep, Tanh, pgd
from medaegis.defend._shield_system import shield_logit

Move = Literal["sign", "adam"]
_ALIKE = (
    *("last_eps", "batch_size", "weight_decay", "validation_share", "width", "flip", "shift", "average"),
    *("validation_cases", "probe_cases"),
)
"""What two trainings that follow each other should have alike."""


@dataclass(frozen=True)
class TrainingAttack:
    """One way of raising a Shield's logit in its training, at any Linf budget.

    Args:
        steps: gradient steps, >= 1.
        move: `"sign"` steps in pixels (PGD), or `"adam"` on a tanh parametrisation of the pixels.
        path: length of all steps together, in budgets; with `"adam"` on tanh, in its coordinates, of which about 5
            span the budget. 2 for sign steps means steps of 2 eps / `steps`.
        factor: 1, or how many pixels one value of a coarser perturbation spans, > 1; `"adam"` then searches over the
            coarse values without tanh.
        smallest: share in (0, 1] of the epoch's budget; each batch draws its budget from [smallest, 1] of it. 1 for
            the epoch's own.
        random_start: begin at a random allowed image.

    Raises:
        InputError: a setting is out of range.

    Example:
        >>> TrainingAttack(steps=4).at(8 / 256).step.size * 256
        4.0
    """

    steps: int = 10
    move: Move = "sign"
    path: float = 2.0
    factor: float = 1.0
    smallest: float = 1.0
    random_start: bool = True

    def __post_init__(self) -> None:
        owner = "TrainingAttack"
        require(is_int(self.steps) and self.steps >= 1, "steps", owner, "an int >= 1", self.steps)
        require(self.move in ("sign", "adam"), "move", owner, '"sign" or "adam"', self.move)
        require(is_number(self.path) and self.path > 0, "path", owner, "a number > 0", self.path)
        require(is_number(self.factor) and self.factor >= 1, "factor", owner, "a number >= 1", self.factor)
        good = is_number(self.smallest) and 0 < self.smallest <= 1
        require(good, "smallest", owner, "a share in (0, 1]", self.smallest)

    def at(self, eps: float) -> Attack:
        """The attack at the Linf budget `eps` in pixel units; it minimises `shield_logit` on a `Shielded` network."""
        size = self.path * eps / self.steps
        attack = pgd(eps, steps=self.steps, objective=shield_logit)
        if not self.random_start:
            attack = Attack("BIM", shield_logit, attack.constraint, attack.step, self.steps)
        if self.factor > 1:
            rule = SignStep(size) if self.move == "sign" else AdamStep(size)
            return attack.over(LowResolution(self.factor), rule)
        if self.move == "adam":
            return attack.over(Tanh(), AdamStep(self.path / self.steps))
        return attack.over(attack.space, SignStep(size))


@dataclass(frozen=True)
class ShieldSettings:
    """How Shields are trained; the defaults are those of `ShieldSettings.paper()`.

    Args:
        attacks: each batch draws one of them.
        epochs: most epochs, >= 1.
        first_eps: Linf budget of the first epoch, in pixel units.
        last_eps: budget once it is full.
        growing: epochs over which the budget grows by equal steps, >= 1; it is full in the last of them and stays so.
        batch_size: cases a step.
        learning_rate: of Adam.
        weight_decay: of Adam.
        validation_share: share of the cases, by patient, that is held out.
        stop_after: epochs at the full budget without a better validation before training stops.
        stuck_after: epochs in a row with a Shield's loss at chance before a warning.
        width: channels of each Shield at the first tap.
        flip: mirror each training image left-right with probability 1/2.
        shift: largest shift of a training image along each axis, as a share of its smallest side, in [0, 0.5].
        average: decay of a running mean of the weights, in [0, 1), which is then what is validated and kept; 0 for
            the weights themselves.
        validation_cases: most held-out cases, from the classes in turn; None for all.
        probe_cases: held-out cases, from the classes in turn, that stronger attacks are tried on after training; 0 for
            none.
        then: a second training, which goes on from the weights that the first one kept, of the same `width` and
            `validation_share`; None for none.

    Raises:
        InputError: a setting is out of range, or the two trainings do not fit each other.

    Source: Aegis section 4.1 for budgets and epochs; the paper gives no steps, optimiser or batch size.

    Example:
        >>> settings = ShieldSettings.paper()
        >>> [round(settings.budget(epoch) * 256, 3) for epoch in (0, 12, 24)]
        [1.0, 8.5, 16.0]
    """

    attacks: tuple[TrainingAttack, ...] = (TrainingAttack(),)
    epochs: int = 25
    first_eps: float = 1 / 256
    last_eps: float = 16 / 256
    growing: int = 25
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    validation_share: float = 0.2
    stop_after: int = 8
    stuck_after: int = 3
    width: int = 10
    flip: bool = late(False)
    shift: float = late(0.0)
    average: float = late(0.0)
    validation_cases: int | None = late(None)
    probe_cases: int = late(24)
    then: ShieldSettings | None = late(None)

    def __post_init__(self) -> None:
        owner = "ShieldSettings"
        good = len(self.attacks) > 0 and all(is_a(attack, TrainingAttack) for attack in self.attacks)
        require(good, "attacks", owner, "one or more TrainingAttack", self.attacks)
        for name, least in (
            *(("epochs", 1), ("growing", 1), ("batch_size", 1)),
            *(("stop_after", 1), ("stuck_after", 1), ("width", 2)),
        ):
            value = getattr(self, name)
            require(is_int(value) and value >= least, name, owner, f"an int >= {least}", value)
        for name in ("first_eps", "last_eps"):
            value = getattr(self, name)
            require(is_number(value) and 0 < value < 1, name, owner, "a budget in (0, 1), as in 16/256", value)
        rate, decay, share = self.learning_rate, self.weight_decay, self.validation_share
        require(is_number(rate) and rate > 0, "learning_rate", owner, "a number > 0", rate)
        require(is_number(decay) and decay >= 0, "weight_decay", owner, "a number >= 0", decay)
        require(is_number(share) and 0 < share < 1, "validation_share", owner, "a share in (0, 1)", share)
        shift, most = self.shift, self.validation_cases
        require(is_number(shift) and 0 <= shift <= 0.5, "shift", owner, "a share in [0, 0.5]", shift)
        require(is_number(self.average) and 0 <= self.average < 1, "average", owner, "in [0, 1)", self.average)
        require(most is None or (is_int(most) and most >= 2), "validation_cases", owner, "an int >= 2, or None", most)
        good = is_int(self.probe_cases) and self.probe_cases >= 0
        require(good, "probe_cases", owner, "an int >= 0", self.probe_cases)
        good = self.then is None or (is_a(self.then, ShieldSettings) and self._fits(self.then))
        require(good, "then", owner, "a ShieldSettings of the same width and validation_share, or None", self.then)

    def _fits(self, then: ShieldSettings) -> bool:
        return (then.width, then.validation_share) == (self.width, self.validation_share)

    @staticmethod
    def paper() -> ShieldSettings:
        """The paper's training: one PGD attack, 1/256 to 16/256 over 25 epochs."""
        return ShieldSettings()

    @staticmethod
    def varied() -> ShieldSettings:
        """Training against many kinds of attack with few steps each, so that there are many updates.

        Long and short sign steps, Adam on tanh, and both on perturbations of 1/2, 1/4 and 1/8 of the resolution; some
        at random budgets. Small batches, moved and mirrored images, and a running mean of the weights. The budget
        stops at 8/256: trained up to 16/256, a Shield learns less about the small budgets that matter most.
        """
        return ShieldSettings(
            attacks=(
                TrainingAttack(steps=4, smallest=0.1, path=1.2),
                TrainingAttack(steps=4, path=3.0),
                TrainingAttack(steps=4, move="adam", path=4.0),
                TrainingAttack(steps=4, smallest=0.1, move="adam", path=8.0),
                TrainingAttack(steps=4, move="adam", factor=2.0, path=2.5),
                TrainingAttack(steps=4, smallest=0.1, factor=2.0, path=2.5),
                TrainingAttack(steps=4, factor=4.0, path=2.5),
                TrainingAttack(steps=4, move="adam", factor=8.0, path=2.5),
            ),
            last_eps=8 / 256,
            growing=9,
            batch_size=16,
            learning_rate=2e-3,
            weight_decay=1e-3,
            stop_after=16,
            flip=True,
            shift=0.05,
            average=0.99,
            validation_cases=48,
        )

    @staticmethod
    def hardened() -> ShieldSettings:
        """`varied()`, and then 4 epochs against longer attacks at the full budget.

        Shields soon reject every attack of few steps and still let longer ones pass: they have learned where such
        attacks end. Each of these epochs makes twice as many passes.
        """
        long = (
            TrainingAttack(steps=12, smallest=0.25, move="adam", path=6.0),
            TrainingAttack(steps=12, smallest=0.25, move="adam", path=10.0),
            TrainingAttack(steps=12, smallest=0.25, path=2.5),
            TrainingAttack(steps=12, smallest=0.25, move="adam", factor=2.0, path=3.0),
            TrainingAttack(steps=4, factor=4.0, path=2.5),
            TrainingAttack(steps=4, move="adam", factor=8.0, path=2.5),
        )
        varied = ShieldSettings.varied()
        return replace(varied, then=replace(varied, attacks=long, epochs=4, growing=1, learning_rate=1e-3))

    def changed(self, **values: Any) -> ShieldSettings:
        """The same with other values, of which what both trainings should have alike reaches the second one too.

        `epochs` is the most that either has; `then_epochs`, where it is given, is what the second one has.

        Raises:
            InputError: `then_epochs` without a second training, or a setting is out of range.

        Example:
            >>> ShieldSettings.hardened().changed(batch_size=8, epochs=20).then.batch_size
            8
            >>> ShieldSettings.hardened().changed(then_epochs=16).then.epochs
            16
        """
        then: ShieldSettings | None = values.pop("then", self.then)
        own: int | None = values.pop("then_epochs", None)
        rule, fix = "left out where there is no second training", "`hardened` has one."
        require(own is None or then is not None, "then_epochs", "ShieldSettings.changed", rule, own, fix)
        if then is not None:
            most = min(then.epochs, values.get("epochs", then.epochs)) if own is None else own
            then = replace(then, epochs=most, **{name: value for name, value in values.items() if name in _ALIKE})
        return replace(self, then=then, **values)

    def budget(self, epoch: int) -> float:
        """The Linf budget of an epoch, counted from 0."""
        share = 1.0 if self.growing == 1 else min(1.0, epoch / (self.growing - 1))
        return self.first_eps + share * (self.last_eps - self.first_eps)

    def full(self, epoch: int) -> bool:
        """Whether the budget has stopped growing in that epoch."""
        return epoch >= self.growing - 1
