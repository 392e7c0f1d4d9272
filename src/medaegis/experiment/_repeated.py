"""One hiding experiment under several values of one of its settings, run as one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from medaegis._errors import require
from medaegis.experiment._content import Content
from medaegis.experiment._context import Context
from medaegis.experiment._hiding import HidingPlan, HidingSettings, Published, hiding_plan
from medaegis.experiment._stage import Stage


@dataclass(frozen=True)
class Repeated(ABC):
    """An interface: hiding experiments that differ in one setting, and how their tables become one.

    Args:
        values: of that setting.
        plans: one a value.
    """

    values: tuple[Any, ...]
    plans: tuple[HidingPlan, ...]

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What must be computed, value after value; what does not depend on it, once."""
        return tuple(stage for plan in self.plans for stage in plan.stages)

    @abstractmethod
    def told(self, value: Any) -> str:
        """What the names of checks say of a value."""

    @abstractmethod
    def joined(self, contents: Sequence[Content]) -> Content:
        """What goes into the run's folder, from what would go into each plan's own."""

    def collect(self, context: Context) -> Content:
        """The joined contents, with every plan's checks."""
        contents = [plan.collect(context) for plan in self.plans]
        found, checks = self.joined(contents), self._checks(contents)
        return replace(found, facts=found.facts | {"checks": checks})

    def _checks(self, contents: Sequence[Content]) -> list[dict[str, Any]]:
        return [
            check | {"name": f"{check['name']} ({self.told(value)})"}
            for value, content in zip(self.values, contents, strict=True)
            for check in content.facts["checks"]
        ]


def repeated_plans(
    settings: HidingSettings,
    name: str,
    values: Sequence[Any],
    *,
    dataset: str,
    published: Callable[[Any], Published],
    differs: tuple[str, ...],
) -> tuple[HidingPlan, ...]:
    """One hiding plan a value of the setting `name`; the other arguments as `hiding_plan` takes them.

    Args:
        settings: of the experiment.
        name: of the setting; its list of values is the setting of the same name with an s.
        values: what it becomes.
        dataset: what tables call the data.
        published: the papers' figures under a value.
        differs: what differs from the paper.

    Raises:
        InputError: settings do not fit each other, or a value comes twice.
        DataError: data or weights cannot be used.

    Example:
        >>> small = HidingSettings(source="phantom-chest", model="small-resnet", weights=None, size=32)
        >>> told = {"dataset": "phantoms", "published": lambda _seed: {}, "differs": ()}
        >>> [plan.settings.seed for plan in repeated_plans(small, "seed", (3, 4), **told)]
        [3, 4]
    """
    require(len(set(values)) == len(values) > 0, f"{name}s", "recipe", "different values, at least one", values)
    return tuple(
        hiding_plan(
            settings.model_copy(update={name: value}), dataset=dataset, published=published(value), differs=differs
        )
        for value in values
    )
