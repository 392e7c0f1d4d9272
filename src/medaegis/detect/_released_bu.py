"""BU as the released code has it: how much one logit varies."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from medaegis._errors import require
from medaegis._types import Features, PerCase
from medaegis.detect._released_data import ReleasedData, ReleasedScores, layer_of
from medaegis.models import PENULTIMATE

PASSES, DROPOUT, LOGIT = 50, 0.3, 0


def logit_spread(z: Features, row: Float[Tensor, " d"], *, generator: torch.Generator) -> PerCase:
    """Standard deviation of one logit over 50 passes in which each case drops its own 30 % of the features.

    Args:
        z: penultimate features (n, d).
        row: weights of the logit; its bias cancels.
        generator: on the CPU, of the masks, (n, d) a pass.

    Returns:
        (n,), float64; divided by the number of passes, not by one less.

    Example:
        >>> logit_spread(torch.zeros(2, 3), torch.ones(3), generator=torch.Generator())
        tensor([0., 0.], dtype=torch.float64)
    """
    z = z.double()
    kept = (torch.rand(z.shape, generator=generator, dtype=torch.float64) >= DROPOUT for _ in range(PASSES))
    logits = torch.stack([(z * mask / (1 - DROPOUT)) @ row.to(z) for mask in kept])
    return logits.std(dim=0, correction=0)


def released_bu(data: ReleasedData, *, generator: torch.Generator) -> ReleasedScores:
    """Standard deviation of the first class's raw logit over passes with dropout.

    Choices, and what `BU` does instead: one logit (ours: the variance summed over all logits, HFC-23 eq. 21; with two
    classes whose weights mirror each other the ranks agree, so the bias has no fixed sign; other classes' uncertainty
    is not seen). Each case draws masks of its own (ours: all share them; this adds noise to the scores, which lowers
    the figure a little). In the released VGG every dropout layer is drawn from; here the last dense layer's alone.

    Args:
        data: `weight`, `test_clean` and the scored examples are used.
        generator: on the CPU, of the masks, the clean cases' first.

    Raises:
        InputError: `data` has no weight.

    Example:
        >>> from medaegis.detect._released_toy import toy_data
        >>> released_bu(toy_data(), generator=torch.Generator()).clean.shape
        torch.Size([30])
    """
    require(data.weight is not None, "weight", "released_bu", "the weight (k, d) of the last dense layer", None)
    assert data.weight is not None
    row = data.weight[LOGIT].cpu()
    parts = (layer_of(part, PENULTIMATE) for part in (data.test_clean, data.scored))
    return ReleasedScores(*(logit_spread(z, row, generator=generator) for z in parts))
