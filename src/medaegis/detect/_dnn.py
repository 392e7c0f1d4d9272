"""DNN: a case is adversarial where small networks, trained on adversarial features of each layer, say so together."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from medaegis._errors import is_int, is_number, require
from medaegis._types import Labels, PerCase
from medaegis.detect._detector import Detector, by_layer, check_fit, check_kind, to_score
from medaegis.detect._examples import AnyFeatures, Examples
from medaegis.detect._hold_out import hold_out
from medaegis.detect._small_net import Schedule, SmallNet, train_small_net
from medaegis.detect._stacked import stack_examples


class DNN(Detector):
    """Sum over layers of the logits of one small network a layer, trained on normal against adversarial features.

    Each network standardises the channel means and has two hidden dense layers with ReLU; with `maps`, it standardises
    each layer's maps by channel and has two convolutions of side 3 with ReLU, whose mean over places the dense output
    reads. Layers without spatial dimensions, and the penultimate one, stay vectors and get dense layers.

    A quarter of the examples is held out to choose when training stops: whole patients where the examples name groups;
    else a clean case with its adversarial twin (the same index, where both sides are equally many); else single cases.

    Args:
        hidden: units of each hidden layer, or channels of each convolution.
        maps: side g of the grid to which the images door pools each layer's maps, as 4: features are then (n, c, g, g),
            in 3-D (n, c, g, g, g); None (default) for channel means (n, c). About 9 g^2 times the work in 2-D.
        epochs: at most.
        patience: epochs without a better validation loss before training stops; the best weights are kept.
        learning_rate: of Adam.
        batch_size: cases a step.
        layers: layers of the images door; every activation by default.
        seed: of the held-out quarter, the first weights and the order of cases; the same seed gives the same scores.

    Attributes:
        nets_: the trained network by layer name.

    Source: Metzen et al. 2017; HFC-23, "DNN". The released code has no non-linearity between its layers and no
    validation. Metzen et al. attach convolutions to the activations, as `maps` does on a coarse grid. Training runs in
    float64.

    Example:
        >>> from medaegis.detect import Examples
        >>> z = torch.linspace(0, 1, 40)[:, None]
        >>> dnn = DNN(learning_rate=0.01).fit(z, torch.arange(40) % 2, examples=Examples(z, z + 3))
        >>> (dnn.score(torch.tensor([[0.5], [3.5]])) > 0).tolist()
        [False, True]
    """

    learns_attacks: ClassVar[bool] = True
    fitted_attribute: ClassVar[str] = "nets_"

    def __init__(
        self,
        hidden: int = 64,
        *,
        maps: int | None = None,
        epochs: int = 200,
        patience: int = 20,
        learning_rate: float = 1e-3,
        batch_size: int = 64,
        layers: Any = "relu",
        seed: int = 0,
    ) -> None:
        counts = {"hidden": hidden, "epochs": epochs, "patience": patience, "batch_size": batch_size}
        for name, count in counts.items():
            require(is_int(count) and count >= 1, name, "DNN", "an int >= 1", count)
        good = maps is None or (is_int(maps) and maps >= 1)
        require(good, "maps", "DNN", "an int >= 1, or None for channel means", maps)
        good = is_number(learning_rate) and learning_rate > 0
        require(good, "learning_rate", "DNN", "a number > 0", learning_rate)
        require(is_int(seed), "seed", "DNN", "an int", seed)
        self.hidden, self.epochs, self.patience, self.batch_size = hidden, epochs, patience, batch_size
        self.maps, self.learning_rate, self.layers, self.seed = maps, learning_rate, layers, seed

    @property
    def map_side(self) -> int | None:  # pyright: ignore[reportIncompatibleVariableOverride]  # `maps` decides
        """Side of the maps that features may be, beside vectors."""
        return self.maps

    @property
    def needs_images(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]  # `maps` decides
        """Whether channel means are not enough: with `maps`."""
        return self.maps is not None

    def fit(self, features: AnyFeatures, labels: Labels, *, examples: Examples | None = None) -> Self:
        """Train one network a layer on the examples; Train features only say which layers.

        Args:
            features: (n, d), or by layer; with `maps` g, a layer may be (n, c, g, g) or, in 3-D, (n, c, g, g, g).
            labels: classes (n,).
            examples: at least four cases a side, of the same layers, and of two groups a side where groups are named.

        Raises:
            InputError: there are no examples or too few, shapes do not fit, a class has one case, or features are not
                finite.
            NumericsError: training gives no finite validation loss.
        """
        layers = by_layer(features, "DNN", map_side=self.maps)
        check_fit(layers, labels, "DNN")
        z, positive = stack_examples(examples, layers, "DNN", least=4, map_side=self.maps)
        assert examples is not None  # stack_examples checks it
        held = hold_out(examples, positive, "DNN", generator=torch.Generator().manual_seed(self.seed))
        schedule = Schedule(self.hidden, self.epochs, self.patience, self.learning_rate, self.batch_size)

        def train(part: Tensor) -> SmallNet:  # every layer starts from the seed, so that it learns alike alone
            generator = torch.Generator().manual_seed(self.seed)
            return train_small_net(part, positive, held, schedule, generator=generator)

        self.nets_ = {name: train(part) for name, part in z.items()}
        return self

    def score(self, features: AnyFeatures, predicted: Labels | None = None) -> PerCase:
        """Sum over layers of the logits, (n,) in float64, differentiable; `predicted` is not used.

        Raises:
            NotFittedError: before `fit`.
            InputError: a layer is missing, or has another number of channels.
        """
        return torch.stack(list(self.layer_scores(features).values())).sum(dim=0)

    def layer_scores(self, features: AnyFeatures, predicted: Labels | None = None) -> dict[str, PerCase]:
        """The logits of each layer's network, (n,) by name."""
        self.check_fitted()
        widths = {name: len(net.mean) for name, net in self.nets_.items()}
        layers = to_score(features, widths, "DNN", map_side=self.maps)
        check_kind(layers, {name: net.weight1.dim() for name, net in self.nets_.items()}, "DNN")
        return {name: self.nets_[name](z) for name, z in layers.items()}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The networks' weights and the parameters.

        Raises:
            NotFittedError: before `fit`.
        """
        self.check_fitted()
        tensors = {f"{name}|{key}": t for name, net in self.nets_.items() for key, t in net._asdict().items()}
        layers = self.layers_as_json()
        return tensors, {**self._numbers(), "layers": layers, "fitted": list(self.nets_)}

    @classmethod
    def restore(cls, tensors: dict[str, Tensor], values: dict[str, Any]) -> Self:
        """From what `state` gave."""
        detector = cls(**{name: values[name] for name in (*cls()._numbers(), "layers")})
        detector.nets_ = {
            name: SmallNet(**{key: tensors[f"{name}|{key}"] for key in SmallNet._fields}) for name in values["fitted"]
        }
        return detector

    def _numbers(self) -> dict[str, Any]:
        return {name: value for name, value in self.get_params().items() if name != "layers"}
