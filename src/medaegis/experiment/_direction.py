"""Gradient direction as an experiment: how attacks move the penultimate features, on each data set's own classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from medaegis._errors import require
from medaegis.attack import Attack, bim, cw_linf, fgsm, mim, noise, parse_fraction, pgd, run_attack
from medaegis.data import spread
from medaegis.experiment._content import Content
from medaegis.experiment._context import Context
from medaegis.experiment._network_settings import Budget
from medaegis.experiment._several import SeveralSettings, classifiers_of
from medaegis.experiment._stage import Result, Stage
from medaegis.experiment._stages_data import cases_at
from medaegis.experiment._stages_model import Classifier
from medaegis.measure import closed_form_error, head_weight, value_change
from medaegis.measure._passes import clean_pass
from medaegis.models import PENULTIMATE

ATTACKS = ("FGSM", "BIM", "MIM", "PGD", "CW")
"""Those of HFC-23 Fig. 3, in its order."""
CONTROL = "Noise"
"""Random changes of the same budget: how alike changes are, and how far along the weights, without any gradient."""
SHOWN = (*ATTACKS, CONTROL)
AMONG_ATTACKS = "similarity of attacks"
AMONG_ITERATIONS = "similarity of iterations"
PAPER_STEPS = 10
_OWN_SEED = 1000


class DirectionSettings(SeveralSettings):
    """What the analysis is made of; every field can be set with `--set field=value`.

    Example:
        >>> DirectionSettings().steps
        10
    """

    eps: Budget = Field("1/256", description="Linf budget of every attack")
    steps: int = Field(10, ge=5, description="of iterated attacks; BIM is looked at after each fifth of them")


class Pair(NamedTuple):
    """Where one of the papers' similarities belongs."""

    dataset: str
    metric: str
    names: str


def iterations(steps: int) -> tuple[int, ...]:
    """After how many steps BIM is looked at: five times, the last at its end.

    Example:
        >>> iterations(10), iterations(12)
        ((2, 4, 6, 8, 10), (2, 5, 7, 10, 12))
    """
    return tuple(int(steps * part / 5 + 0.5) for part in range(1, 6))


def attacks_of(eps: float, steps: int) -> dict[str, Attack]:
    """The attacks of Fig. 3, the control and the iterates of BIM, by name.

    BIM draws nothing, so a run of fewer steps of the same size ends at the whole run's own iterate.

    Example:
        >>> list(attacks_of(1 / 256, 10))
        ['FGSM', 'BIM', 'MIM', 'PGD', 'CW', 'Noise', 'BIM 2', 'BIM 4', 'BIM 6', 'BIM 8']
    """
    loop = {name: make(eps, steps=steps) for name, make in zip(ATTACKS[1:], (bim, mim, pgd, cw_linf), strict=True)}
    parts = {f"BIM {t}": bim(eps, steps=t, step_size=2 * eps / steps) for t in iterations(steps)[:-1]}
    return {"FGSM": fgsm(eps)} | loop | {CONTROL: noise(eps)} | parts


@dataclass(frozen=True)
class Moved(Stage):
    """Changes of the penultimate features under every attack, on images of Test that the classifier gets right.

    Two classes give two targets, each with the images of the other class; more give target 0, with all other images.
    A target with fewer than two such images is left out, and the report says so.
    Each attack has random starts of its own: from the same start, CW and PGD are one and the same attack on two
    classes, since the gradients of margin and cross-entropy differ by a positive factor only (HFC-23 eq. 8).

    Args:
        classifier: what is attacked.
        eps: budget as text.
        n: most images, taken from the classes in turn.
        steps: of iterated attacks.
        seed: of random starts.
    """

    classifier: Classifier
    eps: str
    n: int
    steps: int = 10
    seed: int = 0

    @property
    def title(self) -> str:
        """What lines on the terminal call it."""
        return f"{self.classifier.split.images.source} {self.eps}"

    def compute(self, context: Context) -> Result:
        """Attack towards each target, and check the closed form of the gradient."""
        model = self.classifier.load(context)
        tensors: dict[str, Tensor] = {"weight": head_weight(model).cpu()}
        errors: list[float] = []
        possible = self._possible(len(tensors["weight"]), context)
        for target, index in possible.items():
            x, y = cases_at(self.classifier.split.images.dataset(context), index)
            wanted = torch.full_like(y, target)
            z = clean_pass(model, x, [PENULTIMATE], batch_size=context.batch_size).features[PENULTIMATE]
            device = next(model.parameters()).device
            errors.append(closed_form_error(model, z.to(device), wanted.to(device)))
            tensors[f"{target}.index"] = torch.as_tensor(index)
            attacks = attacks_of(float(parse_fraction(self.eps, "recipe")), self.steps)
            for i, (name, attack) in enumerate(attacks.items()):
                draws = torch.Generator().manual_seed(self.seed + _OWN_SEED * i)
                moved = _moved(attack, model, Aimed(x, y, wanted), draws, context)
                tensors |= {f"{target}.{name}.{key}": value for key, value in moved.items()}
        left_out = [target for target in targets_of(len(tensors["weight"])) if target not in possible]
        return Result(tensors, {"closed_form_error": errors, "targets": list(possible), "left_out": left_out})

    def _good(self, target: int, context: Context) -> NDArray[np.int64]:
        """Test images of other classes that the classifier gets right."""
        data = self.classifier.split.images.dataset(context)
        test = self.classifier.split.split(context).test
        predicted = context.get(self.classifier).tensors["test_logits"].argmax(dim=1).numpy()
        return test[(predicted == data.labels[test]) & (data.labels[test] != target)]

    def _possible(self, classes: int, context: Context) -> dict[int, NDArray[np.int64]]:
        """The images of each target that has at least two.

        Raises:
            InputError: no target has.
        """
        labels, source = self.classifier.split.images.dataset(context).labels, self.classifier.split.images.source
        good = {target: self._good(target, context) for target in targets_of(classes)}
        found = {target: index[spread(labels[index], self.n)] for target, index in good.items() if len(index) >= 2}
        rule = f"right on at least 2 test images of {source} to attack"
        fix = "Train it longer (--set epochs=N)."
        require(len(found) > 0, "classifier", "recipe", rule, max(map(len, good.values())), fix)
        return found


