"""An autoencoder trained for a rate, from PCA's rounded code on."""

import copy
import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from sklearn.callback import with_callbacks

from sklearn_ae._callbacks import FitTasks
from sklearn_ae._runtime import enable_gradients, limit_threads, random_generator
from sklearn_ae.autoencoder._inference import FittedAutoencoder
from sklearn_ae.autoencoder._initialization import (
    initial_autoencoder,
    initial_net,
    scaled_rows,
    training_config,
    training_context,
    weighted_rows,
)
from sklearn_ae.autoencoder._parameters import (
    max_iterations,
    picture_shape,
    refuse_beyond_memory,
    refuse_contradictions,
    warn_of_idle_settings,
)
from sklearn_ae.compression._rate_net import RateDistortionNet
from sklearn_ae.nn import LogisticEntropyModel
from sklearn_ae.tables._rows import TrainingData, column_moments, n_in_sample_monitor
from sklearn_ae.tables._weighted_pca import principal_axes


@dataclass(frozen=True)
class RateDistortionFit:
    """An autoencoder before and after training for a rate.

    Attributes
    ----------
    start, trained : FittedAutoencoder
        PCA, and the trained network.
    distortion : float
        Mean squared error, in scaled units, of a component that was trained for.
    step : float
        Quantisation step with that distortion.
    data_range : float
        Range of the cells in scaled units.
    data : TrainingData
    net : RateDistortionNet
    """

    start: FittedAutoencoder
    trained: FittedAutoencoder
    distortion: float
    step: float
    data_range: float
    data: TrainingData
    net: RateDistortionNet

    def error_of(self, psnr):
        """Return the mean squared error of a scaled cell at a PSNR in dB."""
        return error_of_psnr(psnr, self.data_range)

    def psnr_of(self, error):
        """Return the PSNR in dB of a mean squared error of a scaled cell."""
        if error == 0:
            return math.inf
        return float(10 * np.log10(self.data_range**2 / error))


def error_of_psnr(psnr, data_range):
    """Return the mean squared error at a PSNR in dB."""
    return data_range**2 * 10 ** (-psnr / 10)


# Rate and distortion replace the autoencoder's objective; the comparison with PCA on
# held-out rows needs its start and early stopping.
_REQUIRED_SETTINGS = {
    "init": "pca",
    "loss": "squared_error",
    "corruption_level": 0,
    "sparsity_weight": 0,
    "contraction_weight": 0,
    "latent": "deterministic",
    "prior": "auto",
    "early_stopping": True,
    "warm_start": False,
}


def check_settings(autoencoder, scale):
    """Refuse settings of an autoencoder that a compressor can't have.

    ValueError names the setting; ``scale`` is the compressor's.
    """
    if autoencoder.scale not in ("auto", scale):
        raise ValueError(
            f"autoencoder has scale={autoencoder.scale!r}, but the compressor's scale="
            f"{scale!r} is the unit of errors: set scale in the compressor, and leave "
            "that of autoencoder at 'auto'."
        )
    for name, required in _REQUIRED_SETTINGS.items():
        if (value := getattr(autoencoder, name)) != required:
            raise ValueError(
                f"autoencoder has {name}={value!r}, but its code is to be rounded and "
                f"stored, which needs {name}={required!r}."
            )


