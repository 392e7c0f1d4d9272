"""Read a finished run folder into plain values; nothing is computed here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from medaegis._errors import DataError
from medaegis.report._files import bad, read_columns, read_csv, read_images, read_json
from medaegis.report._slices import middle_slice

T = TypeVar("T")
Strings = NDArray[np.str_]
Floats = NDArray[np.float64]

TABLE_TEXT = ("dataset", "model", "attack", "eps", "hfc", "detector", "metric")
TABLE_NUMBERS = ("value", "ci_low", "ci_high", "n", "published")
MATRIX_TEXT = ("detector", "eps", "learned", "attack", "hfc", "metric")
MATRIX_NUMBERS = ("value", "low", "high", "n")
DIFFERENCES_TEXT, DIFFERENCES_NUMBERS = ("attack", "eps", "hfc", "first", "second"), ("value", "low", "high", "p", "n")
TRAINING_TEXT = ("defence",)
TRAINING_NUMBERS = ("epoch", "eps", "attack_success", "validation_auc")
LAYERS_TEXT, LAYERS_NUMBERS = ("measure", "layer", "variant"), ("value", "low", "high")
CASES_TEXT = ("case", "attack", "eps", "hfc", "kind", "detector")
CASES_NUMBERS = ("fooled", "score", "threshold")


@dataclass(frozen=True)
class Skipped:
    """A file that the data source left out."""

    name: str
    reason: str


@dataclass(frozen=True)
class DataFacts:
    """Where the images came from, how many there are, how they were split."""

    source: str
    root: str
    fingerprint: str
    n: int
    classes: dict[str, int]
    split: dict[str, int | str]
    skipped: list[Skipped] = field(default_factory=list[Skipped])


@dataclass(frozen=True)
class ModelFacts:
    """What was attacked."""

    name: str
    weights: str
    weights_hash: str
    loaded: str


@dataclass(frozen=True)
class Stage:
    """One stored step of the run."""

    name: str
    key: str
    seconds: float
    cached: bool


@dataclass(frozen=True)
class Check:
    """One sign of a too weak attack that the run looked for; `passed` is None where the check was not run."""

    name: str
    passed: bool | None
    text: str


@dataclass(frozen=True)
class PartPage:
    """One part of a run that joins several: its name and where its own page is, from this one."""

    title: str
    page: str


@dataclass(frozen=True)
class Manifest:
    """manifest.json.

    `adaptive` is None where no detector is reported; `followed` are the detectors that a white-box attack followed;
    `scored` says which attacked cases the stored AUC counts ("all" or "fooled"), `scores` whether cases.parquet holds
    detectors' scores at all, `cases` whether that file and the pictures were kept (`keep_run`). `scale` is the version
    of the recipe, where the run says so: tiny, small or paper.
    """

    title: str
    recipe: str
    question: str
    medaegis: str
    versions: dict[str, str]
    python: str
    platform: str
    device: str
    threads: int
    commit: str | None
    seed: int
    settings: dict[str, Any]
    data: DataFacts
    model: ModelFacts
    adaptive: bool | None
    started: str
    finished: str
    seconds: float
    stages: list[Stage]
    checks: list[Check]
    warnings: list[str]
    differs: list[str]
    paper: str | None = None
    scale: str | None = None
    processor: str | None = None
    scored: str = "all"
    scores: bool = True
    cases: bool = True
    followed: list[str] = field(default_factory=list[str])
    parts: list[PartPage] = field(default_factory=list[PartPage])


@dataclass(frozen=True)
class Row:
    """One line of table.csv: values in percent, NaN where there is none; `n` is None where it is not stated."""

    dataset: str
    model: str
    attack: str
    eps: str
    hfc: str
    detector: str
    metric: str
    value: float
    ci_low: float
    ci_high: float
    n: int | None
    published: float


@dataclass(frozen=True, eq=False)
class Cases:
    """cases.parquet by column; empty text where the file has none, NaN where a number is missing."""

    case: Strings
    attack: Strings
    eps: Strings
    hfc: Strings
    kind: Strings
    detector: Strings
    fooled: Floats
    score: Floats
    threshold: Floats


@dataclass(frozen=True)
class GalleryCase:
    """A clean image of the gallery and what the classifier said about it."""

    name: str
    label: str | int
    prediction: str | int
    probability: float | None


@dataclass(frozen=True)
class GalleryColumn:
    """One attack on every case of the gallery; a verdict is true where the detector flags the image."""

    title: str
    attack: str
    eps: str
    hfc: str
    predictions: list[str | int]
    probabilities: list[float | None]
    verdicts: list[dict[str, bool | None]]


@dataclass(frozen=True)
class GalleryText:
    """gallery.json."""

    cases: list[GalleryCase]
    columns: list[GalleryColumn]


@dataclass(frozen=True, eq=False)
class Gallery:
    """Pictures, each (m, c, h, w) in [0, 1], with their captions; of volumes with `depth` slices, the middle ones."""

    text: GalleryText
    clean: NDArray[np.float32]
    adversarial: tuple[NDArray[np.float32], ...]
    depth: int = 1


@dataclass(frozen=True, eq=False)
class Embedding:
    """embedding.parquet: one dot a case and group; channels.parquet: one dot a channel and data set.

    `case` names each dot's case and `picture` shows it, a small PNG; both are empty where the run stored none.
    """

    x: Floats
    y: Floats
    group: Strings
    case: Strings = field(default_factory=lambda: np.array([], dtype=np.str_))
    picture: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class LayerLine:
    """One line of layers.csv: a measure at one layer for one variant; `low` and `high` are NaN where not measured."""

    measure: str
    layer: str
    variant: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class MatrixLine:
    """One line of matrix.csv: a detector that learned from one attack, tested on another; percent."""

    detector: str
    eps: str
    learned: str
    attack: str
    hfc: str
    metric: str
    value: float
    low: float
    high: float
    n: float


@dataclass(frozen=True)
class DifferenceLine:
    """One line of differences.csv: the AUC of `first` less that of `second`, in points, and DeLong's p."""

    attack: str
    eps: str
    hfc: str
    first: str
    second: str
    value: float
    low: float
    high: float
    p: float
    n: float


