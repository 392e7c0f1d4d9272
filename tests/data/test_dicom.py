"""DICOM images: values through rescale and window by hand, colours, patients, what is refused, folders of them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset as Header
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_voi_lut
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLosslessSV1, RLELossless

from data.medical_files import dicom
from medaegis._errors import InputError
from medaegis.data import BadImageError, DataWarning, decode_image, detect_source, fingerprint, list_cases, load_dataset

RAMP = np.array([[0, 1000, 2000, 4095]], np.uint16)


def read(path: Path, **options: object) -> np.ndarray:
    """The decoded pixels at the file's own size: pictures here are square."""
    size = int(dcmread(path).Rows)
    return decode_image(path, size=size, resize=size, channels=1, **options).pixels[0]


def square(row: np.ndarray) -> np.ndarray:
    return np.repeat(row, row.shape[1], axis=0)


def shares(row: list[float]) -> np.ndarray:
    return np.rint(65535 * np.array(row))


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"bits": 12}, [0, 1000 / 4095, 2000 / 4095, 1]),  # the full range of 12 bits, not of 16
        ({"bits": 12, "RescaleSlope": 2, "RescaleIntercept": -1000}, [0, 1000 / 4095, 2000 / 4095, 1]),
        ({"bits": 12, "RescaleSlope": -1, "RescaleIntercept": 0}, [1, 3095 / 4095, 2095 / 4095, 0]),
        # LINEAR: ((x - (c - 0.5)) / (w - 1) + 0.5), PS3.3 C.11.2.1.2.1
        ({"WindowCenter": 1500.5, "WindowWidth": 2001}, [0, 0.25, 0.75, 1]),
        ({"WindowCenter": [1500.5, 40], "WindowWidth": [2001, 80]}, [0, 0.25, 0.75, 1]),  # the first of two
        (
            {"WindowCenter": 500.5, "WindowWidth": 2001, "RescaleSlope": 1, "RescaleIntercept": -1000},
            [0, 0.25, 0.75, 1],
        ),
        ({"WindowCenter": 1500, "WindowWidth": 2000, "VOILUTFunction": "LINEAR_EXACT"}, [0, 0.25, 0.75, 1]),
        ({"WindowCenter": 1000, "WindowWidth": 4, "VOILUTFunction": "SIGMOID"}, [0, 0.5, 1, 1]),
        ({"bits": 12, "WindowCenter": 1500, "WindowWidth": 0}, [0, 1000 / 4095, 2000 / 4095, 1]),  # no window
    ],
)
def test_values_by_hand(tmp_path, tags, expected) -> None:
    path = dicom(tmp_path / "a.dcm", square(RAMP), **tags)
    assert np.array_equal(read(path)[0], shares(expected))
    dark = dicom(tmp_path / "b.dcm", square(RAMP), PhotometricInterpretation="MONOCHROME1", **tags)
    assert np.abs(read(dark)[0] - (65535 - shares(expected))).max() <= 1


def test_a_given_window_replaces_that_of_the_file(tmp_path) -> None:
    path = dicom(
        tmp_path / "a.dcm", square(RAMP), WindowCenter=1500, WindowWidth=2001, RescaleSlope=1, RescaleIntercept=-1000
    )
    assert np.array_equal(read(path, window="500,2000")[0], shares([0, 0.25, 0.75, 1]))
    with pytest.raises(InputError, match="centre,width"):
        read(path, window="40")
    with pytest.raises(InputError, match="width above 0"):
        read(path, window="40,0")


def test_signed_values(tmp_path) -> None:
    stored = square(np.array([[-2048, 0, 2047]], np.int16))
    assert np.array_equal(read(dicom(tmp_path / "a.dcm", stored, bits=12))[0], shares([0, 2048 / 4095, 1]))


def test_eight_bits_stay_eight(tmp_path) -> None:
    stored = square(np.array([[0, 7, 255]], np.uint8))
    pixels = read(dicom(tmp_path / "a.dcm", stored))
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, stored)


