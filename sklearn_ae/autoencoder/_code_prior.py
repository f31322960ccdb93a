"""The distribution of codes: what rows are drawn from."""

import copy
import functools
import threading
import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from sklearn_ae._runtime import torch_generator
from sklearn_ae.nn import GaussianEncoder
from sklearn_ae.tables._rows import n_held_out, systematic_sample

# More codes cost time and say little more.
MAX_CODES = 3_000
# A row of more than this share of the copies is a value that comes again: some of its
# copies are held out. Any other is held out with all of its copies, or it would be no
# news.
ATOM = 0.01
SIZES = (1, 2, 4, 8, 16, 32)
PATIENCE = 2
# Added to a variance, of codes of variance one: no normal collapses onto a single code.
REGULARISATION = 1e-4

# Python's list of warning filters is the process's.
_filters = threading.Lock()


class StandardNormal:
    """What training holds a random code to.

    Parameters
    ----------
    n_components : int
    """

    def __init__(self, n_components):
        self.n_components = n_components

    def sample(self, n, random):
        """Codes (n, n_components)."""
        return random.normal(size=(n, self.n_components))

    def log_density(self, Z):
        """Log-density (n,), in nats, of codes (n, n_components)."""
        return -0.5 * (np.square(Z) + np.log(2 * np.pi)).sum(axis=1)


class Mixture:
    """A mixture of normals, fitted to codes of any units.

    Parameters
    ----------
    codes : ndarray of shape (n, n_components)
    size : int
        How many normals.
    random : numpy.random.RandomState
    covariance : {"full", "diag"}
        Whether components of the code may depend on each other in a normal.
    """

    def __init__(self, codes, size, random, covariance="full"):
        self.shift, self.scale = np.median(codes, axis=0), _spread(codes)
        self.model = GaussianMixture(
            size,
            covariance_type=covariance,
            reg_covar=REGULARISATION,
            random_state=random,
        )
        with _filters, warnings.catch_warnings():
            # Of no matter: sizes are compared as they are found.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.model.fit((codes - self.shift) / self.scale)
        self.model.set_params(random_state=None)

    def sample(self, n, random):
        """Codes (n, n_components), in random order."""
        model = copy.copy(self.model).set_params(random_state=random)
        return self.shift + self.scale * random.permutation(model.sample(n)[0])

    def log_density(self, Z):
        """Log-density (n,), in nats, of codes (n, n_components).

        Minus infinity where the code is past float64.
        """
        scaled, density = (Z - self.shift) / self.scale, np.full(len(Z), -np.inf)
        near = np.isfinite(scaled).all(axis=1)
        if near.any():
            density[near] = self.model.score_samples(scaled[near])
        return density - np.log(self.scale).sum()


def _spread(codes):
    """Standard deviations as the quartiles tell them, which few codes do not move."""
    low, high = np.percentile(codes, [25, 75], axis=0)
    spread = np.maximum((high - low) / 1.349, 0.01 * codes.std(axis=0))
    return np.where(spread > 0, spread, 1.0)


def fitted_prior(module, x, weight, random):
    """A mixture of normals fitted to the rows' codes, or one simple normal.

    The simple one is the standard normal, where training held the codes to it; else it
    has the codes' means and variances. The size is the likeliest for the codes of rows
    held out.

    A mixture that is fitted to the codes after training raises the evidence bound: it
    is nearer to what the encoder makes of the rows than the prior that it was trained
    with (Hoffman and Johnson, 2016. ELBO surgery; Ghosh et al., 2020. From variational
    to deterministic autoencoders. ICLR).

    Parameters
    ----------
    module : Autoencoder
    x : Tensor of shape (n, n_features)
        Distinct rows, scaled.
    weight : ndarray of shape (n,)
        How many rows each stands for.
    random : numpy.random.RandomState

    Returns
    -------
    StandardNormal or Mixture
    """
    fit = functools.partial(_sized, isinstance(module.encoder, GaussianEncoder), random)
    pieces = np.minimum(weight, weight / (ATOM * weight.sum())).astype(int).clip(min=1)
    codes = functools.partial(_drawn, module, x, weight / pieces, random)
    rows = random.permutation(np.repeat(np.arange(len(x)), pieces))
    n = n_held_out(len(rows), 0.1)
    size = _best_size(fit, codes(rows[n:]), codes(rows[:n])) if n else 0
    return fit(codes(rows), size)


def _sized(is_normal, random, codes, size):
    """A mixture of that size; of size 0 the simple normal."""
    if size > 0:
        return Mixture(codes, size, random)
    if is_normal:
        return StandardNormal(codes.shape[1])
    # Twice: there may be a single code.
    return Mixture(np.repeat(codes, 2, axis=0), 1, random, "diag")


def _best_size(fit, codes, held_out):
    """The size that makes the codes held out likeliest, tried in rising order."""
    density = {}
    for size in SIZES:
        # A normal in as many dimensions takes that many codes.
        if size * (codes.shape[1] + 1) > len(codes):
            break
        density[size] = fit(codes, size).log_density(held_out).mean()
        if size >= 2**PATIENCE * max(density, key=density.get):
            break
    density[0] = fit(codes, 0).log_density(held_out).mean()
    return max(density, key=density.get)


def _drawn(module, x, weight, random, rows):
    """Codes of some rows, each as often as it weighs, at most ``MAX_CODES``."""
    rows = rows[systematic_sample(weight[rows], MAX_CODES)]
    with torch.no_grad():
        codes = module.draw_code(
            x[torch.from_numpy(rows).to(x.device)], torch_generator(random)
        )
    return codes.cpu().numpy().astype(np.float64)
