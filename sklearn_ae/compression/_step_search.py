"""Search for the network and the quantisation step with the best rate.

They are compared on held-out rows by what a stream holds: rounded codes, and code
lengths by tables of other rows.
"""

import math
import warnings
from bisect import bisect_left, bisect_right
from functools import cache
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sklearn_ae.autoencoder._inference import FittedAutoencoder
from sklearn_ae.compression._codec import Codec
from sklearn_ae.compression._quantiser import Quantiser

PILOT_ITERATION_SHARE = 0.25


class Outcome(NamedTuple):
    """Rate and distortion of a network and a step, on held-out rows.

    Attributes
    ----------
    falls_short : bool
        True if the target PSNR is not reached and no residuals correct the errors.
    cost : float
        Value to minimise: the bits at a target PSNR, the error at a target number of
        bits or a PSNR that is not reached, else the loss of training.
    bits : float
        Mean code length of a row.
    error : float
        Mean squared error of a scaled cell, without residuals.
    step : float
    autoencoder : FittedAutoencoder
    """

    falls_short: bool
    cost: float
    bits: float
    error: float
    step: float
    autoencoder: FittedAutoencoder


def search(fit, X, rate, residuals):
    """Return the best outcome for a rate, and the fits made for it.

    A pilot fit measures by how much a trained network's rate differs from PCA's, and
    sets the training target of the second fit. A rate of components alone needs none.
    The untrained network, which is PCA, competes with the trained ones.

    Parameters
    ----------
    fit : callable
        ``(training target, share of the iterations) -> RateDistortionFit``.
    X : ndarray of shape (n, d)
        Training rows, in the dtype that is to be restored.
    rate : Rate
        Target rate.
    residuals : dict
        ``error_bound`` and ``is_integer`` of ``Codec``; empty without a bound.
    """
    fits, outcomes, training_target = [], [], rate
    # Without a pilot fit lossless digits take 6 % more bits; a target PSNR, no more.
    shares = (1,) if rate.is_of_components_alone else (PILOT_ITERATION_SHARE, 1)
    for share in shares:
        fits.append(fit(training_target, share))
        trained = Trial(fits[-1].trained, fits[-1], X, rate, residuals)
        outcomes.append(trained.best())
        if fits[-1].net.was_interrupted or trained.was_interrupted:
            break
        if share == 1:
            start = Trial(fits[-1].start, fits[-1], X, rate, residuals)
            outcomes.append(start.best())
        else:
            training_target = trained.training_target(outcomes[0])
    return min(outcomes, key=lambda outcome: outcome[:2]), fits


