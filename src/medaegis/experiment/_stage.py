"""A stage: a frozen set of fields and a computation whose result is stored under a key made of those fields."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from torch import Tensor

from medaegis._late import settled

if TYPE_CHECKING:
    from medaegis.experiment._context import Context


class Result(NamedTuple):
    """What a stage computed.

    Attributes:
        tensors: by name.
        info: JSON values by name.
    """

    tensors: dict[str, Tensor]
    info: dict[str, Any]


def unkeyed(default: Any = dataclasses.MISSING) -> Any:
    """A field that does not change the result (a path whose content's hash is another field) and so is not in the key.

    Example:
        >>> unkeyed("x").metadata["keyed"]
        False
    """
    if default is dataclasses.MISSING:
        return field(metadata={"keyed": False}, kw_only=True)
    return field(default=default, metadata={"keyed": False}, kw_only=True)


@dataclass(frozen=True)
class Stage(ABC):
    """An interface: subclasses are frozen dataclasses whose fields are JSON values or other stages.

    The key hashes the class's name and version, the fields that differ from their default, and the keys of input
    stages. Of a dataclass that is a field it takes every field: give it new ones with `late`, or old results are lost.
    Device, threads and batch size belong to the context and are not in it. Raise `version` when `compute`
    changes its results.
    """

    version: ClassVar[int] = 1

    @abstractmethod
    def compute(self, context: Context) -> Result:
        """Compute the result; inputs come from `context.get(stage)`."""

    @property
    def basis(self) -> tuple[Stage, ...]:
        """Quick stages that `check` needs; they are computed, and it is called, before anything long."""
        return ()

    def check(self, context: Context) -> None:  # noqa: B027
        """Raise an error where the data does not allow this stage, so far as its basis tells; most have none."""

    @property
    def name(self) -> str:
        """What logs and the manifest call it."""
        return type(self).__name__

    @cached_property
    def key(self) -> str:
        """24 hexadecimal digits that stand for everything that the result depends on."""
        text = json.dumps([type(self).__name__, self.version, self._keyed()], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()

    @property
    def inputs(self) -> tuple[Stage, ...]:
        """The stages among the fields, in order."""
        values = [getattr(self, f.name) for f in dataclasses.fields(self)]
        flat = [item for value in values for item in (value if isinstance(value, tuple) else (value,))]
        return tuple(item for item in flat if isinstance(item, Stage))

    def _keyed(self) -> dict[str, Any]:
        fields = [f for f in dataclasses.fields(self) if f.metadata.get("keyed", True)]
        return {f.name: _plain(getattr(self, f.name)) for f in fields if getattr(self, f.name) != f.default}


def _plain(value: Any) -> Any:
    if isinstance(value, Stage):
        return {"stage": value.key}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return settled(value)
    return value


def distinct(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """These stages and all that they need, each once, inputs first.

    Example:
        >>> distinct(())
        ()
    """
    found: dict[str, Stage] = {}

    def visit(stage: Stage) -> None:
        if stage.key not in found:
            for needed in stage.inputs:
                visit(needed)
            found[stage.key] = stage

    for stage in stages:
        visit(stage)
    return tuple(found.values())
