"""What every detector has: two doors (features, or images and a model), calibration, and a saved state."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn

from medaegis._errors import DataError, NotFittedError, require
from medaegis._types import Flags, Images, Labels, LayerFeatures, PerCase
from medaegis.detect._features import extract
from medaegis.measure import threshold_at
from medaegis.models import PENULTIMATE

AnyFeatures = Tensor | LayerFeatures


class Detector(ABC):
    """An interface: fitted on normal features, it scores others; a higher score means more adversarial.

    The features door takes one layer's features (n, d), or a mapping of layer names to features; the images door takes
    images and the network. Attributes that end in `_` are what fitting learned.
    """

    differentiable: ClassVar[bool] = True
    """Whether `score` keeps the gradient to its features."""

    layers: Any = PENULTIMATE
    """Which layers the images door hands to `fit` and `score`: names, or "relu" for all activations."""

    threshold_: float | None = None

    @abstractmethod
    def fit(self, features: AnyFeatures, labels: Labels) -> Self:
        """Learn what is normal from clean Train features and their classes (n,)."""

    @abstractmethod
    def score(self, features: AnyFeatures, predicted: Labels | None = None) -> PerCase:
        """Scores (n,); `predicted` (n,) are the classes that the network predicts, where the detector asks for them."""

    @abstractmethod
    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and JSON values from which `restore` makes an equal detector."""

    @classmethod
    @abstractmethod
    def restore(cls, tensors: dict[str, Tensor], values: dict[str, Any]) -> Self:
        """The detector that `state` described."""

    def fit_images(self, model: nn.Module, images: Images, labels: Labels, *, batch_size: int = 64) -> Self:
        """`fit` on what `model` makes of clean Train images (n, c, *space) of classes (n,)."""
        return self.fit(self._single(extract(model, images, self._taps(), batch_size=batch_size).features), labels)

    def score_images(self, model: nn.Module, images: Images, *, batch_size: int = 64) -> PerCase:
        """`score` of what `model` makes of images (n, c, *space), with its own predictions."""
        tapped = extract(model, images, self._taps(), batch_size=batch_size)
        return self.score(self._single(tapped.features), tapped.logits.argmax(dim=1))

    def calibrate(self, clean: AnyFeatures, predicted: Labels | None = None, *, tnr: float = 0.90) -> Self:
        """Set `threshold_` so that a share `tnr` of these held-out clean cases passes.

        Raises:
            NotFittedError: before `fit`.
        """
        with torch.no_grad():
            self.threshold_ = threshold_at(self.score(clean, predicted).cpu().numpy(), tnr=tnr)
        return self

    def flags(self, features: AnyFeatures, predicted: Labels | None = None) -> Flags:
        """(n,) bool: the score is above the threshold.

        Raises:
            NotFittedError: before `calibrate`.
        """
        if self.threshold_ is None:
            raise NotFittedError(f"{type(self).__name__} has no threshold yet: call calibrate(clean_features) first.")
        return self.score(features, predicted) > self.threshold_

    def save(self, path: str | Path) -> None:
        """Write one safetensors file; no code is stored, none runs on loading."""
        from safetensors.torch import save_file

        tensors, values = self.state()
        header = {"detector": type(self).__name__, "threshold_": self.threshold_, **values}
        save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata={"medaegis": json.dumps(header)})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """A detector of this class from what `save` wrote.

        Raises:
            DataError: the file is missing, damaged, or holds another kind of detector.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:  # pyright: ignore[reportUnknownVariableType]  # untyped library
                header = json.loads((file.metadata() or {}).get("medaegis", "{}"))
                tensors = {key: cast(Tensor, file.get_tensor(key)) for key in file.keys()}  # noqa: SIM118  # not a dict
        except (OSError, SafetensorError, ValueError) as error:
            raise DataError(f"The detector file {path} cannot be read: {error}") from error
        if header.pop("detector", None) != cls.__name__:
            raise DataError(f"The file {path} does not hold a {cls.__name__} detector.")
        threshold = header.pop("threshold_")
        detector = cls.restore(tensors, header)
        detector.threshold_ = threshold
        return detector

    def _taps(self) -> Any:
        return (self.layers,) if self.layers == PENULTIMATE else self.layers

    def _single(self, features: LayerFeatures) -> AnyFeatures:
        return features[PENULTIMATE] if self.layers == PENULTIMATE else features


def by_layer(features: AnyFeatures, owner: str) -> dict[str, Tensor]:
    """Features as a mapping; one layer's tensor gets the name "".

    Raises:
        InputError: not (n, d), or not finite.

    Example:
        >>> list(by_layer(torch.zeros(2, 3), "KD"))
        ['']
    """
    layers = dict(features) if isinstance(features, Mapping) else {"": features}
    for z in layers.values():
        require(z.dim() == 2, "features", owner, "(n, d), or layer names with such tensors", tuple(z.shape))
        require(bool(torch.isfinite(z).all()), "features", owner, "finite", "NaN or infinity")
    return layers


def check_fit(layers: dict[str, Tensor], labels: Tensor, owner: str) -> Tensor:
    """Check labels against features and return the sorted classes.

    Raises:
        InputError: lengths differ, or a class has fewer than two cases.

    Example:
        >>> check_fit({"": torch.zeros(4, 1)}, torch.tensor([0, 0, 1, 1]), "KD")
        tensor([0, 1])
    """
    n = len(next(iter(layers.values())))
    require(labels.shape == (n,), "labels", owner, f"of shape ({n},)", tuple(labels.shape))
    classes, counts = labels.unique(return_counts=True)
    rare = {int(c): int(k) for c, k in zip(classes, counts, strict=True) if k < 2}
    require(not rare, "labels", owner, "at least two cases of each class", rare)
    return classes
