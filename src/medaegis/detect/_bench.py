"""What the conformance checks are run on: a factory of detectors, features that it is fitted on, and their verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from medaegis._errors import MedaegisError, is_a, require
from medaegis.detect._detector import Detector
from medaegis.detect._examples import AnyFeatures, Examples
from medaegis.models import PENULTIMATE
from medaegis.models._taps import head_name

Make = Callable[[], Detector]
Change = Callable[[Tensor], AnyFeatures]


class ConformanceError(MedaegisError, AssertionError):
    """A detector breaks a law of detectors; from `check_detector` the text lists every failed check with its cause.

    Attributes:
        failures: cause by the name of the check; empty where a single check was run.
    """

    def __init__(self, text: str, failures: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.failures = dict(failures or {})


class Cases(NamedTuple):
    """Features (n, d), or maps (n, d, g, g), in float64 and their classes (n,)."""

    z: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Bench:
    """A factory, the network that `prepare` gets, and cases as wide as the network's penultimate layer.

    Args:
        make: gives a new, unfitted detector at each call.
        model: for detectors that need `prepare`.
    """

    make: Make
    model: nn.Module | None = None

    def new(self) -> Detector:
        """An unfitted detector, prepared.

        Raises:
            InputError: the factory gives something else.
        """
        detector = self.make()
        require(is_a(detector, Detector), "make", "check_detector", "a function that returns a new Detector", detector)
        return self.prepared(detector)

    def prepared(self, detector: Detector) -> Detector:
        """The detector after it saw the network, if there is one."""
        return detector if self.model is None else detector.prepare(self.model)

    @property
    def width(self) -> int:
        """Number of channels d."""
        return 4 if self.model is None else _head(self.model).in_features

    @property
    def classes(self) -> tuple[int, ...]:
        """Three classes that are no ranks; with a network, up to three of its own."""
        return (2, 10, 3) if self.model is None else tuple(range(min(3, _head(self.model).out_features)))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one case: (d,), or (d, g, g) for a detector that takes maps."""
        side = self.make().map_side
        return (self.width,) if side is None else (self.width, side, side)

    def by_name(self) -> Callable[[Tensor], dict[str, Tensor]]:
        """How features become a mapping: of two layers, or of one for a detector that refuses two when it is fitted."""
        try:
            self.fit(self.new(), two_layers)
        except MedaegisError:
            return named_layer
        return two_layers

    def near(self, n: int = 60, *, seed: int = 0) -> Cases:
        """Normal cases, in turn of each class."""
        place = torch.arange(n) % len(self.classes)
        z = _normal(n, self.shape, seed)
        return Cases(z + 6 * place.reshape(-1, *[1] * (z.dim() - 1)), torch.tensor(self.classes)[place])

    def far(self, n: int = 60, *, seed: int = 0) -> Cases:
        """Cases outside of all classes, beyond the last."""
        centre = 6 * (len(self.classes) - 1)
        return Cases(centre + 20 * _normal(n, self.shape, seed).abs(), torch.full((n,), self.classes[-1]))

    def examples(self, change: Change, *, swapped: bool = False) -> Examples:
        """Examples whose positives lie as `far` does; swapped, its negatives do."""
        negative, positive = self.near(seed=11), self.far(seed=12)
        if swapped:
            negative, positive = positive, negative
        return Examples(change(negative.z), change(positive.z), negative.labels, positive.labels)

    def fit(self, detector: Detector, change: Change, cases: Cases | None = None) -> Detector:
        """The detector, fitted on new tensors of the same numbers at each call, with examples if it needs them."""
        z, labels = cases or self.near()
        if detector.learns_attacks:
            return detector.fit(change(z), labels, examples=self.examples(change))
        return detector.fit(change(z), labels)

    def fitted(self, change: Change) -> Detector:
        """A new detector after `fit`, whatever `fit` returns."""
        detector = self.new()
        self.fit(detector, change)
        return detector


def one_layer(z: Tensor) -> Tensor:
    """Features of one layer, given as a tensor."""
    return z


def named_layer(z: Tensor) -> dict[str, Tensor]:
    """Features of one layer by its name."""
    return {PENULTIMATE: z}


def two_layers(z: Tensor) -> dict[str, Tensor]:
    """Features of two layers that differ."""
    return {"deep|relu#2": 3 * z + 1, PENULTIMATE: z}


def demand(condition: bool, text: str) -> None:
    """Raise `ConformanceError` with this text unless the condition holds."""
    if not condition:
        raise ConformanceError(text)


def demand_error(call: Callable[[], object], kind: type[MedaegisError], what: str) -> None:
    """Raise `ConformanceError` unless the call raises an error of this kind."""
    try:
        call()
    except kind:
        return
    except Exception as error:
        raise ConformanceError(f"{what} must raise {kind.__name__}, but raises {error!r}.") from error
    raise ConformanceError(f"{what} must raise {kind.__name__}, but raises nothing.")


def demand_stated(call: Callable[[], Tensor], what: str) -> None:
    """Raise `ConformanceError` unless the call gives finite scores or an error of ours."""
    try:
        scores = call()
    except MedaegisError:
        return
    except Exception as error:
        raise ConformanceError(f"{what} must give scores or a MedaegisError, but raises {error!r}.") from error
    demand(bool(scores.isfinite().all()), f"{what} must give finite scores or a MedaegisError, got NaN or infinity.")


def tensors_of(features: AnyFeatures) -> list[Tensor]:
    """The tensors of one or of several layers."""
    return list(features.values()) if isinstance(features, Mapping) else [features]


def _normal(n: int, shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _head(model: nn.Module) -> nn.Linear:
    modules = dict(model.named_modules())
    head = modules[head_name(modules, None)]
    if not isinstance(head, nn.Linear):
        raise ConformanceError(f"`model` of check_detector must end in a dense layer, got {type(head).__name__}.")
    return head
