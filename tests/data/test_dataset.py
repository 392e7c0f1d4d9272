"""The data set as a value: what it refuses, and the exact scale of its tensor."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from medaegis._errors import InputError
from medaegis.data import Dataset


def small(dtype: type = np.uint8) -> Dataset:
    images = np.arange(3 * 2 * 2, dtype=dtype).reshape(3, 1, 2, 2)
    return Dataset(images, np.array([0, 1, 1]), ("x", "y"), ("a", "b", "c"), ("p", "p", "q"), ("", "train", "test"))


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.uint16, 65535)])
def test_tensor_reaches_exactly_zero_and_one(dtype: type, top: int) -> None:
    data = dataclasses.replace(small(), images=np.array([0, top, 51], dtype=dtype).reshape(3, 1, 1, 1))
    values = data.tensor().flatten()
    assert values.dtype == torch.float32
    assert values.tolist() == [0.0, 1.0, float(np.float32(51) / np.float32(top))]


def test_eight_bit_and_its_sixteen_bit_form_are_the_same_tensor() -> None:
    eight = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    field = {"labels": np.array([0]), "class_names": ("x",), "names": ("a",), "groups": ("a",), "official": ("",)}
    deep = Dataset(eight.astype(np.uint16) * 257, **field)
    torch.testing.assert_close(Dataset(eight, **field).tensor(), deep.tensor(), rtol=0, atol=6e-8)


@pytest.mark.parametrize("index", [[2, 0], np.array([2, 0]), np.array([True, False, True]), slice(0, 3, 2)])
def test_tensor_takes_the_chosen_cases(index: object) -> None:
    order = [0, 2] if isinstance(index, slice) or (isinstance(index, np.ndarray) and index.dtype == bool) else [2, 0]
    assert torch.equal(small().tensor(index), small().tensor()[order])


def test_tensor_is_a_copy() -> None:
    data = small()
    data.tensor().fill_(0.5)
    assert data.images.max() == 11


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("images", np.zeros((3, 1, 2, 2), np.float32)),
        ("images", np.zeros((3, 2, 2), np.uint8)),
        ("images", np.zeros((4, 1, 2, 2), np.uint8)),
        ("labels", np.array([0, 1, 2])),
        ("labels", np.array([0, -1, 1])),
        ("labels", np.array([0, 1, 1], np.int32)),
        ("names", ("a", "b", "a")),
        ("names", ("a", "b")),
        ("groups", ("p",)),
        ("official", ("", "", "exam")),
    ],
)
def test_a_broken_field_is_refused(field: str, value: object) -> None:
    with pytest.raises(InputError):
        dataclasses.replace(small(), **{field: value})
