"""Autoencoders of an outlier detector, trained to restore rows from noise."""

import numpy as np

from sklearn_ae.autoencoder._base import fit_subset
from sklearn_ae.autoencoder._inference import inference_of
from sklearn_ae.autoencoder._parameters import (
    batch_size,
    clone_given,
    corruption_level,
    is_conv,
    max_batches,
)
from sklearn_ae.autoencoder._transformer import AutoencoderTransformer
from sklearn_ae.detection._score_components import DenoisingError, Noise
from sklearn_ae.tables._rows import systematic_sample

# Rows by which p-values are calibrated.
MAX_CALIBRATION_ROWS = 5_000
# Level of the noise that rows are restored from for scoring, in standard deviations.
# With 0.3 mean AUROC on 20 tables of ADBench is 0.805, not 0.817, fitted on all rows,
# and 0.870, not 0.878, on normal ones. Cells of a picture depend on each other more.
SCORING_NOISE_STDS, CONV_SCORING_NOISE_STDS = 0.1, 0.8
# The error of a row is averaged over as many random cells, by several draws of noise
# where columns are few.
MIN_NOISE_CELLS = 16


def default_autoencoder(detector, n_features, n_rows, n_steps):
    """The autoencoder of a detector that is given none.

    Parameters
    ----------
    detector : AEOutlierDetector
    n_features : int
    n_rows : int
        Number of rows to train on.
    n_steps : int
        Optimisation steps, about; not used with ``method="reconstruction"``.

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
        scale=default_scalings(conv)[0],
        early_stopping=False,
    )
    if not conv:
        autoencoder.set_params(batch_size=512, learning_rate_init=0.008)
    n_batches = -(-n_rows // batch_size(autoencoder, n_rows))
    max_iter = -(-n_steps // min(n_batches, max_batches(autoencoder)))
    return autoencoder.set_params(max_iter=max_iter)


def default_scalings(conv):
    """Scalings of the columns that distances are taken in."""
    # Cells of a picture keep their common unit.
    return (None,) if conv else ("standard", "minmax", "quantile")


class Networks:
    """Trains the autoencoders of a detector, one after another.

    Parameters
    ----------
    detector : AEOutlierDetector
    X : ndarray of shape (n, d)
        Distinct rows.
    weight : ndarray of shape (n,)
    is_train : ndarray of shape (n,), bool
        Rows that are not held out: networks are trained on no others.
    random : numpy.random.RandomState
    context : sklearn.callback.CallbackContext
        Context of the detector's fit.
    """

    def __init__(self, detector, X, weight, is_train, random, context):
        self.detector, self.is_train = detector, is_train
        self.X, self.weight = X[is_train], weight[is_train]
        self.random, self.context = random, context
        self.fitted = []
        some = systematic_sample(self.weight, MAX_CALIBRATION_ROWS)
        self._median = np.median(self.X[some], axis=0)

    def error(self, trusted, n_steps=None):
        """The error of a new network that is trained on the trusted rows (n,)."""
        trusted = trusted[self.is_train]
        network = self._unfitted(np.sum(trusted), n_steps)
        task = self.context.subcontext(task_name="network")
        with task.propagate_callback_context(network):
            fit_subset(network, self.X, self.weight, trusted)
        self.fitted.append(network)
        return DenoisingError(inference_of(network), self._noise(network), self._median)

    def _unfitted(self, n_rows, n_steps):
        if self.detector.autoencoder is None:
            n_features = self.X.shape[1]
            new = default_autoencoder(self.detector, n_features, n_rows, n_steps)
        else:
            new = clone_given(self.detector.autoencoder, self.detector)
        # Ctrl-C ended an earlier network: this one is only begun.
        if any(inference_of(network).was_interrupted for network in self.fitted):
            new.set_params(max_iter=1)
        return new.set_params(random_state=self.random.randint(2**31 - 1))

    def _noise(self, network):
        """Noise that rows are restored from for scoring: none if it was not learnt."""
        n_features = self.X.shape[1]
        n_draws = -(-MIN_NOISE_CELLS // n_features)
        # Random signs: every cell has noise of the same size.
        signs = np.random.RandomState(0).randint(2, size=(n_draws, n_features))
        # The opposite of each draw is used, too.
        signs[:, 0] = 1
        draws = 2.0 * np.unique(signs, axis=0) - 1
        level = corruption_level(network)
        denoises = (
            self.detector.method == "auto"
            and network.corruption == "gaussian"
            and network.latent == "deterministic"
            and level != 0
        )
        if not denoises:
            return Noise(0 * draws, 0.0)
        conv = is_conv(network)
        scoring_level = CONV_SCORING_NOISE_STDS if conv else SCORING_NOISE_STDS
        level = float(np.clip(scoring_level, np.min(level), np.max(level)))
        return Noise(inference_of(network).noise_std(level) * draws, level)
