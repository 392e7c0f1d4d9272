"""What `medaegis aegis fit` computes: settings, checks before any work, and the stages from images to a guard."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from pydantic import Field
from torch import nn

from medaegis._errors import InputError
from medaegis.attack import parse_fraction
from medaegis.data._geometry import frame_facts
from medaegis.defend import Aegis, ShieldSettings, TapPlan, cushion_from_json, tap_plan
from medaegis.experiment._context import Context
from medaegis.experiment._defence_choice import TRAININGS, Training
from medaegis.experiment._facts import data_facts
from medaegis.experiment._named_cushion import named_cushion
from medaegis.experiment._network_settings import Budget, Names
from medaegis.experiment._own_settings import OwnSettings, clean_pass
from medaegis.experiment._stage import Result, Stage, unkeyed
from medaegis.experiment._stages_own import CleanPass
from medaegis.experiment._volume_settings import refuse_volumes


class AegisSettings(OwnSettings):
    """What `medaegis aegis fit` is told; the guard keeps it.

    Example:
        >>> AegisSettings(data="phantom-chest", model="small-resnet", epochs=4).shield_settings().growing
        4
    """

    cushion: str = Field("jpeg:80", description="jpeg:QUALITY, bits:DROP, tv:WEIGHT, joined by +, or none")
    training: Training = Field("hardened", description="which attacks the Shields learn from")
    layers: Names | None = Field(None, description="layers that the Shields read, in place of the automatic choice")
    tnr: float = Field(0.90, gt=0, lt=1, description="share of clean images of each class that the guard accepts")
    epochs: int | None = Field(None, ge=1, description="most epochs")
    then_epochs: int | None = Field(None, ge=1, description="most epochs of hardened's second training")
    growing: int | None = Field(None, ge=1, description="epochs over which the budget grows")
    first_eps: Budget | None = Field(None, description="budget of the first epoch, 1/256")
    last_eps: Budget | None = Field(None, description="budget once it is full, 16/256")
    training_batch: int | None = Field(None, ge=1, description="cases a step of training")
    learning_rate: float | None = Field(None, gt=0, description="of Adam")
    weight_decay: float | None = Field(None, ge=0, description="of Adam")
    validation_share: float | None = Field(None, gt=0, lt=1, description="of the cases that are learned from")
    stop_after: int | None = Field(None, ge=1, description="epochs at the full budget without a better one")
    stuck_after: int | None = Field(None, ge=1, description="epochs at chance before a warning")
    width: int | None = Field(None, ge=2, description="channels of each Shield at the first tap")
    flip: bool | None = Field(None, description="whether training images are mirrored at random")
    shift: float | None = Field(None, ge=0, le=0.5, description="largest shift of training images, a share of a side")
    average: float | None = Field(None, ge=0, lt=1, description="decay of the running mean of the weights; 0 for none")
    validation_cases: int | None = Field(None, ge=2, description="most held-out cases that choose the epoch")
    probe_cases: int | None = Field(
        None, ge=0, description="held-out cases that stronger attacks are tried on; 0: none"
    )

    def shield_settings(self) -> ShieldSettings:
        """The training, with the budget full by the last epoch at the latest."""
        base = TRAININGS[self.training]()
        given = {f.name: getattr(self, f.name, None) for f in fields(ShieldSettings)}
        given |= {"batch_size": self.training_batch, "then_epochs": self.then_epochs}
        for name in ("first_eps", "last_eps"):
            text: str | None = getattr(self, name)
            given[name] = None if text is None else float(parse_fraction(text, "aegis fit"))
        found = base.changed(**{name: value for name, value in given.items() if value is not None})
        return found if self.growing else replace(found, growing=min(found.growing, found.epochs))


@dataclass(frozen=True)
class FittedAegis(Stage):
    """A guard's tensors and JSON values.

    Args:
        clean: network and images.
        cushion: as JSON text, "null" for none.
        training: of the Shields.
        layers: that they read; none for the automatic choice.
        seed: of everything random.
        tnr: share of clean images of each class that is accepted; the stored logits give the threshold for any other.
    """

    clean: CleanPass
    cushion: str
    training: ShieldSettings
    layers: tuple[str, ...]
    seed: int = 0
    tnr: float = unkeyed(0.9)

    def compute(self, context: Context) -> Result:
        """Train, going on from what a killed run left."""
        values = json.loads(self.cushion)
        guard = Aegis.fit(
            self.clean.load(context),
            self.clean.images.dataset(context),
            cushion=None if values is None else cushion_from_json(values),
            settings=self.training,
            layers=self.layers or None,
            tnr=self.tnr,
            seed=self.seed,
            checkpoint=context.store.scratch(self),
            progress=context.progress,
        )
        return Result(*guard.state())

    def guard(self, context: Context) -> Aegis:
        """The guard around its network, at this `tnr`."""
        return Aegis.restore(self.clean.load(context), *context.get(self)).at(self.tnr)


@dataclass(frozen=True)
class AegisPlan:
    """The stages of a guard; see `aegis_plan`.

    Args:
        settings: what it was made from.
        fitted: the last stage.
        taps: the layers that the Shields will read, for the user to see.
    """

    settings: AegisSettings
    fitted: FittedAegis
    taps: TapPlan

    def guard(self, context: Context) -> Aegis:
        """The guard, which also knows how images are read and which network it was given."""
        settings, clean = self.settings, self.fitted.clean
        data, guard = clean.images.dataset(context), self.fitted.guard(context)
        sizes = {part: sum(counts.values()) for part, counts in guard.facts.counts.items()}
        about: dict[str, Any] = {
            "model": {"name": clean.model, "weights": settings.weights, "seed": clean.seed},
            "images": frame_facts(clean.images.frame),
            "data": data_facts(clean.images, data, {"given": len(data), **sizes}),
            "settings": settings.model_dump(mode="json"),
        }
        return replace(guard, about=about)


def aegis_plan(settings: AegisSettings) -> AegisPlan:
    """Plan a guard: cushion, training, network, taps and files are looked at here, before any long work.

    Raises:
        InputError: a setting breaks a rule, or Shields cannot read this network.
        DataError: data or weights cannot be used.

    Example:
        >>> plan = aegis_plan(AegisSettings(data="phantom-chest", model="small-resnet", size=32))
        >>> plan.taps.names
        ('stages.0.relu#2', 'stages.1.relu#2', 'stages.3.relu#2')
    """
    cushion, training = named_cushion(settings.cushion, "aegis fit"), settings.shield_settings()
    refuse_volumes(settings.depth, "aegis fit")
    clean, network = clean_pass(settings)
    taps = _taps(network, settings, clean.images.channels)
    told = json.dumps(None if cushion is None else cushion.to_json())
    stage = FittedAegis(clean, told, training, settings.layers or (), settings.seed, tnr=settings.tnr)
    return AegisPlan(settings, stage, taps)


def _taps(network: nn.Module, settings: AegisSettings, channels: int) -> TapPlan:
    shape = (1, channels, settings.size, settings.size)
    try:
        return tap_plan(network, torch.full(shape, 0.5), layers=settings.layers)
    except RuntimeError as error:
        raise InputError(f"`model` {settings.model} cannot take images of shape {shape[1:]}: {error}") from error
