"""What a Shield says about new images: accepted or not, at thresholds from held-out clean cases."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from medaegis._errors import is_int, require
from medaegis._types import Flags, Images, Labels, Logits, PerCase
from medaegis.defend._shield_system import Shielded, ShieldedPass, accepted
from medaegis.measure import threshold_at
from medaegis.models import frozen


class ShieldVerdict(NamedTuple):
    """What the classifier and the predicted class's Shield say about each case.

    Attributes:
        prediction: (n,) predicted class y.
        probability: (n,) of that class, by the classifier.
        logit: (n,) S_y; high for normal images of class y.
        score: (n,) -S_y; higher = more adversarial, as every score of this library.
        accepted: (n,) bool; S_y is at the threshold of class y or above.
    """

    prediction: Labels
    probability: PerCase
    logit: PerCase
    score: PerCase
    accepted: Flags


def shield_logits(system: Shielded, x: Images, *, batch_size: int = 32) -> ShieldedPass:
    """Logits of classifier and Shields for any number of images, without gradient, on the device of `x`.

    The system is in evaluation mode meanwhile and as it was afterwards.

    Raises:
        InputError: `x` is not floating point (n, c, *space), or `batch_size` is not an int >= 1.
    """
    good = x.is_floating_point() and x.dim() >= 3
    require(good, "x", "shield_logits", "floating-point images (n, c, *space) in [0, 1]", (x.dtype, tuple(x.shape)))
    require(is_int(batch_size) and batch_size >= 1, "batch_size", "shield_logits", "an int >= 1", batch_size)
    device = next((parameter.device for parameter in system.parameters()), x.device)
    with frozen(system), torch.no_grad():
        parts = [system.both(batch.to(device)) for batch in x.split(batch_size)]
    return ShieldedPass(*(torch.cat(column).to(x.device) for column in zip(*parts, strict=True)))


def shield_thresholds(shields: Logits, predicted: Labels, *, tnr: float = 0.90) -> Tensor:
    """A threshold for each class: a share `tnr` of the held-out clean cases predicted as it lies above.

    Args:
        shields: S of held-out clean cases, (n, k), none of which trained the Shields.
        predicted: (n,) their predicted classes.
        tnr: true negative rate, in (0, 1).

    Returns:
        (k,), in the precision of `shields`.

    Raises:
        InputError: a class is predicted for none of the cases, a logit is NaN, or `tnr` is out of range.

    Source: Aegis section 4.1 (90 % true negative rate).

    Example:
        >>> logits = torch.arange(11.0)[:, None].repeat(2, 2)
        >>> shield_thresholds(logits, torch.arange(22) // 11)
        tensor([1., 1.])
    """
    shaped = shields.dim() == 2 and predicted.shape == (len(shields),)
    got = (tuple(shields.shape), tuple(predicted.shape))
    require(shaped, "shields", "shield_thresholds", "(n, k), with `predicted` (n,)", got)
    found: list[float] = []
    for c in range(shields.shape[1]):
        own = shields[predicted == c, c].detach().cpu()
        fix = "Give more held-out clean cases."
        require(len(own) > 0, "predicted", "shield_thresholds", "of every class", f"no case of class {c}", fix)
        found.append(-threshold_at(-own.double().numpy(), tnr=tnr))
    return torch.tensor(found, dtype=torch.float64).to(shields)


def shield_accepts(system: Shielded, x: Images, thresholds: Tensor, *, batch_size: int = 32) -> ShieldVerdict:
    """Predict the class y of each image, and accept the image where S_y reaches its threshold.

    Args:
        system: classifier and Shields.
        x: images (n, c, *space) in [0, 1].
        thresholds: (k,) of `shield_thresholds`.
        batch_size: cases a pass.

    Raises:
        InputError: an argument has the wrong shape or type.

    Source: Aegis section 3 (inference stage).

    Example:
        >>> from torch import nn
        >>> from medaegis.defend import Shields, tap_plan
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
        >>> x = torch.rand(40, 1, 8, 8)
        >>> system = Shielded(net, Shields(tap_plan(net, x), 2))
        >>> shield_accepts(system, x, torch.tensor([-99.0, 99.0])).accepted.shape
        torch.Size([40])
    """
    k = system.shields.classes
    require(thresholds.shape == (k,), "thresholds", "shield_accepts", f"of shape ({k},)", tuple(thresholds.shape))
    logits, shields = shield_logits(system, x, batch_size=batch_size)
    predicted = logits.argmax(dim=1)
    logit = shields.gather(1, predicted[:, None])[:, 0]
    probability = logits.softmax(dim=1).amax(dim=1)
    return ShieldVerdict(predicted, probability, logit, -logit, accepted(shields, predicted, thresholds))
