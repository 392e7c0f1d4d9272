"""CIFAR-10 as its publisher packs it, in a small tree whose checksums stand in for the publisher's."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import CIFAR10

from medaegis._errors import DataError, InputError
from medaegis.data import detect_source, fingerprint, list_cases, load_dataset
from medaegis.experiment._stages_data import images_stage

FOLDER = "cifar-10-batches-py"
NAMES = ["airplane", "bird", "cat"]


def write(path: Path, content: object) -> str:
    path.write_bytes(pickle.dumps(content, protocol=2))
    return hashlib.md5(path.read_bytes()).hexdigest()


def batch(n: int, seed: int) -> dict:
    """Rows of 3,072 bytes: 1,024 of red, then green, then blue, each row by row."""
    rows = np.random.default_rng(seed).integers(0, 256, (n, 3072), dtype=np.uint8)
    return {"data": rows, "labels": [i % 3 for i in range(n)], "filenames": [f"{i}.png" for i in range(n)]}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two training batches of 9 images and a test batch of 6, of three classes."""
    folder = tmp_path / "data" / FOLDER
    folder.mkdir(parents=True)
    train = [[f"data_batch_{i}", write(folder / f"data_batch_{i}", batch(9, seed=i))] for i in (1, 2)]
    monkeypatch.setattr(CIFAR10, "train_list", train)
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", write(folder / "test_batch", batch(6, seed=3))]])
    digest = write(folder / "batches.meta", {"label_names": NAMES, "num_vis": 3072})
    monkeypatch.setattr(CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": digest})
    return folder.parent


def test_batches_become_images_in_their_order(root: Path) -> None:
    assert detect_source(root) == "cifar10"
    data = load_dataset(root, size=32, resize=32)
    assert data.class_names == tuple(NAMES)
    assert [data.official.count(part) for part in ("train", "test")] == [18, 6]
    assert list(data.names) == sorted(data.names)
    second = batch(9, seed=2)
    at = data.names.index(f"train/{9 + 4:06d}")  # the fifth of the second batch
    assert np.array_equal(data.images[at], second["data"][4].reshape(3, 32, 32))
    assert data.labels[at] == second["labels"][4]


def test_the_inner_folder_serves_as_root(root: Path) -> None:
    assert detect_source(root / FOLDER) == "cifar10"
    inner, outer = (load_dataset(place, size=32, resize=32) for place in (root / FOLDER, root))
    assert np.array_equal(inner.images, outer.images)


def test_every_batch_is_in_the_fingerprint(root: Path) -> None:
    listing = list_cases(root)
    assert [path.name for path in listing.files] == ["data_batch_1", "data_batch_2", "test_batch", "batches.meta"]
    assert listing.class_names == tuple(NAMES)
    assert images_stage(None, root, size=32).content == fingerprint(listing.files, root)


def test_some_classes(root: Path) -> None:
    whole, some = (load_dataset(root, size=32, resize=32, classes=names) for names in ((), ("cat", "airplane")))
    assert some.class_names == ("airplane", "cat")
    assert len(some) == 16
    for name, image, label in zip(some.names, some.images, some.labels, strict=True):
        at = whole.names.index(name)
        assert np.array_equal(image, whole.images[at])
        assert some.class_names[label] == whole.class_names[whole.labels[at]]
    with pytest.raises(InputError, match=r"at least two of \('airplane', 'bird', 'cat'\), got \('dog', 'cat'\)"):
        load_dataset(root, size=32, classes=("dog", "cat"))


def test_a_changed_batch_is_never_unpickled(root: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return pytest.fail, ("the pickle was run",)

    write(root / FOLDER / "data_batch_2", Trap())
    for call in (load_dataset, list_cases):
        with pytest.raises(DataError, match="whole and unchanged"):
            call(root)


def test_the_publishers_own_checksums_are_asked_for(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with pytest.raises(DataError, match=r"Unpack cifar-10-python\.tar\.gz again"):
        load_dataset(root)
    (root / FOLDER / "test_batch").unlink()
    with pytest.raises(DataError, match="batches of CIFAR-10"):
        list_cases(root)
