"""The one warning class of the data floor."""

from __future__ import annotations


class DataWarning(UserWarning):
    """The data can be used, but not exactly as it lies on disk; the text says what was changed or left out."""
