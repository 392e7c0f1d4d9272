"""The one warning class of the defence floor."""

from __future__ import annotations


class DefenceWarning(UserWarning):
    """A defence works, but not as it should; the text says what was seen and what helps."""
