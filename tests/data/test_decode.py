"""One file at a time: every kind that is read, every kind that is refused, and the geometry."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile
from torch.nn.functional import interpolate

from medaegis._errors import InputError
from medaegis.data import BadImageError, decode_image

KEEP = {"size": 20, "resize": 20, "channels": 3}  # no resampling for images with a short side of 20


def decode_bytes(folder: Path, data: bytes, name: str = "x.png", **options: int) -> np.ndarray:
    (folder / name).write_bytes(data)
    return decode_image(folder / name, **(KEEP | options)).pixels


# --- what is read ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP", "GIF", "WEBP"])
@pytest.mark.parametrize("suffix", [".png", ".JPG", ".tif"])
def test_lossless_formats_come_back_exactly_whatever_the_file_is_called(tmp_path, make, form, suffix) -> None:
    gray = make.noise((20, 20))
    array = np.dstack([gray] * 3) if form == "WEBP" else gray
    options = {"lossless": True} if form == "WEBP" else {}
    pixels = decode_bytes(tmp_path, make.encode(array, form, **options), f"x{suffix}")
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, np.stack([gray] * 3))


def test_jpeg_equals_pillows_own_decoding(tmp_path, make) -> None:
    data = make.encode(make.noise((20, 20, 3)), "JPEG")
    expected = np.asarray(Image.open(io.BytesIO(data))).transpose(2, 0, 1)
    assert np.array_equal(decode_bytes(tmp_path, data, "x.jpeg"), expected)


def test_wrong_extension_is_read_and_remarked(tmp_path, make) -> None:
    path = make.image(tmp_path / "x.png", form="JPEG")
    assert decode_image(path, size=8).remarks == ("named .png, content is JPEG",)
    assert decode_image(make.image(tmp_path / "y.JPEG"), size=8).remarks == ()


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_are_what_was_asked_for(tmp_path, make, channels) -> None:
    for shape in ((20, 20), (20, 20, 3), (20, 20, 4)):
        pixels = decode_bytes(tmp_path, make.encode(make.noise(shape), "PNG"), channels=channels)
        assert pixels.shape == (channels, 20, 20)


def test_colour_becomes_grey_by_luma(tmp_path, make) -> None:
    colour = make.noise((20, 20, 3))
    expected = colour @ np.array([0.299, 0.587, 0.114])
    assert np.abs(decode_bytes(tmp_path, make.encode(colour, "PNG"), channels=1)[0] - expected).max() <= 0.51


def test_palette_is_looked_up_before_anything_is_averaged(tmp_path) -> None:
    palette = Image.new("P", (40, 40))
    palette.putpalette([255, 0, 0] + [0, 0, 255] * 255)
    palette.putdata([0, 200] * 800)
    buffer = io.BytesIO()
    palette.save(buffer, "PNG")
    pixels = decode_bytes(tmp_path, buffer.getvalue(), resize=20)
    assert pixels[1].max() == 0  # an averaged index would be another colour
    assert np.all(np.abs(pixels[0].astype(int) - 128) < 60)


def test_transparency_becomes_black(tmp_path, make) -> None:
    rgba = make.noise((20, 20, 4))
    rgba[..., 3] = np.arange(400).reshape(20, 20) % 256
    pixels = decode_bytes(tmp_path, make.encode(rgba, "PNG"))
    expected = rgba[..., :3].astype(float) * rgba[..., 3:] / 255
    assert np.abs(pixels.transpose(1, 2, 0) - expected).max() <= 1
    assert decode_image(tmp_path / "x.png", **KEEP).remarks == ("transparent parts made black",)


def test_cmyk_is_converted_and_remarked(tmp_path) -> None:
    Image.new("CMYK", (20, 20), (0, 255, 255, 0)).save(tmp_path / "x.jpg")
    decoded = decode_image(tmp_path / "x.jpg", **KEEP)
    assert decoded.remarks == ("CMYK converted to RGB",)
    assert decoded.pixels[0].min() > 250
    assert decoded.pixels[1:].max() < 5


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
def test_exif_orientation_is_applied(tmp_path, form) -> None:
    upright = Image.new("L", (20, 30), 0)
    upright.paste(255, (0, 0, 20, 10))  # white at the top
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned a quarter to the left
    buffer = io.BytesIO()
    upright.transpose(Image.Transpose.ROTATE_90).save(buffer, form, exif=exif)
    pixels = decode_bytes(tmp_path, buffer.getvalue(), resize=20)  # crop of rows 5 to 24
    assert pixels[0, :4].min() > 200
    assert pixels[0, 6:].max() < 50


# --- 16 bits --------------------------------------------------------------------------------------------------------


def test_sixteen_bit_grey_png_keeps_every_bit(tmp_path, make) -> None:
    array = make.noise((20, 20), dtype=np.uint16)
    pixels = decode_bytes(tmp_path, make.encode(array, "PNG"), channels=1)
    assert pixels.dtype == np.uint16
    assert np.array_equal(pixels[0], array)


def test_sixteen_bit_colour_png_keeps_every_bit(tmp_path, make) -> None:
    array = make.noise((20, 20, 3), dtype=np.uint16)
    pixels = decode_bytes(tmp_path, make.png16(array))  # Pillow alone would give 8 bits
    assert pixels.dtype == np.uint16
    assert np.array_equal(pixels.transpose(1, 2, 0), array)


@pytest.mark.parametrize("colours", [1, 3])
def test_sixteen_bit_transparency_becomes_black(tmp_path, make, colours) -> None:
    array = make.noise((20, 20, colours + 1), dtype=np.uint16)
    expected = array[..., :-1] * (array[..., -1:] / 65535)
    assert np.abs(decode_bytes(tmp_path, make.png16(array)).transpose(1, 2, 0) - expected).max() <= 0.5


def test_sixteen_bit_colour_becomes_grey_by_luma(tmp_path, make) -> None:
    array = make.noise((20, 20, 3), dtype=np.uint16)
    pixels = decode_bytes(tmp_path, make.png16(array), channels=1)
    assert np.abs(pixels[0] - array @ np.array([0.299, 0.587, 0.114])).max() <= 0.5


@pytest.mark.parametrize(("tags", "inverted"), [({}, False), ({262: 0}, True)])
def test_sixteen_bit_tiff_counts_from_black(tmp_path, make, tags, inverted) -> None:
    array = make.noise((20, 20), dtype=np.uint16)
    pixels = decode_bytes(tmp_path, make.encode(array, "TIFF", tiffinfo=tags), channels=1)
    assert np.array_equal(pixels[0], 65535 - array if inverted else array)


def test_sixteen_bits_resize_as_eight_bits_do_but_finer(tmp_path, make) -> None:
    eight = make.noise((60, 50))
    small = decode_bytes(tmp_path, make.encode(eight, "PNG"), resize=30)
    deep = decode_bytes(tmp_path, make.encode(eight.astype(np.uint16) * 257, "PNG"), resize=30)
    assert deep.dtype == np.uint16
    assert np.abs(deep / 257 - small).max() <= 1.01
    assert np.any(deep % 257)


@pytest.mark.parametrize("colours", [1, 3])
def test_the_key_colour_of_a_sixteen_bit_png_becomes_black(tmp_path, make, colours) -> None:
    array = make.noise((20, 20, colours), dtype=np.uint16)
    array[3, 4] = 40_000
    whole = make.png16(array)
    body = b"tRNS" + np.full(colours, 40_000, ">u2").tobytes()
    key = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    pixels = decode_bytes(tmp_path, whole[:33] + key + whole[33:])  # behind the header
    array[3, 4] = 0
    assert np.array_equal(pixels.transpose(1, 2, 0), np.broadcast_to(array, (20, 20, 3)))


def test_sixteen_bits_are_rounded_to_the_nearest_value(tmp_path, make) -> None:
    array = make.noise((50, 40), dtype=np.uint16)
    pixels = decode_bytes(tmp_path, make.encode(array, "PNG"), size=24, resize=24, channels=1)
    exact = interpolate(torch.tensor(array.astype(np.float64))[None, None], (30, 24), mode="bilinear", antialias=True)
    assert np.abs(pixels[0] - exact[0, 0, 3:27].numpy()).max() < 0.51  # truncating would come to 1


# --- geometry -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(20, 31), (31, 20), (20, 20)])
def test_short_side_at_its_target_is_only_cropped(tmp_path, make, shape) -> None:
    array = make.noise(shape)
    pixels = decode_bytes(tmp_path, make.encode(array, "PNG"), size=16, resize=20, channels=1)
    top, left = (shape[0] - 16) // 2, (shape[1] - 16) // 2
    assert np.array_equal(pixels[0], array[top : top + 16, left : left + 16])


@pytest.mark.parametrize("shape", [(100, 150), (150, 100), (64, 64), (30, 45)])
def test_resize_agrees_with_torchvision(tmp_path, make, shape) -> None:
    from torchvision.transforms import v2

    array = make.noise(shape)
    pixels = decode_bytes(tmp_path, make.encode(array, "PNG"), size=40, resize=44, channels=1)
    expected = v2.Compose([v2.Resize(44), v2.CenterCrop(40)])(Image.fromarray(array))
    assert np.array_equal(pixels[0], np.asarray(expected))


def test_a_disc_stays_round(tmp_path) -> None:
    y, x = np.mgrid[:100, :300]
    Image.fromarray((((y - 50) ** 2 + (x - 150) ** 2 < 1600) * 255).astype(np.uint8)).save(tmp_path / "x.png")
    disc = decode_image(tmp_path / "x.png", size=64, channels=1).pixels[0] > 127
    assert abs(int(disc.any(axis=0).sum()) - int(disc.any(axis=1).sum())) <= 1


def test_default_resize_is_the_papers_ratio(tmp_path, make) -> None:
    make.image(tmp_path / "x.png", shape=(300, 300))
    default = decode_image(tmp_path / "x.png", size=256).pixels
    assert np.array_equal(default, decode_image(tmp_path / "x.png", size=256, resize=280).pixels)


@pytest.mark.parametrize("wrong", [{"size": 0}, {"size": 20, "resize": 19}, {"channels": 2}])
def test_impossible_geometry_is_refused(tmp_path, make, wrong) -> None:
    with pytest.raises(InputError):
        decode_image(make.image(tmp_path / "x.png"), **wrong)


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.97])
def test_truncated_files_are_refused_even_where_pillow_is_told_to_load_them(
    tmp_path, make, monkeypatch, form, kept
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = make.encode(make.noise((60, 60, 3)), form)
    with pytest.raises(BadImageError):
        decode_bytes(tmp_path, data[: int(len(data) * kept)])
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True  # the caller's setting is back


def test_truncated_sixteen_bit_png_is_refused(tmp_path, make) -> None:
    data = make.png16(make.noise((40, 40, 3), dtype=np.uint16))
    with pytest.raises(BadImageError, match="truncated"):
        decode_bytes(tmp_path, data[: len(data) // 2])


def test_truncated_jpeg_filled_up_with_zeros_is_refused(tmp_path, make) -> None:
    data = make.encode(make.noise((60, 60, 3)), "JPEG")
    half = len(data) // 2
    with pytest.raises(BadImageError, match="end-of-image"):
        decode_bytes(tmp_path, data[:half] + bytes(half), "x.jpg")


def test_a_thumbnails_end_does_not_stand_for_the_images_end(tmp_path, make) -> None:
    thumbnail = make.encode(make.noise((8, 8)), "JPEG")
    data = make.encode(make.noise((60, 60, 3)), "JPEG", comment=thumbnail)
    decode_bytes(tmp_path, data, "x.jpg")
    half = len(data) // 2
    with pytest.raises(BadImageError, match="end-of-image"):
        decode_bytes(tmp_path, data[:half] + bytes(half), "x.jpg")


def test_a_flipped_bit_in_a_png_is_refused(tmp_path, make) -> None:
    data = bytearray(make.encode(make.noise((60, 60)), "PNG"))
    data[len(data) // 2] ^= 1
    with pytest.raises(BadImageError, match="damaged"):
        decode_bytes(tmp_path, bytes(data))


def test_a_png_with_wrong_checksums_is_refused(tmp_path, make) -> None:
    data = bytearray(make.encode(make.noise((60, 60)), "PNG", compress_level=0))
    data[len(data) // 2] ^= 1  # another grey value, which decompresses without complaint
    with pytest.raises(BadImageError, match="damaged"):
        decode_bytes(tmp_path, bytes(data))
    flipped = bytearray(make.encode(make.noise((60, 60)), "PNG"))
    flipped[-13] ^= 1  # the last chunk's checksum alone
    with pytest.raises(BadImageError, match="damaged"):
        decode_bytes(tmp_path, bytes(flipped))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "zero bytes"),
        (b"hello world, this is no image at all", "not an image"),
        (b"<!DOCTYPE html><title>404</title>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (bytes(128) + b"DICM" + bytes(100), "DICOM"),
        (b"PK\x03\x04" + bytes(60), "ZIP"),
        (b"P5 2 2 255 abcd", "not an image"),  # a format that Pillow knows and this package does not take
    ],
)
def test_other_content_is_named(tmp_path, data, reason) -> None:
    with pytest.raises(BadImageError, match=reason) as caught:
        decode_bytes(tmp_path, data, "scan.jpg")
    assert str(tmp_path / "scan.jpg") in str(caught.value)
    assert reason in caught.value.reason


@pytest.mark.parametrize("form", ["GIF", "TIFF", "WEBP", "PNG"])
def test_several_frames_are_refused(tmp_path, make, form) -> None:
    frames = [Image.fromarray(make.noise((20, 20), seed)) for seed in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, form, save_all=True, append_images=frames[1:])
    with pytest.raises(BadImageError, match="3 frames"):
        decode_bytes(tmp_path, buffer.getvalue())


@pytest.mark.parametrize("limit", [399, 150])  # Pillow warns above the limit, and raises above twice the limit
def test_decompression_bomb_is_refused(tmp_path, make, monkeypatch, limit) -> None:
    data = make.encode(make.noise((20, 20)), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(BadImageError, match=r"too large|MAX_IMAGE_PIXELS"):
        decode_bytes(tmp_path, data)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    decode_bytes(tmp_path, data)


def test_a_thin_strip_that_would_grow_into_a_bomb_is_refused(tmp_path, make) -> None:
    strip = make.encode(np.zeros((1, 9000), np.uint8), "PNG")
    with pytest.raises(BadImageError, match="once resized"):
        decode_bytes(tmp_path, strip, size=256, resize=280)


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_values_of_unknown_range_are_refused(tmp_path, make, dtype) -> None:
    with pytest.raises(BadImageError, match="range is unknown"):
        decode_bytes(tmp_path, make.encode(np.ones((20, 20), dtype), "TIFF"), "x.tif")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_missing_file_folder_and_pipe_are_refused(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe.png")  # reading it would wait for ever
    (tmp_path / "folder.png").mkdir()
    for name, reason in (("none.png", "cannot be read"), ("pipe.png", "regular"), ("folder.png", "regular")):
        with pytest.raises(BadImageError, match=reason):
            decode_image(tmp_path / name)


def test_unreadable_file_is_refused_by_its_reason(tmp_path, make, monkeypatch) -> None:
    path = make.image(tmp_path / "x.png")

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(BadImageError, match="Permission denied"):
        decode_image(path)


def test_no_pillow_error_stands_behind_the_message(tmp_path, make) -> None:
    with pytest.raises(BadImageError) as caught:
        decode_bytes(tmp_path, make.encode(make.noise((60, 60)), "JPEG")[:300])
    assert caught.value.__suppress_context__
    assert caught.value.__cause__ is None


def test_broken_bytes_of_any_kind_give_one_kind_of_error(tmp_path, make) -> None:
    generator = np.random.default_rng(0)
    originals = [make.encode(make.noise((24, 24, 3)), form) for form in ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP")]
    for turn in range(300):
        data = bytearray(originals[turn % len(originals)])
        for at in generator.integers(0, min(len(data), 400), 4):
            data[at] = generator.integers(256)
        try:
            assert decode_bytes(tmp_path, bytes(data)).shape == (3, 20, 20)
        except BadImageError:
            continue


def test_threads_that_decode_together_leave_the_warning_filters_alone(tmp_path, make) -> None:
    path = make.image(tmp_path / "x.png", shape=(200, 200))
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(lambda _: decode_image(path, size=16), range(40)))) == 40
    assert warnings.filters == before
