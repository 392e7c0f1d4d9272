"""A hiding experiment behind several Cushions: what each does for the detectors, Aegis Table 2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import Field

from medaegis.experiment._content import Content
from medaegis.experiment._hiding import HidingSettings, Published
from medaegis.experiment._named_cushion import named_cushion
from medaegis.experiment._network_settings import Names
from medaegis.experiment._repeated import Repeated, repeated_plans


class CushionsSettings(HidingSettings):
    """A hiding experiment and the Cushions behind which it is run; `cushion` is not used.

    Example:
        >>> CushionsSettings(cushions=["none", "bits:3"]).cushions
        ('none', 'bits:3')
    """

    cushions: Names = Field(("none", "jpeg:80"), description="what stands before the network: none, jpeg:80, bits:3 …")


@dataclass(frozen=True)
class CushionsPlan(Repeated):
    """One hiding experiment a Cushion; see `cushions_plan`."""

    def told(self, value: Any) -> str:
        """The Cushion."""
        return "without a Cushion" if value == "none" else f"behind {value}"

    def joined(self, contents: Sequence[Content]) -> Content:
        """All rows, whose model names the Cushion; pictures, cases and facts of the first.

        Further tables are left out, as they do not say which Cushion they belong to.
        """
        first = contents[0]
        rows = [row for content in contents for row in content.rows]
        names = dict.fromkeys(content.facts["model"]["name"] for content in contents)
        model = first.facts["model"] | {"name": ", ".join(names)}
        data = first.facts["data"] | {"split": self._split(contents)}
        return replace(first, rows=rows, facts=first.facts | {"model": model, "data": data}, sheets={})

    def _split(self, contents: Sequence[Content]) -> dict[str, int | str]:
        """Sizes of all parts; those of AdvTrain and AdvTest by Cushion, as other cases are classified wrongly."""
        known: dict[str, int | str] = dict(contents[0].facts["data"]["split"])
        for value, content in zip(self.values[1:], contents[1:], strict=True):
            own = content.facts["data"]["split"]
            known |= {f"{part}, {self.told(value)}": own[part] for part in ("adv_train", "adv_test")}
        return known


def behind_figures(published: Published, cushion: str) -> Published:
    """Figures of one Cushion, from those that call a detector behind one "KD behind jpeg:80".

    Args:
        published: by a key that ends in detector and metric.
        cushion: its name, or none.

    Example:
        >>> both = {("with", "KD", "AUC"): 50.3, ("with", "KD behind jpeg:80", "AUC"): 75.8}
        >>> behind_figures(both, "jpeg:80"), behind_figures(both, "none")
        ({('with', 'KD', 'AUC'): 75.8}, {('with', 'KD', 'AUC'): 50.3})
    """
    found: Published = {}
    for (*place, detector, metric), value in published.items():
        name, _, stands = detector.partition(" behind ")
        if (stands or "none") == cushion:
            found[(*place, name, metric)] = value
    return found


def cushions_plan(
    settings: CushionsSettings, *, dataset: str, published: Published | None = None, differs: tuple[str, ...] = ()
) -> CushionsPlan:
    """Plan one hiding experiment a Cushion; arguments as `hiding_plan` takes them.

    The classifier is trained once, without a Cushion. Behind each one, everything else is made anew: which cases it
    gets right, features, mixtures, attacks (by BPDA), detectors and thresholds.

    Args:
        settings: what to do.
        dataset: what tables call the data.
        published: the papers' figures; a detector behind a Cushion is called "KD behind jpeg:80".
        differs: what differs from the paper, and why.

    Raises:
        InputError: settings do not fit each other, or a Cushion comes twice or is unknown.
        DataError: data or weights cannot be used.

    Source: Aegis section 4.2 and Table 2.

    Example:
        >>> small = CushionsSettings(source="phantom-chest", model="small-resnet", weights=None, size=32)
        >>> plan = cushions_plan(small, dataset="phantoms")
        >>> [type(one.classifier).__name__ for one in plan.plans]
        ['Classifier', 'Cushioned']
    """
    for name in settings.cushions:
        named_cushion(name)
    more = ("Behind another Cushion the classifier gets other cases right, so the cases differ a little.", *differs)
    plans = repeated_plans(
        settings,
        "cushion",
        settings.cushions,
        dataset=dataset,
        published=lambda cushion: behind_figures(published or {}, cushion),
        differs=more,
    )
    return CushionsPlan(settings.cushions, plans)
