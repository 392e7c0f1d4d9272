"""A hiding experiment under several seeds: other patients in each part, another training, other random starts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from medaegis.experiment._content import Content, Row, Sheet
from medaegis.experiment._hiding import HidingSettings, Published
from medaegis.experiment._network_settings import listed
from medaegis.experiment._repeated import Repeated, repeated_plans

Seeds = Annotated[tuple[Annotated[int, Field(ge=0)], ...], BeforeValidator(listed)]
KEY = ("dataset", "model", "attack", "eps", "hfc", "detector", "metric")


class SeedsSettings(HidingSettings):
    """A hiding experiment and the seeds under which it is run; `seed` is not used.

    Example:
        >>> SeedsSettings(seeds=[0, 7]).seeds
        (0, 7)
    """

    seeds: Seeds = Field((0, 1, 2), description="each draws the splits, the training and the attacks anew")


@dataclass(frozen=True)
class SeedsPlan(Repeated):
    """One hiding experiment a seed; see `seeds_plan`."""

    def told(self, value: Any) -> str:
        """The seed."""
        return f"seed {value}"

    def joined(self, contents: Sequence[Content]) -> Content:
        """Means over seeds; every seed's own figures in seeds.csv; pictures, cases and facts of the first seed."""
        first, tables = contents[0], [content.rows for content in contents]
        own: Sheet = [
            {"seed": seed} | row._asdict() for seed, rows in zip(self.values, tables, strict=True) for row in rows
        ]
        return replace(
            first, rows=mean_rows(tables), facts=first.facts | {"seeds": list(self.values)}, sheets={"seeds": own}
        )


def mean_rows(tables: Sequence[Sequence[Row]]) -> list[Row]:
    """Rows of several seeds as one: the mean, and an interval that holds every seed's own.

    The interval is wider than one of the mean, and deliberately so: a few seeds say little of how far a further one may
    fall, and the test cases of the seeds overlap. `n` counts cases over all seeds; a seed without a figure is left out.

    Example:
        >>> rows = [Row("d", "m", "BIM", "1/256", "with", "KD", "AUC", v, v - 5, v + 5, 10, None) for v in (60.0, 80.0)]
        >>> mean_rows([[rows[0]], [rows[1]]])[0][-5:-1]
        (70.0, 55.0, 85.0, 20)
    """
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in (row for table in tables for row in table):
        found.setdefault(tuple(getattr(row, name) for name in KEY), []).append(row)
    return [_mean(rows) for rows in found.values()]


def _mean(rows: list[Row]) -> Row:
    there = [row for row in rows if math.isfinite(row.value)]
    if not there:
        return rows[0]
    low, high = min(row.ci_low for row in there), max(row.ci_high for row in there)
    value, n = sum(row.value for row in there) / len(there), sum(row.n for row in rows)
    return rows[0]._replace(value=value, ci_low=low, ci_high=high, n=n)


def seeds_plan(
    settings: SeedsSettings, *, dataset: str, published: Published | None = None, differs: tuple[str, ...] = ()
) -> SeedsPlan:
    """Plan one hiding experiment a seed; arguments as `hiding_plan` takes them.

    Raises:
        InputError: settings do not fit each other, or a seed comes twice.
        DataError: data or weights cannot be used.

    Example:
        >>> small = SeedsSettings(source="phantom-chest", model="small-resnet", weights=None, size=32, seeds=[0, 1])
        >>> len(seeds_plan(small, dataset="phantoms").plans)
        2
    """
    more = (f"Means over {len(settings.seeds)} seeds; an interval holds those of all seeds.", *differs)
    plans = repeated_plans(
        settings, "seed", settings.seeds, dataset=dataset, published=lambda _seed: published or {}, differs=more
    )
    return SeedsPlan(settings.seeds, plans)
