"""float32 features and reference: within 1e-4 of float64 whatever the features, and float64 where that is not sure."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager

import pytest
import torch
from torch import Tensor

from medaegis._errors import InputError
from medaegis.density import LocalDimensionality, local_dimensionality
from medaegis.density._lid import check_copies
from medaegis.density._lid_single import WIDE, can_be_single, single_dimensionality

TOLERANCE = 1e-4
"""What the docstring of `local_dimensionality` promises."""


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def exact(f: Tensor, z: Tensor, k: int = 20) -> Tensor:
    return local_dimensionality(f.double(), z.double(), neighbours=k)


def assert_close(f: Tensor, z: Tensor, k: int = 20, rtol: float = TOLERANCE) -> None:
    found = local_dimensionality(f, z, neighbours=k)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, exact(f, z, k), rtol=rtol, atol=0, equal_nan=True)


def share_sure(f: Tensor, z: Tensor, k: int = 20) -> float:
    return single_dimensionality(f, z, k).sure.double().mean().item()


KINDS: dict[str, Callable[[int, int], Tensor]] = {
    "normal": normal,
    "rectified": lambda n, d: normal(n, d).relu(),
    "sparse": lambda n, d: normal(n, d).relu() * (normal(n, d, seed=5) > 1.6),
    "heavy tails": lambda n, d: normal(n, d).mul(2).exp(),
    "three dimensions": lambda n, d: normal(n, 3) @ normal(3, d, seed=5),
    "channels of all scales": lambda n, d: normal(n, d) * normal(1, d, seed=5).mul(3).exp(),
    "clusters": lambda n, d: normal(n, d) + 6 * (torch.arange(n) % 3)[:, None],
    "far clusters": lambda n, d: normal(n, d) + 1e3 * (torch.arange(n) % 3)[:, None],
    "binary": lambda n, d: (normal(n, d) > 0).float(),
    "large offset": lambda n, d: normal(n, d) + 1e4,
    "tiny": lambda n, d: normal(n, d) * 1e-22,
    "huge": lambda n, d: normal(n, d) * 1e22,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("d", "m"), [(WIDE, 100), (64, 600), (2048, 100)])
def test_within_the_tolerance_of_float64(kind: str, d: int, m: int):
    x = KINDS[kind](m + 300, d)
    assert_close(x[m:], x[:m])


@pytest.mark.parametrize("k", [2, 99, 100])
def test_other_numbers_of_neighbours(k: int):
    x = normal(300, 64)
    assert_close(x[100:], x[:100], k)


@pytest.mark.parametrize("kind", ["normal", "rectified", "large offset", "channels of all scales"])
def test_most_cases_are_float32_and_closer_than_promised(kind: str):
    x = KINDS[kind](400, 64)
    assert share_sure(x[100:], x[:100]) > 0.95
    assert_close(x[100:], x[:100], rtol=2e-5)
    assert not torch.equal(local_dimensionality(x[100:], x[:100]), exact(x[100:], x[:100]))  # float32 it was


@pytest.mark.parametrize("kind", ["far clusters", "tiny", "huge"])
def test_where_distances_cancel_or_overflow_the_result_is_float64s(kind: str):
    x = KINDS[kind](400, 64)
    f, z = x[100:], x[:100]
    assert share_sure(f, z) == 0
    assert torch.equal(local_dimensionality(f, z), exact(f, z))


@pytest.mark.parametrize("away", [0.0, 1e-7, 1e-5, 1e-3, 1e-2, 0.1, 1.0])
def test_near_duplicates(away: float):
    z = normal(100, 64)
    f = z[:40] * (1 + away * normal(40, 64, seed=1))
    assert_close(f, z)
    assert_close(torch.cat([f, normal(40, 64, seed=2)]), torch.cat([z, f[:20]]))
    if away < 1e-2:
        assert share_sure(f, z) == 0


def test_the_reference_itself_is_done_in_float64():
    z = normal(100, 64)
    assert torch.equal(local_dimensionality(z, z), exact(z, z))


@pytest.mark.parametrize("constant", [0.0, 1.0, 1e-30, 1e30])
def test_a_constant_layer_has_too_few_that_are_no_copies(constant: float):
    z = torch.full((60, 64), constant)
    with pytest.raises(InputError, match="got 0"):
        local_dimensionality(z, z)


def test_too_few_neighbours_are_never_a_smaller_k():
    z = normal(20, 64)
    assert_close(normal(5, 64, seed=1), z)
    with pytest.raises(InputError, match="got 19"):
        local_dimensionality(torch.cat([normal(3, 64, seed=1), z[:1]]), z)
    with pytest.raises(InputError, match="got 19"):
        local_dimensionality(normal(5, 64, seed=1), z[:19])


def test_equally_far_neighbours_give_the_largest_finite_value():
    z, f = torch.eye(64), torch.zeros(1, 64)
    torch.testing.assert_close(local_dimensionality(f, z), torch.tensor([1e9]).double())


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_nan_and_infinity_stay_in_their_own_case(bad: float):
    z, f = normal(100, 64), normal(9, 64, seed=1)
    wanted = local_dimensionality(f, z)
    f[4, 7] = bad
    found = local_dimensionality(f, z)
    assert found.isnan().tolist() == [i == 4 for i in range(9)]
    torch.testing.assert_close(found[[0, 8]], wanted[[0, 8]], rtol=TOLERANCE, atol=0)


def test_no_case():
    assert local_dimensionality(normal(0, 64), normal(100, 64)).shape == (0,)


def test_neither_order_nor_other_queries_nor_blocks_matter():
    z = normal(100, 2048)
    f = torch.cat([normal(600, 2048, seed=1), z[:5], z[:5] * 1.001])
    found = local_dimensionality(f, z)
    turned = local_dimensionality(f.flip(0), z[torch.randperm(100, generator=torch.Generator().manual_seed(0))])
    torch.testing.assert_close(turned.flip(0), found, rtol=TOLERANCE, atol=0)
    for i in (0, 1, 300, 599, 600, 604, 605, 609):
        torch.testing.assert_close(local_dimensionality(f[i : i + 1], z)[0], found[i], rtol=TOLERANCE, atol=0)


# gradients


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"binary"}))  # whose distances tie: LID has a kink there
def test_gradients_are_float64s(kind: str):
    x = KINDS[kind](400, 64)
    z, f = x[:100], torch.cat([x[100:], x[:3], x[:3] * 1.0001])
    found, wanted = gradient(f, z), gradient(f.double(), z.double())
    assert found.dtype == torch.float32
    assert found.isfinite().all()
    off = (found.double() - wanted).norm(dim=1) / wanted.norm(dim=1)
    assert off.nan_to_num(0).max() < 1e-3  # NaN where a gradient is 0: where all neighbours are equally far
    assert (found[wanted.abs().amax(dim=1) == 0] == 0).all()


def gradient(f: Tensor, z: Tensor) -> Tensor:
    leaf = f.clone().requires_grad_()
    (found,) = torch.autograd.grad(local_dimensionality(leaf, z).sum(), leaf)
    return found


def test_a_wanted_gradient_moves_no_value():
    x = torch.cat([normal(300, 64), normal(100, 64)[:5]])
    z, f = x[:100], x[100:]
    torch.testing.assert_close(
        local_dimensionality(f.requires_grad_(), z).detach(), exact(f.detach(), z), rtol=TOLERANCE, atol=0
    )


# when


@contextmanager
def coarse_products():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("around", [coarse_products, lambda: torch.autocast("cpu")])
def test_coarse_products_of_the_network_do_not_reach_distances(around: Callable[[], AbstractContextManager[None]]):
    x = normal(300, 64)
    with around():
        assert not can_be_single(x, x)
        found = local_dimensionality(x[100:], x[:100])
    assert torch.equal(found, exact(x[100:], x[:100]))


@pytest.mark.parametrize(
    ("features", "reference"),
    [(torch.float64, torch.float32), (torch.float32, torch.float64), (torch.float16, torch.float16)],
)
def test_other_precisions_are_float64(features: torch.dtype, reference: torch.dtype):
    f, z = normal(50, 64, seed=1).to(features), normal(100, 64).to(reference)
    assert torch.equal(local_dimensionality(f, z), exact(f, z))


def test_narrow_layers_are_float64():
    f, z = normal(50, WIDE - 1, seed=1), normal(100, WIDE - 1)
    assert torch.equal(local_dimensionality(f, z), exact(f, z))


def test_the_value_class_keeps_the_precision_of_its_reference():
    z, f = normal(100, 64), normal(9, 64, seed=1)
    value = LocalDimensionality.from_tensors(LocalDimensionality(z).tensors())
    assert value.reference.dtype == torch.float32
    assert torch.equal(value.estimate(f), local_dimensionality(f, z))


# copies in the reference


def copies(z: Tensor, number: int, rounding: float = 0.0) -> Tensor:
    return torch.cat([z, z[:1].expand(number, -1) * (1 + rounding)])


@pytest.mark.parametrize(
    "reference",
    [
        copies(normal(20, 64), 30),
        copies(normal(20, 3).double(), 30),
        copies(normal(20, 64), 30, 1e-7),
        torch.ones(50, 64),
        torch.eye(2).repeat(18, 1),
        normal(50, 3).double() * 1e200,  # squares overflow: no distance is told from rounding
    ],
)
def test_copies_are_told_as_by_the_estimate(reference: Tensor):
    with pytest.raises(InputError) as wanted:
        exact(reference, reference)
    with pytest.raises(InputError) as found:
        check_copies(reference, 20)
    assert str(found.value) == str(wanted.value)


@pytest.mark.parametrize("reference", [copies(normal(21, 64), 30), torch.eye(64), normal(21, 64), normal(100, 1)])
def test_equal_norms_are_no_copies(reference: Tensor):
    check_copies(reference, 20)
    assert exact(reference, reference).isfinite().all()
