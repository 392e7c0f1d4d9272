"""The reference mode `"hfc-2021"`: detectors by the choices of the code released with HFC-21.

They are functions and no `Detector`s, because some of them see the test cases before they score them. The corrected
detectors stay the default; these make published figures comparable.
"""

from __future__ import annotations

from typing import Protocol

import torch

from medaegis._errors import require
from medaegis.detect._released_bu import released_bu
from medaegis.detect._released_data import ReleasedData, ReleasedScores
from medaegis.detect._released_dnn import released_dnn
from medaegis.detect._released_kd import released_kd
from medaegis.detect._released_lid import released_lid
from medaegis.detect._released_maha import released_maha
from medaegis.detect._released_svm import released_svm


class _Released(Protocol):
    def __call__(self, data: ReleasedData, *, generator: torch.Generator) -> ReleasedScores: ...


RELEASED: dict[str, _Released] = {
    "KD": released_kd,
    "BU": released_bu,
    "LID": released_lid,
    "MAHA": released_maha,
    "SVM": released_svm,
    "DNN": released_dnn,
}
"""The released variants by the name of our own detector."""


def released_scores(kind: str, data: ReleasedData, *, generator: torch.Generator) -> ReleasedScores:
    """Scores of clean and adversarial test cases under the released code's choices; docs/reference-mode.md lists them.

    Args:
        kind: "KD", "BU", "LID", "MAHA", "SVM" or "DNN".
        data: all that the released code looks at, test cases included.
        generator: on the CPU, of everything random.

    Raises:
        InputError: another kind, or what the detector raises.

    Source: the authors' code as SPEC section 6 describes it, checked against its public repository
    (MIRACLE-Center/Hierarchical_Feature_Constraint); nothing of it is copied.

    Example:
        >>> from medaegis.detect._released_toy import toy_data
        >>> found = released_scores("SVM", toy_data(), generator=torch.Generator().manual_seed(0))
        >>> found.clean.shape, found.adversarial.shape
        (torch.Size([30]), torch.Size([30]))
    """
    require(kind in RELEASED, "kind", "released_scores", f"one of {list(RELEASED)}", kind)
    return RELEASED[kind](data, generator=generator)
