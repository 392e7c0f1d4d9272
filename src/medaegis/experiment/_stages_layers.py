"""What each layer shows of an attack: detectors by layer, who pulls how hard, and which components are used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from medaegis._errors import require
from medaegis._types import Tapped
from medaegis.attack import gradient_sizes
from medaegis.data import spread
from medaegis.density import MixtureBank
from medaegis.detect import detector_class
from medaegis.experiment._context import Context
from medaegis.experiment._stage import Result, Stage
from medaegis.experiment._stages_attack import Attacked
from medaegis.experiment._stages_data import cases_at
from medaegis.experiment._stages_model import TrainFeatures, features_of
from medaegis.measure import auc
from medaegis.models import PENULTIMATE

ALONE = ("KD", "MAHA", "LID")
AUC = "AUC of {}"
SHARE = "share of the gradient"
USED = "components in use"


@dataclass(frozen=True)
class ByLayer(Stage):
    """One attack without and with HFC, layer by layer; a line is a layer's value of one measure for one variant.

    Args:
        features: Train features, on which detectors are fitted at each layer alone (HFC-23 Fig. 6).
        plain: the attack without HFC.
        hidden: the same with it.
        cases: cases on which gradients are compared, taken from the classes in turn.
        detectors: kinds of those that are fitted at each layer; they learn from normal images alone.
    """

    features: TrainFeatures
    plain: Attacked
    hidden: Attacked
    cases: int = 16
    detectors: tuple[str, ...] = ALONE[:2]

    def compute(self, context: Context) -> Result:
        """All lines, layers in the network's order."""
        assert self.hidden.bank is not None, "a plan gives the attack with HFC here"
        classifier, index = self.hidden.cases.classifier, self.hidden.cases.split(context).test
        data = classifier.split.images.dataset(context)
        clean, y = cases_at(data, index)
        images = {"clean": clean} | {
            name: context.get(attacked).tensors["x"]
            for name, attacked in (("without", self.plain), ("with", self.hidden))
        }
        model = classifier.load(context)
        passes = {name: features_of(model, x, context) for name, x in images.items()}
        lines = self._aucs(passes, [data.groups[i] for i in index], context)
        if self.hidden.substitute is None:  # else gradients and mixtures are of another network's layers
            lines += self._shares(model, images, y, context)
            lines += self._components(passes, self.hidden.bank.bank(context), y, context)
        return Result({}, {"lines": lines})

    def _aucs(self, passes: dict[str, Tapped], groups: list[str], context: Context) -> list[dict[str, Any]]:
        layers, labels = self.features.features(context)
        found: list[dict[str, Any]] = []
        for (detector, layer), scores in self._scores(layers, labels, passes).items():
            for variant in ("without", "with"):
                pair = (scores[name].numpy() for name in ("clean", variant))
                area = auc(*pair, groups=groups * 2)
                ends = {"value": 100 * area.value, "low": 100 * area.low, "high": 100 * area.high}
                found.append(_line(AUC.format(detector), layer, variant, **ends))
        return found

    def _scores(
        self, layers: dict[str, Tensor], labels: Tensor, passes: dict[str, Tapped]
    ) -> dict[tuple[str, str], dict[str, Tensor]]:
        """Scores (n,) of each pass by detectors fitted on each layer alone, by detector and layer."""
        found: dict[tuple[str, str], dict[str, Tensor]] = {}
        alone = {layer: z for layer, z in layers.items() if layer != PENULTIMATE}
        require(bool(alone), "layers", "ByLayer", "at least one activation", list(layers))
        for kind in self.detectors:
            made = detector_class(kind)
            for layer, z in alone.items():
                fitted = made(layers=[layer]).fit({layer: z}, labels)  # pyright: ignore[reportCallIssue]  # those of ALONE take layers
                found[kind, layer] = {
                    name: fitted.score({layer: tapped.features[layer]}, tapped.logits.argmax(dim=1)).double()
                    for name, tapped in passes.items()
                }
        return found

    def _shares(
        self, model: torch.nn.Module, images: dict[str, Tensor], y: Tensor, context: Context
    ) -> list[dict[str, Any]]:
        objective = self.hidden.attack(self.hidden.choice.named, context).objective
        rows = torch.as_tensor(spread(y.numpy(), self.cases))
        classes = context.get(self.hidden.cases.classifier).tensors["test_logits"].shape[1]
        found: list[dict[str, Any]] = []
        for variant, name in (("first step", "clean"), ("last step", "with")):
            sizes = gradient_sizes(
                objective, model, images[name][rows], y[rows], target=(y[rows] + 1) % classes, batch_size=8
            )
            shares = 100 * sizes.shares().nanmean(dim=0)
            for term, value in zip(sizes.names, shares.tolist(), strict=True):
                layer = term.removeprefix("HFC ") if term.startswith("HFC ") else f"own loss ({term})"
                found.append(_line(SHARE, layer, variant, value=value))
        return found

    def _components(
        self, passes: dict[str, Tapped], bank: MixtureBank, y: Tensor, context: Context
    ) -> list[dict[str, Any]]:
        """Effective number of components (HFC-21 eq. 6) that Train cases and attacked ones of each class fall to."""
        layers, labels = self.features.features(context)
        classes = context.get(self.hidden.cases.classifier).tensors["test_logits"].shape[1]
        wanted = (y + 1) % classes
        found: list[dict[str, Any]] = []
        for layer, mixtures in bank.mixtures.items():
            if max(len(m.means) for m in mixtures.values()) == 1:
                continue
            sides = {"Train": (layers[layer], labels)}
            sides |= {name: (passes[name].features[layer], wanted) for name in ("without", "with")}
            for variant, (z, side) in sides.items():
                counts = [_effective(mixtures[c].nearest(z[side == c].double()).component) for c in mixtures]
                found.append(_line(USED, layer, variant, value=sum(counts) / len(counts)))
        return found


def _effective(component: Tensor) -> float:
    """Exponential of the entropy of how often each component is chosen; 0 for no case."""
    if not len(component):
        return 0.0
    shares = torch.bincount(component).double() / len(component)
    return torch.special.entr(shares).sum().exp().item()


def _line(measure: str, layer: str, variant: str, **values: float) -> dict[str, Any]:
    return {"measure": measure, "layer": layer, "variant": variant, "low": None, "high": None, **values}
