"""The autoencoder of an outlier detector, trained to restore rows from noise."""

from typing import NamedTuple

import numpy as np

from sklearn_ae.autoencoder._base import fit_to_the_end
from sklearn_ae.autoencoder._inference import inference_of
from sklearn_ae.autoencoder._parameters import (
    batch_size,
    clone_given,
    corruption_level,
    is_conv,
    max_batches,
)
from sklearn_ae.autoencoder._transformer import AutoencoderTransformer
from sklearn_ae.detection._nearest_distance import MIN_DISTANCE

# Optimisation steps, about.
N_STEPS = 600
# Level of the noise that rows are restored from for scoring, in standard deviations.
# With 0.3 mean AUROC on 20 tables of ADBench is 0.805, not 0.817, fitted on all rows,
# and 0.870, not 0.878, on normal ones. Cells of a picture depend on each other more.
SCORING_NOISE_STDS, CONV_SCORING_NOISE_STDS = 0.1, 0.8
# For explanations the level is at least this. With 0.1, 0.975 of the moved cells and
# 0.594 of the turned ones are found on 34 tables (benchmarks.outliers_explanations),
# not 0.981 and 0.609; with 0.3 as many, but 0.84, not 0.89, of values that never occur.
EXPLAINING_NOISE_STDS = 0.2
# The error of a row is averaged over as many random cells, by several draws of noise
# where columns are few.
MIN_NOISE_CELLS = 16
# Cells of a row, the farthest from their conditional means, that take part in what a
# network's error is divided among. With all of them, one pass through the network for
# each column, as many wrong cells are found.
MAX_OCCLUDED = 32
# Share of a loss below which its fall is a rounding error.
MIN_GAIN = 1e-9


class Noise(NamedTuple):
    """Draws (m, d) of noise in scaled columns, and its level."""

    draws: np.ndarray
    level: float


