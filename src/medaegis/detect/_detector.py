"""What every detector has: two doors (features, or images and a model), calibration, and a saved state."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from medaegis._errors import DataError, NotFittedError, require
from medaegis._types import Flags, Images, Labels, LayerFeatures, PerCase
from medaegis.detect._examples import AnyFeatures, Examples
from medaegis.detect._features import extract
from medaegis.measure import threshold_at
from medaegis.models import PENULTIMATE

TINY = 1e-12
"""Smallest spread of calibration scores: where they are all alike, any score above them is far."""


class Detector(BaseEstimator, ABC):
    """An interface: fitted on normal features, it scores others; a higher score means more adversarial.

    The features door takes one layer's features (n, d), or a mapping of layer names to features; the images door takes
    images and the network. Attributes that end in `_` are what fitting learned. `get_params`, `set_params` and
    `sklearn.base.clone` work as in scikit-learn: constructors store and check their arguments.
    """

    differentiable: ClassVar[bool] = True
    """Whether `score` keeps the gradient to its features."""

    learns_attacks: ClassVar[bool] = False
    """Whether `fit` needs `examples`."""

    fitted_attribute: ClassVar[str] = ""
    """Name of what `fit` sets: a mapping by layer name, where `fitted_layers` is not overridden."""

    layers: Any = PENULTIMATE
    """Which layers the images door hands to `fit` and `score`: names, or "relu" for all activations."""

    map_side: int | None = None
    """Side g of the maps (n, c, g, g) that the features door takes beside vectors; None: it takes vectors only."""

    needs_images: bool = False
    """Whether the images door scores more than the channel means of one ordinary pass: then only `read_images` gives
    what `score` takes, and `score` of channel means is refused, or another score with another threshold."""

    threshold_: float | None = None
    threshold_spread_: float | None = None
    """From the median of the calibration scores to the threshold: the unit in which detectors are comparable."""

    @abstractmethod
    def fit(self, features: AnyFeatures, labels: Labels, *, examples: Examples | None = None) -> Self:
        """Learn what is normal from clean Train features and their classes (n,).

        Args:
            features: (n, d), or by layer.
            labels: classes (n,).
            examples: for detectors that learn from attacks; others leave them alone.
        """

    @abstractmethod
    def score(self, features: AnyFeatures, predicted: Labels | None = None) -> PerCase:
        """Scores (n,); `predicted` (n,) are the classes that the network predicts, where the detector asks for them."""

    def layer_scores(self, features: AnyFeatures, predicted: Labels | None = None) -> dict[str, PerCase]:
        """The score of each layer alone, (n,) by name; "" for a detector that has one score."""
        return {"": self.score(features, predicted)}

    def prepare(self, model: nn.Module) -> Self:
        """Take from the network what the features door needs besides features: nothing, for most."""
        return self

    def fitted_layers(self) -> tuple[str, ...]:
        """Names of the layers that `fit` got; "" for a single layer's tensor.

        Raises:
            NotFittedError: before `fit`.
        """
        return tuple(self.check_fitted())

    def check_fitted(self) -> Any:
        """What `fit` has set under the name `fitted_attribute`.

        Raises:
            NotFittedError: before `fit`.
            NotImplementedError: the class neither names it nor overrides `fitted_layers`.
        """
        name, owner = self.fitted_attribute, type(self).__name__
        if not name:
            raise NotImplementedError(f"{owner} must set `fitted_attribute`, or override `fitted_layers`.")
        found = getattr(self, name, None)
        if found is None:
            examples = ", examples=..." if self.learns_attacks else ""
            raise NotFittedError(f"{owner} is not fitted yet: call fit(features, labels{examples}) first.")
        return found

    @abstractmethod
    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and JSON values from which `restore` makes an equal detector."""

    @classmethod
    @abstractmethod
    def restore(cls, tensors: dict[str, Tensor], values: dict[str, Any]) -> Self:
        """The detector that `state` described."""

    def pick(self, features: LayerFeatures) -> AnyFeatures:
        """From the features of all activations and the penultimate layer, those that this detector reads."""
        if self.layers == PENULTIMATE:
            return features[PENULTIMATE]
        if isinstance(self.layers, str):
            return {name: z for name, z in features.items() if name != PENULTIMATE}
        return {name: features[name] for name in self.layers}

    def layers_as_json(self) -> str | list[str]:
        """`layers` as `state` can keep it."""
        return self.layers if isinstance(self.layers, str) else list(self.layers)

    def fit_images(
        self,
        model: nn.Module,
        images: Images,
        labels: Labels,
        *,
        negative: Images | None = None,
        positive: Images | None = None,
        negative_groups: Sequence[str] | None = None,
        positive_groups: Sequence[str] | None = None,
        batch_size: int = 64,
    ) -> Self:
        """`fit` on what `model` makes of images.

        Args:
            model: maps images to logits.
            images: clean Train images (n, c, *space).
            labels: their classes (n,).
            negative: for detectors that learn from attacks: clean and noisy images of AdvTrain.
            positive: successful adversarial images of AdvTrain.
            negative_groups: patient of each negative image: what is held out to stop training shares no patient with
                what is learned; where it is unknown, an image and its adversarial twin may stand on two sides.
            positive_groups: the same for the positive images.
            batch_size: images a pass.

        Raises:
            InputError: only one of `negative` and `positive` is given, or what `fit` raises.
        """
        both = (negative is None) == (positive is None)
        require(both, "positive", "fit_images", "given together with `negative`", "one of the two")
        known = self.prepare(model)._read(model, images, batch_size)[0]
        if negative is None or positive is None:
            return self.fit(known, labels)
        (low, low_classes), (high, high_classes) = (self._read(model, x, batch_size) for x in (negative, positive))
        examples = Examples(low, high, low_classes, high_classes, negative_groups, positive_groups)
        self.fit(known, labels, examples=examples)
        return self.refine(model, negative, positive, batch_size=batch_size)

    def refine(self, model: nn.Module, negative: Images, positive: Images, *, batch_size: int = 64) -> Self:
        """Learn what features of one pass could not give; `fit_images` calls it after `fit`. Nothing, for most."""
        return self

    def read_images(self, model: nn.Module, images: Images, *, batch_size: int = 64) -> tuple[AnyFeatures, Labels]:
        """What `score_images` hands to `score`: features of images (n, c, *space), and predicted classes (n,).

        Here, those of one ordinary pass of the network, as `fit_images` reads them. A detector that scores other
        features overrides this method and says so in `needs_images`.
        """
        return self._read(model, images, batch_size)

    def score_images(self, model: nn.Module, images: Images, *, batch_size: int = 64) -> PerCase:
        """`score` of what `model` makes of images (n, c, *space), with its own predictions."""
        return self.score(*self.read_images(model, images, batch_size=batch_size))

    def calibrate_images(self, model: nn.Module, clean: Images, *, tnr: float = 0.90, batch_size: int = 64) -> Self:
        """`calibrate` on held-out clean images (n, c, *space), scored as `score_images` does.

        Raises:
            NotFittedError: before `fit`.
        """
        with torch.no_grad():
            return self.calibrate_on(self.score_images(model, clean, batch_size=batch_size), tnr=tnr)

    def calibrate(self, clean: AnyFeatures, predicted: Labels | None = None, *, tnr: float = 0.90) -> Self:
        """Set `threshold_` so that a share `tnr` of these held-out clean cases passes, and `threshold_spread_`.

        Raises:
            NotFittedError: before `fit`.
        """
        with torch.no_grad():
            return self.calibrate_on(self.score(clean, predicted), tnr=tnr)

    def calibrate_on(self, scores: PerCase, *, tnr: float = 0.90) -> Self:
        """`calibrate` from the scores (n,) of the held-out clean cases."""
        held = scores.detach().double().cpu()
        self.threshold_ = threshold_at(held.numpy(), tnr=tnr)
        self.threshold_spread_ = max(self.threshold_ - float(held.quantile(0.5)), TINY)
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
        """Write one safetensors file; no code is stored, none runs on loading.

        Raises:
            NotFittedError: before `fit`.
            DataError: the file cannot be written.
        """
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        tensors, values = self.state()
        header = {
            "detector": type(self).__name__,
            "threshold_": self.threshold_,
            "threshold_spread_": self.threshold_spread_,
            **values,
        }
        parts = {name: tensor.contiguous() for name, tensor in tensors.items()}
        try:
            save_file(parts, path, metadata={"medaegis": json.dumps(header)})
        except (OSError, SafetensorError) as error:
            raise DataError(f"The detector file {path} cannot be written: {error}") from error

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
        if not isinstance(header, dict) or header.pop("detector", None) != cls.__name__:
            raise DataError(f"The file {path} does not hold a {cls.__name__} detector.")
        try:
            threshold, spread = header.pop("threshold_"), header.pop("threshold_spread_")
            # copies, since a file's tensors lie at odd addresses, where matrix products round otherwise
            detector = cls.restore({key: tensor.clone() for key, tensor in tensors.items()}, header)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"The {cls.__name__} file {path} is incomplete: {error!r}. Fit and save it again."
            ) from error
        detector.threshold_, detector.threshold_spread_ = threshold, spread
        return detector

    def _read(self, model: nn.Module, images: Images, batch_size: int) -> tuple[AnyFeatures, Labels]:
        tapped = extract(model, images, self._taps(), batch_size=batch_size, grid=self.map_side)
        return self.pick(tapped.features), tapped.logits.argmax(dim=1)

    def _taps(self) -> Any:
        return (self.layers,) if self.layers == PENULTIMATE else self.layers


