"""A hiding experiment on several data sets, each at its own budgets: medical beside natural images, HFC-23 Table V."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import Field

from medaegis._errors import require
from medaegis.experiment._content import Content
from medaegis.experiment._hiding import HidingSettings, Published, hiding_plan
from medaegis.experiment._network_settings import Names
from medaegis.experiment._repeated import Repeated
from medaegis.experiment._several import set_title, settings_of


class SetsSettings(HidingSettings):
    """A hiding experiment and the data sets on which it is run; `source` and `eps` are not used.

    Example:
        >>> SetsSettings(sets=["cifar10@8/256", "cifar10@16/256", "chest_xray@1/256"]).budgets
        {'cifar10': ('8/256', '16/256'), 'chest_xray': ('1/256',)}
    """

    data: str | None = Field(None, description="folder that holds a folder for each of the data sets")
    sets: Names = Field(("cifar10@8/256", "chest_xray@1/256"), description="NAME@BUDGET: folders, and phantoms by name")
    classes: Names = Field((), description="names of the classes that are kept of the first set; all by default")

    @property
    def budgets(self) -> dict[str, tuple[str, ...]]:
        """The budgets of each data set."""
        found: dict[str, tuple[str, ...]] = {}
        for text in self.sets:
            name, at, eps = text.partition("@")
            require(bool(name and at and eps), "sets", "recipe", "each NAME@BUDGET, as cifar10@8/256", text)
            found[name] = (*found.get(name, ()), eps)
        return found


@dataclass(frozen=True)
class SetsPlan(Repeated):
    """One hiding experiment a data set; see `sets_plan`."""

    def told(self, value: Any) -> str:
        """The data set."""
        return set_title(value)

    def joined(self, contents: Sequence[Content]) -> Content:
        """All rows, whose dataset is named; pictures, cases and history of the first; data of all.

        Further tables are left out, as they do not say which data set they belong to.
        """
        first = contents[0]
        rows = [row for content in contents for row in content.rows]
        facts = first.facts | {"data": self._data(contents)}
        facts["warnings"] = [
            f"{self.told(value)}: {text}"
            for value, content in zip(self.values, contents, strict=True)
            for text in content.facts["warnings"]
        ]
        facts["attack"] = {
            f"{self.told(value)}, {key}": words
            for value, content in zip(self.values, contents, strict=True)
            for key, words in content.facts["attack"].items()
        }
        return replace(first, rows=rows, facts=facts, sheets={})

    def _data(self, contents: Sequence[Content]) -> dict[str, Any]:
        """Where the images of all sets came from; their classes and parts carry the set's name."""
        every: list[Mapping[str, Any]] = [content.facts["data"] for content in contents]
        texts = ("source", "root", "fingerprint")
        found: dict[str, Any] = {key: ", ".join(dict.fromkeys(str(one[key]) for one in every)) for key in texts}
        found |= {"n": sum(one["n"] for one in every), "skipped": [item for one in every for item in one["skipped"]]}
        for key in ("classes", "split"):
            found[key] = {
                f"{self.told(value)}, {part}": n
                for value, one in zip(self.values, every, strict=True)
                for part, n in one[key].items()
                if part != "by"
            }
        found["split"]["by"] = every[0]["split"]["by"]
        return found


def sets_plan(
    settings: SetsSettings, *, published: Mapping[str, Published] | None = None, differs: tuple[str, ...] = ()
) -> SetsPlan:
    """Plan one hiding experiment a data set: networks alike, each set with its own budgets, mixtures and detectors.

    Args:
        settings: what to do.
        published: the papers' figures as `hiding_plan` takes them, by name of the data set.
        differs: what differs from the papers, and why.

    Raises:
        InputError: settings do not fit each other.
        DataError: data or weights cannot be used.

    Source: HFC-23 section V-F and Table V.

    Example:
        >>> small = SetsSettings(sets="phantom-chest@8/256", model="small-resnet", weights=None, size=32)
        >>> [variant.attacked.title for variant in sets_plan(small).plans[0].variants]
        ['BIM 8/256', 'BIM 8/256 + HFC']
    """
    fix = "The layout of each is recognised; name phantoms among the sets."
    require(bool(settings.sets), "sets", "recipe", "at least one NAME@BUDGET", settings.sets)
    require(settings.source is None, "source", "recipe", "left out where there are several sets", settings.source, fix)
    budgets, known = settings.budgets, published or {}
    first = next(iter(budgets))
    plans = tuple(
        hiding_plan(
            settings_of(settings, name).model_copy(
                update={"eps": eps, "classes": settings.classes if name == first else ()}
            ),
            dataset=set_title(name),
            published=known.get(name),
            differs=differs,
        )
        for name, eps in budgets.items()
    )
    return SetsPlan(tuple(budgets), plans)
