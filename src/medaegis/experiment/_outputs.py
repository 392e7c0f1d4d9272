"""A finished run as files: table.csv, further tables, cases.parquet, pictures, embedding and manifest.json."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from medaegis.experiment._content import Content, Gallery, Row
from medaegis.experiment._store import write_text

PACKAGES = (
    *("torch", "torchvision", "numpy", "scipy", "scikit-learn", "scikit-image", "pillow", "pyarrow", "safetensors"),
    *("matplotlib", "pydicom", "nibabel"),
)
_TABLE = pa.schema(
    [(n, pa.string()) for n in Row._fields[:7]]
    + [(n, pa.float64()) for n in ("value", "ci_low", "ci_high")]
    + [("n", pa.int64()), ("published", pa.float64())]
)
_CASES = pa.schema(
    [(n, pa.string()) for n in ("case", "group", "label", "attack", "eps", "hfc", "kind")]
    + [("fooled", pa.bool_()), ("prediction", pa.string()), ("detector", pa.string())]
    + [("score", pa.float64()), ("threshold", pa.float64())]
)

_LAYERS = pa.schema(
    [(n, pa.string()) for n in ("measure", "layer", "variant")] + [(n, pa.float64()) for n in ("value", "low", "high")]
)


def write_outputs(out: Path, content: Content, manifest: dict[str, Any]) -> None:
    """Write a run's files, each under a temporary name and then renamed; the manifest comes last.

    Args:
        out: the run's folder; made if needed.
        content: what the plan collected.
        manifest: facts of the run itself; the content's own facts are added.
    """
    out.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist([row._asdict() for row in content.rows], schema=_TABLE)
    _atomically(out / "table.csv", partial(pyarrow.csv.write_csv, table))
    cases = pa.Table.from_pylist(content.cases, schema=content.columns or _CASES)
    _atomically(out / "cases.parquet", partial(pyarrow.parquet.write_table, cases))
    if content.columns is not None:
        _atomically(out / "cases.csv", partial(pyarrow.csv.write_csv, cases))
    if content.more is not None:
        content.more(out)
    if content.layers:
        layers = pa.Table.from_pylist(content.layers, schema=_LAYERS)
        _atomically(out / "layers.csv", partial(pyarrow.csv.write_csv, layers))
    for name, lines in content.sheets.items():
        if lines:
            _atomically(out / f"{name}.csv", partial(pyarrow.csv.write_csv, pa.Table.from_pylist(lines)))
    if content.embedding:
        points = pa.Table.from_pylist(content.embedding)
        _atomically(out / "embedding.parquet", partial(pyarrow.parquet.write_table, points))
    if content.gallery:
        _write_gallery(out, content.gallery)
    write_text(out / "manifest.json", json.dumps(manifest | content.facts, indent=1))


def _write_gallery(out: Path, gallery: Gallery) -> None:
    from safetensors.torch import save_file

    tensors = {"clean": gallery.clean.contiguous()}
    tensors |= {f"adversarial.{j}": column.images.contiguous() for j, column in enumerate(gallery.columns)}
    _atomically(out / "gallery.safetensors", partial(save_file, tensors))
    facts = {"cases": gallery.cases, "columns": [column.facts for column in gallery.columns]}
    write_text(out / "gallery.json", json.dumps(facts))


def _atomically(path: Path, write: Callable[[Path], object]) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    write(temporary)
    os.replace(temporary, path)


def environment(device: str) -> dict[str, Any]:
    """Versions, platform, device, processor, threads and commit, for a manifest.

    The processor, since torch computes by its instructions: on another kind the same seed trains another network.

    Example:
        >>> environment("cpu")["device"]
        'cpu'
    """
    import torch

    from medaegis._version import __version__

    return {
        "medaegis": __version__,
        "versions": package_versions(PACKAGES),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": device if device == "cpu" else f"{device} ({torch.cuda.get_device_name(device)})",
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "commit": _commit(),
        "command": _command(sys.argv),
    }


def _processor() -> str:
    """The processor's name, where the system tells it, and the instructions that torch makes use of.

    Example:
        >>> import torch
        >>> _processor().rpartition(", ")[2] == torch.backends.cpu.get_cpu_capability()
        True
    """
    import torch

    name = platform.processor() or platform.machine()
    with suppress(OSError):  # Linux tells it here alone
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


def _command(words: Sequence[str]) -> str:
    """What was called, as a shell takes it.

    Example:
        >>> _command(["/usr/bin/medaegis", "run", "mine", "--data", "my images"])
        "medaegis run mine --data 'my images'"
        >>> _command(["/lib/medaegis/__main__.py", "demo"])
        'python -m medaegis demo'
    """
    program, *rest = words
    path = Path(program)
    first = ["python", "-m", path.parent.name] if path.name == "__main__.py" else [path.name]
    return shlex.join([*first, *rest])


def package_versions(names: Sequence[str]) -> dict[str, str]:
    """Installed versions; packages that are not there are left out.

    Example:
        >>> package_versions(["no-such-package"])
        {}
    """
    found: dict[str, str] = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _commit() -> str | None:
    """The commit of the checkout that this package runs from, with "+changes" where files differ; None elsewhere."""
    folder = Path(__file__).parent
    try:
        run = [
            subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True, timeout=10)
            for words in (["rev-parse", "HEAD"], ["ls-files", "--error-unmatch", __file__], ["status", "--porcelain"])
        ]
    except (OSError, subprocess.SubprocessError):
        return None
    return run[0].stdout.strip()[:12] + ("+changes" if run[2].stdout.strip() else "")
