"""Lesions: promised sizes and numbers, nothing changed elsewhere, each image by its own seed."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.ndimage import label
from torch import Tensor

from medaegis._errors import InputError
from medaegis.data import add_lesions, phantom_dataset
from medaegis.data._lesions import RADII


def flat(n: int = 1, c: int = 1, *space: int, level: float = 0.5) -> Tensor:
    return torch.full((n, c, *(space or (160, 128))), level)


def pieces(mask: Tensor) -> int:
    corners = np.ones((3,) * mask.dim())
    return label((mask > 0).numpy(), corners)[1]


@pytest.mark.parametrize("size", RADII)
def test_the_area_is_the_promised_share_of_the_shorter_side(size: str) -> None:
    low, high = (math.pi * (r * 128) ** 2 for r in RADII[size])
    masks = add_lesions(flat(20), size=size, seeds=range(20)).masks
    areas = (masks >= 0.5).flatten(1).sum(dim=1)
    # a blurred edge cuts corners, and a disc of a few pixels is counted in whole ones
    assert (areas >= 0.75 * low - 2).all()
    assert (areas <= 1.1 * high + 2).all()
    assert areas.max() > 1.2 * areas.min()  # sizes are random


def test_sizes_do_not_overlap() -> None:
    areas = [add_lesions(flat(12), size=size, seeds=range(12)).masks.flatten(1).sum(dim=1) for size in RADII]
    assert all(smaller.max() < larger.min() for smaller, larger in pairwise(areas))


@pytest.mark.parametrize(("size", "quantity"), [("tiny", 6), ("small", 1), ("small", 6), ("medium", 4), ("large", 2)])
def test_lesions_are_counted_where_there_is_room(size: str, quantity: int) -> None:
    masks = add_lesions(flat(8), size=size, quantity=quantity, seeds=range(8)).masks
    assert [pieces(mask[0]) for mask in masks] == [quantity] * 8


def test_too_many_overlap_and_are_still_painted() -> None:
    masks = add_lesions(flat(2, 1, 32, 32), size="large", quantity=12, seeds=[0, 1]).masks
    assert (masks.flatten(1) > 0).float().mean() > 0.5


def test_pixels_outside_the_mask_are_exactly_as_before_and_inside_are_changed() -> None:
    data = phantom_dataset("phantom-fundus", 6, size=96).tensor()
    before = data.clone()
    made = add_lesions(data, size="medium", quantity=3, seeds=range(6))
    assert torch.equal(data, before)
    outside = (made.masks == 0).expand_as(data)
    assert torch.equal(made.images[outside], data[outside])
    assert 0.02 < (made.masks > 0).float().mean() < 0.5
    core = (made.masks > 0.9).expand_as(data)
    assert (made.images - data)[core].abs().mean() > 0.05
    assert made.masks.amin() == 0
    assert made.masks.amax() <= 1


def test_edges_are_soft() -> None:
    x = flat(10)
    made = add_lesions(x, size="large", seeds=range(10))
    steps = (made.images.diff(dim=3)).abs().flatten(1).amax(dim=1)
    peaks = (made.images - x).abs().flatten(1).amax(dim=1)
    assert (steps < 0.5 * peaks).all()
    edge = ((made.masks > 0.05) & (made.masks < 0.95)).flatten(1).sum(dim=1)
    assert (edge > 0.3 * (made.masks >= 0.5).flatten(1).sum(dim=1)).all()


def test_shapes_are_bent_and_stretched() -> None:
    """Against the disc of equal area: how much farther the farthest pixel is."""
    ratios = []
    for mask in add_lesions(flat(20), size="large", seeds=range(20)).masks:
        rows, columns = torch.nonzero(mask[0] >= 0.5, as_tuple=True)
        places = torch.stack([rows, columns], dim=1).double()
        away = (places - places.mean(dim=0)).norm(dim=1).max()
        ratios.append(float(away / (len(places) / math.pi) ** 0.5))
    assert min(ratios) > 1.05
    assert np.mean(ratios) > 1.2
    assert max(ratios) < 2.5


def test_they_have_a_texture() -> None:
    x = flat(10)
    made = add_lesions(x, size="large", seeds=range(10))
    for image, mask in zip(made.images, made.masks, strict=True):
        inside = image[mask > 0.99]
        assert 0.005 < inside.std() < 0.15


def test_a_seed_decides_alone() -> None:
    x = phantom_dataset("phantom-chest", 4, size=64).tensor()
    seeds = [3, 2**62, 5, 3]
    together = add_lesions(x, quantity=2, seeds=seeds)
    again = add_lesions(x, quantity=2, seeds=seeds)
    assert torch.equal(together.images, again.images)
    for i in (3, 1):
        alone = add_lesions(x[i : i + 1], quantity=2, seeds=[seeds[i]])
        assert torch.equal(alone.images[0], together.images[i])
        assert torch.equal(alone.masks[0], together.masks[i])
    draws = add_lesions(x[:1].expand(10, -1, -1, -1), quantity=2, seeds=range(10)).images
    assert len({draw.numpy().tobytes() for draw in draws}) == 10


def test_global_random_states_stay() -> None:
    np.random.seed(0)  # noqa: NPY002  # the global state is what is looked at
    torch.manual_seed(0)
    before = np.random.get_state()[1].copy(), torch.random.get_rng_state()  # noqa: NPY002  # as above
    add_lesions(flat(), seeds=[1])
    assert (np.random.get_state()[1] == before[0]).all()  # noqa: NPY002  # as above
    assert torch.equal(torch.random.get_rng_state(), before[1])


@pytest.mark.parametrize("level", [0.0, 0.02, 0.5, 1.0])
def test_the_range_is_kept_and_no_level_hides_lesions(level: float) -> None:
    x = flat(6, 3, 64, 64, level=level)
    made = add_lesions(x, size="medium", quantity=2, seeds=range(6)).images
    assert made.amin() >= 0
    assert made.amax() <= 1
    assert ((made - x).abs().flatten(1).amax(dim=1) > 0.004).all()


def test_contrast_is_a_factor_of_the_change_and_leaves_the_places() -> None:
    x = flat(6, 1, 64, 64)
    weak, plain, strong = (add_lesions(x, size="large", contrast=c, seeds=range(6)) for c in (0.5, 1, 2))
    assert torch.equal(weak.masks, strong.masks)
    torch.testing.assert_close(2 * (weak.images - x), plain.images - x, rtol=0, atol=1e-6)
    moved = [(made.images - x).abs().flatten(1).mean(dim=1) for made in (plain, strong)]
    assert (moved[1] > 1.4 * moved[0]).all()
    assert torch.equal(plain.images, add_lesions(x, size="large", seeds=range(6)).images)


def test_gray_stays_gray_and_colour_gets_colour() -> None:
    chest = add_lesions(phantom_dataset("phantom-chest", 3, size=64).tensor(), seeds=range(3)).images
    assert torch.equal(chest[:, 0], chest[:, 1])
    assert torch.equal(chest[:, 0], chest[:, 2])
    fundus = phantom_dataset("phantom-fundus", 3, size=64).tensor()
    moved = (add_lesions(fundus, size="large", seeds=range(3)).images - fundus).abs().sum(dim=(2, 3))
    assert (moved[:, 0] > moved[:, 2]).all()  # red ground: red changes more than blue


def test_lesions_lie_in_the_body_and_may_leave_it_if_told() -> None:
    x = torch.zeros(40, 1, 100, 100)
    x[:, :, 20:80, 20:80] = 0.6
    x[:, :, 45:55, 45:55] = 0.0  # a dark hole of the body is part of it
    inside = add_lesions(x, size="small", quantity=2, seeds=range(40)).masks
    frame = torch.ones(100, 100, dtype=torch.bool)
    frame[18:82, 18:82] = False
    assert not (inside[..., frame] > 0).any()
    assert (inside[:, 0, 46:54, 46:54] > 0).any()
    anywhere = add_lesions(x, size="small", quantity=2, seeds=range(40), within="image").masks
    assert (anywhere[..., frame] > 0).any()


def test_lesions_lie_wholly_in_the_frame() -> None:
    """Cut lesions would be smaller: the largest in a small frame keep their volume."""
    masks = add_lesions(flat(40, 1, 48, 48), size="large", seeds=range(40)).masks
    low = math.pi * (RADII["large"][0] * 48) ** 2
    assert ((masks >= 0.5).flatten(1).sum(dim=1) > 0.85 * low).all()


def test_volumes() -> None:
    x = flat(3, 1, 32, 40, 48)
    made = add_lesions(x, size="large", quantity=2, seeds=range(3))
    assert made.masks.shape == (3, 1, 32, 40, 48)
    low, high = (2 * 4 / 3 * math.pi * (r * 32) ** 3 for r in RADII["large"])
    volumes = (made.masks >= 0.5).flatten(1).sum(dim=1)
    assert (volumes > 0.6 * low).all()
    assert (volumes < 1.1 * high).all()
    assert [pieces(mask[0]) for mask in made.masks] == [2] * 3
    assert torch.equal(made.images[made.masks == 0], x[made.masks == 0])


def test_other_precisions_and_no_images() -> None:
    x = phantom_dataset("phantom-chest", 2, size=64).tensor()
    for dtype in (torch.float64, torch.float16):
        given = x.to(dtype)
        made = add_lesions(given, seeds=[1, 2])
        assert made.images.dtype == dtype
        assert torch.equal(made.images[:, :1][made.masks == 0], given[:, :1][made.masks == 0])
    assert add_lesions(x[:0], seeds=[]).images.shape == (0, 3, 64, 64)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": "huge"}, r"`size` of add_lesions must be one of \['tiny', .*got 'huge'"),
        ({"quantity": 0}, "`quantity` of add_lesions must be an int >= 1, got 0"),
        ({"seeds": [1]}, "`seeds` of add_lesions must be one for each of 2 images, got 1"),
        ({"seeds": [1, -1]}, r"ints in \[0, 2\*\*63 - 1\], got \[-1\]"),
        ({"contrast": 0}, "`contrast` of add_lesions must be a number > 0, got 0"),
        ({"within": "lung"}, r"`within` of add_lesions must be one of \['body', 'image'\]"),
        ({"images": torch.zeros(2, 1, 40)}, "two or three dimensions"),
        ({"images": torch.zeros(2, 1, 40, 8)}, "at least 16 pixels"),
        ({"images": torch.zeros(2, 1, 40, 40, dtype=torch.uint8)}, "floating point"),
        ({"images": torch.full((2, 1, 40, 40), 1.5)}, r"in \[0, 1\].*Divide by 255"),
        ({"images": torch.full((2, 1, 40, 40), torch.nan)}, r"in \[0, 1\]"),
    ],
)
def test_errors(changes: dict[str, object], message: str) -> None:
    given = {"images": flat(2), "size": "small", "quantity": 1, "seeds": [0, 1]} | changes
    with pytest.raises(InputError, match=message):
        add_lesions(given.pop("images"), **given)
