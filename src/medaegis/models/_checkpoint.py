"""The checkpoint of a training: one file in a folder, replaced whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

NAME = "checkpoint.pt"


def write_checkpoint(folder: Path | None, state: dict[str, Any]) -> None:
    """Write `state` under a temporary name, then rename it: a killed run finds the old or the new one.

    Args:
        folder: made where it is missing; None writes nothing.
        state: tensors, state dicts and text.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_checkpoint(Path(folder), {"progress": "[1]"})
        ...     read_checkpoint(Path(folder))
        {'progress': '[1]'}
    """
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / "checkpoint.tmp")
    os.replace(folder / "checkpoint.tmp", folder / NAME)


def read_checkpoint(folder: Path | None) -> dict[str, Any] | None:
    """What `write_checkpoint` left in `folder`, on the CPU, or None; no code is read.

    Example:
        >>> read_checkpoint(Path("no/such/folder")) is None
        True
    """
    if folder is None or not (folder / NAME).is_file():
        return None
    return torch.load(folder / NAME, weights_only=True, map_location="cpu")
