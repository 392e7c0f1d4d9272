"""A guard as numbers: one safetensors file with JSON inside, and a hash over both."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from medaegis._errors import DataError
from medaegis._version import __version__
from medaegis.defend._shield_settings import ShieldSettings, TrainingAttack

FORMAT = 1
_ENTRY = "aegis"  # one entry of the header, since several would come in any order and files would differ


class AegisFile(NamedTuple):
    """What a guard's file holds.

    Attributes:
        tensors: the Shields' numbers.
        values: all else, as JSON values.
        sha256: over both.
    """

    tensors: dict[str, Tensor]
    values: dict[str, Any]
    sha256: str


def write_aegis(path: str | Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> str:
    """Write a guard's file under a temporary name, and rename it.

    Args:
        path: of the file.
        tensors: by name.
        values: JSON values; format and version are added.

    Returns:
        Its SHA-256.

    Raises:
        DataError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     digest = write_aegis(f"{folder}/guard.safetensors", {"w": torch.ones(2)}, {"tnr": 0.9})
        ...     read_aegis(f"{folder}/guard.safetensors").sha256 == digest
        True
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    target = Path(path)
    text = json.dumps({"format": FORMAT, "medaegis": __version__, **values}, indent=1)
    parts = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    digest, temporary = aegis_hash(text, parts), target.with_name(f".{target.name}.tmp")
    try:
        save_file(parts, temporary, metadata={_ENTRY: f"{digest}\n{text}"})
        os.replace(temporary, target)
    except (OSError, SafetensorError) as error:
        raise DataError(f"The guard {target} cannot be written: {error}") from error
    return digest


def read_aegis(path: str | Path) -> AegisFile:
    """Read a guard's file and check its hash. No code is stored there, none runs.

    Raises:
        DataError: the file is missing, no guard, of another format, damaged or changed.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:  # pyright: ignore[reportUnknownVariableType]  # untyped library
            kept: dict[str, str] = file.metadata() or {}
            # copies, since a file's tensors lie at odd addresses, where matrix products round otherwise
            tensors = {key: cast(Tensor, file.get_tensor(key)).clone() for key in file.keys()}  # noqa: SIM118  # not a dict
        told, _, text = kept[_ENTRY].partition("\n")
        values: Any = json.loads(text)
        version, maker = values["format"], values["medaegis"]
    except (OSError, SafetensorError) as error:
        raise DataError(f"The guard {path} cannot be read: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is no guard that `Aegis.save` wrote, or was damaged: {error!r}.") from error
    if version != FORMAT:
        raise DataError(
            f"The guard {path} has format {version!r}, and this version of medaegis reads {FORMAT}. Take medaegis "
            f"{maker}, or fit the guard again."
        )
    found = aegis_hash(text, tensors)
    if found != told:
        raise DataError(
            f"The guard {path} was changed or damaged after it was saved: its content has the SHA-256 {found}, and it "
            f"says {told}. Take an undamaged copy, or fit the guard again."
        )
    return AegisFile(tensors, values, found)


def aegis_hash(text: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over a text and over tensors with their names, types and shapes.

    Example:
        >>> aegis_hash("", {"w": torch.zeros(2)}) == aegis_hash("", {"w": torch.zeros(1, 2)})
        False
    """
    whole = hashlib.sha256(f"{len(text.encode())} ".encode() + text.encode())
    for name, tensor in sorted(tensors.items()):
        whole.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        whole.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()


def settings_to_json(settings: ShieldSettings) -> dict[str, Any]:
    """Settings as JSON values.

    Example:
        >>> settings_from_json(settings_to_json(ShieldSettings.hardened())) == ShieldSettings.hardened()
        True
    """
    then = None if settings.then is None else settings_to_json(settings.then)
    return asdict(settings) | {"attacks": [asdict(attack) for attack in settings.attacks], "then": then}


def settings_from_json(values: Mapping[str, Any]) -> ShieldSettings:
    """The settings that `settings_to_json` described.

    Raises:
        InputError: a setting is out of range.
        TypeError: a setting is unknown.
    """
    others = {name: value for name, value in values.items() if name not in ("attacks", "then")}
    attacks, then = values["attacks"], values.get("then")
    then = None if then is None else settings_from_json(then)
    return ShieldSettings(tuple(TrainingAttack(**attack) for attack in attacks), **others, then=then)
