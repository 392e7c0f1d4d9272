"""The laws of Cushions, over the one list of them."""

from __future__ import annotations

import copy
import json
import pickle
import random
from collections.abc import Generator

import numpy as np
import pytest
import torch
from torch import nn

from contracts.cushion_list import CUSHIONS, IDEMPOTENT, SHAPES, SMOOTH, images
from medaegis import InputError
from medaegis.attack import Preprocessed, bim, pgd_l2, run_attack
from medaegis.defend import Cushion, cushion_from_json

all_shapes = pytest.mark.parametrize("shape", SHAPES)
backwards = pytest.mark.parametrize("backward", ["surrogate", "identity"])
TYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


@pytest.fixture(params=CUSHIONS.values(), ids=CUSHIONS)
def cushion(request: pytest.FixtureRequest) -> Cushion:
    return request.param


@pytest.fixture
def threads() -> Generator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@all_shapes
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_images_in_range_of_the_same_kind(cushion, shape, dtype) -> None:
    x = images(shape, dtype).requires_grad_()
    made = cushion.apply(x)
    assert made.shape == x.shape
    assert made.dtype == dtype
    assert made.min() >= 0
    assert made.max() <= 1
    assert not made.requires_grad


@all_shapes
def test_it_changes_the_image_and_leaves_the_callers_tensor_alone(cushion, shape) -> None:
    x = images(shape)
    before = x.clone()
    made = cushion.apply(x)
    assert shape == "one pixel" or not torch.equal(made, x)  # one pixel has no total variation
    made.add_(1)
    cushion.bpda()(x).add_(1)
    assert torch.equal(x, before)


@all_shapes
@pytest.mark.usefixtures("threads")
def test_a_case_does_not_depend_on_its_batch_or_on_threads(cushion, shape) -> None:
    x = images(shape)
    torch.set_num_threads(1)
    made = cushion.apply(x)
    assert torch.equal(torch.cat([cushion.apply(case[None]) for case in x.flip(0)]).flip(0), made)
    torch.set_num_threads(3)
    assert torch.equal(cushion.apply(x), made)


def test_global_random_states_stay_and_results_repeat(cushion) -> None:
    x = images("colour")
    torch.manual_seed(1)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002  # is watched
    made = cushion.apply(x)
    cushion.bpda()(x.requires_grad_()).sum().backward()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.array_equal(np.random.get_state()[1], before[2])  # noqa: NPY002  # as above
    torch.manual_seed(2)
    assert torch.equal(cushion.apply(x), made)


def test_the_layout_in_memory_does_not_matter(cushion) -> None:
    x = images("colour")
    made = cushion.apply(x)
    assert torch.equal(cushion.apply(x.contiguous(memory_format=torch.channels_last)), made)
    assert torch.equal(cushion.apply(x.transpose(2, 3).contiguous().transpose(2, 3)), made)


@pytest.mark.parametrize("shape", ["volume", "colour volume"])
def test_volumes_are_taken_slice_by_slice(cushion, shape) -> None:
    x = images(shape)
    slices = [cushion.apply(x[:, :, k]) for k in range(x.shape[2])]
    assert torch.equal(cushion.apply(x), torch.stack(slices, dim=2))
    stand_ins = [cushion.bpda()(x[:, :, k]) for k in range(x.shape[2])]
    assert torch.equal(cushion.bpda()(x), torch.stack(stand_ins, dim=2))


def test_no_images(cushion) -> None:
    for shape in ((0, 3, 9, 8), (0, 1, 2, 9, 8)):
        assert cushion.apply(torch.zeros(shape)).shape == shape


@pytest.mark.parametrize("name", IDEMPOTENT)
@all_shapes
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_twice_is_once(name, shape, dtype) -> None:
    once = CUSHIONS[name].apply(images(shape, dtype))
    assert torch.equal(CUSHIONS[name].apply(once), once)


# --- the backward pass


