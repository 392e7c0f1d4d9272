"""Local intrinsic dimensionality by maximum likelihood, differentiable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medaegis._errors import InputError, is_int, require
from medaegis._types import Features, PerCase
from medaegis.density._kernel import COPY, by_blocks, copy_distance
from medaegis.density._lid_single import can_be_single, single_dimensionality

FLAT = 1e-9
"""Smallest mean log ratio of distances that counts; where all k neighbours are equally far, LID is 1 / FLAT."""


def local_dimensionality(features: Features, reference: Features, *, neighbours: int = 20) -> PerCase:
    """Maximum-likelihood LID, -(1/k sum_i ln(r_i / r_k))^-1 with r_i the distance to the i-th nearest neighbour.

    A reference case at a distance that is rounding (a share of 1e-12 of the reference's largest squared norm, squared)
    is the query's own copy and no neighbour; the next ones take its place, so k is always what was asked for. With the
    reference itself as `features` every case is left out of its own estimate. A case's value depends on no other
    query. Features that are NaN give NaN.

    All is done in float64, but where features and reference are both float32, as networks give them, of 32 channels or
    more and on the processor: there distances are float32 (twice as fast), and those cases whose rounding could move
    the result by more than 1e-4 of it, as beside a near duplicate, are done again in float64. A case's value is then
    within 1e-4 of float64's (1e-6 to 1e-5 as a rule), whatever the other queries. Its gradient is within 1e-3 of
    float64's norm, but where the k-th neighbour and the next are equally far to float32's rounding, a kink of LID.

    Args:
        features: f, (n, d).
        reference: where neighbours come from, (m, d); a minibatch of 100 Train cases in the papers.
        neighbours: k >= 2; 20 in the papers.

    Returns:
        (n,), float64, above 0 and at most 1e9, differentiable in `features`. For uniform data of dimension D it is
        D k / (k - 2) in the mean, since the papers divide by k although the last of the k terms is zero.

    Raises:
        InputError: `neighbours` is no int >= 2, the shapes do not fit, or a query has fewer than k reference cases that
            are not its copies.

    Source: Ma et al. 2018; HFC-23 eq. 22.

    Example:
        >>> local_dimensionality(torch.zeros(1, 1), torch.tensor([[0.0], [1.0], [2.0]]), neighbours=2)  # 2 / ln 2
        tensor([2.8854], dtype=torch.float64)
    """
    owner = "local_dimensionality"
    _check_reference(reference, neighbours, owner)
    wanted = f"(n, {reference.shape[1]}) as the reference is"
    good = features.dim() == 2 and features.shape[1] == reference.shape[1]
    require(good, "features", owner, wanted, tuple(features.shape))
    single = can_be_single(features, reference) and len(reference) >= neighbours
    return (_mostly_single if single else _double)(features, reference, neighbours)


def check_copies(reference: Features, neighbours: int) -> None:
    """Raise where `local_dimensionality` of the reference itself would: copies leave a case too few neighbours.

    Copies are about as far from the mean as each other. Only where too many cases are, distances are needed.

    Args:
        reference: (m, d).
        neighbours: k >= 2.

    Raises:
        InputError: a case has fewer than k others that are not its copies.

    Example:
        >>> check_copies(torch.tensor([[0.0], [1.0], [2.0]]), 2)
    """
    z = reference.double()
    norms = torch.linalg.vector_norm(z - z.mean(dim=0), dim=1).sort().values
    apart = 2 * COPY**0.5 * norms[-1]  # twice, for rounding
    alike = torch.searchsorted(norms, norms + apart, right=True) - torch.searchsorted(norms, norms - apart)
    if not bool(apart.isfinite()) or len(norms) - int(alike.max()) < neighbours:
        _double(reference, reference, neighbours)


def _mostly_single(features: Features, reference: Features, neighbours: int) -> PerCase:
    value, sure = single_dimensionality(features, reference, neighbours)
    if bool(sure.all()):
        return value
    # where a gradient is wanted, anew: that of what is not sure may be infinite, and 0 times it is NaN
    kept = single_dimensionality(features[sure], reference, neighbours).value if value.requires_grad else value[sure]
    again = _double(features[~sure], reference, neighbours)
    return torch.zeros_like(value).masked_scatter(sure, kept).masked_scatter(~sure, again)


def _double(features: Features, reference: Features, neighbours: int) -> PerCase:
    copy = copy_distance(reference)
    return by_blocks(features, reference, lambda squared: _estimate(squared, copy, neighbours))


def _estimate(squared: Tensor, copy: Tensor, neighbours: int) -> Tensor:
    copies = squared.detach() <= copy
    _check_enough(squared.shape[1] - copies.sum(dim=1), neighbours)
    others = squared.masked_fill(copies, torch.inf)
    farthest = others.gather(1, _place_of_kth(others, neighbours))
    logs = (others.minimum(farthest) / farthest).log()  # 0 for what is farther than the k-th, and for its ties
    return -2 / (logs.sum(dim=1) / neighbours).clamp_max(-2 * FLAT)  # half the logarithm of squares is of distances


def _place_of_kth(values: Tensor, k: int) -> Tensor:
    """Where each row's k-th smallest value is, (n, 1)."""
    values = values.detach()
    if values.device.type != "cpu":
        return values.kthvalue(k, dim=1, keepdim=True).indices
    kth = np.partition(values.numpy(), k - 1, axis=1)[:, k - 1 : k]  # several times faster than torch's selection
    return (values == torch.from_numpy(kth)).to(torch.uint8).argmax(dim=1, keepdim=True)


@dataclass(frozen=True, eq=False)
class LocalDimensionality:
    """The LID of features against one set of normal ones; see `local_dimensionality`.

    Args:
        reference: (m, d) with m above k, so that one of its own cases has k others.
        neighbours: k >= 2.

    Raises:
        InputError: `reference` is not (m, d) with m > k, or `neighbours` no int >= 2.

    Example:
        >>> LocalDimensionality(torch.tensor([[0.0], [1.0], [2.0]]), 2).estimate(torch.zeros(1, 1))
        tensor([2.8854], dtype=torch.float64)
    """

    reference: Tensor
    neighbours: int = 20

    def __post_init__(self) -> None:
        _check_reference(self.reference, self.neighbours, "LocalDimensionality")
        rule = f"of more than {self.neighbours} cases, one more than the neighbours"
        m, fix = len(self.reference), "Take fewer neighbours or more cases."
        require(m > self.neighbours, "reference", "LocalDimensionality", rule, m, fix)

    def estimate(self, features: Features) -> PerCase:
        """LID of each case, (n,), float64, differentiable in f."""
        return local_dimensionality(features, self.reference, neighbours=self.neighbours)

    def to(self, like: Tensor) -> LocalDimensionality:
        """The same with the dtype and device of `like`."""
        return LocalDimensionality(self.reference.to(like), self.neighbours)

    def tensors(self) -> dict[str, Tensor]:
        """Everything that defines it, for saving; `LocalDimensionality.from_tensors` is the way back."""
        return {"reference": self.reference, "neighbours": torch.tensor(self.neighbours)}

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor]) -> LocalDimensionality:
        """From what `tensors` gave."""
        return LocalDimensionality(tensors["reference"], int(tensors["neighbours"]))


def _check_reference(reference: Tensor, neighbours: int, owner: str) -> None:
    good = is_int(neighbours) and neighbours >= 2
    require(good, "neighbours", owner, "an int >= 2", neighbours, "The farthest of them is the unit of the others.")
    require(reference.dim() == 2 and len(reference) > 0, "reference", owner, "(m, d), m >= 1", tuple(reference.shape))


def _check_enough(others: Tensor, neighbours: int) -> None:
    """Raise unless every query has `neighbours` cases that are not its copies; `others` (n,) says how many it has."""
    if len(others) and int(others.min()) < neighbours:
        raise InputError(
            f"`reference` of local_dimensionality must hold at least {neighbours} cases (as many as neighbours) beside "
            f"the copies of a query, got {int(others.min())}. Take fewer neighbours, or more cases without duplicates."
        )
