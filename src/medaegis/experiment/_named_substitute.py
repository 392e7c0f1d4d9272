"""Networks that an attacker trained in the attacked one's place, by name: the semi-white-box setting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast, get_args

from torch import nn

from medaegis._errors import require
from medaegis.experiment._network_settings import NetworkSettings, classifier_on
from medaegis.experiment._stages_data import Part, SplitCases
from medaegis.experiment._stages_model import Classifier, TrainFeatures
from medaegis.models import build_model

NONE, SAME = "none", "same"
Shared = Literal["", "half", "apart"]
_DATA = {"": "", "half": " of the same half", "apart": " of the other half"}


@dataclass(frozen=True)
class Substitute:
    """What an attacker trained to stand in for a network whose parameters are unknown.

    Args:
        network: its architecture, "same" for that of the attacked network.
        shared: the cases that it is trained on: those of the attacked network (""), also where that one has only half
            of them ("half"), or the other half, no patient divided ("apart").
    """

    network: str
    shared: Shared = ""

    @property
    def part(self) -> Part:
        """The part of Train that the attacked network has."""
        return "first" if self.shared else ""

    def shown(self, attacked: str) -> str:
        """What tables call a network that is attacked from it.

        Example:
            >>> Substitute("same").shown("resnet18")
            'resnet18 attacked from another resnet18'
            >>> Substitute("squeezenet1_1", "apart").shown("resnet18")
            'resnet18 of half of Train attacked from squeezenet1_1 of the other half'
        """
        who = f"another {attacked}" if self.network == SAME else self.network
        return f"{attacked}{' of half of Train' if self.shared else ''} attacked from {who}{_DATA[self.shared]}"

    def stage(self, settings: NetworkSettings, attacked: Classifier, epochs: int | None = None) -> Classifier:
        """Its training: with another seed, and never from the attacked network's own weights.

        Args:
            settings: of the attacked network.
            attacked: that network; same size of images, same test cases.
            epochs: most epochs of training; None for those of the settings.

        Raises:
            InputError: it would not be trained, or there is no such network.
            DataError: weights to start from cannot be used.
        """
        chosen = settings.epochs if epochs is None else epochs
        fix = "Say for how long it is trained with --set substitute_epochs=N."
        require(chosen >= 1, "substitute_epochs", "recipe", "at least 1", chosen, fix)
        model = settings.model if self.network == SAME else self.network
        if model != settings.model:
            build_model(model, classes=2)  # an unknown name is an error now, and not after the first training
        start = settings.weights if settings.weights in (None, "none", "imagenet") else "auto"
        changes = {"model": model, "epochs": chosen, "weights": start, "seed": settings.seed + 1, "train_eps": None}
        own = attacked.split if self.shared != "apart" else _other_half(attacked.split)
        return classifier_on(settings.model_copy(update=changes), own)


def features_of_substitute(substitute: Classifier, attacked: Classifier) -> TrainFeatures:
    """Its Train features, for HFC and its competitors, also where it has no dense layer, as SqueezeNet.

    Example:
        >>> from medaegis.experiment._stages_data import Images
        >>> one, other = (Classifier(SplitCases(Images("x", "", 32)), name) for name in ("resnet18", "squeezenet1_1"))
        >>> features_of_substitute(other, one).penultimate
        False
    """
    if substitute.model == attacked.model:
        return TrainFeatures(substitute)
    network = build_model(substitute.model, classes=2).model
    return TrainFeatures(substitute, any(isinstance(part, nn.Linear) for part in network.modules()))


def _other_half(split: SplitCases) -> SplitCases:
    return SplitCases(split.images, split.by, split.test_share, split.validation_share, split.seed, part="second")


def named_substitute(text: str) -> Substitute | None:
    """A substitute from its name in settings.

    Args:
        text: none; same, or a network's name, or either with @half or @apart.

    Raises:
        InputError: there is nothing of that name.

    Example:
        >>> named_substitute("same@apart"), named_substitute("none")
        (Substitute(network='same', shared='apart'), None)
    """
    network, at, shared = text.partition("@")
    good = bool(network) and (shared in get_args(Shared)[1:] if at else True) and (network != NONE or not at)
    require(good, "substitute", "recipe", "none, same, NETWORK, same@half, same@apart, NETWORK@half …", text)
    return None if network == NONE else Substitute(network, cast(Shared, shared))
