"""What an adaptive attack must slip past."""

from __future__ import annotations

from typing import Protocol

from medaegis._types import Flags, Tapped


class Guard(Protocol):
    """An interface: which cases of a pass a detector lets through; `medaegis.detect.Detector.guard()` makes one."""

    @property
    def layers(self) -> tuple[str, ...] | None:
        """Names of the layers that it reads; None stands for every activation."""
        ...

    def __call__(self, tapped: Tapped) -> Flags:
        """(b,) bool: True for cases that would not be detected."""
        ...
