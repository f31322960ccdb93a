"""The distribution of codes: what rows are drawn from."""

import copy
import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from sklearn_ae._data import systematic_sample
from sklearn_ae._start import n_held_out
from sklearn_ae._torch_state import torch_generator

# More rows cost time and say little more about the codes.
MAX_ROWS = 5_000
SIZES = (1, 2, 4, 8, 16, 32)
PATIENCE = 3
# Added to a variance, of codes of variance one: no normal collapses onto a single code.
REGULARISATION = 1e-4


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
    """

    def __init__(self, codes, size, random):
        self.shift, spread = codes.mean(axis=0), codes.std(axis=0)
        self.scale = np.where(spread > 0, spread, 1.0)
        model = GaussianMixture(size, reg_covar=REGULARISATION, random_state=random)
        with warnings.catch_warnings():
            # Of no matter: sizes are compared as they are found.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.model = model.fit((codes - self.shift) / self.scale)

    def sample(self, n, random):
        """Codes (n, n_components), in random order."""
        model = copy.copy(self.model).set_params(random_state=random)
        return self.shift + self.scale * random.permutation(model.sample(n)[0])

    def log_density(self, Z):
        """Log-density (n,), in nats, of codes (n, n_components)."""
        scaled = (Z - self.shift) / self.scale
        return self.model.score_samples(scaled) - np.log(self.scale).sum()


def fitted_prior(codes, random):
    """The likeliest for codes held out: the standard normal or a mixture of normals.

    A mixture that is fitted to the codes after training raises the evidence bound: it
    is nearer to what the encoder makes of the rows than the prior that it was trained
    with (Hoffman and Johnson, 2016. ELBO surgery; Ghosh et al., 2020. From variational
    to deterministic autoencoders. ICLR).

    Parameters
    ----------
    codes : ndarray of shape (n, n_components)
        One draw for each row.
    random : numpy.random.RandomState

    Returns
    -------
    StandardNormal or Mixture
    """
    codes = random.permutation(codes).astype(np.float64)
    n = n_held_out(len(codes), 0.1)
    held_out, train = codes[:n], codes[n:]
    best = StandardNormal(codes.shape[1])
    if n == 0:
        return best
    highest, n_worse = best.log_density(held_out).mean(), 0
    for size in SIZES:
        if size * (codes.shape[1] + 1) > len(train) or n_worse == PATIENCE:
            break
        mixture = Mixture(train, size, random)
        density = mixture.log_density(held_out).mean()
        if density > highest:
            best, highest, n_worse = mixture, density, 0
        else:
            n_worse += 1
    return best


def drawn_codes(module, rows, random):
    """One code for each of at most ``MAX_ROWS`` rows, as often as its weight says."""
    weight = rows.weight.cpu().numpy().astype(np.float64)
    x = rows.x[torch.from_numpy(systematic_sample(weight, MAX_ROWS))]
    with torch.no_grad():
        return module.draw_code(x, torch_generator(random)).cpu().numpy()
