"""The images of an attack as files: float32 without loss, one file a chunk, and 8-bit pictures to look at."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from medaegis.data import Dataset
from medaegis.experiment._context import Context
from medaegis.experiment._stages_own import AttackedChunk
from medaegis.report import png_bytes

FOLDER = "adversarial"
PREVIEW = "preview"
README = (
    "Pictures to look at, of volumes the middle slice. They are rounded to 8 bits, which can undo an attack;\n"
    "nothing was judged on them.\n"
    "The images themselves are in ../adversarial, as float32.\n"
)


def adversarial_name(chunk: AttackedChunk) -> str:
    """The file of a chunk, relative to the run's folder: its first and last case."""
    return f"{FOLDER}/{chunk.start:06d}-{chunk.start + len(chunk.rows) - 1:06d}.safetensors"


def write_images(out: Path, *, chunks: Sequence[AttackedChunk], data: Dataset, context: Context) -> None:
    """Write `adversarial/` and `preview/`, chunk by chunk; what an earlier run left there goes.

    The files of `adversarial/` are the stored results themselves, linked where the file system can, else copied.
    """
    for name in (FOLDER, PREVIEW):
        shutil.rmtree(out / name, ignore_errors=True)
        (out / name).mkdir()
    (out / PREVIEW / "README.txt").write_text(README)
    for chunk in chunks:
        images = context.get(chunk).tensors["x"].numpy()
        _link(context.store.tensors_file(chunk), out / adversarial_name(chunk))
        for place, image in zip(chunk.rows, images, strict=True):
            path = out / PREVIEW / preview_name(data.names[place])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png_bytes(image))


def preview_name(name: str) -> str:
    """The picture of a case, relative to `preview/`; a name cannot lead out of it.

    Example:
        >>> preview_name("NORMAL/IM-0001.jpeg"), preview_name("../x.png")
        ('NORMAL/IM-0001.jpeg.png', '_/x.png.png')
    """
    parts = [re.sub(r"^\.+$", "_", part) for part in name.split("/") if part]
    return "/".join(parts) + ".png"


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
