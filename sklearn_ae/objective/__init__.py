"""Terms of the objective: each returns one number a row, shape (n,)."""

from sklearn_ae.objective._elbo import (
    gaussian_kl,
    gaussian_nll,
    importance_weights,
    noise_variance,
)
from sklearn_ae.objective._objective import RECONSTRUCTION_LOSSES, Objective
from sklearn_ae.objective._penalties import contraction, kl_sparsity, l1_sparsity
from sklearn_ae.objective._semi_supervised import (
    ClassificationObjective,
    RegressionObjective,
    temperature,
    virtual_adversarial,
)

__all__ = [
    "RECONSTRUCTION_LOSSES",
    "ClassificationObjective",
    "Objective",
    "RegressionObjective",
    "contraction",
    "gaussian_kl",
    "gaussian_nll",
    "importance_weights",
    "kl_sparsity",
    "l1_sparsity",
    "noise_variance",
    "temperature",
    "virtual_adversarial",
]
