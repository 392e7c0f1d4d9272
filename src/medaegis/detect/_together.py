"""Several detectors' scores from one pass of the network."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from medaegis._errors import is_a, require
from medaegis._types import Images, PerCase, Tapped
from medaegis.detect._detector import Detector
from medaegis.detect._examples import AnyFeatures
from medaegis.detect._features import extract
from medaegis.models import PENULTIMATE


def score_together(
    detectors: Mapping[str, Detector], model: nn.Module, images: Images, *, batch_size: int = 64
) -> dict[str, PerCase]:
    """Each detector's `score_images`, from one pass of the network for all of them.

    BU's passes are passes of the last dense layer on these features. A detector that needs more of the network than
    features (`needs_images`) is asked by itself.

    Args:
        detectors: fitted ones by any name.
        model: maps images to logits.
        images: (n, c, *space).
        batch_size: images a pass.

    Returns:
        Scores (n,) by the detectors' names; the gradient is kept where `images` asks for it.

    Raises:
        InputError: no detector, no images, or what a detector raises.
        NotFittedError: a detector is not fitted.

    Example:
        >>> import torch
        >>> from medaegis.detect import KNN, MAHA
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
        >>> x, y = torch.rand(30, 1, 4, 4), torch.arange(30) % 2
        >>> fitted = {"near": KNN(3, by_class=False).fit_images(net, x, y), "far": MAHA().fit_images(net, x, y)}
        >>> {name: len(scores) for name, scores in score_together(fitted, net, x[:5]).items()}
        {'near': 5, 'far': 5}
    """
    _check(detectors, "score_together")
    own = {name: d for name, d in detectors.items() if d.needs_images or _scores_images_itself(d)}
    shared = {name: detector for name, detector in detectors.items() if name not in own}
    found: dict[str, PerCase] = {}
    if shared:
        names = dict.fromkeys(layer for detector in shared.values() for layer in _layers(detector))
        found = score_tapped(shared, extract(model, images, tuple(names), batch_size=batch_size))
    found |= {name: detector.score_images(model, images, batch_size=batch_size) for name, detector in own.items()}
    return {name: found[name] for name in detectors}


def score_tapped(detectors: Mapping[str, Detector], tapped: Tapped) -> dict[str, PerCase]:
    """Scores (n,) by name of what one pass gave, each detector with its own layers and the network's predictions.

    Raises:
        InputError: no detector, or what a detector raises.
        NotFittedError: a detector is not fitted.

    Example:
        >>> import torch
        >>> from medaegis.detect import KNN
        >>> z = torch.tensor([[0.0], [1.0], [2.0]])
        >>> knn = KNN(1, by_class=False).fit(z, torch.zeros(3, dtype=torch.int64))
        >>> score_tapped({"near": knn}, Tapped(torch.zeros(1, 2), {"penultimate": torch.tensor([[5.0]])}))
        {'near': tensor([3.], dtype=torch.float64)}
    """
    _check(detectors, "score_tapped")
    predicted = tapped.logits.argmax(dim=1)
    return {name: d.score(_picked(d, tapped), predicted) for name, d in detectors.items()}


def _scores_images_itself(detector: Detector) -> bool:
    return type(detector).score_images is not Detector.score_images


def _picked(detector: Detector, tapped: Tapped) -> AnyFeatures:
    if not _reads_all(detector):
        return detector.pick(tapped.features)
    return {name: tapped.features[name] for name in detector.fitted_layers() if name in tapped.features}


def _layers(detector: Detector) -> tuple[str, ...]:
    """What is tapped for it: the fitted layers, since only a pass could tell all activations' names."""
    fitted = detector.fitted_layers()
    if _reads_all(detector):
        return tuple(name for name in fitted if name)
    return (PENULTIMATE,) if detector.layers == PENULTIMATE else tuple(detector.layers)


def _reads_all(detector: Detector) -> bool:
    return isinstance(detector.layers, str) and detector.layers != PENULTIMATE


def _check(detectors: Mapping[str, Detector], owner: str) -> None:
    good = len(detectors) > 0 and all(is_a(detector, Detector) for detector in detectors.values())
    require(good, "detectors", owner, "one or more detectors by name", dict(detectors))
