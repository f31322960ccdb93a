"""Target rates, and the distortion that reverse water-filling gives for them."""

from numbers import Integral
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq


class Rate(NamedTuple):
    """Target of a fit. If all are None, ``error_bound`` determines the distortion.

    Attributes
    ----------
    n_components : int, float in (0, 1) or None
        Size of the code, or the share of the variance that it explains.
    target_psnr : float or None
        In dB.
    bits_per_component : float or None
    distortion : float or None
        Mean squared error of each principal component with a larger variance.
    """

    n_components: int | float | None = None
    target_psnr: float | None = None
    bits_per_component: float | None = None
    distortion: float | None = None

    @property
    def is_of_components_alone(self):
        """True if the last component's variance determines the distortion."""
        return self.n_components is not None and not any(self[1:])

    def reverse_water_filling(self, variances, error_of, allowed):
        """Return the distortion, and the number of principal components to code.

        By reverse water-filling a component with less variance than the distortion is
        not coded, and every other one has the distortion as its mean squared error.

        Parameters
        ----------
        variances : ndarray of shape (d,)
            Variances of the principal components, in descending order.
        error_of : callable
            Returns the mean squared error of a cell at a PSNR.
        allowed : float or None
            Distortion for a rate without targets: residuals correct such errors.

        References
        ----------
        Cover, T. M. and Thomas, J. A. (2006). Elements of information theory, 10.3.3.
        """
        variances = np.maximum(variances, 0.0)
        # Without a target, the first component takes at most 10 bits.
        lowest = 1e-6 * variances[0]
        k = self._n_components(variances)
        kept = variances[:k]
        if self.target_psnr is not None:
            error = len(variances) * error_of(self.target_psnr)
            distortion = distortion_of_error(variances, error)
        elif self.bits_per_component is not None:
            distortion = distortion_of_bits(kept, len(kept) * self.bits_per_component)
        elif self.distortion is not None:
            distortion = self.distortion
        elif k is not None:
            distortion = max(kept.min(), lowest)
        else:
            distortion = np.clip(allowed, lowest, variances[0])
        distortion = max(distortion, np.finfo(np.float32).tiny)
        # Training may use components with a little less variance than the distortion:
        # at a quarter of it their standard deviation is a seventh of a step.
        return distortion, k or max(1, int((variances > 0.25 * distortion).sum()))

    def _n_components(self, variances):
        """Return the target number of components, or None."""
        if self.n_components is None or isinstance(self.n_components, Integral):
            return self.n_components
        share = np.cumsum(variances) / max(variances.sum(), np.finfo(float).tiny)
        n_below = np.searchsorted(share, self.n_components, side="right")
        return 1 + min(int(n_below), len(variances) - 1)


def distortion_of_error(variances, error):
    """Return the distortion at which the components' squared errors sum to an error."""

    def total_error(distortion):
        return np.minimum(variances, distortion).sum()

    return _root(total_error, variances, error)


def distortion_of_bits(variances, bits):
    """Return the distortion at which the components' rates sum to so many bits."""

    def negative_bits(distortion):
        return -0.5 * np.log2(np.maximum(variances / distortion, 1)).sum()

    return _root(negative_bits, variances, -bits)


def _root(rising, variances, wanted):
    """Solve rising(distortion) = wanted, for distortions up to the largest variance."""
    high = variances.max()
    if high <= 0:
        return 0.0
    low = 1e-18 * high

    def excess(log_distortion):
        return rising(np.exp(log_distortion)) - wanted

    # The ends in logarithms, too: exp(log(high)) may lie below high.
    ends = np.log(low), np.log(high)
    if excess(ends[1]) <= 0:
        return high
    if excess(ends[0]) >= 0:
        return low
    return float(np.exp(brentq(excess, *ends)))
