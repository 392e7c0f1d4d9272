"""Loading whole folders: order, contents, limit, notes, mixed depths, copies, phantoms."""

from __future__ import annotations

import shutil
import warnings

import numpy as np
import pytest
from PIL import ImageFile

from medaegis._errors import InputError
from medaegis.data import DataWarning, decode_image, load_dataset, source_names


def test_every_case_is_its_own_file(tmp_path, make) -> None:
    data = load_dataset(make.two_classes(tmp_path), size=16)
    assert data.names == tuple(f"{c}/{i:02d}.png" for c in "ab" for i in range(20))
    assert data.groups == data.names
    assert data.labels.tolist() == [0] * 20 + [1] * 20
    for i in (0, 7, 39):
        assert np.array_equal(data.images[i], decode_image(tmp_path / data.names[i], size=16).pixels)


def test_patients_and_subsets_arrive(tmp_path, make) -> None:
    make.images(tmp_path / "train/NORMAL", [f"IM-01{i:02d}-0001.jpeg" for i in range(3)])
    make.images(tmp_path / "test/NORMAL", ["NORMAL2-IM-0101-0001.jpeg"])
    make.images(tmp_path / "train/PNEUMONIA", ["person1_virus_6.jpeg", "person1_virus_7.jpeg", "oddly_named.jpeg"])
    make.images(tmp_path / "test/PNEUMONIA", ["person2_virus_9.jpeg"])
    data = load_dataset(tmp_path, size=16, channels=1)
    groups = dict(zip(data.names, data.groups, strict=True))
    assert groups["train/PNEUMONIA/person1_virus_7.jpeg"] == "person1"
    assert groups["train/PNEUMONIA/oddly_named.jpeg"] == "train/PNEUMONIA/oddly_named.jpeg"
    assert groups["test/NORMAL/NORMAL2-IM-0101-0001.jpeg"] == "NORMAL2-IM-0101"
    assert [name.split("/")[0] for name in data.names] == list(data.official)


def test_limit_is_a_number_a_class_and_grows_by_adding(tmp_path, make) -> None:
    make.two_classes(tmp_path)
    few, more = (set(load_dataset(tmp_path, size=16, limit=limit).names) for limit in (4, 9))
    assert [sum(name[0] == c for name in few) for c in "ab"] == [4, 4]
    assert len(more) == 18
    assert few < more
    assert few != {f"{c}/{i:02d}.png" for c in "ab" for i in range(4)}  # not just the first ones
    with pytest.raises(InputError, match="limit"):
        load_dataset(tmp_path, limit=2)


def test_notes_name_wrong_extensions_without_a_warning(tmp_path, make) -> None:
    make.two_classes(tmp_path)
    make.image(tmp_path / "a/00.png", 99, form="JPEG")
    data = load_dataset(tmp_path, size=16)
    assert [tuple(note) for note in data.notes] == [("a/00.png", "named .png, content is JPEG")]
    assert data.skipped == ()


def test_mixed_depths_become_sixteen_bits_exactly(tmp_path, make) -> None:
    make.two_classes(tmp_path)
    deep = make.noise((20, 24), dtype=np.uint16)
    (tmp_path / "a/03.png").write_bytes(make.encode(deep, "PNG"))
    with pytest.warns(DataWarning, match="1 images of 16 bits with 39 of 8 bits"):
        data = load_dataset(tmp_path, size=20, resize=20, channels=1)
    assert data.images.dtype == np.uint16
    assert np.array_equal(data.images[3, 0], deep[:, 2:22])
    eight = decode_image(tmp_path / "a/04.png", size=20, resize=20, channels=1).pixels
    assert np.array_equal(data.images[4], eight.astype(int) * 257)
    assert np.allclose(data.tensor([4]).numpy(), eight / 255, atol=6e-8, rtol=0)


def test_sixteen_bits_throughout_need_no_warning(tmp_path, make) -> None:
    for i in range(6):
        path = tmp_path / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(make.png16(make.noise((20, 20, 3), i, np.uint16)))
    assert load_dataset(tmp_path, size=16).images.dtype == np.uint16


def test_a_copy_under_another_name_is_the_same_patient(tmp_path, make) -> None:
    make.two_classes(tmp_path)
    shutil.copy(tmp_path / "a/02.png", tmp_path / "a/15.png")
    data = load_dataset(tmp_path, size=16)
    assert data.groups[15] == data.groups[2] == "a/02.png"
    assert [tuple(note) for note in data.notes] == [("a/15.png", "same content as a/02.png: taken as one patient")]


def test_a_copy_in_another_class_is_a_contradiction(tmp_path, make) -> None:
    make.two_classes(tmp_path)
    shutil.copy(tmp_path / "a/02.png", tmp_path / "b/15.png")
    with pytest.warns(DataWarning, match=r"another class, the first \('a/02.png', 'b/15.png'\)"):
        load_dataset(tmp_path, size=16)


def test_process_settings_are_as_before(tmp_path, make) -> None:
    before = list(warnings.filters)
    load_dataset(make.two_classes(tmp_path), size=16)
    assert warnings.filters == before
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_progress_goes_to_the_error_stream_and_changes_nothing(tmp_path, make, capsys) -> None:
    make.two_classes(tmp_path)
    assert np.array_equal(load_dataset(tmp_path, progress=True).images, load_dataset(tmp_path).images)
    shown = capsys.readouterr()
    assert "reading" in shown.err
    assert shown.out == ""


@pytest.mark.parametrize("source", [name for name in source_names() if name.startswith("phantom")])
@pytest.mark.parametrize("channels", [1, 3])
def test_phantoms_load_without_a_folder(source, channels) -> None:
    deep = (8,) if source == "phantom-brain" else ()
    wanted = {"source": source, "n": 8, "size": 32, "channels": channels, "depth": deep[0] if deep else None}
    data, again = (load_dataset(None, **wanted, seed=s) for s in (1, 1))
    assert data.images.shape == (8, channels, *deep, 32, 32)
    assert sorted(set(data.labels.tolist())) == list(range(len(data.class_names)))
    assert np.array_equal(data.images, again.images)
    assert not np.array_equal(data.images, load_dataset(None, **wanted).images)


def test_phantoms_and_folders_are_not_confused(tmp_path) -> None:
    with pytest.raises(InputError, match="reads no files"):
        load_dataset(tmp_path, source="phantom-chest")
