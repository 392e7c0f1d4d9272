"""APTOS 2019: train.csv with id_code and diagnosis, and the images in train_images/ or beside the table."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from medaegis._errors import DataError
from medaegis.data._dataset import Skipped
from medaegis.data._listing import Case, Listing, entries, images_in, is_folder, is_image_name, subfolders
from medaegis.data._source_folders import grade_label, grade_names

COLUMNS = ("id_code", "diagnosis")


class _Row(NamedTuple):
    line: int
    code: str
    grade: int


def find_table(root: Path) -> Path | None:
    """The path of train.csv in `root`, in upper or lower case; None if there is none."""
    return next((root / e.name for e in entries(root) if e.name.lower() == "train.csv" and not is_folder(e)), None)


def looks_like_aptos(root: Path) -> bool:
    """Whether there is a train.csv."""
    return find_table(root) is not None


def list_aptos(root: Path, *, binary: bool) -> Listing:
    """List APTOS 2019 by its table; a row whose image is missing is skipped.

    Raises:
        DataError: no table, a column is missing, a grade is not 0 to 4, an id_code comes twice.
    """
    table = find_table(root)
    if table is None:
        raise DataError(
            f"{root} must hold train.csv with the columns id_code and diagnosis, got none. "
            f"Unpack the APTOS 2019 archive there, or point to the folder that holds train.csv."
        )
    images = _images_by_code(root)
    cases: list[Case] = []
    skipped: list[Skipped] = []
    for row in _checked_rows(table):
        path = images.get(row.code)
        if path is None:
            skipped.append(Skipped(row.code, f"listed in {table.name} line {row.line}, but no such image"))
        else:
            cases.append(Case(path, grade_label(row.grade, binary)))
    return Listing(tuple(cases), grade_names(binary), tuple(skipped), (table,))


def _images_by_code(root: Path) -> dict[str, Path]:
    """The images by file name without extension; train_images/ wins over the root, PNG over other formats."""
    folders = [root] + [path for name, path in subfolders(root).items() if name.lower() == "train_images"]
    found: dict[str, Path] = {}
    for folder in folders:
        found |= {
            _without_extension(path.name): path
            for path in sorted(images_in(folder), key=lambda path: path.suffix.lower() == ".png")
        }
    return found


def _checked_rows(table: Path) -> Iterator[_Row]:
    seen: dict[str, int] = {}
    for line, code, diagnosis in _read_rows(table):
        if code in seen:
            raise DataError(
                f"Each id_code in {table} must come once, got {code!r} in lines {seen[code]} and {line}. Remove one."
            )
        seen[code] = line
        if diagnosis not in ("0", "1", "2", "3", "4"):
            raise DataError(
                f"Each diagnosis in {table} must be a whole number 0 to 4, got {diagnosis!r} in line {line}. "
                f"Correct or remove that row."
            )
        yield _Row(line, code, int(diagnosis))


def _read_rows(table: Path) -> Iterator[tuple[int, str, str]]:
    """Line number, id_code without an image extension, diagnosis as text."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = [column.strip() for column in next(reader, [""])]
            where = _columns(table, header)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    code, diagnosis = (cells[i].strip() if i < len(cells) else "" for i in where)
                    yield reader.line_num, _without_extension(code), diagnosis
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table} must be a readable UTF-8 CSV file, got: {error}. Export it again as CSV.") from None


def _columns(table: Path, header: list[str]) -> list[int]:
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        raise DataError(
            f"{table} must have the columns id_code and diagnosis, separated by commas; {missing} missing, "
            f"got {header[:8]}. Rename the columns in its first line."
        )
    return [header.index(column) for column in COLUMNS]


def _without_extension(code: str) -> str:
    return os.path.splitext(code)[0] if is_image_name(code) else code
