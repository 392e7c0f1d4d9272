"""LID as the released code has it: ten clean cases of the detector's own data to compare with."""

from __future__ import annotations

import torch
from torch import Tensor

from medaegis._errors import require
from medaegis._types import Features, PerCase, Tapped
from medaegis.density import squared_distances
from medaegis.density._kernel import copy_distance
from medaegis.density._lid import FLAT
from medaegis.detect._released_data import LayerScores, ReleasedData, ReleasedScores, layer_of
from medaegis.detect._released_regression import regress_layers

NEIGHBOURS, BATCH, HIDDEN_BATCH = 20, 10, 100


def batch_lid(queries: Features, batch: Features, *, neighbours: int = NEIGHBOURS, drop: bool = True) -> PerCase:
    """LID of queries among one batch, with as many neighbours as it has: k = min(20, batch - 1), without a word.

    Args:
        queries: (n, d).
        batch: clean features (m, d), m >= 3.
        neighbours: k where the batch is large enough.
        drop: the nearest of the batch is no neighbour, whoever it is (the released code); False drops only a query's
            own copy, at distance 0.

    Returns:
        (n,), float64. 0 where a neighbour is at distance 0 (the logarithm of 0).

    Raises:
        InputError: the batch has fewer than three cases.

    Example:
        >>> batch_lid(torch.zeros(1, 1), torch.tensor([[0.0], [1.0], [2.0]]))  # k = 2; 2 / ln 2
        tensor([2.8854], dtype=torch.float64)
    """
    require(len(batch) >= 3, "batch", "batch_lid", "of at least three cases", len(batch))
    k = min(neighbours, len(batch) - 1)
    squared = squared_distances(queries, batch)
    near = squared.masked_fill(squared <= copy_distance(batch), 0.0).sqrt().sort(dim=1).values
    own = torch.ones(len(near), dtype=torch.bool) if drop else near[:, 0] == 0
    near = torch.where(own[:, None], near[:, 1 : k + 1], near[:, :k])
    ratios = (near / near[:, -1:]).log().mean(dim=1)
    return torch.where(near[:, 0] > 0, -1 / ratios.clamp_max(-FLAT), 0.0)


def released_lid(data: ReleasedData, *, generator: torch.Generator, twins: bool = False) -> ReleasedScores:
    """LID of every layer among a batch of ten clean cases, then the released logistic regression.

    Choices, and what `LID` with `Combined` does instead: ten cases to compare with, so that k = 20 becomes 9 (ours:
    100, and too few are an error; this makes the estimate coarser and lowers the figure). They come from the
    detectors' own data, the first ten clean cases for every query of the conventional attack, and are scored
    themselves (ours: from Train, which no detector scores). The batch of a hidden example is another one than that of
    the clean cases it is told from, the j-th for the j-th hundred (ours: one for all; the bias has no fixed sign). The
    nearest case is dropped whoever it is (ours: only a query's own copy). For the regression see `regress_layers`.

    Args:
        data: all but `labels`, `train` and `weight` is used.
        generator: on the CPU, of the order that makes batches, as the released lists of images are shuffled.
        twins: compare each ten queries with their own clean images instead, dropping exact copies alone: then an
            adversarial example, and no clean one, has its twin as a near neighbour, and any shift at all is told from
            none. This is the leak that the project's notes describe; the code that we read does not have it.

    Raises:
        InputError: fewer than three clean cases.

    Example:
        >>> from medaegis.detect._released_toy import toy_data
        >>> released_lid(toy_data(), generator=torch.Generator()).adversarial.shape
        torch.Size([30])
    """
    names = list(data.learn_clean.features)
    learn, test = (_batches(part, generator) for part in (data.learn_clean, data.test_clean))

    def score(part: Tapped, clean: Tapped, batches: list[Tensor]) -> Tensor:
        if twins:
            return torch.stack([_among_twins(layer_of(part, n), layer_of(clean, n), batches) for n in names], dim=1)
        own = [layer_of(data.learn_clean, n)[learn[0]] for n in names]
        return torch.stack([batch_lid(layer_of(part, n), z) for n, z in zip(names, own, strict=True)], dim=1)

    scores = LayerScores(
        score(data.learn_clean, data.learn_clean, learn),
        score(data.learn_adversarial, data.learn_clean, learn),
        score(data.test_clean, data.test_clean, test),
        score(data.test_adversarial, data.test_clean, test),
    )
    if data.hidden is None:
        return regress_layers(scores)
    if twins:
        return regress_layers(scores, score(data.hidden, data.test_clean, test))
    hidden, clean = data.hidden, data.learn_clean
    columns = [_in_hundreds(layer_of(hidden, name), layer_of(clean, name), learn) for name in names]
    return regress_layers(scores, torch.stack(columns, dim=1))


def _batches(clean: Tapped, generator: torch.Generator) -> list[Tensor]:
    """Rows in tens, in a drawn order; a remainder too small for neighbours joins the batch before it."""
    batches = list(torch.randperm(len(clean.logits), generator=generator).split(BATCH))
    if len(batches) > 1 and len(batches[-1]) < 3:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def _among_twins(queries: Tensor, clean: Tensor, batches: list[Tensor]) -> Tensor:
    found = torch.zeros(len(queries), dtype=torch.float64)
    for rows in batches:
        found[rows] = batch_lid(queries[rows], clean[rows], drop=False)
    return found


def _in_hundreds(queries: Tensor, clean: Tensor, batches: list[Tensor]) -> Tensor:
    """The j-th hundred of queries against the j-th ten of clean cases, round and round where there are fewer tens."""
    whole = [rows for rows in batches if len(rows) >= min(BATCH, len(clean))]
    parts = enumerate(queries.split(HIDDEN_BATCH))
    return torch.cat([batch_lid(part, clean[whole[j % len(whole)]]) for j, part in parts])
