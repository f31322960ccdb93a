"""Penalties on the code, shape (n,): their mean over the rows is the term."""

import math

import torch
from torch import Generator, Tensor

# Codes up to this size have their Jacobian's norm exactly: the most for which a
# training step stays well below three plain ones (with 3 components it takes 2.4 to 3
# of them; the estimate makes it 1.7 to 1.8 with 8. Encoder 30 or 64-128-128-128-k,
# decoder mirrored, 256 rows, one thread).
EXACT_COMPONENTS = 2
# A smaller probability counts as this one: its logarithm is finite. Such a unit has no
# gradient any more; a sigmoid is there 28 below its middle.
MIN_PROBABILITY = 1e-12


def kl_sparsity(z: Tensor, weight: Tensor, target: float) -> Tensor:
    """Divergence of the units' mean activities from ``target``, summed over the units.

    ``KL(Bernoulli(target) || Bernoulli(mean of z_j))``: a number of the batch, the
    same for each row.

    Parameters
    ----------
    z : Tensor of shape (n, n_components)
        Code in [0, 1].
    weight : Tensor of shape (n,)
        Of the rows, in the means.
    target : float
        In (0, 1).

    References
    ----------
    Ng, A. (2011). Sparse autoencoder. CS294A lecture notes, Stanford University.
    """
    active = weight @ z / weight.sum().clamp(min=torch.finfo(z.dtype).tiny)
    cross_entropy = -target * _log(active) - (1 - target) * _log(1 - active)
    entropy = -target * math.log(target) - (1 - target) * math.log(1 - target)
    return (cross_entropy - entropy).sum().expand(len(z))


def _log(p: Tensor) -> Tensor:
    return p.clamp(min=MIN_PROBABILITY).log()


def l1_sparsity(z: Tensor) -> Tensor:
    """Mean of ``|z|`` over the components of a code (n, n_components)."""
    return z.abs().mean(dim=1)


def contraction(x: Tensor, z: Tensor, generator: Generator) -> Tensor:
    """Squared Frobenius norm of the encoder's Jacobian dz/dx, for each row.

    Exact for codes of up to ``EXACT_COMPONENTS``. Above, an unbiased estimate:
    ``|J.T v|^2`` for a ``v`` of random signs a row (Hutchinson, 1990), which are drawn
    on the CPU. Both can be differentiated by the encoder's parameters.

    Parameters
    ----------
    x : Tensor of shape (n, n_features)
        Rows that the code was made of *after* ``x.requires_grad_()``.
    z : Tensor of shape (n, n_components)
        Code of x, each row's of that row alone, its graph kept: the forward pass is
        the one that the reconstruction needs anyway.
    generator : torch.Generator
        Not drawn from where the norm is exact.

    NOTE: in the paper the decoder has the encoder's weights, so that a smaller code
    costs reconstruction. Here it is free, and part of what a weight buys is scale.

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
    """Each row's unit vectors, (n_components, n, n_components): J.T v is a row of J."""
    n, k = z.shape
    return torch.eye(k, dtype=z.dtype, device=z.device)[:, None].expand(k, n, k)


def _random_signs(z: Tensor, generator: Generator) -> Tensor:
    """One vector of random signs a row, (1, n, n_components)."""
    bits = torch.randint(0, 2, (1, *z.shape), generator=generator)
    return (2 * bits - 1).to(z)
