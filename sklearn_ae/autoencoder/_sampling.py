"""Rows drawn from an autoencoder whose codes have a distribution."""

from numbers import Integral

import numpy as np
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted

from sklearn_ae._runtime import random_generator
from sklearn_ae.autoencoder._parameters import can_sample


class SamplingMixin:
    """``sample``, where there is a distribution to draw codes from."""

    @property
    def sample(self):
        """Draw rows: ``sample(n_samples=1, *, noise=True, random_state=None)``.

        A code is drawn from ``prior`` and decoded. There is no such method, and
        ``hasattr`` says so, where the code has no distribution.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        noise : bool, default=True
            Whether to add the likelihood's noise to the decoder's means: normal, its
            variance the mean squared residual of a scaled cell of the training rows.
        random_state : int, RandomState instance or None, default=None
            An int gives the same rows at each call; None draws fresh entropy from the
            operating system.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features_in_)
            Rows in input units, float64.
        """
        codec = getattr(self, "_inference", None)
        if can_sample(self) if codec is None else codec.prior is not None:
            return self._sample
        raise AttributeError(
            f"This {type(self).__name__} has no attribute 'sample': its code is "
            "deterministic and has no distribution to draw from, and codes drawn from "
            "another would be decoded into rows unlike the data. Set "
            "latent='gaussian', or prior='mixture', which fits one to the codes, and "
            "call fit."
        )

    def _sample(self, n_samples=1, *, noise=True, random_state=None):
        check_is_fitted(self, "module_")
        check_scalar(n_samples, "n_samples", Integral, min_val=1)
        check_scalar(noise, "noise", (bool, np.bool_))
        random = random_generator(random_state)
        return self._inference.sample(n_samples, random, noise=noise)
