"""An attack as a run states it, by name, budget and settings; and the stronger and weaker ones to hold it against."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from medaegis.attack import L2, Attack, Attacker, make_attack, parse_fraction, settings_of

SINGLE = "Many steps are not below one step"
STEPS = "More steps do not help"
RESTARTS = "More restarts do not help"
WHY_NOT = {
    SINGLE: "the attack is no iteration inside a budget",
    STEPS: "the attack has no number of steps to raise",
    RESTARTS: "nothing in the attack is random",
}
FACTORS = (4, 16, 64, 256)
LARGEST = Fraction(1, 2)  # from mid-grey, every image is within reach


@dataclass(frozen=True)
class NamedAttack:
    """An attack by name; a value that can stand in a stage's key.

    Args:
        preset: a name of `medaegis.attack.PRESETS`.
        eps: budget as text, "1/256"; None for attacks without one.
        options: further settings of the preset, as text or values.

    Example:
        >>> NamedAttack("pgd", "1/256", (("steps", 10),)).title
        'PGD 1/256'
    """

    preset: str
    eps: str | None = None
    options: tuple[tuple[str, Any], ...] = ()

    def build(self) -> Attacker:
        """The attack.

        Raises:
            InputError: an unknown name or setting, or a value out of range.
        """
        return make_attack(self.preset, self.eps, **dict(self.options))

    @property
    def title(self) -> str:
        """What pictures and bars call it."""
        return f"{self.build().name} {self.budget}"

    @property
    def words(self) -> str:
        """The attack with its number of steps and starts.

        Example:
            >>> NamedAttack("pgd", "1/256", (("steps", 10), ("restarts", 3))).words
            'PGD 1/256 (10 steps, 3 starts)'
        """
        starts = getattr(self.build(), "restarts", 1)
        steps = f"{self.steps} step{'' if self.steps == 1 else 's'}"
        return f"{self.title} ({steps}{f', {starts} starts' if starts > 1 else ''})"

    @property
    def budget(self) -> str:
        """The budget as tables have it."""
        return self.eps or "no limit"

    @property
    def steps(self) -> int:
        """Gradient steps of one run; 0 for noise."""
        built = self.build()
        return built.steps if isinstance(built, Attack) else built.passes

    def changed(self, **options: Any) -> NamedAttack:
        """The same with other settings; None takes one away."""
        merged = dict(self.options) | options
        return replace(self, options=tuple(sorted((k, v) for k, v in merged.items() if v is not None)))

    def single_step(self) -> NamedAttack | None:
        """One step of the whole budget in the same norm; None where the attack is no iteration inside a budget."""
        built = self.build()
        if not isinstance(built, Attack) or self.eps is None or built.steps <= 1:
            return None
        if isinstance(built.constraint, L2):
            return NamedAttack("pgd_l2", self.eps).changed(norm=built.constraint.norm, steps=1, step_size=self.eps)
        return NamedAttack("fgsm", self.eps)

    def more_steps(self, factor: int = 2) -> NamedAttack | None:
        """With more steps (and the step size that its preset then takes); None where steps cannot be set."""
        return self.changed(steps=self.steps * factor) if "steps" in settings_of(self.preset) else None

    def more_restarts(self, factor: int = 3) -> NamedAttack | None:
        """The best of more random starts; None where nothing is random, or nothing follows a gradient."""
        built = self.build()
        if not isinstance(built, Attack) or not built.random or built.steps == 0:
            return None
        return self.changed(restarts=built.restarts * factor)

    def larger_budgets(self) -> tuple[NamedAttack, ...]:
        """At 4, 16 … times the budget, up to half the pixel range, with as many steps; none where there is no budget.

        Example:
            >>> [larger.eps for larger in NamedAttack("bim", "1/256").larger_budgets()]
            ['4/256', '16/256', '64/256', '128/256']
        """
        built = self.build()
        if self.eps is None or not isinstance(built, Attack) or built.steps == 0:
            return ()
        eps = parse_fraction(self.eps, self.preset)
        plain = isinstance(built.constraint, L2) and built.constraint.norm == "l2"
        wanted = [eps * factor if plain else min(eps * factor, LARGEST) for factor in FACTORS]
        known = settings_of(self.preset)
        pinned = {"steps": built.steps if "steps" in known else None, "step_size": None}
        found = dict.fromkeys(in_256ths(value) for value in wanted if value > eps)
        return tuple(replace(self, eps=value).changed(**pinned) for value in found)


def comparisons(attack: NamedAttack) -> dict[str, NamedAttack | None]:
    """What an attack is held against, by the name of the check; None where there is no such attack.

    Example:
        >>> [other.words if other else None for other in comparisons(NamedAttack("bim", "1/256")).values()]
        ['FGSM 1/256 (1 step)', 'BIM 1/256 (200 steps)', None]
    """
    return {SINGLE: attack.single_step(), STEPS: attack.more_steps(), RESTARTS: attack.more_restarts()}


def in_256ths(value: Fraction) -> str:
    """A budget as the papers write it.

    Example:
        >>> in_256ths(Fraction(1, 64)), in_256ths(Fraction(3, 5120))
        ('4/256', '0.15/256')
    """
    return f"{float(value * 256):g}/256"
