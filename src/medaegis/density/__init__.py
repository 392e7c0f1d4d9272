"""The mathematics of normal features; attacks and detectors both stand on it."""

from medaegis.density._bank import MixtureBank, fit_bank, quadratic_by_layer
from medaegis.density._covariance import (
    cholesky,
    choose_strength,
    gaussian_log_density,
    shrink,
    shrunk_covariance,
    whiten,
    whitener,
)
from medaegis.density._fit import fit_mixture
from medaegis.density._kernel import (
    KernelDensity,
    choose_bandwidth,
    kernel_log_density,
    leave_one_out_log_density,
    squared_distances,
)
from medaegis.density._lid import LocalDimensionality, local_dimensionality
from medaegis.density._mahalanobis import TiedGaussians, fit_tied
from medaegis.density._mixture import GaussianMixture, Nearest
from medaegis.density._released import fit_released_bank

__all__ = [
    "GaussianMixture",
    "KernelDensity",
    "LocalDimensionality",
    "MixtureBank",
    "Nearest",
    "TiedGaussians",
    "cholesky",
    "choose_bandwidth",
    "choose_strength",
    "fit_bank",
    "fit_mixture",
    "fit_released_bank",
    "fit_tied",
    "gaussian_log_density",
    "kernel_log_density",
    "leave_one_out_log_density",
    "local_dimensionality",
    "quadratic_by_layer",
    "shrink",
    "shrunk_covariance",
    "squared_distances",
    "whiten",
    "whitener",
]