@all_shapes
@backwards
def test_bpda_gives_the_exact_step_forward_and_a_finite_gradient_backward(cushion, shape, backward) -> None:
    for x in (images(shape), torch.zeros(SHAPES[shape]), torch.ones(SHAPES[shape])):
        x.requires_grad_()
        made = cushion.bpda(backward)(x)
        assert torch.equal(made.detach(), cushion.apply(x))
        weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
        (made * weights).sum().backward()
        assert x.grad.isfinite().all()
        assert (x.grad.flatten(1).abs().amax(dim=1) > 0.01).all()  # black, white and flat images can be attacked
        if backward == "identity":
            assert torch.equal(x.grad, weights)


def test_a_cases_gradient_does_not_depend_on_its_batch(cushion) -> None:
    x = images("colour", torch.float64)
    weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)

    def gradient(part: slice) -> torch.Tensor:
        inner = x[part].clone().requires_grad_()
        return torch.autograd.grad((cushion.bpda()(inner) * weights[part]).sum(), inner)[0]

    torch.testing.assert_close(gradient(slice(1, 2)), gradient(slice(None))[1:2], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("shape", [(1, 1, 9, 5), (1, 3, 5, 6), (1, 1, 2, 4, 3)], ids=["gray", "colour", "volume"])
def test_the_surrogates_gradient_agrees_with_finite_differences(name, shape) -> None:
    x = torch.rand(shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(CUSHIONS[name].surrogate, x, eps=1e-7, atol=1e-5, rtol=1e-4)


@backwards
@pytest.mark.parametrize("make", [bim, pgd_l2], ids=["sign", "direction"])
def test_an_attack_goes_through_it_and_is_judged_through_it(cushion, backward, make) -> None:
    x, y = images("colour"), torch.tensor([0, 1, 0])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2)).eval()
        net(x)
    result = run_attack(make(eps=0.1, steps=4), Preprocessed(cushion.bpda(backward), net), x, y, target=1 - y)
    with torch.no_grad():
        judged = net(cushion.apply(result.x))
    torch.testing.assert_close(result.logits, judged)
    assert torch.equal(result.fooled, judged.argmax(dim=1) == 1 - y)
    assert (result.x != x).flatten(1).any(dim=1).all()


# --- arguments and the stored form


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -0.01, 1.01])
def test_pixels_outside_the_range_are_refused(cushion, wrong) -> None:
    x = images("colour")
    x[1, 2, 3, 4] = wrong
    with pytest.raises(InputError, match=r"images in \[0, 1\], got (NaN|pixels from)"):
        cushion.apply(x)
    with pytest.raises(InputError, match=r"images in \[0, 1\]"):
        cushion.bpda()(x)


def test_the_rounding_of_an_interpolation_is_no_error(cushion) -> None:
    x = images("gray")
    beyond = torch.where(x == 1, 1 + 2e-7, torch.where(x == 0, -2e-7, x))
    assert torch.equal(cushion.apply(beyond), cushion.apply(x))


@pytest.mark.parametrize(
    "x",
    [torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(3, 8), torch.zeros(2, 0, 8, 8), np.zeros((2, 3, 8, 8))],
    ids=["bytes", "no space", "empty axis", "array"],
)
def test_no_images_are_refused(cushion, x) -> None:
    with pytest.raises(InputError, match="a floating-point tensor"):
        cushion.apply(x)


def test_an_unknown_backward_pass(cushion) -> None:
    with pytest.raises(InputError, match=r"`backward` of bpda must be \"surrogate\" or \"identity\", got 'none'"):
        cushion.bpda("none")


def test_json_values_give_it_back(cushion) -> None:
    again = cushion_from_json(json.loads(json.dumps(cushion.to_json())))
    assert again == cushion
    assert hash(again) == hash(cushion)
    assert repr(again) == repr(cushion)


def test_it_is_a_value(cushion) -> None:
    assert copy.deepcopy(cushion) == cushion
    assert pickle.loads(pickle.dumps(cushion)) == cushion
    others = [other for other in CUSHIONS.values() if other is not cushion]
    assert cushion not in others
    with pytest.raises(AttributeError):
        cushion.quality = 5
