"""`medaegis aegis check`: a guard's verdict on new images, as a CSV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from medaegis._errors import DataError
from medaegis._progress import progress_bar
from medaegis.data._geometry import Frame
from medaegis.defend import Aegis
from medaegis.defend._aegis_file import read_aegis
from medaegis.experiment._aegis_run import GUARD
from medaegis.experiment._image_files import Read, list_images
from medaegis.experiment._told_network import told_network
from medaegis.experiment._verdict_table import (
    VerdictRow,
    check_target,
    csv_text,
    judged_rows,
    rows_of,
    write_table,
)

COLUMNS: tuple[str, ...] = ("file", "prediction", "probability", "score", "threshold", "accepted", "problem")


class Checked(NamedTuple):
    """What `medaegis aegis check` found.

    Attributes:
        table: the CSV's text.
        n: images that were judged.
        rejected: images that were not accepted.
        unreadable: files that are no image.
    """

    table: str
    n: int
    rejected: int
    unreadable: int


def run_aegis_check(
    guard: str | Path,
    images: Sequence[str | Path],
    *,
    out: str | Path | None = None,
    model: str | None = None,
    weights: str | Path | None = None,
    sha256: str | None = None,
    skip_unreadable: bool = False,
    device: str = "cpu",
    batch_size: int = 32,
    progress: bool = False,
    say: Callable[[str], None] = lambda _line: None,
) -> Checked:
    """Judge images by a guard, one CSV row an image.

    Args:
        guard: the file that `run_aegis_fit` or `Aegis.save` wrote, or its folder.
        images: folders of images, with or without labels, and single files.
        out: the CSV; its folder must be there. None writes no file.
        model: the network of the fit; None takes its name from the guard. A network of the user's own must be named:
            a file does not say which code runs.
        weights: of the network; None takes the path that was given in fitting.
        sha256: what `aegis fit` printed, to make sure that it is that very guard.
        skip_unreadable: list files that are no image with their problem, in place of an error.
        device: torch's name of the device.
        batch_size: images that go through the network together; changes speed and memory only.
        progress: show a bar.
        say: takes one line for each remark.

    Returns:
        The table, and counts.

    Raises:
        InputError: the network is another than that of the fit, or must be named.
        DataError: the guard, the network, an image or the CSV cannot be used.
    """
    file = Path(guard) / GUARD if Path(guard).is_dir() else Path(guard)
    about = _about(file)
    frame = Frame(**about["images"])
    target = None if out is None else Path(out)
    if target is not None:
        check_target(target, "aegis check")
    files = list_images(images)
    built = told_network(
        about["model"],
        classes=about["classes"],
        channels=frame.channels,
        model=model,
        weights=weights,
        holder=str(file),
    )
    loaded = Aegis.load(file, built.model.to(device), sha256=sha256)
    rows: list[VerdictRow] = []
    with progress_bar(len(files), "checking", unit="image", show=progress) as advance:
        for read in files.read(frame, batch_size=batch_size, skip=skip_unreadable):
            rows += rows_of(read, _verdicts(loaded, read, device, batch_size))
            advance(len(read.names))
    judged = judged_rows(rows, say, "checked")
    table = csv_text(COLUMNS, rows)
    if target is not None:
        write_table(target, table)
    rejected = sum(row["accepted"] == "false" for row in judged)
    return Checked(table, len(judged), rejected, len(rows) - len(judged))


def _about(file: Path) -> dict[str, Any]:
    """What `aegis fit` told the guard of network and images, and of the classes."""
    values = read_aegis(file).values
    about: dict[str, Any] = dict(values.get("about") or {})
    if not {"model", "images"} <= set(about):
        raise DataError(
            f"The guard {file} does not say how images are read: it was saved from Python. Use it there, by Aegis.load."
        )
    return about | {"classes": len(values["class_names"])}


def _verdicts(guard: Aegis, read: Read, device: str, batch_size: int) -> list[VerdictRow]:
    if not len(read.images):
        return []
    verdict = guard(read.images.to(device), batch_size=batch_size)
    limits = (-guard.thresholds).tolist()
    return [
        {
            "prediction": guard.facts.class_names[place],
            "probability": f"{probability:.6g}",
            "score": repr(score),
            "threshold": repr(limits[place]),
            "accepted": "true" if accepted else "false",
        }
        for place, probability, accepted, score in zip(*(column.tolist() for column in verdict), strict=True)
    ]
