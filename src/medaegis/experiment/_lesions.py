"""Images with synthetic lesions against clean ones, told apart by the HFC score: the shape of HFC-23 Table VI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, cast, get_args

from pydantic import AfterValidator, Field

from medaegis._errors import require
from medaegis.data import LesionSize, Within
from medaegis.experiment._content import Content
from medaegis.experiment._context import Context
from medaegis.experiment._lesions_stages import CleanAnomaly, HFCFit, Layer, LesionAnomaly
from medaegis.experiment._network_settings import Names, NetworkSettings, classifier_stage
from medaegis.experiment._stage import Stage
from medaegis.experiment._stages_data import PHANTOM
from medaegis.experiment._stages_model import TrainFeatures

TABLE_VI = (
    *("small 2", "small 4", "small 6"),
    *("medium 1", "medium 2", "medium 4"),
    *("large 1", "large 2", "large 3"),
)
"""Sizes and quantities of HFC-23 Table VI."""

Published = Mapping[str, tuple[float, float]]
"""AUC and FR of a paper, in percent, by size and quantity."""


def _lesions(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        size, _, quantity = value.partition(" ")
        if size not in get_args(LesionSize) or not quantity.isdigit() or int(quantity) < 1:
            sizes = ", ".join(get_args(LesionSize))
            raise ValueError(f"each is a size ({sizes}) and a quantity, as in 'small 2', not {value!r}")
    return values


class LesionSettings(NetworkSettings):
    """What the lesion experiment is made of; every field can be set with `--set field=value`.

    Example:
        >>> LesionSettings(lesions="tiny 6").lesions
        ('tiny 6',)
    """

    lesions: Annotated[Names, AfterValidator(_lesions)] = Field(TABLE_VI, description="size and quantity of each row")
    draws: int = Field(10, ge=1, description="images with lesions made of each clean image")
    components: int = Field(16, ge=1, description="K, Gaussian components a class and layer")
    layer: Layer = Field("last", description="last: the penultimate features; all: every activation, averaged")
    contrast: float = Field(1.0, gt=0, description="of the lesions: 1 is like subtle findings, 2 conspicuous")
    within: Within = Field("body", description="where lesions may lie: body, or anywhere in the image")


@dataclass(frozen=True)
class LesionPlan:
    """The stages of a lesion experiment; see `lesion_plan`.

    Args:
        settings: what it was made from.
        dataset: what tables call the data.
        lesions: a stage a row.
        published: the paper's AUC and FR by size and quantity.
        differs: what differs from the paper, and why.
    """

    settings: LesionSettings
    dataset: str
    clean: CleanAnomaly
    lesions: tuple[LesionAnomaly, ...]
    published: Published = field(default_factory=dict[str, tuple[float, float]])
    differs: tuple[str, ...] = ()

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What must be computed."""
        return (self.clean, *self.lesions)

    def collect(self, context: Context) -> Content:
        """Rows, per-image scores, pictures and facts, from stored results."""
        from medaegis.experiment._lesions_content import lesion_content

        return lesion_content(self, context)


def lesion_plan(
    settings: LesionSettings, *, dataset: str, published: Published | None = None, differs: tuple[str, ...] = ()
) -> LesionPlan:
    """Plan a lesion experiment; the data's files are listed and hashed here, nothing long is done.

    Args:
        settings: what to do.
        dataset: what tables call the data; "(phantoms)" is added where it is that.
        published: the paper's AUC and FR by size and quantity; not shown beside figures of phantoms.
        differs: what differs from the paper, and why.

    Raises:
        InputError: settings do not fit each other.
        DataError: data or weights cannot be used.

    Example:
        >>> small = LesionSettings(source="phantom-chest", model="small-resnet", weights=None, size=32)
        >>> [stage.title for stage in lesion_plan(small, dataset="phantoms").lesions][:2]
        ['small lesions x 2', 'small lesions x 4']
    """
    rows = settings.lesions
    require(len(set(rows)) == len(rows) > 0, "lesions", "recipe", "different sizes and quantities", rows)
    phantom = (settings.source or "").startswith(PHANTOM)
    features = TrainFeatures(classifier_stage(settings))
    clean = CleanAnomaly(HFCFit(features, settings.components, settings.layer, settings.seed))
    lesions = tuple(_stage(row, clean, settings) for row in rows)
    if phantom:
        return LesionPlan(settings, f"{dataset} (phantoms)", clean, lesions, differs=differs)
    return LesionPlan(settings, dataset, clean, lesions, published or {}, differs)


def _stage(row: str, clean: CleanAnomaly, settings: LesionSettings) -> LesionAnomaly:
    size, _, quantity = row.partition(" ")
    known = cast(LesionSize, size)
    like = settings.draws, settings.contrast, settings.within
    return LesionAnomaly(clean, known, int(quantity), *like, settings.seed)