def test_bits_beyond_the_stated_ones_are_dropped_and_told(tmp_path) -> None:
    path = dicom(tmp_path / "a.dcm", square(np.array([[0, 100, 1024 + 7]], np.uint16)), bits=10)
    done = decode_image(path, size=3, resize=3, channels=1)
    assert done.pixels[0, 0].tolist() == shares([0, 100 / 1023, 7 / 1023]).tolist()
    assert "above BitsStored = 10" in done.remarks[0]


def lut(first: int, bits: int, entries: list[int]) -> Header:
    item = Header()
    item.LUTDescriptor = [len(entries), first, bits]
    item.LUTData = np.array(entries, "<u2").tobytes()
    return item


def test_lookup_tables(tmp_path) -> None:
    stored = square(np.array([[8, 10, 12, 99]], np.uint16))
    table = lut(10, 12, [0, 1000, 4095])
    voi = dicom(tmp_path / "voi.dcm", stored, VOILUTSequence=[table], WindowCenter=10, WindowWidth=5)
    assert np.array_equal(read(voi)[0], shares([0, 0, 1, 1]))
    modality = dicom(tmp_path / "modality.dcm", stored, ModalityLUTSequence=[table])
    assert np.array_equal(read(modality)[0], shares([0, 0, 1, 1]))
    assert np.array_equal(
        read(dicom(tmp_path / "middle.dcm", np.full((4, 4), 11, np.uint16), VOILUTSequence=[table]))[0],
        shares([1000 / 4095] * 4),
    )


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_agree_with_the_field_s_library(tmp_path, make, function) -> None:
    stored = make.noise((9, 9), dtype=np.uint16) // 16
    path = dicom(tmp_path / "a.dcm", stored, bits=12, WindowCenter=1800, WindowWidth=900, VOILUTFunction=function)
    shown = apply_voi_lut(stored, dcmread(path)) / 4095
    assert np.abs(read(path) - 65535 * shown).max() < 1


def test_colour(tmp_path, make) -> None:
    colour = make.noise((8, 8, 3))
    path = dicom(tmp_path / "rgb.dcm", colour)
    assert np.array_equal(decode_image(path, size=8, resize=8).pixels, np.moveaxis(colour, 2, 0))
    luma = np.rint(colour @ np.array([0.299, 0.587, 0.114]))
    assert np.array_equal(read(path), luma)
    ycbcr = np.asarray(Image.fromarray(colour).convert("YCbCr"))
    other = dicom(tmp_path / "ybr.dcm", ycbcr, PhotometricInterpretation="YBR_FULL")
    again = decode_image(other, size=8, resize=8).pixels
    assert np.abs(again.astype(int) - np.moveaxis(colour, 2, 0)).max() <= 3


def test_palette(tmp_path) -> None:
    tags = {f"{name}PaletteColorLookupTableDescriptor": [4, 0, 8] for name in ("Red", "Green", "Blue")}
    tags |= {
        f"{name}PaletteColorLookupTableData": bytes(values)
        for name, values in {"Red": [0, 9, 0, 0], "Green": [0, 0, 8, 0], "Blue": [0, 0, 0, 7]}.items()
    }
    stored = square(np.arange(4, dtype=np.uint8)[None])
    path = dicom(tmp_path / "a.dcm", stored, PhotometricInterpretation="PALETTE COLOR", **tags)
    pixels = decode_image(path, size=4, resize=4).pixels
    assert pixels[:, 0].tolist() == [[0, 9, 0, 0], [0, 0, 8, 0], [0, 0, 0, 7]]


def compressed(path: Path, stored: np.ndarray, syntax: str, form: str | None, **tags: object) -> Path:
    """The same picture compressed; `form` is Pillow's name of the codec."""
    header = dcmread(dicom(path, stored, **tags))
    if form is None:
        header.compress(syntax)
    else:
        buffer = io.BytesIO()
        options = {"irreversible": False} if form == "JPEG2000" else {"quality": 95}
        Image.fromarray(stored).save(buffer, form, **options)
        header.file_meta.TransferSyntaxUID = syntax
        header.PixelData = encapsulate([buffer.getvalue()])
        header["PixelData"].VR = "OB"
    header.save_as(path)
    return path


