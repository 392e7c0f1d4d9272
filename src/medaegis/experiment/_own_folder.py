"""The folder that a command fills: checked before any work."""

from __future__ import annotations

import tempfile
from pathlib import Path

from medaegis._errors import DataError, require


def check_free(folder: Path, owner: str, fix: str) -> None:
    """Raise `InputError` unless it is not there yet, empty, or begun by this command; a recipe's run has a manifest."""
    rule = "a new folder, an empty one, or one of an earlier run"
    require(_is_free(folder), "out", owner, rule, str(folder), fix)


def _is_free(folder: Path) -> bool:
    if not folder.exists():
        return True
    if not folder.is_dir():
        return False
    return not any(folder.iterdir()) or ((folder / "stages").is_dir() and not (folder / "manifest.json").exists())


def check_writable(folder: Path) -> None:
    """Make it; raise `DataError` where it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DataError(
            f"The folder {folder} cannot be written: {error.strerror or error}. Choose another --out."
        ) from None
