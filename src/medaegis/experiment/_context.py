"""Where stages are computed: the store, the device, and a log of what was computed and what was found."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import NamedTuple

from medaegis.experiment._stage import Result, Stage
from medaegis.experiment._store import Store

KEPT_IN_MEMORY = 6


class LogEntry(NamedTuple):
    """One stage of a run: what it was, how long it took, whether it was found in the store."""

    name: str
    key: str
    seconds: float
    cached: bool


@dataclass
class Context:
    """What a stage may use that does not change its result.

    Args:
        store: where results are kept.
        device: torch's name of the device.
        batch_size: cases that go through a network together.
        progress: show progress bars.

    Attributes:
        log: what was computed or found, each stage once.
    """

    store: Store
    device: str = "cpu"
    batch_size: int = 32
    progress: bool = False
    log: dict[str, LogEntry] = field(default_factory=dict[str, LogEntry])
    _recent: OrderedDict[str, Result] = field(default_factory=OrderedDict[str, Result])

    def get(self, stage: Stage) -> Result:
        """The stage's result: from memory, from the store, or computed (and stored) now."""
        key = stage.key
        if key in self._recent:
            self._recent.move_to_end(key)
            return self._recent[key]
        found = self.store.has(stage)
        start = time.monotonic()
        result = self.store.read(stage) if found else self._compute(stage)
        self.log.setdefault(key, LogEntry(stage.name, key, time.monotonic() - start, found))
        self._recent[key] = result
        while len(self._recent) > KEPT_IN_MEMORY:
            self._recent.popitem(last=False)
        return result

    def _compute(self, stage: Stage) -> Result:
        for needed in stage.inputs:
            if not self.store.has(needed):
                self.get(needed)
        result = stage.compute(self)
        self.store.write(stage, result)
        return result
