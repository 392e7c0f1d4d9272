"""Number and size of steps, from what the caller gave."""

from __future__ import annotations

import math

from medaegis._errors import is_int, is_number, require

STEP_SIZE = 0.02 / 256
"""alpha of HFC-21 section 5.1."""


def schedule(
    owner: str, eps: float, steps: int | None, step_size: float | None, *, largest: float = 1.0
) -> tuple[int, float]:
    """Steps T and size alpha: T = 2 eps / alpha, or alpha = 2 eps / T, or, of neither, the papers' alpha.

    Raises:
        InputError: `steps` is not an int >= 1, or `step_size` not a number in (0, 1).

    Example:
        >>> schedule("bim", 1 / 256, None, None)
        (100, 7.8125e-05)
    """
    whole = steps is None or (is_int(steps) and steps >= 1)
    require(whole, "steps", owner, "an int >= 1", steps)
    good = step_size is None or (is_number(step_size) and 0 < step_size < largest)
    require(good, "step_size", owner, "a number in (0, 1), as in 0.02/256", step_size)
    if steps is None:
        size = STEP_SIZE if step_size is None else step_size
        return max(1, math.ceil(2 * eps / size - 1e-9)), size
    return steps, 2 * eps / steps if step_size is None else step_size
