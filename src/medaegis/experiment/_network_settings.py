"""Settings that every experiment on a classifier shares: its data, network and training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from medaegis._errors import require
from medaegis.attack import check_eps, parse_fraction
from medaegis.experiment._recipe import Settings
from medaegis.experiment._stages_data import PHANTOM, Part, SplitCases, images_stage
from medaegis.experiment._stages_model import Classifier, file_hash
from medaegis.experiment._volume_settings import WindowText
from medaegis.models import TrainSettings, build_model, find_weights, own_hash


def _budget(value: object) -> str:
    text = str(value).strip()
    try:
        check_eps(float(parse_fraction(text, "recipe")), "recipe")
    except ValueError as error:
        raise ValueError(f"a budget is a fraction of the pixel range such as 1/256; {error}") from None
    return text


def listed(value: object) -> object:
    """One value as a list of it, no text as an empty list; lists as they are.

    Example:
        >>> listed("1/256"), listed("")
        (('1/256',), ())
    """
    if isinstance(value, (list, tuple)):
        return tuple(value)
    return () if value == "" else (value,)


Budget = Annotated[str, BeforeValidator(_budget)]
Budgets = Annotated[tuple[Budget, ...], BeforeValidator(listed)]
Counts = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1), BeforeValidator(listed)]
Names = Annotated[tuple[str, ...], BeforeValidator(listed)]


class NetworkSettings(Settings):
    """Data, split, network and training; every field can be set with `--set field=value`.

    Example:
        >>> NetworkSettings(source="phantom-chest").size
        128
    """

    data: str | None = Field(None, description="folder of images or volumes")
    source: str | None = Field(None, description="layout of the folder, or a phantom; recognised by default")
    size: int = Field(128, ge=16, description="height and width in pixels")
    depth: int | None = Field(None, ge=1, description="slices of a volume; none reads images")
    window: WindowText | None = Field(None, description="centre,width of DICOM and NIfTI files, as in 40,80")
    limit: int | None = Field(None, ge=3, description="most cases a class")
    classes: Names = Field((), description="names of the classes that are kept; all by default")
    cases: int = Field(400, ge=20, description="number of phantoms")
    split: Literal["patient", "image"] = Field("patient", description="image reproduces the papers")
    model: str = Field(
        "resnet18", description="torchvision name, small-resnet, resnet18-3d, small-resnet-3d or package.module:factory"
    )
    weights: str | None = Field(
        "auto", description="path, imagenet, kinetics, none, or auto: a known file, else imagenet"
    )
    epochs: int = Field(12, ge=0, description="most training epochs; 0 takes the model as it comes")
    train_batch: int = Field(64, ge=2, description="cases a training step")
    crop: int | None = Field(None, ge=16, description="side of the random patch that training sees; none: all of it")
    learning_rate: float = Field(3e-4, gt=0, description="of Adam")
    train_eps: Budget | None = Field(None, description="Linf budget of adversarial training; none: on plain images")
    train_steps: int = Field(5, ge=1, description="of PGD in adversarial training")
    seed: int = Field(0, ge=0, description="of everything random")


def classifier_stage(settings: NetworkSettings, *, part: Part = "") -> Classifier:
    """The classifier that the settings describe; files are listed and hashed here, nothing long is done.

    Args:
        settings: of data, network and training.
        part: the half of Train that it is trained on, "" for all.

    Raises:
        InputError: neither a folder nor a phantom is named.
        DataError: data or weights cannot be used.

    Example:
        >>> small = NetworkSettings(source="phantom-chest", model="small-resnet", weights=None, size=32)
        >>> classifier_stage(small).model
        'small-resnet'
    """
    phantom = (settings.source or "").startswith(PHANTOM)
    fix = "Give the folder with --data DIR, or a phantom with --set source=phantom-chest."
    require(settings.data is not None or phantom, "data", "recipe", "a folder of images", settings.data, fix)
    images = images_stage(
        settings.source,
        settings.data,
        size=settings.size,
        limit=settings.limit,
        n=settings.cases,
        seed=settings.seed,
        depth=settings.depth,
        window=settings.window,
        classes=settings.classes,
    )
    return classifier_on(settings, SplitCases(images, by=settings.split, seed=settings.seed, part=part))


def classifier_on(settings: NetworkSettings, split: SplitCases) -> Classifier:
    """A classifier by the settings on a split that stands already."""
    weights = find_weights(settings.weights, settings.model, settings.data)
    budget = 0.0 if settings.train_eps is None else float(parse_fraction(settings.train_eps, "recipe"))
    rule, fix = "none where nothing is trained (epochs=0)", "Leave out epochs=0, or train_eps."
    require(not budget or settings.epochs > 0, "train_eps", "recipe", rule, settings.train_eps, fix)
    train = TrainSettings(
        epochs=max(1, settings.epochs),
        batch_size=settings.train_batch,
        learning_rate=settings.learning_rate,
        crop=settings.crop,
    )
    return Classifier(
        split,
        model=settings.model,
        weights_hash=file_hash(weights),
        network_hash=_own_hash(settings, split.images.shape),
        train=train if settings.epochs else None,
        seed=settings.seed,
        train_eps=budget,
        train_steps=settings.train_steps if budget else Classifier.train_steps,
        weights=None if weights is None else str(weights),
    )


def _own_hash(settings: NetworkSettings, shape: tuple[int, ...]) -> str:
    """Hash of what the user's factory makes, which also shows early that it can be made; "" for a named network."""
    if ":" not in settings.model:
        return ""
    return own_hash(build_model(settings.model, classes=2, seed=settings.seed).model, shape)
