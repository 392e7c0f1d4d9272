"""The guard's decision about each image, which does not depend on what else is in its batch."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from medaegis._types import Flags, Images, Labels, Logits, PerCase
from medaegis.defend._shield_system import Shielded, ShieldedPass, accepted
from medaegis.models import frozen

CLOSE = 1e-3
"""A case this near to a boundary, relative to 1 + the size of the numbers compared, is judged again by itself: some
hundred times what float32 rounding moves them between batches."""


class AegisVerdict(NamedTuple):
    """What a guard says about each image.

    Attributes:
        prediction: (n,) predicted class y.
        probability: (n,) of that class, by the classifier behind its Cushion.
        accepted: (n,) bool; the Shield of class y is at its threshold or above.
        score: (n,) -S_y; higher = more adversarial, as every score of this library. Accepted where it is at most
            minus the threshold of class y.
    """

    prediction: Labels
    probability: PerCase
    accepted: Flags
    score: PerCase


def judge(system: Shielded, x: Images, thresholds: Tensor, *, batch_size: int) -> AegisVerdict:
    """Predict and accept images, each as if it had come alone.

    Images go through in batches, one pass of the classifier for logits and maps. Rounding differs a little between
    batches, so those whose decision is close (`close_calls`) are passed again one by one, and decided by that.

    Args:
        system: the classifier behind its Cushion, with its Shields.
        x: images (n, c, *space) in [0, 1], n >= 1.
        thresholds: (k,) of S.
        batch_size: images a pass.
    """
    logits, shields = passes(system, x, batch_size)
    if batch_size > 1:
        again = close_calls(logits, shields, thresholds).nonzero()[:, 0]
        if len(again):
            logits[again], shields[again] = passes(system, x[again.to(x.device)], 1)
    predicted = logits.argmax(dim=1)
    score = -shields.gather(1, predicted[:, None])[:, 0]
    probability = logits.softmax(dim=1).amax(dim=1)
    verdict = AegisVerdict(predicted, probability, accepted(shields, predicted, thresholds), score)
    return AegisVerdict(*(column.to(x.device) for column in verdict))


def passes(system: Shielded, x: Images, batch_size: int) -> ShieldedPass:
    """Logits of classifier and Shields, without gradient, on the system's device; its mode stays as it was.

    Every batch is a fresh tensor in the plain memory layout, since kernels, and so rounding, depend on the layout.
    """
    parameter = next(system.shields.parameters())
    with frozen(system), torch.no_grad():
        parts = [
            system.both(batch.to(parameter).clone(memory_format=torch.contiguous_format))
            for batch in x.split(batch_size)
        ]
    return ShieldedPass(*(torch.cat(column) for column in zip(*parts, strict=True)))


def close_calls(logits: Logits, shields: Logits, thresholds: Tensor) -> Flags:
    """(n,) bool: the two best classes, or the Shield and its threshold, nearly tie.

    Where two classes nearly tie, either's Shield may be the one that decides.

    Example:
        >>> logits, thresholds = torch.tensor([[0.0, 9.0], [5.0, 5.0], [9.0, 0.0]]), torch.tensor([1.0, 2.0])
        >>> close_calls(logits, torch.tensor([[0.0, 7.0], [0.0, 7.0], [1.0001, 7.0]]), thresholds).tolist()
        [False, True, True]
    """
    best = logits.topk(2, dim=1).values
    tie = best[:, 0] - best[:, 1] <= CLOSE * (1 + logits.abs().amax(dim=1))
    predicted = logits.argmax(dim=1)
    own, limit = shields.gather(1, predicted[:, None])[:, 0], thresholds.to(shields)[predicted]
    return tie | ((own - limit).abs() <= CLOSE * (1 + limit.abs()))
