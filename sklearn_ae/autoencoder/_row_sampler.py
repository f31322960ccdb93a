"""Rows drawn from a fitted autoencoder, with the columns' distributions in training."""

import numpy as np
from scipy.special import ndtr, ndtri

# A value in 0.5 % of the rows is then drawn in 0.46 to 0.54 %, two times of three; up
# to 2,097 columns they take 16 MB at most.
MAX_DRAWS, MIN_DRAWS, MAX_CELLS = 40_000, 1_000, 2**21
N_QUANTILES = 1_001


class RowSampler:
    """Draws rows: dependence from the network, margins from the training rows.

    A decoded code with normal noise in each column has a rank among all such rows; the
    value of that rank in the training column is drawn (quantile mapping). By Sklar's
    theorem a distribution is its margins and a copula, the distribution of the ranks:
    here the copula is the autoencoder's.

    Parameters
    ----------
    residual_std : ndarray of shape (n_features,)
        Root mean squared residuals of the training rows, in scaled units.
    margins : Margins
        Of the training rows.

    References
    ----------
    Sklar, A. (1959). Fonctions de répartition à n dimensions et leurs marges.
    Publications de l'Institut de Statistique de l'Université de Paris 8.
    """

    def __init__(self, residual_std, margins):
        self.residual_std, self.margins = residual_std, margins
        self._quantiles = None

    def sample(self, n, random, prior, decode):
        """Table (n, d), in float64, from a prior of codes and a decoder of them."""
        if self._quantiles is None:
            self._quantiles = self._fit_quantiles(prior, decode)
        X = self._noisy(n, random, prior, decode)
        quantile_scores, quantiles = self._quantiles
        scores = (
            _extrapolated(x, q, quantile_scores)
            for x, q in zip(X.T, quantiles, strict=True)
        )
        for x, values in zip(X.T, self.margins.quantiles(scores), strict=True):
            x[:] = values
        return X

    def _fit_quantiles(self, prior, decode):
        """Normal scores (m,), and the quantiles (d, m) of the columns of noisy rows."""
        d = len(self.residual_std)
        n = int(np.clip(MAX_CELLS // d, MIN_DRAWS, MAX_DRAWS))
        random = np.random.RandomState(0)
        # Convolutions take a third of the time in float32.
        rows = self._noisy(n, random, prior, lambda Z: decode(Z.astype(np.float32)))
        # Beyond those of the extreme rows there is nothing to rank by.
        end = -ndtri(0.5 / n)
        scores = np.linspace(-end, end, N_QUANTILES)
        places = ndtr(scores) * n - 0.5
        columns = np.sort(rows.T, axis=1)
        return scores, np.stack([np.interp(places, np.arange(n), x) for x in columns])

    def _noisy(self, n, random, prior, decode):
        scaled = decode(prior.sample(n, random))
        return scaled + self.residual_std * random.normal(size=scaled.shape)

    def __getstate__(self):
        # Drawn again when needed: eight kilobytes a column.
        return vars(self) | {"_quantiles": None}


def _extrapolated(x, quantiles, scores):
    """Return the normal scores (n,) of values; beyond the quantiles they go on.

    The slope is that of a normal distribution from the median to the last quantile.
    """
    inside = np.interp(x, quantiles, scores)
    middle = quantiles[len(quantiles) // 2]
    low, high = middle - quantiles[0], quantiles[-1] - middle
    beyond = np.where(x > middle, np.maximum(x - quantiles[-1], 0) / (high or 1), 0.0)
    beyond -= np.where(x < middle, np.maximum(quantiles[0] - x, 0) / (low or 1), 0.0)
    return inside + scores[-1] * beyond