class Aimed(NamedTuple):
    """Images with their classes and the classes that the attacker wants."""

    x: Tensor
    y: Tensor
    target: Tensor


def _moved(
    attack: Attack, model: nn.Module, aimed: Aimed, generator: torch.Generator, context: Context
) -> dict[str, Tensor]:
    shared: dict[str, Any] = {"batch_size": context.batch_size}
    x, y, target = aimed
    made = run_attack(attack, model, x, y, target=target, generator=generator, progress=context.progress, **shared)
    kept = {"fooled": made.fooled, "stuck": made.stuck, "steps": made.steps}
    return {"change": value_change(model, x, made.x, **shared)} | kept


def targets_of(classes: int) -> tuple[int, ...]:
    """Both ways of two classes, the papers' 0 to 1 first; of more classes, target 0 as in HFC-23 Fig. 3.

    Example:
        >>> targets_of(2), targets_of(10)
        ((1, 0), (0,))
    """
    return (1, 0) if classes == 2 else (0,)


@dataclass(frozen=True)
class DirectionPlan:
    """The stages of the analysis; see `direction_plan`.

    Args:
        settings: what it was made from.
        classifiers: by name of the data set.
        runs: likewise.
        differs: what differs from the papers, and why.
        published: the papers' figures, in [-1, 1].
    """

    settings: DirectionSettings
    classifiers: dict[str, Classifier]
    runs: dict[str, Moved]
    differs: tuple[str, ...] = ()
    published: Mapping[Pair, float] = field(default_factory=dict[Pair, float])

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What must be computed."""
        return (*self.classifiers.values(), *self.runs.values())

    def collect(self, context: Context) -> Content:
        """Rows, per-case similarities, channels and facts, from stored results."""
        from medaegis.experiment._direction_content import direction_content

        return direction_content(self, context)


def direction_plan(
    settings: DirectionSettings, *, differs: tuple[str, ...] = (), published: Mapping[Pair, float] | None = None
) -> DirectionPlan:
    """Plan the analysis; the data's files are listed and hashed here, nothing long is done.

    Args:
        settings: what to do.
        differs: what differs from the papers, and why.
        published: the papers' figures; those of iterations are shown only with the papers' 10 steps, since the same
            number of steps is another moment of a longer or shorter attack.

    Raises:
        InputError: settings do not fit each other.
        DataError: data or weights cannot be used.

    Example:
        >>> small = DirectionSettings(sets="phantom-chest", model="small-resnet", weights=None, size=32)
        >>> direction_plan(small).runs["phantom-chest"].title
        'phantom-chest 1/256'
    """
    classifiers = classifiers_of(settings)
    shared = (settings.eps, settings.images, settings.steps, settings.seed)
    runs = {name: Moved(classifier, *shared) for name, classifier in classifiers.items()}
    whole = settings.steps == PAPER_STEPS
    known = {pair: v for pair, v in (published or {}).items() if whole or pair.metric != AMONG_ITERATIONS}
    return DirectionPlan(settings, classifiers, runs, differs, known)
