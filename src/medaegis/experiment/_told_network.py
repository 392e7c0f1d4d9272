"""The network that something saved was fitted on, built again from what its file says and what the user says now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from medaegis._errors import DataError, InputError
from medaegis.models import build_model


class Told(NamedTuple):
    """A network on the CPU, and what it was built from.

    Attributes:
        model: in evaluation mode.
        name: as `build_model` takes it.
        weights: its file, or None.
    """

    model: nn.Module
    name: str
    weights: str | Path | None


def told_network(
    told: Mapping[str, Any],
    *,
    classes: int,
    channels: int,
    model: str | None,
    weights: str | Path | None,
    holder: str,
) -> Told:
    """Build it; whoever asks compares the hash.

    Args:
        told: name, weights and seed, as the fit stored them.
        classes: number of classes.
        channels: of the images.
        model: the network's name; None takes the one told. A network of the user's own must be named: a file does not
            say which code runs.
        weights: of the network; None takes the path told, where the network is the one told.
        holder: what was fitted, in words, for errors.

    Raises:
        InputError: the network is the user's own and not named.
        DataError: the weights cannot be read.
    """
    if model is None and ":" in told["name"]:
        raise InputError(
            f"`--model` must be given where the network is your own: {holder} came from a fit on {told['name']}, and "
            f"a file does not decide which code runs. Add --model {told['name']}."
        )
    name = model or str(told["name"])
    file = weights if weights is not None else told["weights"] if name == told["name"] else None
    try:
        built = build_model(name, classes=classes, weights=file, seed=told["seed"], channels=channels)
    except DataError as error:
        if weights is None and file is not None:
            raise DataError(f"{error} What is saved in {holder} did name this file: give it with --weights.") from None
        raise
    return Told(built.model.eval(), name, file)
