"""Rates a person can think in, and the level of water that PCA says they come to."""

from numbers import Integral
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

# Directions with more than this share of the level as their variance have a component.
MIN_SHARE = 0.25
# Smallest level where no quality is asked for, as a share of the largest variance.
MIN_LEVEL = 1e-6


class Rate(NamedTuple):
    """What is asked for; None is not. Without any of them it is ``error_bound``'s.

    Attributes
    ----------
    n_components : int, float in (0, 1) or None
        As PCA's.
    target_psnr : float or None
        In dB.
    bits_per_component : float or None
    water : float or None
        The level itself.
    """

    n_components: int | float | None = None
    target_psnr: float | None = None
    bits_per_component: float | None = None
    water: float | None = None

    @property
    def is_of_components_alone(self):
        """Whether the level is that of a component."""
        return self.n_components is not None and not any(self[1:])

    def level(self, variances, error_of, allowed):
        """Where water stands in PCA's variances, and how many directions to code.

        Water fills what is lost of each direction: all of those below the level, of
        those above it the level ("reverse water-filling").

        Parameters
        ----------
        variances : ndarray of shape (d,)
            Falling.
        error_of : callable
            Mean squared error of a cell at a PSNR.
        allowed : float or None
            Squared error that is made good elsewhere: the level where no rate is asked.

        References
        ----------
        Cover, T. M. and Thomas, J. A. (2006). Elements of information theory, 10.3.3.
        """
        variances = np.maximum(variances, 0.0)
        k = self._asked(variances)
        kept = variances[:k]
        if self.target_psnr is not None:
            error = len(variances) * error_of(self.target_psnr)
            level = level_of_error(variances, error)
        elif self.bits_per_component is not None:
            level = level_of_bits(kept, len(kept) * self.bits_per_component)
        elif self.water is not None:
            level = self.water
        elif k is not None:
            level = max(kept.min(), MIN_LEVEL * variances[0])
        else:
            level = np.clip(allowed, MIN_LEVEL * variances[0], variances[0])
        level = max(level, np.finfo(np.float32).tiny)
        return level, k or max(1, int((variances > MIN_SHARE * level).sum()))

    def _asked(self, variances):
        """Number of components that is asked for, or None."""
        if self.n_components is None or isinstance(self.n_components, Integral):
            return self.n_components
        share = np.cumsum(variances) / max(variances.sum(), np.finfo(float).tiny)
        n_below = np.searchsorted(share, self.n_components, side="right")
        return 1 + min(int(n_below), len(variances) - 1)


def level_of_error(variances, error):
    """The level at which what is lost of all directions adds up to an error."""
    return _root(lambda level: np.minimum(variances, level).sum(), variances, error)


def level_of_bits(variances, bits):
    """The level at which all directions take so many bits in sum."""

    def negative(level):
        return -0.5 * np.log2(np.maximum(variances / level, 1)).sum()

    return _root(negative, variances, -bits)


def _root(rising, variances, wanted):
    """Where a rising function of the level, within the variances, is as wanted."""
    high = variances.max()
    if high <= 0:
        return 0.0
    low = 1e-18 * high
    if rising(high) <= wanted:
        return high
    if rising(low) >= wanted:
        return low

    def apart(log_level):
        return rising(np.exp(log_level)) - wanted

    return float(np.exp(brentq(apart, np.log(low), np.log(high))))
