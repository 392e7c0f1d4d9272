"""Small image files and folder trees, and the folder of real data."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medaegis.data import DataWarning

WriteImage = Callable[..., Path]


def noise(shape: tuple[int, ...], seed: int = 0, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def encode(array: np.ndarray, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, form, **options)
    return buffer.getvalue()


def encode_png16(array: np.ndarray) -> bytes:
    """A PNG of 16 bits and 1 to 4 channels, (h, w, c), written by hand: Pillow writes only grey ones."""
    height, width, channels = array.shape
    rows = b"".join(b"\0" + array[row].astype(">u2").tobytes() for row in range(height))

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


class Make:
    """What the tests write with: `make.noise`, `make.encode`, `make.png16`, `make.image`, `make.images`."""

    noise = staticmethod(noise)
    encode = staticmethod(encode)
    png16 = staticmethod(encode_png16)

    @staticmethod
    def image(path: Path, seed: int = 0, form: str | None = None, shape: tuple[int, ...] = (20, 24)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = form or ("PNG" if path.suffix.lower() == ".png" else "JPEG")
        path.write_bytes(encode(noise(shape, seed), kind))
        return path

    @classmethod
    def images(cls, folder: Path, names: list[str]) -> list[Path]:
        """One image a name, each with a content of its own."""
        return [cls.image(folder / name, zlib.crc32(f"{folder.name}/{name}".encode())) for name in names]

    @classmethod
    def two_classes(cls, root: Path, n: int = 20) -> Path:
        """A folder with the classes a and b, n PNG images each: a/00.png ..."""
        for name in "ab":
            cls.images(root / name, [f"{i:02d}.png" for i in range(n)])
        return root


@pytest.fixture
def make() -> type[Make]:
    return Make


@pytest.fixture(scope="session")
def real_data() -> Path:
    root = Path(os.environ.get("MEDAEGIS_DATA", Path(__file__).parents[3] / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"no real data at {root}; set MEDAEGIS_DATA to its folder")
    return root


@pytest.fixture
def skips() -> Callable[[], object]:
    """A context that expects the warning on skipped files."""
    return lambda: pytest.warns(DataWarning, match="cannot be used")