@dataclass(frozen=True)
class TrainingLine:
    """One line of training.csv: an epoch of a defence's training; budget in pixel units, the rest as shares of 1."""

    defence: str
    epoch: float
    eps: float
    attack_success: float
    validation_auc: float


@dataclass(frozen=True, eq=False)
class RunFolder:
    """Everything that a report draws from."""

    manifest: Manifest
    table: tuple[Row, ...]
    cases: Cases
    gallery: Gallery | None
    embedding: Embedding | None
    layers: tuple[LayerLine, ...] = ()
    channels: Embedding | None = None
    matrix: tuple[MatrixLine, ...] = ()
    differences: tuple[DifferenceLine, ...] = ()
    training: tuple[TrainingLine, ...] = ()
    by_seed: dict[int, tuple[Row, ...]] = field(default_factory=dict[int, tuple[Row, ...]])


def read_run(run_dir: Path) -> RunFolder:
    """Read a run folder.

    Args:
        run_dir: the folder that a recipe filled.

    Returns:
        Its contents; `gallery` and `embedding` are None where the folder has none.

    Raises:
        DataError: the folder or one of its files is missing, cannot be read or lacks a column.

    Example:
        >>> read_run(Path("runs/demo")).manifest.title  # doctest: +SKIP
        'Demonstration'
    """
    if not run_dir.is_dir():
        raise DataError(f"The run folder {run_dir} does not exist. Give the folder that `medaegis run` printed.")
    manifest, seeds = read_json(run_dir / "manifest.json", Manifest), run_dir / "seeds.csv"
    return RunFolder(
        manifest=manifest,
        table=_read_table(run_dir / "table.csv"),
        cases=_read_cases(run_dir / "cases.parquet") if manifest.scores and manifest.cases else _no_cases(),
        gallery=_read_gallery(run_dir),
        embedding=_read_embedding(run_dir / "embedding.parquet"),
        layers=_read_lines(run_dir / "layers.csv", LayerLine, LAYERS_TEXT, LAYERS_NUMBERS),
        channels=_read_embedding(run_dir / "channels.parquet"),
        matrix=_read_lines(run_dir / "matrix.csv", MatrixLine, MATRIX_TEXT, MATRIX_NUMBERS),
        differences=_read_lines(run_dir / "differences.csv", DifferenceLine, DIFFERENCES_TEXT, DIFFERENCES_NUMBERS),
        training=_read_lines(run_dir / "training.csv", TrainingLine, TRAINING_TEXT, TRAINING_NUMBERS),
        by_seed=_read_seeds(seeds) if seeds.exists() else {},
    )


