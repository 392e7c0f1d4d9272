"""Metrics; each comes with its interval and its n."""

from medaegis.measure._detection import auc, share, threshold_at, tpr_at_tnr
from medaegis.measure._estimate import Estimate, bootstrap

__all__ = ["Estimate", "auc", "bootstrap", "share", "threshold_at", "tpr_at_tnr"]
