"""One function over many arrays in threads: the result does not depend on how many there are."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[Any]


def map_threads(function: Callable[[Array], Array], stack: Array) -> Array:
    """`function` of each of the arrays in `stack` (n, …), which keeps their shape, in as many threads as torch may use.

    Example:
        >>> map_threads(lambda a: a + 1, np.zeros((2, 3)))
        array([[1., 1., 1.],
               [1., 1., 1.]])
    """
    found = np.empty_like(stack)

    def put(place: int) -> None:
        found[place] = function(stack[place])

    threads = min(torch.get_num_threads(), len(stack))
    if threads <= 1:
        for place in range(len(stack)):
            put(place)
        return found
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(put, range(len(stack))))  # a list, so that errors come out
    return found
