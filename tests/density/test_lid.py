from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from medaegis._errors import InputError
from medaegis.density import LocalDimensionality, local_dimensionality


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def brute_force(query: np.ndarray, reference: np.ndarray, k: int) -> float:
    distances = np.sort([np.sqrt(((query - row) ** 2).sum()) for row in reference])
    near = distances[distances > 1e-7][:k]
    return -1 / np.mean([math.log(r / near[-1]) for r in near])


def test_by_hand():
    # distances 1, 2, 4 from 0: ln(1/4) + ln(2/4) + ln(4/4) = -3 ln 2
    reference = torch.tensor([[1.0], [-2.0], [4.0], [9.0]])
    found = local_dimensionality(torch.zeros(1, 1), reference, neighbours=3)
    assert found.item() == pytest.approx(1 / math.log(2), rel=1e-12)


@pytest.mark.parametrize(("m", "d", "k"), [(30, 1, 2), (100, 5, 20), (60, 300, 20), (21, 3, 20)])
def test_agrees_with_brute_force(m: int, d: int, k: int):
    reference, f = normal(m, d) * 3 + 50, normal(9, d, seed=1) * 3 + 50
    expected = [brute_force(row, reference.numpy(), k) for row in f.numpy()]
    np.testing.assert_allclose(local_dimensionality(f, reference, neighbours=k).numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("dimension", [1, 3, 12])
def test_planted_dimension(dimension: int):
    """From the centre of a ball of that dimension, turned into 40 dimensions, distances follow r^D exactly."""
    k, trials, estimates = 20, 400, []
    turn = torch.linalg.qr(normal(40, 40, seed=9)).Q[:, :dimension]
    for trial in range(trials):
        direction = torch.nn.functional.normalize(normal(60, dimension, seed=trial), dim=1)
        radius = torch.rand(60, 1, generator=torch.Generator().manual_seed(trial), dtype=torch.float64)
        ball = direction * radius ** (1 / dimension)
        estimates.append(local_dimensionality(torch.zeros(1, 40), ball @ turn.T, neighbours=k).item())
    assert np.mean(estimates) * (k - 2) / k == pytest.approx(dimension, rel=4 / math.sqrt(17 * trials))


def test_the_reference_itself_is_left_out_case_by_case():
    z = normal(40, 6)
    found = local_dimensionality(z, z)
    for i in range(40):
        others = torch.cat([z[:i], z[i + 1 :]])
        torch.testing.assert_close(found[i], local_dimensionality(z[i : i + 1], others)[0], rtol=1e-9, atol=0)


@pytest.mark.parametrize("rounding", [0.0, 1e-7])
def test_a_querys_copies_are_no_neighbours(rounding: float):
    # 1e-7 is what a network's features differ by from batch to batch in float32
    z, f = normal(40, 6), normal(1, 6, seed=1)
    with_copies = torch.cat([f * (1 + rounding), z, f.expand(5, 6)])
    found = local_dimensionality(f, with_copies)
    torch.testing.assert_close(found, local_dimensionality(f, z), rtol=1e-6, atol=0)


def test_copies_of_a_neighbour_are_neighbours():
    z = torch.tensor([[1.0], [1.0], [2.0], [8.0]])
    found = local_dimensionality(torch.zeros(1, 1), z, neighbours=3)
    assert found.item() == pytest.approx(3 / (2 * math.log(2)))


def test_neither_order_nor_other_queries_matter():
    z, f = normal(50, 4), normal(12, 4, seed=1)
    found = local_dimensionality(f, z)
    turned = local_dimensionality(f.flip(0), z[torch.randperm(50, generator=torch.Generator().manual_seed(0))])
    torch.testing.assert_close(turned.flip(0), found, rtol=1e-10, atol=0)
    for i in range(12):
        torch.testing.assert_close(local_dimensionality(f[i : i + 1], z)[0], found[i], rtol=1e-10, atol=0)


@pytest.mark.parametrize(("scale", "shift"), [(1e-20, 0.0), (1e20, 0.0), (1.0, 1e6)])
def test_neither_scale_nor_place_matters(scale: float, shift: float):
    z, f = normal(50, 4), normal(5, 4, seed=1)
    found = local_dimensionality(f * scale + shift, z * scale + shift)
    torch.testing.assert_close(found, local_dimensionality(f, z), rtol=1e-6, atol=0)


def test_a_far_case_has_a_larger_dimension():
    z = normal(100, 5)
    near, middle, far = local_dimensionality(torch.tensor([[0.0], [20.0], [1e4]]).double() * torch.ones(5), z).tolist()
    assert near < middle < far


def test_equally_far_neighbours_give_the_largest_finite_value():
    reference, f = torch.eye(25).double(), torch.zeros(1, 25, dtype=torch.float64, requires_grad=True)
    found = local_dimensionality(f, reference)
    assert found.item() == pytest.approx(1e9)
    (gradient,) = torch.autograd.grad(found.sum(), f)
    assert gradient.isfinite().all()


def test_nan_gives_nan_to_its_own_case_only():
    z, f = normal(40, 3), normal(3, 3, seed=1)
    f[1, 0] = torch.nan
    assert local_dimensionality(f, z).isnan().tolist() == [False, True, False]


def test_gradient_agrees_with_finite_differences():
    z = normal(30, 4)
    for f in (normal(5, 4, seed=1), z[:4].clone()):
        assert torch.autograd.gradcheck(lambda x: local_dimensionality(x, z, neighbours=8), (f.requires_grad_(),))


def test_too_few_neighbours_are_never_a_smaller_k():
    z = normal(20, 3)
    assert local_dimensionality(normal(2, 3, seed=1), z).isfinite().all()
    with pytest.raises(InputError, match=r"at least 20 cases .* got 19"):
        local_dimensionality(z[:1], z)
    with pytest.raises(InputError, match="got 0"):
        local_dimensionality(torch.zeros(1, 3), torch.zeros(50, 3))
    with pytest.raises(InputError, match="more than 20 cases"):
        LocalDimensionality(z)
    assert LocalDimensionality(normal(21, 3)).estimate(normal(21, 3)).isfinite().all()


@pytest.mark.parametrize("neighbours", [1, 0, 2.0, True])
def test_bad_neighbours(neighbours: object):
    with pytest.raises(InputError, match="an int >= 2"):
        local_dimensionality(normal(2, 3), normal(30, 3), neighbours=neighbours)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="an int >= 2"):
        LocalDimensionality(normal(30, 3), neighbours)  # type: ignore[arg-type]


def test_shapes_that_do_not_fit():
    with pytest.raises(InputError, match=r"\(n, 3\)"):
        local_dimensionality(normal(2, 2), normal(30, 3))
    with pytest.raises(InputError, match=r"\(m, d\)"):
        local_dimensionality(normal(2, 2), normal(30))
    with pytest.raises(InputError, match=r"\(m, d\)"):
        LocalDimensionality(normal(30))


def test_value_class_is_the_function_and_comes_back_from_a_file(tmp_path: Path):
    z, f = normal(30, 3).float(), normal(4, 3, seed=1).float()
    value = LocalDimensionality(z, 7)
    assert torch.equal(value.estimate(f), local_dimensionality(f, z, neighbours=7))
    save_file(value.tensors(), tmp_path / "lid.safetensors")
    again = LocalDimensionality.from_tensors(load_file(tmp_path / "lid.safetensors"))
    assert again.neighbours == 7
    assert torch.equal(again.estimate(f), value.estimate(f))
    assert value.to(f.double()).reference.dtype == torch.float64
