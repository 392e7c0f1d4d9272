"""Volumes seen otherwise: exact values by hand."""

from __future__ import annotations

import numpy as np
import pytest

from medaegis._errors import InputError
from medaegis.data._views import halved, middle_slices


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_halves_are_means_of_eight_and_round_half_up(dtype: type) -> None:
    volumes = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (2, 1, 4, 6, 8), endpoint=True, dtype=dtype)
    by_hand = volumes.astype(np.float64).reshape(2, 1, 2, 2, 3, 2, 4, 2).mean(axis=(3, 5, 7))
    found = halved(volumes)
    assert found.dtype == dtype
    assert (found == np.floor(by_hand + 0.5)).all()


def test_odd_sides_round_up_and_a_flat_volume_stays_flat() -> None:
    found = halved(np.full((1, 1, 5, 7, 3), 201, np.uint8))
    assert found.shape == (1, 1, 3, 4, 2)
    assert (found == 201).all()


@pytest.mark.parametrize(("depth", "middle"), [(1, 0), (4, 2), (5, 2)])
def test_the_middle_slice_in_three_equal_channels(depth: int, middle: int) -> None:
    volumes = np.random.default_rng(0).integers(0, 256, (2, 1, depth, 4, 5), dtype=np.uint8)
    found = middle_slices(volumes)
    assert found.shape == (2, 3, 4, 5)
    assert (found == volumes[:, :, middle]).all()


@pytest.mark.parametrize("view", [halved, middle_slices])
def test_images_have_no_such_views(view) -> None:
    with pytest.raises(InputError, match=r"of shape \(n, c, d, h, w\)"):
        view(np.zeros((2, 3, 4, 5), np.uint8))
