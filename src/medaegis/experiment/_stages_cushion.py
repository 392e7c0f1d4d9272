"""A trained classifier behind a Cushion, as every other stage takes a classifier."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import ClassVar

from torch import nn

from medaegis._errors import InputError
from medaegis.attack import Preprocessed
from medaegis.defend import Backward, Cushion, cushion_from_json
from medaegis.experiment._context import Context
from medaegis.experiment._named_cushion import cushion_name
from medaegis.experiment._stage import Result, Stage
from medaegis.experiment._stages_model import Classifier, clean_figures, predict


@dataclass(frozen=True)
class Cushioned(Classifier):
    """A classifier that sees every image behind a Cushion. Make it with `behind`.

    Training is that of the classifier alone; only its Test figures are computed anew. Attacks pass the Cushion by BPDA.

    Args:
        cushion: as JSON text.
        backward: whose gradient attacks get.
    """

    cushion: str = ""
    backward: Backward = "surrogate"
    version: ClassVar[int] = Classifier.version - 1  # where training changes, so does what stands behind a Cushion

    @property
    def base(self) -> Classifier:
        """The classifier alone."""
        return Classifier(**{f.name: getattr(self, f.name) for f in fields(Classifier)})

    @property
    def inputs(self) -> tuple[Stage, ...]:
        """The classifier alone, and its split."""
        return (self.split, self.base)

    def compute(self, context: Context) -> Result:
        """Judge Test behind the Cushion."""
        data, test = self.split.images.dataset(context), self.split.split(context).test
        logits = predict(self.load(context), data.tensor(test), context)
        info = {**context.get(self.base).info, "test": clean_figures(logits, data, test)}
        return Result({"test_logits": logits}, info)

    def load(self, context: Context) -> nn.Module:
        """Cushion and network as one."""
        return Preprocessed(self.step.bpda(self.backward), self.base.load(context)).eval()

    @property
    def step(self) -> Cushion:
        """The Cushion."""
        return cushion_from_json(json.loads(self.cushion))


def cushion_of(classifier: Classifier) -> str:
    """The name of the Cushion that a classifier stands behind, "none" without one."""
    return cushion_name(classifier.step if isinstance(classifier, Cushioned) else None)


def shown_model(classifier: Classifier) -> str:
    """What tables call a classifier: its network, and the Cushion before it.

    Example:
        >>> from medaegis.defend import JPEG
        >>> from medaegis.experiment._network_settings import NetworkSettings, classifier_stage
        >>> small = classifier_stage(NetworkSettings(source="phantom-chest", model="small-resnet", weights=None))
        >>> shown_model(small), shown_model(behind(JPEG(80), small))
        ('small-resnet', 'small-resnet behind jpeg:80')
    """
    name = cushion_of(classifier)
    return classifier.model if name == "none" else f"{classifier.model} behind {name}"


def own_layer(classifier: Classifier, layer: str) -> str:
    """A layer's name in the network alone, whatever Cushion stands before it."""
    return layer.removeprefix("model.") if isinstance(classifier, Cushioned) else layer


def behind(cushion: Cushion | None, classifier: Classifier, backward: Backward = "surrogate") -> Classifier:
    """The classifier behind a Cushion; itself behind none.

    Raises:
        InputError: it stands behind one already.

    Example:
        >>> from medaegis.defend import JPEG
        >>> from medaegis.experiment._network_settings import NetworkSettings, classifier_stage
        >>> small = NetworkSettings(source="phantom-chest", model="small-resnet", weights=None, size=32)
        >>> behind(JPEG(80), classifier_stage(small)).step
        JPEG(quality=80, subsampling='4:2:0')
    """
    if cushion is None:
        return classifier
    if isinstance(classifier, Cushioned):
        raise InputError("`classifier` of behind must stand behind no Cushion yet; join them as jpeg:80+bits:3.")
    own = {f.name: getattr(classifier, f.name) for f in fields(Classifier)}
    return Cushioned(**own, cushion=json.dumps(cushion.to_json()), backward=backward)
