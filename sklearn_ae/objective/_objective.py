"""The objective of an autoencoder: reconstruction loss and weighted penalties."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from sklearn_ae.objective._elbo import gaussian_kl, gaussian_nll, noise_variance
from sklearn_ae.objective._penalties import contraction, kl_sparsity, l1_sparsity


class ReconstructionLoss(NamedTuple):
    """A loss of the residual, as the product of two factors.

    Attributes
    ----------
    slope : float
        This times the first factor is the loss's derivative.
    factors : callable
        Of residuals of any shape; two tensors of that shape.
    """

    slope: float
    factors: Callable[[Tensor], tuple[Tensor, Tensor]]


def _squared(residual: Tensor) -> tuple[Tensor, Tensor]:
    return residual, residual


def _absolute(residual: Tensor) -> tuple[Tensor, Tensor]:
    return residual.sign(), residual


def _huber(residual: Tensor) -> tuple[Tensor, Tensor]:
    """Huber's loss with its corner at 1: ``r^2 / 2`` inside, ``|r| - 1/2`` outside.

    Huber, P. J. (1964). Robust estimation of a location parameter. Annals of
    Mathematical Statistics 35(1).
    """
    clipped = residual.clamp(-1, 1)
    return clipped, torch.sub(residual, clipped, alpha=0.5)


RECONSTRUCTION_LOSSES = {
    "squared_error": ReconstructionLoss(2.0, _squared),
    "absolute_error": ReconstructionLoss(1.0, _absolute),
    "huber": ReconstructionLoss(1.0, _huber),
}


class Objective:
    """Loss of each row, shape (n,): reconstruction loss plus weighted penalties.

    If the code is a distribution, the negative evidence lower bound (ELBO) in nats
    replaces the reconstruction loss; its normal likelihood has the optimal variance.

    It is a plain callable rather than a module: it has no parameters to train.

    Parameters
    ----------
    loss : str
        A key of ``RECONSTRUCTION_LOSSES``.
    sparsity : {"kl", "l1"} or callable
        Penalty on the code; a callable takes it, (n, n_components), and returns (n,).
    sparsity_weight : float
        0 is no penalty.
    sparsity_target : float
        Target of "kl" for the mean activity of a unit.
    contraction_weight : float
        Weight of the encoder's squared Jacobian norm; at 0 it is not computed.
    beta : float
        Weight of the divergence from the prior in the bound.
    """

    def __init__(
        self,
        loss: str,
        *,
        sparsity: str | Callable[[Tensor], Tensor] = "kl",
        sparsity_weight: float = 0.0,
        sparsity_target: float = 0.05,
        contraction_weight: float = 0.0,
        beta: float = 1.0,
    ) -> None:
        self.loss = loss
        self.sparsity = sparsity
        self.sparsity_weight = sparsity_weight
        self.sparsity_target = sparsity_target
        self.contraction_weight = contraction_weight
        self.beta = beta

    @property
    def contracts(self) -> bool:
        """True if the loss has the encoder's Jacobian in it."""
        return self.contraction_weight > 0

    def reconstruction(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """Reconstruction loss (n,) of each row, the mean over its features."""
        return self.of_cells(x, x_hat).mean(dim=1)

    def of_cells(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """Reconstruction loss (n, n_features) of each cell."""
        first, second = RECONSTRUCTION_LOSSES[self.loss].factors(x_hat - x)
        return first * second

    @property
    def has_no_penalties(self) -> bool:
        """True if no penalty is added."""
        return self.sparsity_weight == 0 and not self.contracts

    def with_gradient(
        self, x: Tensor, x_hat: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The rows' mean weighted reconstruction loss, and its gradient by ``x_hat``.

        The gradient is of shape (n, n_features).
        """
        slope, factors = RECONSTRUCTION_LOSSES[self.loss]
        first, second = factors(x_hat - x)
        gradient = first * (weight * (slope / x.numel()))[:, None]
        return gradient.flatten().dot(second.flatten()) / slope, gradient

    def __call__(
        self,
        x: Tensor,
        x_hat: Tensor,
        x_in: Tensor,
        z: Tensor,
        log_variance: Tensor | None,
        weight: Tensor,
        generator: Generator,
        *,
        kl_warmup: float = 1.0,
    ) -> Tensor:
        """Loss of rows x that were given as ``x_in``, coded as z, restored as x_hat.

        ``log_variance`` is the code's, where it is a distribution with mean z; of its
        divergence from the prior, the share ``kl_warmup`` counts.
        """
        if log_variance is None:
            loss = self.reconstruction(x, x_hat)
        else:
            # Held fixed: at its best value the bound does not change with it.
            variance = noise_variance(x, x_hat, weight).detach()
            kl = gaussian_kl(z, log_variance)
            loss = gaussian_nll(x, x_hat, variance) + kl_warmup * self.beta * kl
        if self.sparsity_weight > 0:
            loss = loss + self.sparsity_weight * self._sparsity(z, weight)
        if self.contracts:
            penalty = contraction(x_in, z, generator)
            loss = loss + self.contraction_weight * penalty
        return loss

    def _sparsity(self, z: Tensor, weight: Tensor) -> Tensor:
        if self.sparsity == "kl":
            return kl_sparsity(z, weight, self.sparsity_target)
        if self.sparsity == "l1":
            return l1_sparsity(z)
        assert callable(self.sparsity)
        penalty = self.sparsity(z)
        if not isinstance(penalty, Tensor) or penalty.shape != (len(z),):
            raise ValueError(
                f"sparsity must return a tensor of shape ({len(z)},), one number for "
                f"each row of the code, got {type(penalty).__name__} of shape "
                f"{tuple(getattr(penalty, 'shape', ()))}."
            )
        if z.requires_grad and not penalty.requires_grad:
            raise ValueError(
                "sparsity must return a tensor with a gradient by the code: built from "
                "it by torch's differentiable functions, and not detached."
            )
        if z.isfinite().all() and penalty.isnan().any():
            raise ValueError("sparsity must return numbers, got NaN for a finite code.")
        return penalty