def _read_seeds(path: Path) -> dict[int, tuple[Row, ...]]:
    found: dict[int, tuple[Row, ...]] = {}
    for line in read_csv(path, TABLE_TEXT, (*TABLE_NUMBERS, "seed")):
        seed = int(line["seed"])
        found[seed] = (*found.get(seed, ()), _row(line))
    return found


def _read_table(path: Path) -> tuple[Row, ...]:
    lines = read_csv(path, TABLE_TEXT, TABLE_NUMBERS)
    if not lines:
        raise bad(path, "has no rows")
    return tuple(_row(line) for line in lines)


def _read_lines(path: Path, form: type[T], texts: Sequence[str], numbers: Sequence[str]) -> tuple[T, ...]:
    lines = read_csv(path, texts, numbers) if path.exists() else []
    return tuple(form(**_fields(line, texts, numbers)) for line in lines)


def _fields(line: dict[str, Any], texts: Sequence[str], numbers: Sequence[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {name: str(line[name]) for name in texts}
    return fields | {name: np.nan if line[name] is None else float(line[name]) for name in numbers}


def _row(line: dict[str, Any]) -> Row:
    fields = _fields(line, TABLE_TEXT, TABLE_NUMBERS)
    fields["n"] = None if np.isnan(fields["n"]) else int(fields["n"])
    return Row(**fields)


def _read_cases(path: Path) -> Cases:
    return Cases(**read_columns(path, CASES_TEXT, CASES_NUMBERS))


def _no_cases() -> Cases:
    none: dict[str, Any] = {name: np.array([], dtype=np.str_) for name in CASES_TEXT}
    none |= {name: np.zeros(0) for name in CASES_NUMBERS}
    return Cases(**none)


def _read_embedding(path: Path) -> Embedding | None:
    if not path.exists():
        return None
    import pyarrow.parquet as pq

    columns = read_columns(path, ("group",), ("x", "y"))
    more = pq.read_table(path).to_pydict()
    if "case" in more:
        columns["case"] = np.array([str(name) for name in more["case"]], dtype=np.str_)
    if "picture" in more:
        columns["picture"] = tuple(picture or b"" for picture in more["picture"])
    return Embedding(**columns)


def _read_gallery(run_dir: Path) -> Gallery | None:
    images_path, text_path = run_dir / "gallery.safetensors", run_dir / "gallery.json"
    if not (images_path.exists() or text_path.exists()):
        return None
    text = read_json(text_path, GalleryText)
    images = read_images(images_path, ["clean", *(f"adversarial.{j}" for j in range(len(text.columns)))])
    for name, stack in images.items():
        if stack.ndim not in (4, 5) or stack.shape[0] != len(text.cases) or stack.shape != images["clean"].shape:
            raise bad(images_path, f"holds {name!r} of shape {stack.shape}, not one picture a case of gallery.json")
    for column in text.columns:
        if not len(column.predictions) == len(column.probabilities) == len(column.verdicts) == len(text.cases):
            raise bad(text_path, f"does not have one prediction, probability and verdict a case in {column.title!r}")
    clean, *others = (middle_slice(stack, before=2) for stack in images.values())
    return Gallery(text, clean, tuple(others), images["clean"].shape[2] if images["clean"].ndim == 5 else 1)
