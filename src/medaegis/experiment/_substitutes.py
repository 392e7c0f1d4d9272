"""A hiding experiment from several substitutes: what an attacker without the parameters gets, HFC-23 Table IV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import Field

from medaegis.experiment._content import Content
from medaegis.experiment._hiding import HidingSettings, Published
from medaegis.experiment._named_substitute import NONE, SAME, named_substitute
from medaegis.experiment._network_settings import Names
from medaegis.experiment._repeated import Repeated, repeated_plans


class SubstitutesSettings(HidingSettings):
    """A hiding experiment and the substitutes from which it is run; `substitute` is not used.

    Example:
        >>> SubstitutesSettings(substitutes="same").substitutes
        ('same',)
    """

    substitutes: Names = Field((SAME, NONE), description="none, same, NETWORK, same@half, same@apart, NETWORK@half …")


@dataclass(frozen=True)
class SubstitutesPlan(Repeated):
    """One hiding experiment a substitute; see `substitutes_plan`."""

    def told(self, value: Any) -> str:
        """From where the network is attacked."""
        if named_substitute(value) is None:
            return "from the network itself"
        plan = self.plans[self.values.index(value)]
        return plan.model.removeprefix(plan.classifier.model).strip()

    def joined(self, contents: Sequence[Content]) -> Content:
        """All rows, whose model names the substitute; pictures, cases and facts of the first.

        Further tables are left out, as they do not say which substitute they belong to.
        """
        first = contents[0]
        rows = [row for content in contents for row in content.rows]
        model, models = dict(first.facts["model"]), [content.facts["model"] for content in contents]
        for key in ("name", "substitute"):
            model[key] = "; ".join(dict.fromkeys(one[key] for one in models if key in one)) or NONE
        return replace(first, rows=rows, facts=first.facts | {"model": model}, sheets={})


def substitutes_plan(
    settings: SubstitutesSettings, *, dataset: str, published: Published | None = None, differs: tuple[str, ...] = ()
) -> SubstitutesPlan:
    """Plan one hiding experiment a substitute; arguments as `hiding_plan` takes them.

    The attacked network, its detectors and what they learned from are the same for every substitute that is trained on
    the same cases, on one half of them, or on the other half.

    Args:
        settings: what to do.
        dataset: what tables call the data.
        published: the papers' figures; they stand beside those of the substitute `same`, which is the papers'.
        differs: what differs from the papers, and why.

    Raises:
        InputError: settings do not fit each other, or a substitute comes twice or is unknown.
        DataError: data or weights cannot be used.

    Source: HFC-21 section 5.2 and Table 4, HFC-23 section V-E and Table IV.

    Example:
        >>> small = SubstitutesSettings(source="phantom-chest", model="small-resnet", weights=None, size=32)
        >>> [plan.model for plan in substitutes_plan(small, dataset="phantoms").plans]
        ['small-resnet attacked from another small-resnet', 'small-resnet']
    """
    plans = repeated_plans(
        settings,
        "substitute",
        settings.substitutes,
        dataset=dataset,
        published=lambda _name: {},
        differs=differs,
    )
    known = [published or {} if name == SAME else {} for name in settings.substitutes]
    return SubstitutesPlan(
        settings.substitutes, tuple(replace(plan, published=own) for plan, own in zip(plans, known, strict=True))
    )