def default_autoencoder(detector, n_features, n_rows):
    """The autoencoder of a detector that is given none.

    Parameters
    ----------
    detector : AEOutlierDetector
    n_features : int
    n_rows : int
        Number of rows to train on.

    Returns
    -------
    autoencoder : AutoencoderTransformer
        Not fitted.
    """
    conv = is_conv(detector)
    autoencoder = AutoencoderTransformer(
        architecture=detector.architecture,
        input_shape=detector.input_shape,
        validation_fraction=detector.validation_fraction,
        device=detector.device,
        verbose=detector.verbose,
    )
    if not conv:
        autoencoder.set_params(hidden_layer_sizes=(64, 64, 64))
    if detector.method == "reconstruction":
        return autoencoder
    autoencoder.set_params(
        # A denoiser needs no bottleneck; a conv code of all cells has a linear decoder.
        n_components=min(n_features, 1_024 if conv else 128),
        corruption_level=(0.05, 2.0),
        # The fewer rows, the closer the network stays to its linear start.
        alpha=float(np.clip(30 / n_rows, 0.01, 1)),
        # Cells of a picture keep their common unit.
        scale=None if conv else "standard",
        early_stopping=False,
    )
    if not conv:
        autoencoder.set_params(batch_size=512, learning_rate_init=0.008)
    n_batches = -(-n_rows // batch_size(autoencoder, n_rows))
    max_iter = -(-N_STEPS // min(n_batches, max_batches(autoencoder)))
    return autoencoder.set_params(max_iter=max_iter)


def fit_denoiser(detector, X, weight, random, context):
    """Train the autoencoder of a detector.

    Parameters
    ----------
    detector : AEOutlierDetector
    X : ndarray of shape (n, d)
        Distinct rows that are not held out.
    weight : ndarray of shape (n,)
    random : numpy.random.RandomState
    context : sklearn.callback.CallbackContext
        Context of the detector's fit.

    Returns
    -------
    autoencoder : AutoencoderTransformer
        Fitted.
    """
    if detector.autoencoder is None:
        new = default_autoencoder(detector, X.shape[1], len(X))
    else:
        new = clone_given(detector.autoencoder, detector)
    new.set_params(random_state=random.randint(2**31 - 1))
    task = context.subcontext(task_name="autoencoder")
    with task.propagate_callback_context(new):
        fit_to_the_end(new, X, weight)
    return new


def scoring_noise(autoencoder, n_features, least=0.0):
    """Noise of a least level that rows are restored from: none if it was not learnt."""
    n_draws = -(-MIN_NOISE_CELLS // n_features)
    # Random signs: every cell has noise of the same size.
    signs = np.random.RandomState(0).randint(2, size=(n_draws, n_features))
    # The opposite of each draw is used, too.
    signs[:, 0] = 1
    draws = 2.0 * np.unique(signs, axis=0) - 1
    level = corruption_level(autoencoder)
    denoises = (
        autoencoder.corruption == "gaussian"
        and autoencoder.latent == "deterministic"
        and level != 0
    )
    if not denoises:
        return Noise(0 * draws, 0.0)
    conv = is_conv(autoencoder)
    scoring_level = CONV_SCORING_NOISE_STDS if conv else SCORING_NOISE_STDS
    scoring_level = max(scoring_level, least)
    level = float(np.clip(scoring_level, np.min(level), np.max(level)))
    return Noise(inference_of(autoencoder).noise_std(level) * draws, level)


class DenoisingError:
    """Loss of an autoencoder in restoring rows from noise.

    Each cell's loss is divided by the column's median over calibration rows; the
    measure is the mean over the cells of log(1 + loss), so that one column whose cells
    are hard to restore does not decide alone. With a normal latent it is minus the
    log-density instead.

    Parameters
    ----------
    autoencoder : AutoencoderTransformer
        Fitted.
    X : ndarray of shape (n, d)
        Calibration rows, in input units.
    """

    def __init__(self, autoencoder, X):
        self._autoencoder = inference_of(autoencoder)
        d = X.shape[1]
        self._noise = scoring_noise(autoencoder, d)
        self._explaining = scoring_noise(autoencoder, d, EXPLAINING_NOISE_STDS)
        if not self._autoencoder.is_random:
            self._unit = np.median(self._losses(X), axis=0) + MIN_DISTANCE

    def logs(self, X):
        """Logarithms (1, n) of the measure of rows (n, d), or minus log-densities."""
        if self._autoencoder.is_random:
            return self._row_losses(X)[None]
        largest = np.finfo(np.float64).max
        relative = np.nan_to_num(self._losses(X) / self._unit, nan=largest)
        return np.log1p(relative).mean(axis=1)[None]

    def shares(self, X, expectation):
        """Share (n, d) of each cell: the loss that its conditional mean in it removes.

        The loss of the cell itself would not do: networks copy values far from those
        they were trained on, and the loss is then in other columns. Nor would the
        column's median, as a wrong cell may hold it. The row's bad cells hold their
        conditional means meanwhile: beside others that are still wrong, a right cell
        would have the higher loss. Only the 32 cells farthest from their conditional
        means are tried; shares are equal where none lowers the loss.

        References
        ----------
        Zeiler, M. D. and Fergus, R. (2014). Visualizing and understanding convolutional
        networks. ECCV (occlusion).
        """
        means, is_bad = expectation.means, expectation.is_bad
        cleaned, gains = np.where(is_bad, means, X), np.zeros_like(X)
        losses = self._occlusion_losses(cleaned)
        farthest = np.argsort(-expectation.deviations, axis=1, kind="stable")
        for columns in farthest[:, :MAX_OCCLUDED].T:
            cells = np.arange(len(X)), columns
            changed = cleaned.copy()
            changed[cells] = np.where(is_bad[cells], X[cells], means[cells])
            rise = self._occlusion_losses(changed) - losses
            gains[cells] = np.where(is_bad[cells], rise, -rise)
        # A gain of a rounding error is none.
        least = MIN_GAIN * np.abs(losses)[:, None]
        return shares_of(np.where(gains <= least, 0, gains))

    def _losses(self, X):
        """Losses (n, d) of cells."""
        return self._autoencoder.denoising_losses(X, self._noise)

    def _row_losses(self, X):
        """Minus the log-densities (n,) of rows."""
        return -finite(self._autoencoder.log_densities(X))

    def _occlusion_losses(self, X):
        """Mean losses (n,) of rows under the noise of explanations."""
        if self._autoencoder.is_random:
            return self._row_losses(X)
        losses = self._autoencoder.denoising_losses(X, self._explaining)
        return -finite(-losses.mean(axis=1))


def finite(values):
    """Scores of up to 1e280, that sums and units of them are finite; NaN is lowest."""
    return np.clip(np.nan_to_num(values, nan=-np.inf), -1e280, 1e280)


def shares_of(cells):
    """Cells (n, d) divided by the sum of their row; equal shares of a sum of zero."""
    cells = np.minimum(np.nan_to_num(cells, nan=1e300), 1e300 / cells.shape[1])
    total = cells.sum(axis=1, keepdims=True)
    equal = 1 / cells.shape[1]
    return np.where(total > 0, cells / np.where(total > 0, total, 1), equal)