def test_compressed_files(tmp_path, make) -> None:
    stored = make.noise((16, 16), dtype=np.uint16)
    assert np.array_equal(read(compressed(tmp_path / "rle.dcm", stored, RLELossless, None)), stored)
    gray = make.noise((16, 16))
    assert np.array_equal(read(compressed(tmp_path / "j2k.dcm", gray, JPEG2000Lossless, "JPEG2000")), gray)
    smooth = np.repeat(np.add.outer(np.arange(16), np.arange(16))[..., None] * 8, 3, axis=2).astype(np.uint8)
    smooth[..., 0] = 200
    path = compressed(tmp_path / "jpeg.dcm", smooth, JPEGBaseline8Bit, "JPEG", PhotometricInterpretation="YBR_FULL_422")
    pixels = decode_image(path, size=16, resize=16).pixels
    assert np.abs(pixels.astype(int) - np.moveaxis(smooth, 2, 0)).max() < 24  # chroma is sampled at every second pixel


def spoiled(path: Path, make, kind: str) -> Path:
    if kind == "lossless JPEG":
        return compressed(path, make.noise((16, 16)), JPEGLosslessSV1, "JPEG")
    if kind == "frames":
        header = dcmread(dicom(path, make.noise((16, 16))))
        header.NumberOfFrames, header.PixelData = 2, 2 * header.PixelData
    else:
        header = dcmread(dicom(path, make.noise((16, 16))))
    if kind == "no image":
        del header.PixelData
    if kind == "short":
        header.Rows = 99
    if kind == "scale":
        header.RescaleSlope, header.RescaleIntercept = 0, 0
    header.save_as(path)
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[: len(whole) - 100], "header only": whole[:200]}.get(kind, whole))
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    {
        "lossless JPEG": "compressed as JPEG Lossless.*install a decoder",
        "frames": "2 frames in one DICOM file",
        "no image": "a DICOM file without an image",
        "short": "damaged or incomplete DICOM",
        "scale": "no scale",
        "cut": "damaged or incomplete DICOM",
        "header only": "DICOM",
    }.items(),
)
def test_what_cannot_be_used_says_why(tmp_path, make, kind, reason) -> None:
    path = spoiled(tmp_path / "a.dcm", make, kind)
    with pytest.raises(BadImageError, match=reason):
        decode_image(path, size=16)


def test_a_file_without_the_mark_is_told(tmp_path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"no mark" * 99)
    with pytest.raises(BadImageError, match="no DICM mark"):
        decode_image(tmp_path / "a.dcm")