def by_layer(features: AnyFeatures, owner: str, *, map_side: int | None = None) -> dict[str, Tensor]:
    """Features as a mapping; one layer's tensor gets the name "".

    Args:
        features: (n, d), or by layer.
        owner: class of the detector.
        map_side: g where a layer may also be maps, (n, c, g), (n, c, g, g) or (n, c, g, g, g).

    Raises:
        InputError: no layer, not (n, d) and no such maps, different n, or not finite.

    Example:
        >>> list(by_layer(torch.zeros(2, 3), "KD"))
        ['']
    """
    layers = dict(features) if isinstance(features, Mapping) else {"": features}
    require(len(layers) > 0, "features", owner, "at least one layer", layers)
    for z in layers.values():
        maps = map_side is not None and 3 <= z.dim() <= 5 and set(z.shape[2:]) == {map_side}
        kinds = "(n, d)" if map_side is None else f"(n, d) or maps (n, c, {map_side}, ...)"
        require(z.dim() == 2 or maps, "features", owner, f"{kinds}, or layer names with such tensors", tuple(z.shape))
        require(_all_finite(z), "features", owner, "finite", "NaN or infinity")
    sizes = {name: len(z) for name, z in layers.items()}
    require(len(set(sizes.values())) == 1, "features", owner, "of the same n at every layer", sizes)
    return layers


