"""MAHA as the released code has it: no shrinkage, and an input step that goes away from the mean."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from medaegis._errors import is_number, require
from medaegis._types import Features, Images, Labels, LayerFeatures, Tapped
from medaegis.density import TiedGaussians
from medaegis.detect._features import extract
from medaegis.detect._released_data import LayerScores, ReleasedData, ReleasedScores, layer_of
from medaegis.detect._released_regression import regress_layers

MAGNITUDE = 0.0005
"""Of the released input step, in units of [0, 1]."""

HALF, WHOLE = 0.5, 1.0
"""Factor of a distance in the code that records detectors' data, and in the code that scores hidden examples."""


def unshrunk_gaussians(train: LayerFeatures, labels: Labels) -> dict[str, TiedGaussians]:
    """Class means and the pseudo-inverse of the tied covariance, by layer.

    Args:
        train: Train features by layer.
        labels: their classes.

    Example:
        >>> z = torch.tensor([[0.0], [2.0], [10.0], [12.0]])
        >>> found = unshrunk_gaussians({"a": z}, torch.tensor([0, 0, 1, 1]))["a"]
        >>> found.quadratics(torch.tensor([[3.0]], dtype=torch.float64))
        tensor([[ 4., 64.]], dtype=torch.float64)
    """
    return {name: _unshrunk(layer_of(train, name), labels.cpu()) for name in train}


def _unshrunk(z: Features, labels: Labels) -> TiedGaussians:
    classes, place = labels.unique(return_inverse=True)
    means = torch.stack([z[place == i].mean(dim=0) for i in range(len(classes))])
    centred = z - means[place]
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(z))
    kept = values > values[-1] * len(values) * torch.finfo(z.dtype).eps
    return TiedGaussians(means, vectors[:, kept] / values[kept].sqrt(), 0.0)


def plain_distances(part: Tapped, gaussians: Mapping[str, TiedGaussians]) -> Tensor:
    """Squared distance to the closest mean, one column a layer, (n, L), without a step.

    Example:
        >>> one = TiedGaussians(torch.zeros(1, 1), torch.eye(1), 0.0)
        >>> plain_distances(Tapped(torch.zeros(1, 2), {"a": torch.tensor([[3.0]])}), {"a": one})
        tensor([[9.]], dtype=torch.float64)
    """
    return torch.stack([_closest(layer_of(part, name), g) for name, g in gaussians.items()], dim=1)


def _closest(z: Features, gaussian: TiedGaussians) -> Tensor:
    return gaussian.to(z).quadratics(z).amin(dim=1)


def stepped_distances(
    model: nn.Module, images: Images, gaussians: Mapping[str, TiedGaussians], *, magnitude: float = MAGNITUDE
) -> Tensor:
    """The distances after the released input step: each pixel moves by the magnitude so that the distance GROWS.

    Each layer steps by its own gradient. Lee et al. step the other way, so that normal cases come closer. Pixels may
    leave [0, 1], as they do in the released code.

    Args:
        model: any network whose layers `gaussians` names.
        images: (n, c, *space), on the network's device.
        gaussians: by layer.
        magnitude: of the step, in units of [0, 1]; 0 steps nowhere.

    Returns:
        (n, L) in float64, on the CPU.

    Raises:
        InputError: `magnitude` is no number >= 0.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(1, 2))
        >>> origin = {"penultimate": TiedGaussians(torch.zeros(1, 1), torch.eye(1), 0.0)}
        >>> stepped_distances(net, torch.full((1, 1, 1, 1), 0.5), origin, magnitude=0.25)
        tensor([[0.5625]], dtype=torch.float64)
    """
    good = is_number(magnitude) and magnitude >= 0
    require(good, "magnitude", "stepped_distances", "a number >= 0", magnitude)
    x = images.detach().clone().requires_grad_()
    with torch.enable_grad():
        features = extract(model, x, list(gaussians), batch_size=len(x)).features
        closest = {name: _closest(features[name].double(), g) for name, g in gaussians.items()}
        slopes = {name: torch.autograd.grad(d.sum(), x, retain_graph=True)[0] for name, d in closest.items()}
    columns: list[Tensor] = []
    for name, gaussian in gaussians.items():
        moved = images.detach() + magnitude * slopes[name].sign()
        z = extract(model, moved, [name], batch_size=len(moved)).features[name]
        columns.append(_closest(z.detach().double(), gaussian).cpu())
    return torch.stack(columns, dim=1)


def released_maha(data: ReleasedData, *, generator: torch.Generator) -> ReleasedScores:
    """Distance to the closest class mean at every layer, then the released logistic regression.

    Choices, and what `MAHA` with `Combined` does instead: the tied covariance is not shrunk but inverted as a
    pseudo-inverse (ours: shrunk as held-out likelihood wants; after ReLU some directions hardly vary on Train, and
    their rounding decides; this raises the figure of attacks that leave the normal features' subspace, HFC's above
    all, and lowers that of others). The input step makes the distance grow (ours: no step). It is taken for clean
    cases and the conventional attack, and not for hidden examples, whose distance is also not halved as all others'
    are (ours: everything is scored alike; the bias has no fixed sign, as the regression was fitted to the other
    scale). For the regression see `regress_layers`.

    Args:
        data: all but `weight` is used; `distances` are those after the step.
        generator: not used.

    Example:
        >>> from medaegis.detect._released_toy import toy_data
        >>> found = released_maha(toy_data(), generator=torch.Generator())
        >>> bool(found.adversarial.mean() > found.clean.mean())
        True
    """
    gaussians = unshrunk_gaussians(data.train, data.labels)
    sets = (data.learn_clean, data.learn_adversarial, data.test_clean, data.test_adversarial)
    found = data.distances or LayerScores(*(plain_distances(part, gaussians) for part in sets))
    hidden = None if data.hidden is None else WHOLE * plain_distances(data.hidden, gaussians)
    return regress_layers(LayerScores(*(HALF * part for part in found)), hidden)
