"""The stress test as an experiment: each data set's own classifier, layer by layer, at each budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from medaegis._errors import require
from medaegis.attack import parse_fraction
from medaegis.data import spread
from medaegis.experiment._content import Content
from medaegis.experiment._context import Context
from medaegis.experiment._named_cushion import named_cushion
from medaegis.experiment._network_settings import Budgets, Names
from medaegis.experiment._several import SeveralSettings, classifiers_of
from medaegis.experiment._stage import Result, Stage
from medaegis.experiment._stages_cushion import behind, cushion_of, own_layer
from medaegis.experiment._stages_data import cases_at
from medaegis.experiment._stages_model import Classifier
from medaegis.measure import LayerStress, stress_test

_KEPT = LayerStress._fields[1:]


class StressSettings(SeveralSettings):
    """What the stress test is made of; every field can be set with `--set field=value`.

    Example:
        >>> StressSettings().eps
        ('1/256', '8/256')
    """

    eps: Budgets = Field(("1/256", "8/256"), description="Linf budgets; HFC-21's preprint and HFC-23, and HFC-21")
    steps: int = Field(10, ge=1, description="of BIM, each of 2 eps / steps")
    cushions: Names = Field(("none",), description="what stands before each network: none, jpeg:90, bits:3+tv:0.03 …")


class Published(NamedTuple):
    """Where one of the papers' figures belongs, in percent as the table has it."""

    dataset: str
    eps: str
    layer: str
    way: str
    metric: str
    cushion: str = "none"


@dataclass(frozen=True)
class Stressed(Stage):
    """The stress test of one classifier at one budget on images of its Test.

    Args:
        classifier: what is tested; attacks pass the Cushion that it stands behind by BPDA.
        eps: budget as text.
        n: most images, taken from the classes in turn.
        steps: of BIM.
    """

    classifier: Classifier
    eps: str
    n: int
    steps: int = 10

    @property
    def title(self) -> str:
        """What lines on the terminal call it."""
        cushion = cushion_of(self.classifier)
        return f"{self.classifier.split.images.source} {self.eps}{'' if cushion == 'none' else f' behind {cushion}'}"

    def index(self, context: Context) -> NDArray[np.int64]:
        """Which cases, as positions in the data; right or wrong, as no decision is attacked."""
        test = self.classifier.split.split(context).test
        return test[spread(self.classifier.split.images.dataset(context).labels[test], self.n)]

    def compute(self, context: Context) -> Result:
        """Lower and raise the last activation of each block."""
        x, _ = cases_at(self.classifier.split.images.dataset(context), self.index(context))
        found = stress_test(
            self.classifier.load(context),
            x,
            eps=float(parse_fraction(self.eps, "recipe")),
            steps=self.steps,
            batch_size=context.batch_size,
            progress=context.progress,
        )
        tensors = {f"{i}.{name}": getattr(one, name) for i, one in enumerate(found) for name in _KEPT}
        return Result(tensors, {"layers": [one.layer for one in found]})

    def layers(self, context: Context) -> tuple[LayerStress, ...]:
        """The stored outcome, layer by layer; a layer has the same name behind every Cushion."""
        tensors, info = context.get(self)
        names = [own_layer(self.classifier, layer) for layer in info["layers"]]
        return tuple(LayerStress(layer, *(tensors[f"{i}.{name}"] for name in _KEPT)) for i, layer in enumerate(names))


@dataclass(frozen=True)
class StressPlan:
    """The stages of the stress test; see `stress_plan`.

    Args:
        settings: what it was made from.
        classifiers: by name of the data set, without a Cushion.
        runs: by name of the data set, one stage a Cushion and budget.
        differs: what differs from the papers, and why.
        published: the papers' figures.
    """

    settings: StressSettings
    classifiers: dict[str, Classifier]
    runs: dict[str, tuple[Stressed, ...]]
    differs: tuple[str, ...] = ()
    published: Mapping[Published, float] = field(default_factory=dict[Published, float])

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What must be computed."""
        return (*self.classifiers.values(), *(run for runs in self.runs.values() for run in runs))

    @property
    def alike(self) -> tuple[tuple[str, tuple[Stressed, ...]], ...]:
        """The runs of each classifier behind each Cushion, with the name of its data set."""
        return tuple(
            (name, tuple(run for run in runs if run.classifier == classifier))
            for name, runs in self.runs.items()
            for classifier in dict.fromkeys(run.classifier for run in runs)
        )

    def collect(self, context: Context) -> Content:
        """Rows, per-case activations and facts, from stored results."""
        from medaegis.experiment._stress_content import stress_content

        return stress_content(self, context)


def stress_plan(
    settings: StressSettings,
    *,
    differs: tuple[str, ...] = (),
    published: Mapping[Published, float] | None = None,
    published_model: str = "resnet50",
) -> StressPlan:
    """Plan the stress test; the data's files are listed and hashed here, nothing long is done.

    Args:
        settings: what to do.
        differs: what differs from the papers, and why.
        published: the papers' figures; shown only where the network is the papers'.
        published_model: the papers' network.

    Raises:
        InputError: settings do not fit each other.
        DataError: data or weights cannot be used.

    Example:
        >>> small = StressSettings(sets="phantom-chest", model="small-resnet", weights=None, size=32, eps="1/256")
        >>> [run.title for run in stress_plan(small).runs["phantom-chest"]]
        ['phantom-chest 1/256']
    """
    require(len(set(settings.eps)) == len(settings.eps) > 0, "eps", "recipe", "different budgets", settings.eps)
    names = settings.cushions
    require(len(set(names)) == len(names) > 0, "cushions", "recipe", "different Cushions, or none", names)
    cushions = [named_cushion(name) for name in names]
    classifiers = classifiers_of(settings)
    runs = {
        name: tuple(
            Stressed(behind(cushion, classifier), eps, settings.images, settings.steps)
            for cushion in cushions
            for eps in settings.eps
        )
        for name, classifier in classifiers.items()
    }
    known = published if published and settings.model == published_model else {}
    return StressPlan(settings, classifiers, runs, differs, known)


def stress_totals(layers: tuple[LayerStress, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Of every layer, case and way: steps without any gradient where there was something left to move, (m,), and
    whether the activation went the way asked, (m,) bool.

    A layer that is silent already cannot be lowered, so steps without gradient count on the way down only where the
    activation ended above zero.
    """
    stuck = [torch.where(one.down > 0, one.zero_down, 0) for one in layers] + [one.zero_up for one in layers]
    right = [one.down <= one.before for one in layers] + [one.up >= one.before for one in layers]
    return torch.cat(stuck), torch.cat(right)
