"""Each source's layout: labels, patients, official subsets, and what is left alone."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from medaegis._errors import DataError, InputError
from medaegis.data import Listing, detect_source, list_cases, load_dataset, source_names
from medaegis.data._source_kermany import patient_of
from medaegis.experiment import Context, Store
from medaegis.experiment._stages_data import images_stage


def table(listing: Listing, root: Path) -> dict[str, tuple[int, str, str]]:
    return {case.path.relative_to(root).as_posix(): (case.label, case.group, case.official) for case in listing.cases}


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"not opened by a listing")
    return root


# --- Kermany --------------------------------------------------------------------------------------------------------

# Names as they come in the Kaggle archive and in the original deposit.
PATIENTS = {
    "person1000_bacteria_2931.jpeg": "person1000",
    "person1_virus_6.jpeg": "person1",
    "IM-0115-0001.jpeg": "IM-0115",
    "IM-0429-0001-0002.jpeg": "IM-0429",
    "NORMAL2-IM-0381-0001.jpeg": "NORMAL2-IM-0381",
    "NORMAL2-IM-1103-0001-0002.jpeg": "NORMAL2-IM-1103",
    "VIRUS-1234-0001.jpeg": "",
    "scan.jpeg": "",
}


@pytest.mark.parametrize(("name", "patient"), PATIENTS.items())
def test_kermany_patient(name: str, patient: str) -> None:
    assert patient_of(name) == patient


def test_kermany_kaggle_tree(tmp_path) -> None:
    touch(
        tmp_path,
        "train/NORMAL/IM-0115-0001.jpeg",
        "train/PNEUMONIA/person1000_bacteria_2931.jpeg",
        "val/NORMAL/NORMAL2-IM-1427-0001.jpeg",
        "val/PNEUMONIA/person1946_bacteria_4874.jpeg",
        "test/NORMAL/IM-0001-0001.JPEG",
        "test/PNEUMONIA/person1_virus_6.jpeg",
        "chest_xray/train/NORMAL/IM-0115-0001.jpeg",  # the archive holds everything twice
        "__MACOSX/train/NORMAL/._IM-0115-0001.jpeg",
        "train/NORMAL/.DS_Store",
    )
    assert detect_source(tmp_path) == "kermany"
    listing = list_cases(tmp_path)
    assert listing.class_names == ("NORMAL", "PNEUMONIA")
    assert table(listing, tmp_path) == {
        "test/NORMAL/IM-0001-0001.JPEG": (0, "IM-0001", "test"),
        "test/PNEUMONIA/person1_virus_6.jpeg": (1, "person1", "test"),
        "train/NORMAL/IM-0115-0001.jpeg": (0, "IM-0115", "train"),
        "train/PNEUMONIA/person1000_bacteria_2931.jpeg": (1, "person1000", "train"),
        "val/NORMAL/NORMAL2-IM-1427-0001.jpeg": (0, "NORMAL2-IM-1427", "val"),
        "val/PNEUMONIA/person1946_bacteria_4874.jpeg": (1, "person1946", "val"),
    }


def test_kermany_flat_tree(tmp_path) -> None:
    touch(tmp_path, "NORMAL/IM-0117-0001.jpg", "PNEUMONIA/person1003_virus_1685.jpg", "index.csv")
    assert detect_source(tmp_path) == "kermany"
    assert [case.official for case in list_cases(tmp_path).cases] == ["", ""]


def test_kermany_without_a_class_folder_says_so(tmp_path) -> None:
    touch(tmp_path, "train/NORMAL/IM-0117-0001.jpg")
    with pytest.raises(DataError, match=r"NORMAL and PNEUMONIA .* got \['NORMAL'\]"):
        list_cases(tmp_path, source="kermany")


def test_grades_of_a_source_without_grades_are_refused(tmp_path) -> None:
    touch(tmp_path, "NORMAL/IM-0117-0001.jpg", "PNEUMONIA/person1003_virus_1685.jpg")
    with pytest.raises(InputError, match="has no grades"):
        list_cases(tmp_path, labels="grades")


# --- APTOS ----------------------------------------------------------------------------------------------------------


def aptos(root: Path, text: str, folder: str = "train_images/", codes: str = "abcde") -> Path:
    touch(root, *(f"{folder}{code}.png" for code in codes))
    (root / "train.csv").write_text(text)
    return root


APTOS = "id_code,diagnosis\na,0\nb,1\nc,2\nd,3\ne,4\n"


@pytest.mark.parametrize("folder", ["train_images/", ""])
@pytest.mark.parametrize(("kind", "expected"), [("binary", [0, 1, 1, 1, 1]), ("grades", [0, 1, 2, 3, 4])])
def test_aptos_labels(tmp_path, folder, kind, expected) -> None:
    aptos(tmp_path, APTOS, folder)
    assert detect_source(tmp_path) == "aptos"
    listing = list_cases(tmp_path, labels=kind)
    assert [case.label for case in listing.cases] == expected
    assert len(listing.class_names) == max(expected) + 1
    assert listing.tables == (tmp_path / "train.csv",)


def test_aptos_takes_a_table_from_a_spreadsheet(tmp_path) -> None:
    aptos(tmp_path, "\ufeff diagnosis , note,id_code \r\n0,x,a.png\r\n\r\n4,y,e\r\n")
    assert [(c.path.stem, c.label) for c in list_cases(tmp_path).cases] == [("a", 0), ("e", 1)]


def test_aptos_missing_image_is_skipped_by_name(tmp_path) -> None:
    listing = list_cases(aptos(tmp_path, APTOS, codes="abde"))
    assert [case.path.stem for case in listing.cases] == ["a", "b", "d", "e"]
    assert [(s.name, "line 4" in s.reason) for s in listing.skipped] == [("c", True)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id_code,grade\na,0\n", r"\['diagnosis'\] missing.*'grade'"),
        ("id_code;diagnosis\na;0\n", "separated by commas"),
        ("", "columns id_code and diagnosis"),
        ("id_code,diagnosis\na,5\n", "0 to 4, got '5' in line 2"),
        ("id_code,diagnosis\na,-1\n", "0 to 4, got '-1'"),
        ("id_code,diagnosis\na,1.0\n", "0 to 4, got '1.0'"),
        ("id_code,diagnosis\na,\n", "0 to 4, got ''"),
        ("id_code,diagnosis\na\n", "0 to 4, got ''"),
        ("id_code,diagnosis\na,0\nb,1\na,1\n", "'a' in lines 2 and 4"),
    ],
)
def test_aptos_broken_table(tmp_path, text, message) -> None:
    with pytest.raises(DataError, match=message) as caught:
        list_cases(aptos(tmp_path, text))
    assert str(tmp_path / "train.csv") in str(caught.value)


def test_aptos_table_in_another_encoding(tmp_path) -> None:
    aptos(tmp_path, "")
    (tmp_path / "train.csv").write_bytes("id_code,diagnosis\nä,0\n".encode("utf-16"))
    with pytest.raises(DataError, match="UTF-8"):
        list_cases(tmp_path)


def test_aptos_without_table(tmp_path) -> None:
    with pytest.raises(DataError, match=r"must hold train\.csv"):
        list_cases(touch(tmp_path, "train_images/a.png"), source="aptos")


# --- folders --------------------------------------------------------------------------------------------------------


def test_graded_folders(tmp_path) -> None:
    touch(tmp_path, "0/train_IDRiD_001.jpg", "1/test_IDRiD_002.jpg", "4/IDRiD_003.jpg")
    assert detect_source(tmp_path) == "graded"
    assert table(list_cases(tmp_path), tmp_path) == {
        "0/train_IDRiD_001.jpg": (0, "", "train"),
        "1/test_IDRiD_002.jpg": (1, "", "test"),
        "4/IDRiD_003.jpg": (1, "", ""),
    }
    assert [case.label for case in list_cases(tmp_path, labels="grades").cases] == [0, 1, 4]


def test_graded_with_another_folder(tmp_path) -> None:
    with pytest.raises(DataError, match=r"got \['5'\]"):
        list_cases(touch(tmp_path, "0/a.jpg", "5/b.jpg"), source="graded")


def test_folder_takes_nested_images_and_leaves_junk(tmp_path) -> None:
    touch(
        tmp_path, "well/a.PNG", "well/deep/er/b.TIFF", "ill/c.Jpg", "ill/Thumbs.db", "ill/.hidden.png", "ill/notes.txt",
        "ill/.cache/d.png", "__MACOSX/well/e.png", ".git/f.png", "readme.md",
    )  # fmt: skip
    assert detect_source(tmp_path) == "folder"
    listing = list_cases(tmp_path)
    assert listing.class_names == ("ill", "well")
    assert table(listing, tmp_path) == {
        "ill/c.Jpg": (0, "", ""),
        "well/a.PNG": (1, "", ""),
        "well/deep/er/b.TIFF": (1, "", ""),
    }


def test_folder_below_train_and_test(tmp_path) -> None:
    touch(tmp_path, "train/x/1.png", "train/y/2.png", "validation/x/3.png", "test/y/4.png")
    listing = list_cases(tmp_path)
    assert listing.class_names == ("x", "y")
    assert {c.path.stem: (c.label, c.official) for c in listing.cases} == {
        "1": (0, "train"), "2": (1, "train"), "3": (0, "val"), "4": (1, "test"),
    }  # fmt: skip


def test_linked_folders_end_and_count_once(tmp_path) -> None:
    touch(tmp_path, "x/1.png", "y/2.png", "store/3.png")
    outside = touch(tmp_path / "elsewhere", "4.png")
    root = tmp_path / "root"
    root.mkdir()
    for name in "xy":
        (root / name).symlink_to(tmp_path / name)  # class folders may be links
    (tmp_path / "x" / "up").symlink_to(tmp_path / "x")  # a loop
    (tmp_path / "x" / "self").symlink_to(tmp_path / "x" / "self")  # a link to itself
    (tmp_path / "x" / "self.png").symlink_to(tmp_path / "x" / "self.png")
    (tmp_path / "y" / "more").symlink_to(outside)
    names = [case.path.relative_to(root).as_posix() for case in list_cases(root).cases]
    assert names == ["x/1.png", "x/self.png", "y/2.png", "y/more/4.png"]


def test_one_class_folder_only(tmp_path) -> None:
    with pytest.raises(DataError, match=r"at least two classes, got \['x'\]"):
        list_cases(touch(tmp_path, "x/1.png"), source="folder")


# --- roots ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [detect_source, list_cases])
def test_a_root_that_is_none(tmp_path, call) -> None:
    with pytest.raises(DataError, match="nothing there"):
        call(tmp_path / "none")
    with pytest.raises(DataError, match="a file"):
        call(touch(tmp_path, "file.zip") / "file.zip")


@pytest.mark.parametrize("names", [(), ("1.png", "2.png"), ("chest_xray/NORMAL/1.png",)])
def test_a_layout_that_is_not_known_shows_what_is_there(tmp_path, names) -> None:
    touch(tmp_path, *names)
    with pytest.raises(DataError, match=names[0].split("/")[0] if names else "an empty folder"):
        detect_source(tmp_path)


def test_unreadable_folder(tmp_path, monkeypatch) -> None:
    touch(tmp_path, "x/1.png", "y/2.png")
    scandir = os.scandir

    def guarded(path):
        if Path(path).name == "y":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(DataError, match=r"y must be readable, got: Permission denied"):
        list_cases(tmp_path, source="folder")


def test_names_of_sources_are_taken(tmp_path) -> None:
    assert source_names() == (
        *("volumes", "aptos", "kermany", "cifar10", "graded", "folder", "npz"),
        *("phantom-fundus", "phantom-chest", "phantom-brain"),
    )
    with pytest.raises(InputError, match="source"):
        list_cases(tmp_path, source="kermani")


# --- some of many classes -------------------------------------------------------------------------------------------


def many(root: Path, make, classes: int = 30, n: int = 6) -> Path:
    """A tree as of ImageNet: train/ and val/, a folder a class, named by numbers."""
    for i in range(classes):
        name = f"n{1440764 + 7 * i:08d}"
        make.images(root / "train" / name, [f"{name}_{j}.JPEG" for j in range(n)])
        make.images(root / "val" / name, ["ILSVRC2012_val_1.JPEG"])
    return root


def test_some_classes_of_a_large_tree(tmp_path, make) -> None:
    root = many(tmp_path, make)
    assert detect_source(root) == "folder"
    assert len(list_cases(root).class_names) == 30
    wanted = ("n01440785", "n01440764", "n01440967")  # the fourth, the first and the last
    listing = list_cases(root, classes=wanted)
    assert listing.class_names == tuple(sorted(wanted))
    assert len(listing.cases) == 3 * 7
    assert all(listing.class_names[case.label] == case.path.parent.name for case in listing.cases)
    data = load_dataset(root, size=16, classes=wanted, limit=4)
    assert np.bincount(data.labels).tolist() == [4, 4, 4]
    assert all(data.class_names[label] in name for label, name in zip(data.labels, data.names, strict=True))
    assert set(load_dataset(root, size=16, classes=wanted, limit=3).names) < set(data.names)
    assert len(load_dataset(root, size=16, limit=3)) == 90


def test_only_the_chosen_classes_are_in_the_key(tmp_path, make) -> None:
    root = many(tmp_path, make, classes=4)
    pair = ("n01440764", "n01440771")
    first = images_stage(None, root, size=16, classes=pair)
    assert first.key == images_stage(None, root, size=16, classes=pair[::-1]).key
    assert first.key != images_stage(None, root, size=16).key
    make.image(root / "train" / "n01440785" / "another.JPEG", seed=9)
    assert images_stage(None, root, size=16, classes=pair).key == first.key
    context = Context(Store(tmp_path / "stages"))
    assert first.dataset(context).class_names == pair


@pytest.mark.parametrize("wanted", [("n01440764",), ("n01440764", "cat")])
def test_classes_that_cannot_be_kept(tmp_path, make, wanted) -> None:
    root = many(tmp_path, make, classes=3)
    with pytest.raises(InputError, match=r"`classes` .* at least two of \('n01440764'"):
        list_cases(root, classes=wanted)


def test_phantoms_have_no_classes_to_choose() -> None:
    for call in (
        lambda: load_dataset(None, source="phantom-chest", classes=("NORMAL", "PNEUMONIA")),
        lambda: images_stage("phantom-chest", None, size=32, classes=("NORMAL", "PNEUMONIA")),
    ):
        with pytest.raises(InputError, match="left out for a phantom"):
            call()
