"""Intensity windows: which stored values become black and white, and everything between them in proportion."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medaegis._errors import InputError

HU_WINDOW = "40,400"
"""Centre and width in Hounsfield units where none is given: soft tissue, with blood and brain well inside."""
HU_BELOW = -500
"""A volume with a value below this is taken to be in Hounsfield units: CT shows air at about -1000."""
TAILS = (0.5, 99.5)
"""Percentiles that become black and white in volumes that are not in Hounsfield units."""

Values = NDArray[np.float32] | NDArray[np.float64]


class Window(NamedTuple):
    """The values that become 0 and 1.

    Attributes:
        low: this and everything below becomes 0.
        high: this and everything above becomes 1.
    """

    low: float
    high: float


def parse_window(text: str, owner: str) -> Window:
    """Read "centre,width": half the width lies on either side of the centre.

    Raises:
        InputError: no two finite numbers, or a width that is not above 0.

    Example:
        >>> parse_window("40,80", "load_dataset")
        Window(low=0.0, high=80.0)
    """
    try:
        centre, width = (float(part) for part in text.split(","))
    except ValueError:
        centre, width = float("nan"), 0.0
    if not (np.isfinite(centre) and np.isfinite(width) and width > 0):
        raise InputError(
            f'`window` of {owner} must be "centre,width" with a width above 0, as in "40,80", got {text!r}.'
        )
    return Window(centre - width / 2, centre + width / 2)


def default_window(values: Values) -> Window:
    """What volumes get where no window is given: `HU_WINDOW` in Hounsfield units, else the percentiles `TAILS`.

    Whether values are Hounsfield units is read from the values alone, so that the same volume looks the same from
    every file format: the header of a NIfTI file does not say.

    Example:
        >>> default_window(np.array([-1000.0, 40.0, 90.0]))
        Window(low=-160.0, high=240.0)
    """
    if in_hounsfield(values):
        return parse_window(HU_WINDOW, "default_window")
    low, high = np.percentile(values, TAILS)
    if low == high:  # a small bright thing on an even ground
        low, high = values.min(), values.max()
    return Window(float(low), float(high))


def in_hounsfield(values: Values) -> bool:
    """Whether the values look like Hounsfield units: some are below -500."""
    return float(values.min()) < HU_BELOW


def windowed(values: Values, window: Window) -> Values:
    """Values as a share of the window, cut to 0 … 1; of the same type.

    Example:
        >>> windowed(np.array([-10.0, 20.0, 80.0]), Window(0, 80))
        array([0.  , 0.25, 1.  ])
    """
    return np.clip((values - window.low) / (window.high - window.low), 0, 1)
