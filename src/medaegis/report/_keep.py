"""The small part of a run, as a repository keeps it: tables and manifest, no images, no scores of single cases."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from medaegis._errors import DataError
from medaegis.report._files import read_json
from medaegis.report._frame import write_whole
from medaegis.report._index import is_run

SHEETS = ("table.csv", "layers.csv", "matrix.csv", "differences.csv", "seeds.csv", "training.csv")


def keep_run(run: Path, place: Path) -> Path:
    """Copy a finished run's tables and manifest; `render_report` draws a page from them without pictures.

    Pictures, the map of the features and everything that names single cases stay where they are, so that what is kept
    holds no patient's data. Of a joined run, each part's tables are kept in a folder of its own.

    Args:
        run: the folder that a recipe filled.
        place: the folder to write; made if it is missing, and files of the same names are replaced.

    Returns:
        `place`.

    Raises:
        DataError: `run` is no finished run, or `place` is the same folder.

    Example:
        >>> keep_run(Path("runs/demo"), Path("results/demo"))  # doctest: +SKIP
        PosixPath('results/demo')
    """
    if not is_run(run):
        raise DataError(
            f"{run} is no finished run: manifest.json or table.csv is missing. Finish it with `medaegis run`."
        )
    if run.resolve() == place.resolve():
        raise DataError(f"{place} is the run itself. Give another folder for what is kept.")
    manifest = read_json(run / "manifest.json", dict[str, Any])
    place.mkdir(parents=True, exist_ok=True)
    for name in SHEETS:
        if (run / name).is_file():
            shutil.copyfile(run / name, place / name)
    write_whole(place / "manifest.json", json.dumps(manifest | {"cases": False}, indent=1) + "\n")
    for part in manifest.get("parts", ()):
        folder = Path(part["page"]).parent
        keep_run(run / folder, place / folder)
    return place
