"""An autoencoder trained for a rate: what it is told of, and where it starts."""

import copy
import math
from dataclasses import replace

import numpy as np
import torch

from sklearn_ae.autoencoder._inference import FittedAutoencoder
from sklearn_ae.autoencoder._transformer import AutoencoderTransformer
from sklearn_ae.compression._rate_net import RateDistortionNet
from sklearn_ae.nn import LogisticEntropyModel
from sklearn_ae.tables._rows import move_influential_rows_last, n_held_out
from sklearn_ae.tables._weighted_pca import principal_axes

# Of the learning rate: what a step does to a code grows with the columns that it is of,
# and from PCA, which is rounded finely, it must not lead far.
RATE_OF_ONE_COLUMN = 0.08


class RateDistortionAutoencoder(AutoencoderTransformer):
    """An autoencoder whose code is to be rounded; it remembers how it started.

    ``rate``, a ``Rate``, and ``error_bound``, that of ``AutoencoderCompressor``, are
    set before ``fit``. After it ``step`` is the step and ``level`` the squared error
    that it was trained for, ``peak`` the range of the cells, all in scaled units,
    ``rows`` the distinct rows in the order of training, the first ``n_held_out`` of
    them held out, and ``weight`` theirs.
    """

    def _prepare(self, X, weight, *, cold):
        matrix, weight, self.rows = super()._prepare(X, weight, cold=cold)
        self.peak = 1.0
        if self.scale is None:
            low, high = X.min(axis=1)[self.rows], X.max(axis=1)[self.rows]
            self.peak = (high.max() - low.min()) / self._columns.scale_[0]
        return matrix, weight, self.rows

    def _split(self, matrix, weight):
        order = move_influential_rows_last(matrix, weight)
        self.rows, self.weight = self.rows[order], weight[order]
        self.n_held_out = n_held_out(len(order), self.validation_fraction)
        return matrix, self.weight, self.n_held_out

    def _components(self, matrix, weight):
        n, d = matrix.shape
        pca = principal_axes(matrix, weight, min(n, d), self._random)
        variances = np.pad(np.square(pca.component_std), (0, d - min(n, d)))
        self.level, k = self.rate.level(variances, self.error_of, self._allowed())
        return pca.leading(k)

    def _run(self, *args, **kwargs):
        run = super()._run(*args, **kwargs)
        if self.learning_rate_init != "auto":
            return run
        most = RATE_OF_ONE_COLUMN / math.sqrt(self.n_features_in_)
        return replace(run, learning_rate=min(run.learning_rate, most))

    @property
    def trained(self):
        """The ``FittedAutoencoder`` of the trained network."""
        return self._inference

    @property
    def start(self):
        """The ``FittedAutoencoder`` of the network as it was before training: PCA's."""
        model = self._inference
        return FittedAutoencoder(model.columns, self._untrained, model.objective, None)

    def error_of(self, psnr):
        """Mean squared error of a scaled cell at a PSNR in dB."""
        return self.peak**2 * 10 ** (-psnr / 10)

    def psnr_of(self, error):
        """PSNR in dB of a mean squared error of a scaled cell."""
        if error == 0:
            return math.inf
        return float(10 * np.log10(self.peak**2 / error))

    def _allowed(self):
        """Mean squared distance of neighbours among the values a cell may have."""
        if self.error_bound is None:
            return None
        distance = 2 * np.asarray(self.error_bound, float) + self.is_integer
        with np.errstate(over="ignore"):
            return float(np.mean((distance / self._columns.scale_) ** 2))

    def _net_for(self, module, pca, corruption):
        self._untrained, self.step = copy.deepcopy(module), math.sqrt(12 * self.level)
        module.prior = LogisticEntropyModel(
            torch.from_numpy(pca.component_std), self.step
        )
        return RateDistortionNet, {"level": self.level}