def fit_codec(best, data, X, residuals):
    """Return the codec of the best network and step, with tables of up to 100,000 rows.

    Parameters
    ----------
    best : Outcome
    data : TrainingData
        Distinct rows of X and their weights.
    X, residuals
        As in ``search``.
    """
    n_rows = _n_table_rows(X, residuals, max_rows=100_000, max_cells=2**22)
    stride = -(-len(data) // n_rows)
    rows, weight = X[data.rows[::stride]], data.weight[::stride]
    codec = Codec(best.autoencoder, best.step, **residuals)
    return codec.fit(rows, weight, codec.codes(rows))


class Trial:
    """Rate and distortion of a network by step: tables and held-out rows apart.

    Parameters
    ----------
    autoencoder : FittedAutoencoder
    fit : RateDistortionFit
        The fit that the autoencoder is of.
    X, rate, residuals
        As in ``search``.
    """

    def __init__(self, autoencoder, fit, X, rate, residuals):
        self.autoencoder, self.rate, self.residuals = autoencoder, rate, residuals
        self.distortion, self.step = fit.distortion, fit.step
        self.was_interrupted = False
        data = fit.data
        n, rows, weight = data.n_held_out, data.rows, data.weight
        n_table = _n_table_rows(X, residuals, max_rows=5_000, max_cells=2**20)
        table = slice(n, n + n_table)
        # Fewer than four rows are too few to hold any out.
        held_out = slice(n) if n else table
        self.table_rows, self.table_weight = X[rows[table]], weight[table]
        self.held_out, self.weight = X[rows[held_out]], weight[held_out]
        float_rows = self.held_out.astype(np.float64)
        self.scaled = autoencoder.columns.transform(float_rows)
        self.codes = autoencoder.encode(float_rows)
        self.table_codes = autoencoder.encode(self.table_rows.astype(np.float64))
        # The searches come back to steps.
        self.bits, self.error = cache(self._bits), cache(self._error)
        self.max_error = np.inf
        if rate.target_psnr is not None:
            self.max_error = fit.error_of(rate.target_psnr)

    def best(self):
        """Return the outcome of the best step; if interrupted, of the trained one."""
        try:
            if self.residuals and not any(self.rate):
                return self._cheapest()
            return self.outcome(self._step_of_rate())
        except KeyboardInterrupt:
            self.was_interrupted = True
            warnings.warn(
                "Interrupted in the search for the best step: the one that was trained "
                "for is kept.",
                ConvergenceWarning,
                stacklevel=2,
            )
            return self.outcome(self.step)

    def _cheapest(self):
        """Double, then halve the step for as long as that lowers the cost."""
        best = self.outcome(self.step)
        for factor in (2.0, 0.5):
            step = factor * self.step
            while (tried := self.outcome(step)).cost < best.cost:
                best, step = tried, factor * step
        return best

    def outcome(self, step):
        """Return the outcome of the autoencoder with a step."""
        bits, error = self.bits(step), self.error(step)
        falls_short = error > self.max_error and not self.residuals
        cost = bits
        if falls_short or self.rate.bits_per_component is not None:
            cost = error
        elif not self.residuals and self.rate.target_psnr is None:
            nats = bits * math.log(2) / self.scaled.shape[1]
            cost = nats + error / (2 * self.distortion)
        return Outcome(falls_short, cost, bits, error, step, self.autoencoder)

    def training_target(self, best):
        """Return the rate to train for in order to reach the target rate.

        A fit is for the distortion of PCA at a rate, and misses the rate by some
        factor; the next fit's target is off by as much the other way. With residuals
        and no rate, the distortion is that of the best step.
        """
        if not any(self.rate):
            return self.rate._replace(distortion=best.step**2 / 12)
        if (psnr := self.rate.target_psnr) is not None:
            gain = 10 * math.log10(_ratio(self.max_error, self.error(self.step)))
            return self.rate._replace(target_psnr=psnr - gain)
        bits = self.rate.bits_per_component
        reached = self.bits(self.step) / self.codes.shape[1]
        return self.rate._replace(bits_per_component=bits * _ratio(bits, reached))

    def _step_of_rate(self):
        """Return the step, to a 32nd of an octave, that reaches the target rate."""
        steps = self.step * 2.0 ** np.arange(-6, 3 + 1 / 64, 1 / 32)
        if self.rate.target_psnr is not None:
            # Where no step reaches the target, the finest one costs 1.2 to 2.8 times
            # the bits of the one within 5 % of its error, at the same PSNR (digits,
            # breast cancer and diabetes with 3 components).
            max_error = max(self.max_error, 1.05 * self.error(steps[0]))
            return steps[max(bisect_right(steps, max_error, key=self.error) - 1, 0)]
        if self.rate.bits_per_component is not None:
            bits = self.rate.bits_per_component * self.codes.shape[1]
            first = bisect_left(steps, -bits, key=lambda step: -self.bits(step))
            return steps[min(first, len(steps) - 1)]
        return self.step

    def _bits(self, step):
        """Return the mean code length of a held-out row in bits."""
        codec = Codec(self.autoencoder, step, **self.residuals)
        codec.fit(self.table_rows, self.table_weight, self.table_codes)
        bits = codec.bits(self.held_out, self.codes)
        return float(np.average(bits, weights=self.weight))

    def _error(self, step):
        """Return the mean squared error of a scaled held-out cell."""
        codes = Quantiser(step).rounded(self.codes).astype(np.float32)
        cells = np.square(self.scaled - self.autoencoder.decode_scaled(codes))
        return float(np.average(cells.mean(axis=1), weights=self.weight))


def _n_table_rows(X, residuals, max_rows, max_cells):
    """Return the number of rows to fit tables to; residuals need tables of cells."""
    if not residuals:
        return max_rows
    return max(1, min(max_rows, max_cells // X.shape[1]))


def _ratio(target, reached):
    """Return target / reached; 1 for constant rows, which have no errors or bits."""
    return target / reached if target > 0 and reached > 0 else 1.0
