"""Arrays in one .npz file: both layouts, what comes out of them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medaegis._errors import DataError
from medaegis.data import detect_source, fingerprint, list_cases, load_dataset


def gray(n: int, seed: int = 0, size: int = 20) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, size, size), dtype=np.uint8)


def labels(n: int, classes: int = 2) -> np.ndarray:
    return np.arange(n, dtype=np.uint8) % classes


def medmnist(folder: Path, **changes: np.ndarray) -> Path:
    parts = {"train": 8, "val": 4, "test": 6}
    arrays = {f"{part}_images": gray(n, seed=n) for part, n in parts.items()}
    arrays |= {f"{part}_labels": labels(n)[:, None] for part, n in parts.items()}
    np.savez(folder / "toy.npz", **(arrays | changes))
    return folder


def cifar(folder: Path, **changes: np.ndarray) -> Path:
    colour = np.random.default_rng(5).integers(0, 256, (18, 32, 32, 3), dtype=np.uint8)
    arrays = {"x_train": colour[:12], "y_train": labels(12, 3).astype(np.int64), "x_test": colour[12:]}
    arrays |= {"y_test": labels(6, 3).astype(np.int64), "class_names": np.array(["cat", "dog", "ship"])}
    np.savez(folder / "toy.npz", **(arrays | changes))
    return folder


def test_medmnist_layout(tmp_path) -> None:
    assert detect_source(medmnist(tmp_path)) == "npz"
    data = load_dataset(tmp_path, size=20, resize=20, channels=1)
    assert data.images.shape == (18, 1, 20, 20)
    assert data.class_names == ("class 0", "class 1")
    assert data.names[0] == "test/000000"
    assert list(data.names) == sorted(data.names)
    assert [data.official.count(part) for part in ("train", "val", "test")] == [8, 4, 6]
    assert np.array_equal(data.images[data.names.index("train/000003")][0], gray(8, seed=8)[3])
    assert data.labels[data.names.index("val/000001")] == 1


def test_cifar_layout_keeps_colour_in_order(tmp_path) -> None:
    data = load_dataset(cifar(tmp_path), size=32, resize=32)
    stored = np.load(tmp_path / "toy.npz")["x_test"][2]
    assert np.array_equal(data.images[2], np.moveaxis(stored, 2, 0))
    assert data.class_names == ("cat", "dog", "ship")
    one = load_dataset(tmp_path, size=32, resize=32, channels=1)
    assert one.images[2, 0, 4, 7] == round(float(stored[4, 7] @ [0.299, 0.587, 0.114]))


def test_images_are_resized_and_cropped_as_files_are(tmp_path) -> None:
    flat = np.full((6, 10, 20), 7, dtype=np.uint8)
    flat[:, :, :5] = flat[:, :, 15:] = 200  # what a centre crop leaves out
    flat[:, 0, 0] = np.arange(6)  # no two alike
    np.savez(tmp_path / "a.npz", train_images=flat, train_labels=labels(6))
    data = load_dataset(tmp_path, size=10, resize=10)
    assert data.images.shape == (6, 3, 10, 10)
    assert (data.images == 7).all()
    assert load_dataset(tmp_path, size=64).images.shape == (6, 3, 64, 64)


def test_equal_images_are_one_patient(tmp_path) -> None:
    images = gray(8)
    images[5] = images[1]
    np.savez(tmp_path / "a.npz", train_images=images, train_labels=labels(8))
    data = load_dataset(tmp_path, size=20)
    assert data.groups[5] == data.groups[1] == "train/000001"
    assert len(set(data.groups)) == 7
    assert "same content as train/000001" in data.notes[0].text


def test_a_smaller_limit_gives_a_subset(tmp_path) -> None:
    medmnist(tmp_path)
    few, more = (set(load_dataset(tmp_path, size=20, limit=n).names) for n in (3, 5))
    assert len(few) == 6
    assert few < more


def test_the_file_is_the_fingerprint(tmp_path) -> None:
    first = list_cases(medmnist(tmp_path))
    assert first.class_names == ("class 0", "class 1")
    assert first.files == (tmp_path / "toy.npz",)
    before = fingerprint(first.files, tmp_path)
    medmnist(tmp_path, train_labels=1 - labels(8))
    assert fingerprint(list_cases(tmp_path).files, tmp_path) != before


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"train_images": gray(8).astype(np.float32)}, "uint8 or uint16"),
        ({"train_images": np.zeros((8, 20, 20, 20), np.uint8)}, "For volumes"),
        ({"train_images": gray(8, size=12)}, "one shape and type"),
        ({"train_labels": np.zeros((8, 14), np.uint8)}, "Several labels"),
        ({"train_labels": labels(7)}, "one for each of 8"),
        ({"train_labels": labels(8).astype(np.float32)}, "whole numbers"),
        ({"class_names": np.array(["only"])}, "all 2 classes"),
        ({"x_train": gray(8), "y_train": labels(8)}, "must hold train_images"),
        ({"class_names": np.array([{"a": 1}, None], dtype=object)}, "plain arrays"),
        ({"train_labels": labels(8) * 0, "val_labels": labels(4) * 0, "test_labels": labels(6) // 2 * 0 + 1}, None),
    ],
)
def test_bad_arrays_are_refused(tmp_path, changes, match) -> None:
    medmnist(tmp_path, **changes)
    if match is None:
        assert load_dataset(tmp_path, size=20).labels.sum() == 6
        return
    with pytest.raises(DataError, match=match):
        load_dataset(tmp_path, size=20, source="npz")


def test_other_files_are_refused(tmp_path) -> None:
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(DataError, match=r"a\.npz must be a whole"):
        load_dataset(tmp_path, size=20)
    np.savez(tmp_path / "a.npz", other=gray(3))
    with pytest.raises(DataError, match="got other"):
        load_dataset(tmp_path, size=20)
    np.savez(tmp_path / "b.npz", other=gray(3))
    with pytest.raises(DataError, match=r"one \.npz file, got a\.npz, b\.npz"):
        load_dataset(tmp_path, size=20, source="npz")
    with pytest.raises(DataError, match="layout that is known"):
        detect_source(tmp_path)


def test_too_few_of_a_class(tmp_path) -> None:
    np.savez(tmp_path / "a.npz", train_images=gray(5), train_labels=np.array([0, 0, 0, 1, 1]))
    with pytest.raises(DataError, match="at least 3 usable images"):
        load_dataset(tmp_path, size=20)


@pytest.mark.real_data
def test_cifar_subset(real_data) -> None:
    data = load_dataset(real_data / "cifar10", size=32, resize=32)
    assert np.bincount(data.labels).tolist() == [300] * 10
    assert data.class_names[0] == "airplane"
    assert (data.official.count("train"), data.official.count("test")) == (2500, 500)


@pytest.mark.real_data
def test_volumes_of_the_real_file(real_data) -> None:
    with pytest.raises(DataError, match="For volumes, say how many slices"):
        load_dataset(real_data / "adrenal3d", size=64)
    data = load_dataset(real_data / "adrenal3d", size=64, resize=64, depth=64, limit=40)
    assert data.images.shape == (80, 1, 64, 64, 64)
    place = data.names.index(next(name for name in data.names if name.startswith("train/")))
    with np.load(real_data / "adrenal3d" / "adrenalmnist3d_64.npz") as stored:
        number = int(data.names[place].split("/")[1])
        assert np.array_equal(data.images[place, 0], stored["train_images"][number])
        assert data.labels[place] == stored["train_labels"][number, 0]
