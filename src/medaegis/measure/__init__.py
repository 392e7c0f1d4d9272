"""Metrics, each with its interval and its n; the stress test; what the last layer does to an attack's direction."""

from medaegis.measure._delong import Difference, auc_difference
from medaegis.measure._detection import auc, share, threshold_at, tpr_at_tnr
from medaegis.measure._estimate import Estimate, bootstrap, mean
from medaegis.measure._head import (
    closed_form_error,
    consistent_channels,
    head_direction,
    head_weight,
    penultimate_gradient,
)
from medaegis.measure._stress import LayerStress, block_layers, change_ratio, stress_test
from medaegis.measure._value_change import Correlation, Similarity, change_correlation, similarity, value_change

__all__ = [
    "Correlation",
    "Difference",
    "Estimate",
    "LayerStress",
    "Similarity",
    "auc",
    "auc_difference",
    "block_layers",
    "bootstrap",
    "change_correlation",
    "change_ratio",
    "closed_form_error",
    "consistent_channels",
    "head_direction",
    "head_weight",
    "mean",
    "penultimate_gradient",
    "share",
    "similarity",
    "stress_test",
    "threshold_at",
    "tpr_at_tnr",
    "value_change",
]