def _all_finite(z: Tensor) -> bool:
    """The sum tells in one pass that needs no memory, unless it overflows."""
    z = z.detach()
    return bool(z.sum().isfinite()) or bool(torch.isfinite(z).all())


def to_score(
    features: AnyFeatures, widths: Mapping[str, int], owner: str, *, map_side: int | None = None
) -> dict[str, Tensor]:
    """The layers that were fitted, in float64 on the features' own device, in the order of `widths`.

    What fitting stored follows by `stored.to(z)`, so that a detector fitted in one precision on one device scores
    features of another; the gradient flows back in the features' own precision.

    Args:
        features: (n, d), or by layer.
        widths: number of channels by layer, as fitted.
        owner: class of the detector.
        map_side: as `by_layer` takes it.

    Raises:
        InputError: a layer is missing, or has another number of channels.

    Example:
        >>> to_score(torch.zeros(2, 3, dtype=torch.float16), {"": 3}, "KD")[""].dtype
        torch.float64
    """
    return {name: z.double() for name, z in as_given(features, widths, owner, map_side=map_side).items()}


def as_given(
    features: AnyFeatures, widths: Mapping[str, int], owner: str, *, map_side: int | None = None
) -> dict[str, Tensor]:
    """`to_score` in the features' own precision, for a density that chooses its own.

    Raises:
        InputError: as `to_score`.

    Example:
        >>> as_given(torch.zeros(2, 3, dtype=torch.float16), {"": 3}, "LID")[""].dtype
        torch.float16
    """
    layers = by_layer(features, owner, map_side=map_side)
    require(set(widths) <= set(layers), "features", owner, f"with layers {list(widths)}", list(layers))
    wrong = {name: layers[name].shape[1] for name, d in widths.items() if layers[name].shape[1] != d}
    rule = f"of as many channels as in fit, {[widths[name] for name in wrong]}"
    require(not wrong, "features", owner, rule, wrong)
    return {name: layers[name] for name in widths}


def check_kind(layers: Mapping[str, Tensor], dimensions: Mapping[str, int], owner: str) -> None:
    """Check that each layer is what was fitted there: a vector a case, or maps of as many spatial dimensions.

    Args:
        layers: by layer.
        dimensions: number of the tensor's dimensions by layer, as fitted.
        owner: class of the detector.

    Raises:
        InputError: a layer has another number of dimensions.

    Example:
        >>> check_kind({"": torch.zeros(2, 3)}, {"": 2}, "DNN")
    """
    wrong = {name: tuple(z.shape) for name, z in layers.items() if z.dim() != dimensions[name]}
    rule = f"of as many dimensions as in fit, {[dimensions[name] for name in wrong]}"
    require(not wrong, "features", owner, rule, wrong)


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


def places_of(predicted: Tensor, classes: Sequence[int], z: Tensor, owner: str) -> Tensor:
    """Place of each predicted class among the classes of Train, (n, 1), on the device of `z`.

    Args:
        predicted: classes that the network predicts, (n,).
        classes: those of Train, in the detector's order.
        z: features (n, d) that are scored.
        owner: class of the detector.

    Raises:
        InputError: not one class a case, or a class that was not in Train.

    Example:
        >>> places_of(torch.tensor([7, 3]), (3, 7), torch.zeros(2, 1), "KD")
        tensor([[1],
                [0]])
    """
    require(predicted.shape == (len(z),), "predicted", owner, f"of shape ({len(z)},)", tuple(predicted.shape))
    place = {c: i for i, c in enumerate(classes)}
    wanted = [int(c) for c in predicted.tolist()]
    unknown = sorted(set(wanted) - set(place))
    require(not unknown, "predicted", owner, f"one of the classes of Train, {list(place)}", unknown)
    return torch.tensor([place[c] for c in wanted], device=z.device, dtype=torch.int64)[:, None]
