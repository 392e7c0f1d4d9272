"""Verdicts on image files as a CSV: one row a file, in the files' order, also for those that are no image."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from medaegis._errors import DataError, require
from medaegis.experiment._image_files import Read
from medaegis.experiment._store import write_text

VerdictRow = dict[str, str]


def check_target(target: Path, owner: str) -> None:
    """Raise `InputError` unless a file can stand there."""
    good = target.parent.is_dir() and not target.is_dir()
    require(good, "out", owner, "a file in a folder that is there", str(target))


def rows_of(read: Read, verdicts: Iterable[VerdictRow]) -> list[VerdictRow]:
    """One row a file; `verdicts` are those of the files that are images, in their order.

    Example:
        >>> import torch
        >>> read = Read(("a", "b"), ("", "no image"), torch.zeros(1, 1, 2, 2))
        >>> rows_of(read, [{"flagged": "true"}])
        [{'file': 'a', 'problem': '', 'flagged': 'true'}, {'file': 'b', 'problem': 'no image'}]
    """
    found = iter(verdicts)
    return [
        {"file": name, "problem": problem} | ({} if problem else next(found))
        for name, problem in zip(read.names, read.problems, strict=True)
    ]


def judged_rows(rows: Sequence[VerdictRow], say: Callable[[str], None], word: str) -> list[VerdictRow]:
    """The rows of images; `say` takes a line for each other file: "not scored: FILE: why".

    Raises:
        DataError: no file is an image.
    """
    for row in rows:
        if row["problem"]:
            say(f"not {word}: {row['file']}: {row['problem']}")
    judged = [row for row in rows if not row["problem"]]
    if not judged:
        raise DataError(
            f"None of the {len(rows)} files is an image, the first {rows[0]['file']}: {rows[0]['problem']}."
        )
    return judged


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> str:
    """The table; what a row lacks stays empty.

    Example:
        >>> csv_text(["file", "problem"], [{"file": "a"}]).split()
        ['file,problem', 'a,']
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_table(target: Path, table: str) -> None:
    """Write it whole or not at all.

    Raises:
        DataError: the file cannot be written.
    """
    try:
        write_text(target, table)
    except OSError as error:
        raise DataError(f"The file {target} cannot be written: {error.strerror or error}.") from None
