"""medaegis: how far an attacker gets with a medical-image classifier, whether its detectors notice, and what helps.

Everything public is reachable from here; names are loaded on first use, so that `import medaegis` is quick.

Example:
    >>> import medaegis as ma
    >>> ma.attack.bim(eps=2 / 256, steps=40, step_size=0.1 / 256).name
    'BIM'
"""

from __future__ import annotations

import importlib
from typing import Any

from medaegis._version import __version__

_MODULES = ("attack", "data", "defend", "density", "detect", "experiment", "measure", "models", "report")
_NAMES = {
    "MedaegisError": "_errors",
    "InputError": "_errors",
    "DataError": "_errors",
    "LeakError": "_errors",
    "NumericsError": "_errors",
    "NotFittedError": "_errors",
    "Tapped": "_types",
    "Attack": "attack",
    "AttackResult": "attack",
    "run_attack": "attack",
    "Dataset": "data",
    "add_lesions": "data",
    "load_dataset": "data",
    "split_cases": "data",
    "split_adversarial": "data",
    "GaussianMixture": "density",
    "MixtureBank": "density",
    "fit_bank": "density",
    "Aegis": "defend",
    "BU": "detect",
    "DNN": "detect",
    "HFCScore": "detect",
    "KD": "detect",
    "LID": "detect",
    "MAHA": "detect",
    "SVM": "detect",
    "evading": "detect",
    "guard": "detect",
    "score_together": "detect",
    "Estimate": "measure",
    "auc": "measure",
    "auc_difference": "measure",
    "tpr_at_tnr": "measure",
    "Taps": "models",
    "accelerate": "models",
    "build_model": "models",
    "load_factory": "models",
    "train_classifier": "models",
    "Recipe": "experiment",
    "Stage": "experiment",
    "Store": "experiment",
    "run_recipe": "experiment",
    "render_report": "report",
}

__all__ = ["__version__", *_MODULES, *_NAMES]  # pyright: ignore[reportUnsupportedDunderAll]  # loaded on first use


def __getattr__(name: str) -> Any:
    """Load a public name or module on first use (PEP 562)."""
    if name in _MODULES:
        return importlib.import_module(f"medaegis.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(f"medaegis.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'medaegis' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
