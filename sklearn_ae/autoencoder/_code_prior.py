"""Prior distributions of codes, from which rows are sampled."""

import copy
import functools

import numpy as np
import torch
from sklearn.mixture import GaussianMixture

from sklearn_ae._runtime import torch_generator
from sklearn_ae.nn import GaussianEncoder
from sklearn_ae.tables._rows import n_held_out, systematic_sample


class StandardNormal:
    """The standard normal prior of a variational autoencoder.

    Parameters
    ----------
    n_components : int
    """

    def __init__(self, n_components):
        self.n_components = n_components

    def sample(self, n, random):
        """Draw codes (n, n_components)."""
        return random.normal(size=(n, self.n_components))

    def log_density(self, Z):
        """Return the log-density (n,), in nats, of codes (n, n_components)."""
        return -0.5 * (np.square(Z) + np.log(2 * np.pi)).sum(axis=1)


class Mixture:
    """A Gaussian mixture, fitted to standardised codes.

    Parameters
    ----------
    codes : ndarray of shape (n, n_components)
    size : int
        Number of mixture components.
    random : numpy.random.RandomState
    covariance : {"full", "diag"}
        Covariance type of ``GaussianMixture``.
    """

    def __init__(self, codes, size, random, covariance="full"):
        self.shift, self.scale = np.median(codes, axis=0), _robust_std(codes)
        self.model = GaussianMixture(
            size,
            covariance_type=covariance,
            # Codes are standardised: no component collapses onto a single one.
            reg_covar=1e-4,
            # Nearly all converge in a hundred steps: it is not to warn of the others.
            max_iter=1_000,
            random_state=random,
        )
        self.model.fit((codes - self.shift) / self.scale)
        self.model.set_params(random_state=None)

    def sample(self, n, random):
        """Draw codes (n, n_components), in random order."""
        model = copy.copy(self.model).set_params(random_state=random)
        return self.shift + self.scale * random.permutation(model.sample(n)[0])

    def log_density(self, Z):
        """Return the log-density (n,), in nats, of codes (n, n_components).

        It is -inf for codes that are not finite.
        """
        scaled, density = (Z - self.shift) / self.scale, np.full(len(Z), -np.inf)
        finite = np.isfinite(scaled).all(axis=1)
        if finite.any():
            density[finite] = self.model.score_samples(scaled[finite])
        return density - np.log(self.scale).sum()


def _robust_std(codes):
    """Return the standard deviation of a normal with the codes' interquartile range."""
    low, high = np.percentile(codes, [25, 75], axis=0)
    # The range is 0 if half of the codes are equal.
    std = np.maximum((high - low) / 1.349, 0.01 * codes.std(axis=0))
    return np.where(std > 0, std, 1.0)


def fitted_prior(module, x, weight, random):
    """Fit a Gaussian mixture to the codes of rows, or a single normal.

    The number of mixture components has the highest likelihood of held-out codes. If
    the single normal is likelier, it is returned: the standard normal for a variational
    encoder, else a normal with the codes' means and variances.

    Fitted after training, a mixture is closer to the aggregate posterior than the prior
    of the training objective, and raises the evidence lower bound (Hoffman, M. D. and
    Johnson, M. J., 2016. ELBO surgery; Ghosh, P., et al., 2020. From variational to
    deterministic autoencoders. ICLR).

    Parameters
    ----------
    module : Autoencoder
    x : Tensor of shape (n, n_features)
        Distinct rows, scaled.
    weight : ndarray of shape (n,)
        Weights of the rows.
    random : numpy.random.RandomState

    Returns
    -------
    StandardNormal or Mixture
    """
    fit = functools.partial(_sized, isinstance(module.encoder, GaussianEncoder), random)
    # A row of more than 1 % of the weight is split, and held out in part: it will come
    # again. Any other is held out with all its copies, or the likelihood would be that
    # of training rows.
    pieces = np.minimum(weight, weight / (0.01 * weight.sum())).astype(int).clip(min=1)
    codes = functools.partial(_drawn, module, x, weight / pieces, random)
    rows = random.permutation(np.repeat(np.arange(len(x)), pieces))
    n = n_held_out(len(rows), 0.1)
    size = _best_size(fit, codes(rows[n:]), codes(rows[:n])) if n else 0
    return fit(codes(rows), size)


def _sized(is_normal, random, codes, size):
    """Fit a mixture of that size, or a single normal for size 0."""
    if size > 0:
        return Mixture(codes, size, random)
    if is_normal:
        return StandardNormal(codes.shape[1])
    # GaussianMixture takes two rows at least.
    return Mixture(np.repeat(codes, 2, axis=0), 1, random, "diag")


def _best_size(fit, codes, held_out):
    """Return the size with the highest mean log-density of the held-out codes."""
    density, n_distinct = {}, len(np.unique(codes, axis=0))
    for size in (1, 2, 4, 8, 16, 32):
        # Each component needs at least one code more than it has dimensions.
        if size * (codes.shape[1] + 1) > len(codes) or size > n_distinct:
            break
        density[size] = fit(codes, size).log_density(held_out).mean()
        # Two doublings without a gain end the search.
        if size >= 4 * max(density, key=density.get):
            break
    density[0] = fit(codes, 0).log_density(held_out).mean()
    return max(density, key=density.get)


def _drawn(module, x, weight, random, rows):
    """Draw at most 3,000 codes of rows, each row in proportion to its weight."""
    rows = rows[systematic_sample(weight[rows], 3_000)]
    with torch.no_grad():
        codes = module.draw_code(
            x[torch.from_numpy(rows).to(x.device)], torch_generator(random)
        )
    return codes.cpu().numpy().astype(np.float64)
