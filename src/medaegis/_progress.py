"""A progress bar with rate and remaining time, or silence."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager


@contextmanager
def progress_bar(total: int, title: str, *, unit: str, show: bool) -> Generator[Callable[[int], None]]:
    """Yield a function that advances the bar by a number of units; it does nothing where `show` is False.

    Example:
        >>> with progress_bar(3, "steps", unit="step", show=False) as advance:
        ...     advance(3)
    """
    if not show:
        yield lambda _count: None
        return
    from tqdm import tqdm

    with tqdm(total=total, desc=title, unit=unit, leave=False, dynamic_ncols=True) as bar:

        def advance(count: int) -> None:
            bar.update(count)

        yield advance
