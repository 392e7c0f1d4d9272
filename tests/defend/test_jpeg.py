"""JPEG: the codec's own bytes, and a surrogate that follows it."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
import torch
from PIL import Image, features
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torchvision.io import decode_jpeg, encode_jpeg

from medaegis import InputError, MedaegisError
from medaegis.defend import JPEG, _jpeg, _jpeg_surrogate
from medaegis.defend._jpeg_surrogate import quality_tables, soft_jpeg, soft_round

SIZES = [(64, 96), (37, 53), (17, 8), (9, 16), (1, 1)]
SUBSAMPLINGS = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}


def picture(height: int, width: int, channels: int, blur: float, seed: int = 0) -> Tensor:
    """Bytes (channels, h, w): noise, or smooth shapes."""
    noise = np.random.default_rng(seed).random((channels, height, width))
    smooth = gaussian_filter(noise, (0, blur, blur))
    spread = np.ptp(smooth) or 1
    return torch.from_numpy(np.rint((smooth - smooth.min()) / spread * 255).astype(np.uint8))


def by_pillow(levels: Tensor, **settings: int) -> Tensor:
    array = levels[0].numpy() if len(levels) == 1 else levels.permute(1, 2, 0).contiguous().numpy()
    code = io.BytesIO()
    Image.fromarray(array).save(code, "JPEG", **settings)
    decoded = torch.from_numpy(np.array(Image.open(code)))
    return decoded[None] if decoded.dim() == 2 else decoded.permute(2, 0, 1)


def by_torchvision(levels: Tensor, quality: int) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The image decoding and encoding capabilities", DeprecationWarning)
        return decode_jpeg(encode_jpeg(levels, quality))


def levels_of(cushion: JPEG, levels: Tensor) -> Tensor:
    return cushion.apply(levels[None].float() / 255)[0].mul(255)


@pytest.mark.parametrize("quality", [1, 49, 70, 80, 90, 100])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("blur", [0.0, 1.5])
def test_the_bytes_are_those_of_pillow_and_of_torchvision(quality, channels, blur) -> None:
    for size in SIZES:
        levels = picture(*size, channels, blur)
        ours = levels_of(JPEG(quality=quality), levels)
        assert torch.equal(ours, by_pillow(levels, quality=quality).float())
        assert torch.equal(ours, by_torchvision(levels, quality).float())


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_subsampling_is_pillows(subsampling) -> None:
    levels = picture(37, 53, 3, 1.0)
    ours = levels_of(JPEG(80, subsampling), levels)
    assert torch.equal(ours, by_pillow(levels, quality=80, subsampling=SUBSAMPLINGS[subsampling]).float())


def test_pixels_are_rounded_to_the_nearest_byte_half_to_even() -> None:
    values = torch.tensor([99.6, 99.4, 100.5, 101.5, 0.5, 254.7], dtype=torch.float64) / 255
    flat = values.reshape(-1, 1, 1, 1).expand(-1, 1, 8, 8)
    made = JPEG(quality=100, subsampling="4:4:4").apply(flat)[:, 0, 0, 0] * 255
    assert made.round().tolist() == [100, 99, 100, 102, 0, 255]


def test_every_byte_comes_back_as_it_was_read() -> None:
    x = (torch.arange(256).float() / 255).reshape(-1, 1, 1, 1).expand(-1, 1, 8, 8)
    assert torch.equal(JPEG(quality=100).apply(x), x)  # flat blocks are coded exactly where every step is 1


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_three_equal_channels_give_the_gray_result_in_each(subsampling) -> None:
    gray = picture(19, 30, 1, 0.7)
    colour = levels_of(JPEG(75, subsampling), gray.expand(3, -1, -1))
    assert torch.equal(colour, levels_of(JPEG(75), gray).expand(3, -1, -1))


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_other_numbers_of_channels_are_gray_images(channels) -> None:
    levels = picture(19, 30, channels, 0.7)
    alone = [levels_of(JPEG(), channel[None]) for channel in levels]
    assert torch.equal(levels_of(JPEG(), levels), torch.cat(alone))


@pytest.mark.parametrize("quality", [70, 80, 90])
def test_a_second_time_changes_gray_images_little(quality) -> None:
    for blur, most in ((0.0, 12), (1.5, 1), (3.0, 0)):
        levels = picture(64, 96, 1, blur)
        once = levels_of(JPEG(quality), levels)
        again = levels_of(JPEG(quality), once.round().byte()) - once
        assert again.abs().max() <= most
        assert again.square().mean() < 0.01 * (once - levels).square().mean()


def test_one_spatial_axis_is_refused() -> None:
    with pytest.raises(InputError, match=r"images \(n, c, h, w\) or volumes"):
        JPEG().apply(torch.zeros(2, 3, 8))


@pytest.mark.parametrize("quality", [0, 101, 80.0, True, "80"])
def test_qualities_that_are_none(quality) -> None:
    with pytest.raises(InputError, match="`quality` of JPEG"):
        JPEG(quality)


def test_subsamplings_that_are_none() -> None:
    with pytest.raises(InputError, match="`subsampling` of JPEG"):
        JPEG(subsampling="4:1:1")


@pytest.mark.parametrize("present", [{"libjpeg_turbo": False}, {"libjpeg_turbo": True, "mozjpeg": True}])
def test_another_jpeg_library_is_refused(monkeypatch, present) -> None:
    monkeypatch.setattr(features, "check_feature", lambda name: present.get(name, False))
    _jpeg._check_library.cache_clear()
    with pytest.raises(MedaegisError, match="libjpeg-turbo"):
        JPEG().apply(torch.zeros(1, 1, 8, 8))
    monkeypatch.undo()
    _jpeg._check_library.cache_clear()
    JPEG().apply(torch.zeros(1, 1, 8, 8))


# --- the surrogate


@pytest.mark.parametrize("quality", [1, 30, 49, 50, 51, 80, 95, 100])
def test_tables_are_those_that_the_codec_writes(quality) -> None:
    code = io.BytesIO()
    Image.new("RGB", (8, 8)).save(code, "JPEG", quality=quality)
    written = Image.open(code).quantization
    assert tuple(written[0]) == quality_tables(quality)[0]
    assert tuple(written[1]) == quality_tables(quality)[1]


@pytest.mark.parametrize("subsampling", [None, *SUBSAMPLINGS])
@pytest.mark.parametrize("size", [(96, 128), (49, 83), (50, 82)])
def test_with_real_rounding_it_is_the_codec_but_for_its_integers(monkeypatch, subsampling, size) -> None:
    monkeypatch.setattr(_jpeg_surrogate, "soft_round", torch.round)
    levels = picture(*size, 1 if subsampling is None else 3, 3.0)
    error = surrogate_error(levels, 95, subsampling)
    assert error.square().mean().sqrt() < (0.6 if subsampling is None else 1.3)  # repeating chroma gives 3.1 and 4.5
    assert (error.abs() < 1.01).double().mean() > (0.95 if subsampling is None else 0.6)


@pytest.mark.parametrize(
    ("quality", "gray", "colour"), [(70, 1.3, 3.8), (80, 1.0, 3.2), (90, 0.8, 2.3), (100, 0.4, 0.9)]
)
def test_it_is_near_the_codec(quality, gray, colour) -> None:
    for size in ((96, 128), (49, 83)):
        for channels, most in ((1, gray), (3, colour)):
            levels = picture(*size, channels, 3.0)
            error = surrogate_error(levels, quality, "4:2:0" if channels == 3 else None)
            assert error.square().mean().sqrt() < most
            codec = (levels_of(JPEG(quality), levels) - levels).square().mean().sqrt()
            assert quality == 100 or error.square().mean().sqrt() < 0.8 * codec


def surrogate_error(levels: Tensor, quality: int, subsampling: str | None) -> Tensor:
    """In levels of 255, once both are in range."""
    soft = soft_jpeg(levels[None].double() / 255, quality, subsampling)[0].clamp(0, 1) * 255
    return soft - levels_of(JPEG(quality, subsampling or "4:2:0"), levels)


def test_at_full_quality_it_is_nearly_the_image() -> None:
    gray, colour = picture(40, 40, 1, 0.0), picture(40, 40, 3, 2.0)
    assert (soft_jpeg(gray[None].double() / 255, 100, None) * 255 - gray).abs().max() < 1
    assert (soft_jpeg(colour[None].double() / 255, 100, "4:4:4") * 255 - colour).abs().max() < 2


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_on_gray_images_the_three_gradients_sum_to_that_of_the_gray_codec(subsampling) -> None:
    gray = (picture(20, 26, 1, 1.0)[None].double() / 255).requires_grad_()
    weights = torch.randn(1, 3, 20, 26, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    colour = gray.detach().expand(-1, 3, -1, -1).clone().requires_grad_()
    (JPEG(80, subsampling).bpda()(colour) * weights).sum().backward()
    (JPEG(80).bpda()(gray) * weights.sum(dim=1, keepdim=True)).sum().backward()
    torch.testing.assert_close(colour.grad.sum(dim=1, keepdim=True), gray.grad)


def test_the_slope_of_the_smooth_rounding_is_never_zero() -> None:
    t = torch.linspace(-3, 3, 601, dtype=torch.float64, requires_grad=True)
    slope = torch.autograd.grad(soft_round(t).sum(), t)[0]
    assert slope.min() > 0.09
    assert slope.max() < 2.81
    assert slope.diff().abs().max() < 0.12  # no jump half-way
    whole = torch.arange(-6, 7).double() / 2
    torch.testing.assert_close(soft_round(whole), whole)


def test_chroma_that_is_lost_has_no_gradient() -> None:
    """Colour that alternates from pixel to pixel is averaged away: the identity would not know."""
    x = torch.full((1, 3, 16, 16), 0.5, dtype=torch.float64)
    stripes = torch.zeros_like(x)
    stripes[:, 2] = torch.tensor([1.0, -1.0]).double().repeat(8)
    stripes[:, 0] = -stripes[:, 2] * 0.114 / 0.299  # no luma
    slope = torch.autograd.functional.jvp(lambda v: soft_jpeg(v, 80, "4:2:0"), x, stripes)[1]
    assert slope.abs().max() < 1e-9
    assert torch.autograd.functional.jvp(lambda v: soft_jpeg(v, 80, "4:4:4"), x, stripes)[1].abs().max() > 0.01
