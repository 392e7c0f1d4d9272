"""A folder of fitted detectors: one safetensors file each, and detectors.json, which says what scoring must repeat."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from medaegis._errors import DataError, MedaegisError
from medaegis._types import PerCase, Tapped
from medaegis.data._geometry import Frame, frame_facts, make_frame
from medaegis.detect import Combined, Detector, detector_class, score_tapped
from medaegis.experiment._stages_data import Images
from medaegis.experiment._store import write_text
from medaegis.models import PENULTIMATE

FORMAT = 1
INDEX = "detectors.json"
ENDING = ".safetensors"


class Fitted(NamedTuple):
    """Calibrated detectors before they are files.

    Attributes:
        detectors: by label.
        kinds: what `DetectorChoice.parse` takes for each.
        learned: whether each learned from attacks.
        facts: what detectors.json says besides.
    """

    detectors: dict[str, Detector]
    kinds: dict[str, str]
    learned: dict[str, bool]
    facts: dict[str, Any]


@dataclass(frozen=True, eq=False)
class DetectorSet:
    """Detectors as `load_detectors` read them.

    Args:
        folder: where they lie.
        detectors: calibrated, by name, in the order in which they were named.
        facts: the whole of detectors.json.
        frame: geometry of the images.
    """

    folder: Path
    detectors: dict[str, Detector]
    facts: dict[str, Any]
    frame: Frame

    @property
    def layers(self) -> tuple[str, ...]:
        """All layers that some detector was fitted on, each once."""
        named = (name or PENULTIMATE for detector in self.detectors.values() for name in detector.fitted_layers())
        return tuple(dict.fromkeys(named))

    def scores(self, tapped: Tapped) -> dict[str, PerCase]:
        """Scores (n,) by name, all from one pass that gave `layers`."""
        with torch.no_grad():
            return score_tapped(self.detectors, tapped)


def write_detectors(out: Path, fitted: Fitted, images: Images, about: dict[str, Any]) -> dict[str, Any]:
    """Write the detectors, then detectors.json, without which no file counts; earlier detectors go.

    Args:
        out: the folder.
        fitted: what is written.
        images: how they were read.
        about: versions, device and commit.

    Returns:
        What detectors.json says.

    Raises:
        DataError: a file cannot be written.
    """
    _remove_earlier(out)
    entries: list[dict[str, Any]] = []
    for label, detector in fitted.detectors.items():
        name = re.sub(r"[^\w.-]", "_", label) + ENDING
        temporary = out / f".{name}.tmp"
        detector.save(temporary)
        os.replace(temporary, out / name)
        entries.append(
            {
                "name": label,
                "kind": fitted.kinds[label],
                "file": name,
                "threshold": detector.threshold_,
                "learned_from_attack": fitted.learned[label],
            }
        )
    facts = {"format": FORMAT, **about, "images": frame_facts(images.frame), "detectors": entries, **fitted.facts}
    write_text(out / INDEX, json.dumps(facts, indent=1))
    return facts


def _remove_earlier(out: Path) -> None:
    """Remove the index first, then the files that it named, and no others."""
    if not (out / INDEX).exists():
        return
    try:
        names = [Path(str(entry["file"])).name for entry in _read_index(out)["detectors"]]
    except (DataError, KeyError, TypeError):
        names = []  # a damaged index names nothing; its files are not read without one
    (out / INDEX).unlink()
    for name in names:
        if name.endswith(ENDING):
            (out / name).unlink(missing_ok=True)


def load_detectors(folder: str | Path) -> DetectorSet:
    """The detectors that `medaegis detect fit` left in a folder. No code is stored there, none runs.

    Args:
        folder: with detectors.json.

    Returns:
        The detectors with what scoring must repeat.

    Raises:
        DataError: files are missing, damaged, of another fit or of another version of the format, or a detector of
            another package is not installed here.
    """
    root = Path(folder)
    facts = _read_index(root)
    try:
        if facts["format"] != FORMAT:
            raise DataError(
                f"{root / INDEX} has format {facts['format']!r}, and this version of medaegis reads {FORMAT}. Fit the "
                f"detectors again, or take medaegis {facts.get('medaegis')}."
            )
        detectors = {str(entry["name"]): _load(root, entry) for entry in facts["detectors"]}
        names = (*facts["class_names"], facts["model"]["name"], facts["model"]["network_hash"])
        frame = _frame(facts["images"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{root / INDEX} is not as `medaegis detect fit` writes it: {error!r}. Fit again.") from error
    if not detectors or not all(isinstance(name, str) for name in names):
        raise DataError(f"{root / INDEX} is not as `medaegis detect fit` writes it. Fit again.")
    return DetectorSet(root, detectors, facts, frame)


def _frame(images: dict[str, Any]) -> Frame:
    return make_frame(images["size"], images["resize"], images["channels"], "detect", window=images.get("window"))


def _read_index(root: Path) -> dict[str, Any]:
    path = root / INDEX
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"{root} must hold {INDEX}: the folder that `medaegis detect fit --out` wrote, finished."
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from error
    if not isinstance(found, dict):
        raise DataError(f"{path} is not as `medaegis detect fit` writes it. Fit again.")
    return found  # pyright: ignore[reportUnknownVariableType]  # JSON


def _load(root: Path, entry: dict[str, Any]) -> Detector:
    """One detector, by its class's own `load`; only a file that lies in the folder itself."""
    path = root / Path(str(entry["file"])).name
    kind, _, how = str(entry["kind"]).partition(":")
    try:
        detector = (Combined if how else detector_class(kind)).load(path)
    except MedaegisError as error:
        raise DataError(f"The detector {entry['name']} of {root / INDEX} cannot be loaded: {error}") from error
    if detector.threshold_ is None or detector.threshold_ != entry["threshold"]:
        raise DataError(
            f"{path} is of another fit than {root / INDEX}: its threshold is {detector.threshold_}, not "
            f"{entry['threshold']}. Take all files of one run."
        )
    return detector
