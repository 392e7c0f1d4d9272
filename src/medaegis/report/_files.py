"""The files of a run folder as plain values; every error names the file and what to do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from medaegis._errors import DataError

T = TypeVar("T")
RUN_AGAIN = "Run the recipe again: finished stages are taken from the store, so only the missing results are made."


def bad(path: Path, what: str) -> DataError:
    """What is wrong with a file, as an error that names it."""
    return DataError(f"{path.name} of the run folder {path.parent} {what}. {RUN_AGAIN}")


def existing(path: Path) -> Path:
    """The path of a file that is there.

    Raises:
        DataError: it is missing.
    """
    if not path.is_file():
        raise bad(path, "is missing")
    return path


def read_json(path: Path, form: type[T]) -> T:
    """A JSON file as a dataclass; `DataError` where it is damaged or has another form."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(form).validate_python(json.loads(existing(path).read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise bad(path, f"is not as expected at {where!r}: {first['msg']}") from error
    except (OSError, ValueError) as error:
        raise bad(path, f"cannot be read as JSON ({error})") from error


def read_csv(path: Path, texts: Sequence[str], numbers: Sequence[str]) -> list[dict[str, Any]]:
    """The lines of a CSV file by column; `DataError` where it is damaged or lacks one."""
    import pyarrow as pa
    import pyarrow.csv as pc

    types = dict.fromkeys(texts, pa.string()) | dict.fromkeys(numbers, pa.float64())
    try:
        options = pc.ConvertOptions(column_types=types, include_columns=list(types))
        return pc.read_csv(existing(path), convert_options=options).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise bad(path, f"cannot be read ({error})") from error


def read_columns(path: Path, texts: tuple[str, ...], numbers: tuple[str, ...]) -> dict[str, Any]:
    """Columns of a Parquet file as arrays; missing text is empty, a missing number NaN."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        lines = pq.read_table(existing(path), columns=None).to_pydict()
        read = {name: np.array(["" if v is None else str(v) for v in lines[name]], dtype=np.str_) for name in texts}
        return read | {name: np.array(lines[name], dtype=np.float64) for name in numbers}
    except KeyError as error:
        raise bad(path, f"has no column {error}") from error
    except (OSError, TypeError, ValueError, pa.ArrowException) as error:
        raise bad(path, f"cannot be read ({error})") from error


def read_images(path: Path, names: list[str]) -> dict[str, NDArray[np.float32]]:
    """Named stacks of images of a safetensors file, as float32."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        images = load_file(existing(path))
        return {name: np.asarray(images[name], dtype=np.float32) for name in names}
    except KeyError as error:
        raise bad(path, f"has no entry {error}") from error
    except (OSError, SafetensorError) as error:
        raise bad(path, f"cannot be read ({error})") from error