@with_callbacks
def fit_rate_distortion(autoencoder, X, weight, rate, error_bound=None, is_integer=0):
    """Train an autoencoder for the rate and distortion of its rounded code.

    Parameters
    ----------
    autoencoder : AutoencoderTransformer
        Not fitted; it gets the attributes that ``transform`` needs.
    X : ndarray of shape (n_samples, n_features)
    weight : ndarray of shape (n_samples,) or None
    rate : Rate
        To train for.
    error_bound : ndarray of shape () or (n_features,), optional
        Largest error of a cell that residuals leave.
    is_integer : ndarray of shape (n_features,), bool
        Columns of integers, if an error is bounded.

    Returns
    -------
    RateDistortionFit
    """
    params, n_features = autoencoder, X.shape[1]
    context = params._init_callback_context(max_subtasks=max_iterations(params))
    refuse_contradictions(params)
    warn_of_idle_settings(params)
    picture_shape(params, n_features)
    X = X if X.dtype == np.float32 else X.astype(np.float64, copy=False)
    random = random_generator(params.random_state)
    seed = int(random.randint(np.iinfo(np.int32).max))

    def attributes_now(net):
        inference = FittedAutoencoder(columns, net.module_, net.criterion_, None)
        return {
            "_inference": inference,
            "n_components_": inference.module.n_components,
            "n_features_in_": n_features,
        }

    tasks = FitTasks(params, context, X, None, weight, attributes_now)
    with tasks, limit_threads(), enable_gradients():
        columns, data = scaled_rows(params, X, weight, seed)
        data_range = _data_range(X, data.rows, columns)
        moments = column_moments(data.matrix, data.weight)
        data.hold_out(params.validation_fraction, moments)
        n_all = min(data.matrix.shape)
        pca = principal_axes(data.matrix, data.weight, n_all, random)
        variances = np.square(pca.component_std)
        variances = np.pad(variances, (0, n_features - len(variances)))
        residual_error = None
        if error_bound is not None:
            residual_error = _residual_error(error_bound, is_integer, columns)
        distortion, n_components = rate.reverse_water_filling(
            variances, lambda psnr: error_of_psnr(psnr, data_range), residual_error
        )
        refuse_beyond_memory(params, n_components, n_features)
        pca, step = pca.leading(n_components), math.sqrt(12 * distortion)
        module = initial_autoencoder(params, data, random, pca=pca)
        start = copy.deepcopy(module)
        module.prior = LogisticEntropyModel(torch.from_numpy(pca.component_std), step)
        net = initial_net(params, RateDistortionNet, module, distortion=distortion)
        rows = weighted_rows(data, net.device)
        train = rows.part(slice(data.n_held_out, None))
        n_monitored = data.n_held_out or n_in_sample_monitor(len(data))
        config = training_config(params, len(train), random)
        with training_context(params, net, config, n_features):
            if params.learning_rate_init == "auto":
                # A step changes a component by the sum over its columns. Without the
                # bound MNIST's 784 columns ended 4 % of the bits behind PCA at 25 dB,
                # with it 19 % ahead (chosen on digits and MNIST).
                rate_bound = 0.08 / math.sqrt(n_features)
                config = replace(
                    config, learning_rate=min(config.learning_rate, rate_bound)
                )
            net.train(train, rows.part(slice(n_monitored)), config, tasks)
        start = FittedAutoencoder(columns, start, net.criterion_, None)
        # Callbacks at the end of the task get a fitted autoencoder.
        fitted = attributes_now(net)
        for name, value in fitted.items():
            setattr(params, name, value)
    trained = fitted["_inference"]
    return RateDistortionFit(start, trained, distortion, step, data_range, data, net)


def _data_range(X, rows, columns):
    """Range of the scaled cells: 1 for columns scaled by their own ranges."""
    if columns.scale is not None:
        return 1.0
    low, high = X.min(axis=1)[rows].min(), X.max(axis=1)[rows].max()
    with np.errstate(over="ignore"):
        data_range = (np.float64(high) - low) / columns.scale_[0]
        # Errors are relative to its square.
        if not np.isfinite(np.square(data_range)):
            raise ValueError(
                f"X has cells of {low:g} and {high:g} in columns whose spread is small "
                "beside them, too much for one unit of errors (scale=None): divide the "
                "large columns by a constant, or set scale='minmax'."
            )
    return data_range


def _residual_error(error_bound, is_integer, columns):
    """Mean squared distance, scaled, of neighbouring values that residuals separate."""
    distance = 2 * np.asarray(error_bound, float) + is_integer
    with np.errstate(over="ignore"):
        return float(np.mean((distance / columns.scale_) ** 2))