def test_bombs_are_refused_before_decoding(tmp_path, make, monkeypatch) -> None:
    path = dicom(tmp_path / "a.dcm", make.noise((20, 20)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 399)
    with pytest.raises(BadImageError, match="decompression bomb"):
        decode_image(path, size=16)


# --- folders --------------------------------------------------------------------------------------------------------


def two_classes(root: Path, make, suffix: str = ".dcm", **tags: object) -> Path:
    for label in range(2):
        for i in range(4):
            told = {"PatientID": f"P{label}{i // 2}"} | tags
            stored = make.noise((20, 24), 10 * label + i, np.uint16)
            dicom(root / "ab"[label] / f"{i}{suffix}", stored, **told)
    return root


@pytest.mark.parametrize("suffix", [".dcm", ".DICOM", "", ".1.17"])
def test_folders_of_dicom_files(tmp_path, make, suffix) -> None:
    two_classes(tmp_path, make, suffix)
    (tmp_path / "a" / "LICENSE").write_text("no mark")
    (tmp_path / "a" / "DICOMDIR").write_bytes((tmp_path / "a" / f"0{suffix}").read_bytes())
    assert detect_source(tmp_path) == "folder"
    data = load_dataset(tmp_path, size=16, channels=1)
    assert data.images.shape == (8, 1, 16, 16)
    assert data.images.dtype == np.uint16
    assert data.names[0] == f"a/0{suffix}"
    assert data.groups[0] == data.groups[1] != data.groups[2]
    assert data.groups[0].startswith("patient-")
    assert not any("P0" in group for group in data.groups)
    assert data.skipped == data.notes == ()


def test_dicom_in_every_layout(tmp_path, make) -> None:
    for name in ("NORMAL", "PNEUMONIA"):
        for i in range(3):
            dicom(tmp_path / "k/train" / name / f"person{i}_virus_1.dcm", make.noise((20, 20), i + len(name)))
    data = load_dataset(tmp_path / "k", size=16)
    assert detect_source(tmp_path / "k") == "kermany"
    assert data.groups[0] == data.groups[3] == "person0"  # no PatientID: the file's name says who
    rows = [f"1.2.{i},{i % 2}" for i in range(6)]
    (tmp_path / "t").mkdir()
    (tmp_path / "t/train.csv").write_text("\n".join(["id_code,diagnosis", *rows]))
    for i in range(6):
        dicom(tmp_path / f"t/train_images/1.2.{i}.dcm", make.noise((20, 20), i))
    assert len(load_dataset(tmp_path / "t", size=16)) == 6


def test_a_copy_with_other_identifiers_is_the_same_patient(tmp_path, make) -> None:
    two_classes(tmp_path, make)
    copy = make.noise((20, 24), 0, np.uint16)
    dicom(tmp_path / "b" / "9.dcm", copy, PatientID="P77", PatientName="New^Name")
    with pytest.warns(DataWarning, match="same content as one of another class"):
        data = load_dataset(tmp_path, size=16)
    assert data.groups[data.names.index("b/9.dcm")] == data.groups[0]


def test_one_identifier_for_all_names_nobody(tmp_path, make) -> None:
    two_classes(tmp_path, make, PatientID="ANON")
    with pytest.warns(DataWarning, match="All 8 DICOM files .* have one PatientID") as caught:
        data = load_dataset(tmp_path, size=16)
    assert data.groups == data.names
    assert caught[0].filename == __file__  # points to the caller


def test_a_study_stands_for_a_patient_whose_name_was_removed(tmp_path, make) -> None:
    two_classes(tmp_path, make, PatientID="")
    for path in (tmp_path / "a/0.dcm", tmp_path / "a/3.dcm"):
        header = dcmread(path)
        header.StudyInstanceUID = "1.2.3"
        header.save_as(path)
    header = dcmread(tmp_path / "b/0.dcm")
    header.StudyInstanceUID = "1.2.4"
    header.save_as(tmp_path / "b/0.dcm")
    groups = load_dataset(tmp_path, size=16).groups
    assert groups[0] == groups[3] != groups[4]
    assert groups[1] == "a/1.dcm"


def test_a_corrupt_file_among_others_is_skipped(tmp_path, make, skips) -> None:
    for label in "ab":
        for i in range(10):
            dicom(tmp_path / label / f"{i}.dcm", make.noise((20, 20), i))
    spoiled(tmp_path / "a" / "3.dcm", make, "cut")
    dicom(tmp_path / "b" / "3.dcm", make.noise((20, 20), 77))
    with skips(), pytest.warns(DataWarning, match="of another class"):
        data = load_dataset(tmp_path, size=16)
    assert [skipped.name for skipped in data.skipped] == ["a/3.dcm"]
    assert "incomplete DICOM" in data.skipped[0].reason


def test_a_window_reaches_a_folder_and_its_fingerprint_is_of_the_files(tmp_path, make) -> None:
    two_classes(tmp_path, make)
    wide, narrow = (load_dataset(tmp_path, size=16, window=window).images for window in ("32768,65536", "40,80"))
    assert wide.mean() < narrow.mean()  # nearly all is above 80: white
    assert len(fingerprint(list_cases(tmp_path).files, tmp_path)) == 64


def test_a_png_named_dicom_is_told(tmp_path, make) -> None:
    two_classes(tmp_path, make)
    make.image(tmp_path / "a/0.dcm", form="PNG")
    with pytest.warns(DataWarning, match="mixes"):
        data = load_dataset(tmp_path, size=16)
    assert data.notes[0].text == "named .dcm, content is PNG"
