"""Results of stages on disk: one folder a key, written under a temporary name and renamed, never half there."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from torch import Tensor

from medaegis._errors import DataError
from medaegis.experiment._stage import Result, Stage


class Store:
    """A folder of results.

    Args:
        root: the folder; made when the first result is written.

    Example:
        >>> Store("runs/stages").root.name
        'stages'
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def has(self, stage: Stage) -> bool:
        """Whether the stage's result is stored."""
        return (self._folder(stage) / "info.json").is_file()

    def read(self, stage: Stage) -> Result:
        """The stored result.

        Raises:
            DataError: it is damaged; the text names the folder to delete.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        folder = self._folder(stage)
        try:
            info: dict[str, Any] = json.loads((folder / "info.json").read_text())
            tensors: dict[str, Tensor] = load_file(self.tensors_file(stage))
        except (OSError, ValueError, SafetensorError) as error:
            raise DataError(
                f"The stored result {folder} is damaged ({error}). Delete that folder and run again."
            ) from error
        return Result(tensors, info)

    def tensors_file(self, stage: Stage) -> Path:
        """Where the tensors of a stored result are."""
        return self._folder(stage) / "tensors.safetensors"

    def write(self, stage: Stage, result: Result) -> None:
        """Store a result; if another process stored it meanwhile, that one stays."""
        from safetensors.torch import save_file

        target = self._folder(stage)
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".writing-", dir=self.root))
        try:
            save_file(
                {k: v.detach().cpu().contiguous() for k, v in result.tensors.items()}, folder / "tensors.safetensors"
            )
            (folder / "info.json").write_text(json.dumps(result.info))
            _rename(folder, target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(self.scratch(stage), ignore_errors=True)

    def scratch(self, stage: Stage) -> Path:
        """A folder for what a stage wants to find again after it was killed; gone once its result is stored."""
        return self.root / f".partial-{stage.key}"

    def sweep(self) -> None:
        """Remove what killed processes left half written (older than an hour, so that a live one keeps its own)."""
        import time

        for folder in self.root.glob(".writing-*"):
            if time.time() - folder.stat().st_mtime > 3600:
                shutil.rmtree(folder, ignore_errors=True)

    def _folder(self, stage: Stage) -> Path:
        return self.root / f"{stage.name}-{stage.key}"


def _rename(folder: Path, target: Path) -> None:
    try:
        os.replace(folder, target)
    except OSError:
        if not (target / "info.json").is_file():
            shutil.rmtree(target, ignore_errors=True)
            os.replace(folder, target)


def write_text(path: Path, text: str) -> None:
    """Write a file under a temporary name and rename it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_text(Path(folder) / "a.txt", "x")
        ...     (Path(folder) / "a.txt").read_text()
        'x'
    """
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text)
    os.replace(temporary, path)
