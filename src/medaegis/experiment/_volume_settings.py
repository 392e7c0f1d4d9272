"""Settings of volumes and windows that several kinds of settings share."""

from __future__ import annotations

from typing import Annotated, Any, cast

from pydantic import BeforeValidator

from medaegis._errors import InputError, require
from medaegis.data._window import parse_window


def _window(value: object) -> object:
    """One text; `--set window=40,80` comes as a list."""
    text = ",".join(map(str, cast(list[Any], value))) if isinstance(value, list | tuple) else value
    if isinstance(text, str):
        try:
            parse_window(text, "settings")
        except InputError as error:
            raise ValueError(str(error)) from None
    return text


WindowText = Annotated[str, BeforeValidator(_window)]


def refuse_volumes(depth: int | None, owner: str) -> None:
    """Raise `InputError` where a command that scores files of images later is given volumes.

    Example:
        >>> refuse_volumes(None, "detect fit")
    """
    fix = "Volumes are attacked by `medaegis attack` and studied by recipes; this command reads images."
    require(depth is None, "depth", owner, "None", depth, fix)
