"""JPEG compression by libjpeg-turbo."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, features

from medaegis._errors import MedaegisError, is_int, require
from medaegis._types import Images
from medaegis.defend._cushion import Cushion, from_slices, to_slices
from medaegis.defend._jpeg_surrogate import soft_jpeg
from medaegis.defend._threaded import map_threads

Subsampling = Literal["4:4:4", "4:2:2", "4:2:0"]


@dataclass(frozen=True)
class JPEG(Cushion):
    """Images after JPEG compression: libjpeg-turbo's result, bit for bit, as Pillow and torchvision give it.

    A pixel x is rounded to the byte round(255 x), half-way values to the even one, never cut off. Three channels are
    coded as colour (YCbCr); one channel, or any number but three, each by itself as a gray image. Three equal
    channels give the gray result in each. Volumes are coded slice by slice.

    The surrogate follows the codec through colour transform, chroma subsampling, cosine transform, quantisation
    tables and up-sampling; only rounding is replaced by a smooth function whose slope is never zero, and the final
    clamp is left out, so that black and flat regions keep a gradient.

    Coding runs on the processor in as many threads as torch may use, also for images on a GPU: one codec for
    training, attack and inference. No GPU codec is used: none has been shown to give the same bytes.

    Args:
        quality: from 1 to 100, on libjpeg's scale.
        subsampling: of chroma: "4:2:0", Pillow's and torchvision's own default, halves its height and width, "4:2:2"
            its width, "4:4:4" nothing. Gray images have no chroma.

    Raises:
        InputError: `quality` is no int from 1 to 100, or `subsampling` is unknown; at the call, images are not (n, c,
            h, w) or (n, c, depth, h, w).
        MedaegisError: at the call, Pillow was built with another JPEG library.

    Source: Medical Aegis, section 3 and Table 5 (quality 90, 80, 70; 80 in all other tables).

    Example:
        >>> x = torch.rand(2, 3, 20, 30)
        >>> levels = JPEG(quality=80).apply(x) * 255
        >>> bool((levels - levels.round()).abs().max() < 1e-4)
        True
    """

    quality: int = 80
    subsampling: Subsampling = "4:2:0"

    def __post_init__(self) -> None:
        good = is_int(self.quality) and 1 <= self.quality <= 100
        require(good, "quality", "JPEG", "an int from 1 to 100", self.quality)
        known = get_args(Subsampling)
        require(self.subsampling in known, "subsampling", "JPEG", f"one of {known}", self.subsampling)

    def exact(self, x: Images) -> Images:
        """What libjpeg-turbo decodes from its own code of the images' bytes."""
        _check_library()
        slices = to_slices(x, "JPEG")
        pictures = (slices if slices.shape[1] == 3 else slices.flatten(0, 1)).cpu()
        known = pictures if pictures.dtype == torch.float64 else pictures.float()  # NumPy has no bfloat16
        coded = torch.from_numpy(map_threads(self._recode, known.numpy()))
        return from_slices(coded.reshape(slices.shape), x).contiguous().to(x)

    def surrogate(self, x: Images) -> Images:
        """The codec with smooth rounding."""
        slices = to_slices(x, "JPEG")
        chroma = self.subsampling if slices.shape[1] == 3 else None
        planes = slices if chroma else slices.flatten(0, 1).unsqueeze(1)
        return from_slices(soft_jpeg(planes, self.quality, chroma).reshape(slices.shape), x)

    def _recode(self, picture: NDArray[np.floating]) -> NDArray[np.floating]:
        """One picture (3, h, w) or (h, w) in [0, 1]: rounded in float64, coded, decoded."""
        levels = np.rint(picture.astype(np.float64) * 255).astype(np.uint8)
        decoded = self._code(np.ascontiguousarray(np.moveaxis(levels, 0, -1)) if levels.ndim == 3 else levels)
        planes = np.ascontiguousarray(np.moveaxis(decoded, -1, 0)) if levels.ndim == 3 else decoded
        return np.divide(planes, 255, dtype=picture.dtype)

    def _code(self, levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        code = io.BytesIO()
        Image.fromarray(levels).save(code, "JPEG", quality=self.quality, subsampling=self.subsampling)
        with Image.open(code, formats=("JPEG",)) as decoded:
            return np.asarray(decoded)


@lru_cache(maxsize=1)
def _check_library() -> None:
    """Other libraries decode to other bytes: chroma up-sampling alone makes up to 21 levels of 255."""
    trellis = "mozjpeg" in features.features and features.check_feature("mozjpeg")  # older Pillows do not know it
    if trellis or not features.check_feature("libjpeg_turbo"):
        raise MedaegisError(
            "JPEG needs Pillow with libjpeg-turbo, and this Pillow was built with another JPEG library, whose results "
            "differ. Install the Pillow of the package index instead of one that was built elsewhere."
        )
