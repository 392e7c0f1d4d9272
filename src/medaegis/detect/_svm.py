"""SVM: a case is adversarial where it lies on the adversarial examples' side of an RBF boundary."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, Self, cast

import torch
from torch import Tensor

from medaegis._errors import is_number, require
from medaegis._types import Flags, Labels, PerCase
from medaegis.detect._detector import Detector, by_layer, check_fit, to_score
from medaegis.detect._examples import AnyFeatures, Examples
from medaegis.detect._stacked import stack_examples


class Machine(NamedTuple):
    """A fitted RBF-SVM on standardised features; s support vectors, d channels.

    Attributes:
        mean: (d,) subtracted from features.
        scale: (d,) that divides them; 1 for a constant channel.
        vectors: (s, d) support vectors, standardised.
        weights: (s,) dual coefficients, positive for adversarial examples.
        intercept: () added to the kernel sum.
        gamma: () of the kernel exp(-gamma |a - b|^2).
    """

    mean: Tensor
    scale: Tensor
    vectors: Tensor
    weights: Tensor
    intercept: Tensor
    gamma: Tensor


class SVM(Detector):
    """Decision value of an RBF-SVM between normal and adversarial features, averaged over layers.

    score(z) = sum_s a_s exp(-gamma |(z - mean) / scale - v_s|^2) + b, with scikit-learn's `SVC` on standardised
    features: both sides weigh alike, gamma = 1 / (d variance). It is positive on the adversarial examples' side. Far
    from every example the kernel vanishes and the score is b: being unlike anything the SVM saw is no sign to it.

    Args:
        penalty: C of the SVM; larger follows the examples more closely.
        layers: layers of the images door; the penultimate one, the papers' choice, by default.

    Attributes:
        machines_: the fitted SVM by layer name.

    Source: Lu et al. 2017; HFC-23, "RBF-SVM". The released code leaves features unscaled and scores with the
    probabilities of Platt's cross-validation, which need not rank as the decision values do.

    Example:
        >>> from medaegis.detect import Examples
        >>> z = torch.linspace(0, 1, 20)[:, None]
        >>> svm = SVM().fit(z, torch.arange(20) % 2, examples=Examples(z, z + 3))
        >>> (svm.score(torch.tensor([[0.5], [3.5]])) > 0).tolist()
        [False, True]
    """

    learns_attacks: ClassVar[bool] = True
    fitted_attribute: ClassVar[str] = "machines_"

    def __init__(self, penalty: float = 1.0, *, layers: Any = "penultimate") -> None:
        require(is_number(penalty) and penalty > 0, "penalty", "SVM", "a number > 0", penalty)
        self.penalty, self.layers = penalty, layers

    def fit(self, features: AnyFeatures, labels: Labels, *, examples: Examples | None = None) -> Self:
        """Fit one SVM a layer on the examples; Train features only say which layers.

        Args:
            features: (n, d), or by layer.
            labels: classes (n,).
            examples: at least two cases a side, of the same layers.

        Raises:
            InputError: there are no examples, shapes do not fit, a class has one case, or features are not finite.
        """
        layers = by_layer(features, "SVM")
        check_fit(layers, labels, "SVM")
        z, positive = stack_examples(examples, layers, "SVM", least=2)
        self.machines_ = {name: _fit_machine(part, positive, self.penalty) for name, part in z.items()}
        return self

    def score(self, features: AnyFeatures, predicted: Labels | None = None) -> PerCase:
        """Mean over layers of the decision value, (n,) in float64, differentiable; `predicted` is not used.

        Raises:
            NotFittedError: before `fit`.
            InputError: a layer is missing, or has another number of channels.
        """
        return torch.stack(list(self.layer_scores(features).values())).mean(dim=0)

    def layer_scores(self, features: AnyFeatures, predicted: Labels | None = None) -> dict[str, PerCase]:
        """The decision value of each layer alone, (n,) by name."""
        self.check_fitted()
        layers = to_score(features, {name: len(m.mean) for name, m in self.machines_.items()}, "SVM")
        return {name: _decision(z, self.machines_[name]) for name, z in layers.items()}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The machines and what they were fitted with.

        Raises:
            NotFittedError: before `fit`.
        """
        self.check_fitted()
        tensors = {f"{name}|{key}": t for name, m in self.machines_.items() for key, t in m._asdict().items()}
        layers = self.layers_as_json()
        return tensors, {"penalty": self.penalty, "layers": layers, "fitted": list(self.machines_)}

    @classmethod
    def restore(cls, tensors: dict[str, Tensor], values: dict[str, Any]) -> Self:
        """From what `state` gave."""
        detector = cls(values["penalty"], layers=values["layers"])
        detector.machines_ = {
            name: Machine(**{key: tensors[f"{name}|{key}"] for key in Machine._fields}) for name in values["fitted"]
        }
        return detector


def _fit_machine(z: Tensor, positive: Flags, penalty: float) -> Machine:
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    scaler, make_svc = StandardScaler(), cast(Any, SVC)  # whose `gamma` is annotated as text only
    x = scaler.fit_transform(z.cpu().numpy())
    variance = float(x.var())
    gamma = 1 / (x.shape[1] * variance) if variance > 0 else 1.0  # scikit-learn's "scale"
    svc = make_svc(kernel="rbf", C=penalty, gamma=gamma, class_weight="balanced", random_state=0).fit(
        x, positive.cpu().numpy()
    )
    parts = (scaler.mean_, scaler.scale_, svc.support_vectors_, svc.dual_coef_[0], svc.intercept_[0], gamma)
    return Machine(*(torch.tensor(part, dtype=torch.float64, device=z.device) for part in parts))


def _decision(z: Tensor, machine: Machine) -> Tensor:
    mean, scale, vectors, weights, intercept, gamma = (part.to(z) for part in machine)
    x = (z - mean) / scale
    squares = x.square().sum(dim=1, keepdim=True) + vectors.square().sum(dim=1) - 2 * x @ vectors.T
    return (-gamma * squares).exp() @ weights + intercept
