"""Penalties on the code: one number per row, shape (n,)."""

import math

import torch
from torch import Generator, Tensor

# Largest code whose contraction is exact. An exact training step with 3 components
# takes 2.4 to 3 times a plain one, an estimated one with 8 components 1.7 to 1.8 times
# (30 or 64-128-128-128-k and its mirror, 256 rows, one thread).
EXACT_COMPONENTS = 2


def kl_sparsity(z: Tensor, weight: Tensor, target: float) -> Tensor:
    """KL divergence of the units' mean activations from ``target``, summed over units.

    ``KL(Bernoulli(target) || Bernoulli(mean of z_j))`` is a property of the batch: each
    row gets the same number.

    Parameters
    ----------
    z : Tensor of shape (n, n_components)
        Code in [0, 1].
    weight : Tensor of shape (n,)
        Weights of the rows in the means.
    target : float
        Target activation, in (0, 1).

    References
    ----------
    Ng, A. (2011). Sparse autoencoder. CS294A lecture notes, Stanford University.
    """
    activation = weight @ z / weight.sum().clamp(min=torch.finfo(z.dtype).tiny)
    cross_entropy = -target * _log(activation) - (1 - target) * _log(1 - activation)
    entropy = -target * math.log(target) - (1 - target) * math.log(1 - target)
    return (cross_entropy - entropy).sum().expand(len(z))


def _log(p: Tensor) -> Tensor:
    # The logarithm of a saturated unit (a sigmoid's input below -28) stays finite.
    return p.clamp(min=1e-12).log()


def l1_sparsity(z: Tensor) -> Tensor:
    """Return the mean of ``|z|`` over the components of a code (n, n_components)."""
    return z.abs().mean(dim=1)


def contraction(x: Tensor, z: Tensor, generator: Generator) -> Tensor:
    """Squared Frobenius norm of the encoder's Jacobian dz/dx, for each row.

    It is exact for codes of up to ``EXACT_COMPONENTS``. For larger ones it is
    Hutchinson's unbiased estimate: ``|J.T v|^2`` for one vector v of random signs per
    row, drawn on the CPU. Both are differentiable in the encoder's parameters.

    Parameters
    ----------
    x : Tensor of shape (n, n_features)
        Rows, encoded *after* ``x.requires_grad_()``.
    z : Tensor of shape (n, n_components)
        Code of x with its graph. Rows must not influence each other's codes.
    generator : torch.Generator
        Not used if the norm is exact.

    Notes
    -----
    In the paper the decoder has the encoder's weights, so that shrinking the code costs
    reconstruction. Here the weights are not tied: part of the penalty is met by a
    smaller scale of the code.

    References
    ----------
    Rifai, S., et al. (2011). Contractive auto-encoders: explicit invariance during
    feature extraction. ICML.

    Hutchinson, M. F. (1990). A stochastic estimator of the trace of the influence
    matrix for Laplacian smoothing splines. Communications in Statistics 19(2).
    """
    exact = z.shape[1] <= EXACT_COMPONENTS
    v = _one_hot(z) if exact else _random_signs(z, generator)
    (rows,) = torch.autograd.grad(z, x, v, create_graph=True, is_grads_batched=True)
    return rows.square().sum(dim=(0, 2))


def _one_hot(z: Tensor) -> Tensor:
    """Unit vectors (n_components, n, n_components), for which J.T v is a row of J."""
    n, k = z.shape
    return torch.eye(k, dtype=z.dtype, device=z.device)[:, None].expand(k, n, k)


def _random_signs(z: Tensor, generator: Generator) -> Tensor:
    """Draw one vector of random signs per row, (1, n, n_components)."""
    bits = torch.randint(0, 2, (1, *z.shape), generator=generator)
    return (2 * bits - 1).to(z)
