"""What is shown of a volume: its middle slice."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def middle_slice(image: NDArray[np.float32], *, before: int) -> NDArray[np.float32]:
    """The middle slice of a volume; an image as it is.

    Args:
        image: (..., h, w), or (..., d, h, w).
        before: how many axes come before those of space: 1 for (c, h, w), 2 for (n, c, h, w).

    Example:
        >>> middle_slice(np.zeros((1, 5, 8, 8), np.float32), before=1).shape
        (1, 8, 8)
    """
    if image.ndim <= before + 2:
        return image
    place: Any = (*[slice(None)] * before, image.shape[before] // 2)
    return image[place]
