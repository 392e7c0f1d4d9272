"""The fingerprint follows contents and names, and nothing else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from medaegis._errors import DataError, InputError
from medaegis.data import fingerprint, list_cases


def tree(root: Path) -> list[Path]:
    files = [root / "a" / "1.png", root / "a" / "2.png", root / "b" / "1.png"]
    for i, file in enumerate(files):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes([i]) * 10)
    return files


def test_place_time_and_order_do_not_count(tmp_path) -> None:
    files = tree(tmp_path / "here")
    expected = fingerprint(files, tmp_path / "here")
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    there = [tmp_path / "there" / file.relative_to(tmp_path / "here") for file in files]
    os.utime(there[0], (0, 0))
    assert fingerprint(there[::-1], tmp_path / "there") == expected
    assert fingerprint([*files, files[0]], tmp_path / "here") == expected


def test_contents_names_and_their_pairing_count(tmp_path) -> None:
    files = tree(tmp_path)
    seen = {fingerprint(files, tmp_path), fingerprint(files[:2], tmp_path)}
    files[0].write_bytes(b"changed")
    seen.add(fingerprint(files, tmp_path))
    first, second = files[1].read_bytes(), files[2].read_bytes()
    files[1].write_bytes(second)
    files[2].write_bytes(first)
    seen.add(fingerprint(files, tmp_path))
    renamed = files[1].rename(tmp_path / "a" / "3.png")
    seen.add(fingerprint([files[0], renamed, files[2]], tmp_path))
    assert len(seen) == 5


def test_labels_in_a_table_count(tmp_path, make) -> None:
    make.images(tmp_path / "train_images", ["x.png", "y.png"])
    seen: set[str] = set()
    for text in ("id_code,diagnosis\nx,0\ny,1\n", "id_code,diagnosis\nx,1\ny,0\n"):
        (tmp_path / "train.csv").write_text(text)
        seen.add(fingerprint(list_cases(tmp_path).files, tmp_path))
    assert len(seen) == 2


def test_missing_and_foreign_files(tmp_path) -> None:
    with pytest.raises(DataError, match="must be readable"):
        fingerprint([tmp_path / "none.png"], tmp_path)
    with pytest.raises(InputError, match="below"):
        fingerprint([Path("/elsewhere/x.png")], tmp_path)
