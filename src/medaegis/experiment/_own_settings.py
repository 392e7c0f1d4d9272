"""Settings that name a user's own network and images, and the first stages that they stand for."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import nn

from medaegis.data._source_phantom import PHANTOM_CLASSES
from medaegis.experiment._recipe import Settings
from medaegis.experiment._stages_data import images_stage
from medaegis.experiment._stages_model import file_hash
from medaegis.experiment._stages_own import CleanPass
from medaegis.experiment._volume_settings import WindowText
from medaegis.models import build_model, own_hash

PHANTOMS = 200  # a class, where no limit is given


class OwnSettings(Settings):
    """A network, taken as it is, and images or volumes.

    Example:
        >>> OwnSettings(data="phantom-chest", model="small-resnet").size
        256
    """

    data: str = Field(description="folder of images or volumes, or a phantom's name")
    source: str | None = Field(None, description="layout of the folder; recognised by default")
    size: int = Field(256, ge=16, description="height and width in pixels")
    channels: Literal[1, 3] | None = Field(None, description="3 by default, 1 of volumes")
    depth: int | None = Field(None, ge=1, description="slices of a volume; none reads images")
    window: WindowText | None = Field(None, description="centre,width of DICOM and NIfTI files, as in 40,80")
    labels: Literal["binary", "grades"] = Field("binary", description="of sources with grades")
    limit: int | None = Field(None, ge=3, description="most images a class")
    model: str = Field(
        description="torchvision name, small-resnet, resnet18-3d, small-resnet-3d or package.module:factory"
    )
    weights: str | None = Field(None, description="state dict of the network")
    seed: int = Field(0, ge=0, description="of everything random")

    @property
    def layout(self) -> str | None:
        """The source as stages take it: a phantom's name is one."""
        return self.data if self.data in PHANTOM_CLASSES else self.source


def clean_pass(settings: OwnSettings) -> tuple[CleanPass, nn.Module]:
    """The pass of the network over all images, and the network as it can be looked at before: with two classes.

    Raises:
        InputError: the network's name is unknown, or its factory cannot be used.
        DataError: data or weights cannot be used.

    Example:
        >>> clean, network = clean_pass(OwnSettings(data="phantom-chest", model="small-resnet", size=32))
        >>> clean.images.n, network.training
        (400, False)
    """
    phantom = settings.data in PHANTOM_CLASSES
    images = images_stage(
        settings.layout,
        None if phantom else settings.data,
        size=settings.size,
        limit=settings.limit,
        n=len(PHANTOM_CLASSES[settings.data]) * (settings.limit or PHANTOMS) if phantom else 0,
        seed=settings.seed,
        labels=settings.labels,
        channels=settings.channels,
        depth=settings.depth,
        window=settings.window,
    )
    own = ":" in settings.model
    built = build_model(settings.model, classes=2, weights=settings.weights if own else None, channels=images.channels)
    clean = CleanPass(
        images,
        settings.model,
        file_hash(settings.weights),
        own_hash(built.model, images.shape) if own else "",
        0 if own else settings.seed,
        weights=settings.weights,
    )
    return clean, built.model
