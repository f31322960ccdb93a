"""Which network and which step are the best for a rate: by rows held out.

Judged is what is stored: codes rounded, and code lengths by tables of other rows.
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

# Share of the iterations that tell by how much training beats what PCA says of a rate.
PILOT = 0.25
# Steps that are tried, in units of the one that was trained for: 32 an octave.
STEPS = 2.0 ** np.arange(-6, 3 + 1 / 64, 1 / 32)
# The same where residuals say what a code is worth, for which more is to be computed.
COARSER, FINER = 2.0 ** np.arange(1, 7), 2.0 ** -np.arange(1, 3)
# Where no step is fine enough, the error that is borne beside that of the finest.
TOLERATED = 1.05
# Rows that tables are of, at the most, and cells where they are of cells: those that
# steps are tried with, and those that are kept.
MAX_ROWS, MAX_CELLS = 5_000, 2**20
MAX_KEPT_ROWS, MAX_KEPT_CELLS = 100_000, 2**22


class Outcome(NamedTuple):
    """What a network and a step come to, on rows held out.

    Attributes
    ----------
    falls_short : bool
        Of the PSNR that was asked for, without residuals to make good for it.
    cost : float
        What is to be small: the bits at a PSNR, the error at a number of bits or where
        the PSNR is not reached, else both as in training.
    bits : float
        Of a row.
    error : float
        Mean squared error of a scaled cell, before residuals make good for it.
    step : float
    codec : Codec
    """

    falls_short: bool
    cost: float
    bits: float
    error: float
    step: float
    model: FittedAutoencoder


def search(fitted, X, rate, residuals):
    """The best outcome for a rate, and the autoencoders fitted on the way to it.

    A first, short fit tells what rate to train for, unless components are all that is
    asked for. The start is tried with the last.

    Parameters
    ----------
    fitted : callable
        ``(rate, share of the iterations) -> RateDistortionAutoencoder``.
    X : ndarray of shape (n, d)
        What is fitted to, in the dtype that is to be restored.
    rate : Rate
        That is asked for.
    residuals : dict
        As ``Codec``'s, where an error is bounded.
    """
    autoencoders, outcomes, aim = [], [], rate
    for share in (1,) if rate.is_of_components_alone else (PILOT, 1):
        autoencoder = fitted(aim, share)
        autoencoders.append(autoencoder)
        trained = Trial(autoencoder.trained, autoencoder, X, rate, residuals)
        outcomes.append(trained.best())
        if autoencoder._net.was_interrupted or trained.was_interrupted:
            break
        if share == 1:
            start = Trial(autoencoder.start, autoencoder, X, rate, residuals)
            outcomes.append(start.best())
        else:
            aim = trained.aim(outcomes[0])
    return min(outcomes, key=lambda outcome: outcome[:2]), autoencoders


def fit_codec(best, autoencoder, X, residuals):
    """What is kept: the best network and step, with tables of all rows or of many.

    Parameters
    ----------
    best : Outcome
    autoencoder : RateAutoencoder
        Of X's distinct rows and their weights.
    X, residuals
        As ``search``'s.
    """
    rows, weight = autoencoder.rows, autoencoder.weight
    most = MAX_KEPT_ROWS
    if residuals:
        most = max(1, min(most, MAX_KEPT_CELLS // X.shape[1]))
    apart = -(-len(rows) // most)
    known, weight = X[rows[::apart]], weight[::apart]
    compression = Codec(best.model, best.step, **residuals)
    return compression.fit(known, weight, compression.codes(known))


class Trial:
    """A network on rows held out, with tables of some of the others.

    Parameters
    ----------
    codec : Codec
    autoencoder : RateAutoencoder
        Fitted; of the network, or what it has become of.
    X, rate, residuals
        As ``search``'s.
    """

    def __init__(self, model, autoencoder, X, rate, residuals):
        self.model, self.rate, self.residuals = model, rate, residuals
        self.level, self.step = autoencoder.level, autoencoder.step
        self.was_interrupted = False
        n, rows, weight = autoencoder.n_held_out, autoencoder.rows, autoencoder.weight
        most = MAX_ROWS
        if residuals:
            most = max(1, min(most, MAX_CELLS // X.shape[1]))
        seen = slice(n, n + most)
        # Of fewer than four rows none is held out.
        held = slice(n) if n else seen
        self.seen, self.seen_weight = X[rows[seen]], weight[seen]
        self.held, self.weight = X[rows[held]], weight[held]
        self.scaled = model.columns.transform(self.held.astype(np.float64))
        self.codes = model.encode(self.held.astype(np.float64))
        self.seen_codes = model.encode(self.seen.astype(np.float64))
        # Steps are asked for more than once.
        self.bits, self.error = cache(self._bits), cache(self._error)
        self.most = np.inf
        if rate.target_psnr is not None:
            self.most = autoencoder.error_of(rate.target_psnr)

    def best(self):
        """The outcome of the step that gives the rate; interrupted, of its own step."""
        try:
            if self.residuals and not any(self.rate):
                return self._cheapest()
            return self.outcome(self._asked_for())
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
        """The outcome that no neighbouring step has a lower cost than, from 1 on."""
        best = self.outcome(self.step)
        for factors in (COARSER, FINER):
            for factor in factors:
                tried = self.outcome(self.step * factor)
                if tried.cost >= best.cost:
                    break
                best = tried
        return best

    def outcome(self, step):
        """What another step comes to."""
        bits, error = self.bits(step), self.error(step)
        falls_short = error > self.most and not self.residuals
        cost = bits
        if falls_short or self.rate.bits_per_component is not None:
            cost = error
        elif not self.residuals and self.rate.target_psnr is None:
            nats = bits * math.log(2) / self.scaled.shape[1]
            cost = nats + error / (2 * self.level)
        return Outcome(falls_short, cost, bits, error, step, self.model)

    def aim(self, best):
        """The rate to train for that comes to the one that is asked for.

        Training was for what PCA says of that; it is missed by as much again. Beside
        residuals it is what the step says that was found to be the best.
        """
        if not any(self.rate):
            return self.rate._replace(water=best.step**2 / 12)
        if (psnr := self.rate.target_psnr) is not None:
            gain = 10 * math.log10(_ratio(self.most, self.error(self.step)))
            return self.rate._replace(target_psnr=psnr - gain)
        bits = self.rate.bits_per_component
        had = self.bits(self.step) / self.codes.shape[1]
        return self.rate._replace(bits_per_component=bits * _ratio(bits, had))

    def _asked_for(self):
        steps = self.step * STEPS
        if self.rate.target_psnr is not None:
            most = max(self.most, TOLERATED * self.error(steps[0]))
            return steps[max(bisect_right(steps, most, key=self.error) - 1, 0)]
        if self.rate.bits_per_component is not None:
            bits = self.rate.bits_per_component * self.codes.shape[1]
            first = bisect_left(steps, -bits, key=lambda step: -self.bits(step))
            return steps[min(first, len(steps) - 1)]
        return self.step

    def _bits(self, step):
        """Mean bits of a row at a step."""
        tried = Codec(self.model, step, **self.residuals)
        tried.fit(self.seen, self.seen_weight, self.seen_codes)
        bits = tried.bits(self.held, self.codes)
        return float(np.average(bits, weights=self.weight))

    def _error(self, step):
        """Mean squared error of a scaled cell at a step."""
        codes = Quantiser(step).rounded(self.codes).astype(np.float32)
        cells = np.square(self.scaled - self.model.decode_scaled(codes))
        return float(np.average(cells.mean(axis=1), weights=self.weight))


def _ratio(wanted, got):
    """Of constant rows, which have neither errors nor bits, it is 1."""
    return wanted / got if wanted > 0 and got > 0 else 1.0
