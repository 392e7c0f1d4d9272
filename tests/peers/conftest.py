"""Tests that need the peers skip without them. Peers warn on import and in use; only here are warnings let pass."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MISSING = [name for name in ("torchattacks", "foolbox", "art") if find_spec(name) is None]
NEEDLESS = "test_table.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in Path(item.path).parents:
            item.add_marker(pytest.mark.filterwarnings("ignore"))
            if MISSING and item.path.name != NEEDLESS:
                item.add_marker(
                    pytest.mark.skip(reason=f"{', '.join(MISSING)} missing: `make test-peers` installs them")
                )


@pytest.fixture(autouse=True)
def _draws_of_peers_are_the_same_every_time():
    """ART draws from numpy's global generator, torchattacks from torch's."""
    import numpy as np
    import torch

    before = np.random.get_state()  # noqa: NPY002  # it is the global one that ART draws from
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002  # as above
        yield
    np.random.set_state(before)  # noqa: NPY002  # as above
