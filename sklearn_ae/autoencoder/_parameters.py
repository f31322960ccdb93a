"""Constraints of an autoencoder's flat parameters, and the values of "auto".

``params`` is an estimator: any object with the parameters as attributes.
"""

import copy
import math
import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.base import clone
from sklearn.utils._param_validation import Interval, StrOptions

from sklearn_ae._input_shape import MIN_SIDE, folded_shape
from sklearn_ae.nn import (
    ACTIVATIONS,
    CORRUPTIONS,
    CallableArchitecture,
    ConvArchitecture,
    MLPArchitecture,
)
from sklearn_ae.objective import RECONSTRUCTION_LOSSES

DEFAULT_MLP_WIDTHS = (128, 128, 128)

CONSTRAINTS: dict = {
    "n_components": [
        None,
        Interval(Integral, 1, None, closed="left"),
        Interval(Real, 0, 1, closed="neither"),
    ],
    "architecture": [StrOptions({"mlp", "conv"}), callable],
    "input_shape": [tuple, list, None],
    "hidden_layer_sizes": [
        StrOptions({"auto"}),
        "array-like",
        Interval(Integral, 1, None, closed="left"),
    ],
    "activation": [StrOptions(set(ACTIVATIONS))],
    "init": [StrOptions({"pca", "random"})],
    "scale": [StrOptions({"auto", "standard", "minmax", "quantile"}), None],
    "loss": [StrOptions(set(RECONSTRUCTION_LOSSES))],
    "corruption": [StrOptions(set(CORRUPTIONS)), callable],
    "corruption_level": [Interval(Real, 0, None, closed="left"), tuple, list],
    "sparsity": [StrOptions({"kl", "l1"}), callable],
    "sparsity_weight": [Interval(Real, 0, None, closed="left")],
    "sparsity_target": [Interval(Real, 0, 1, closed="neither")],
    "contraction_weight": [Interval(Real, 0, None, closed="left")],
    "latent": [StrOptions({"deterministic", "gaussian"})],
    "beta": [Interval(Real, 0, None, closed="left")],
    "prior": [StrOptions({"auto", "normal", "mixture"})],
    "alpha": [Interval(Real, 0, None, closed="left")],
    "batch_size": [
        StrOptions({"auto"}),
        Interval(Integral, 1, None, closed="left"),
    ],
    "learning_rate_init": [
        StrOptions({"auto"}),
        Interval(Real, 0, None, closed="neither"),
    ],
    "max_iter": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "tol": [Interval(Real, 0, None, closed="left")],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
    "shuffle": ["boolean"],
    "warm_start": ["boolean"],
    "device": [str],
    "random_state": ["random_state"],
    "verbose": ["verbose"],
    "net_params": [dict, None],
}
# skorch's settings that estimator parameters have already.
TAKEN_NET_PARAMS = {
    "module": "architecture, hidden_layer_sizes and activation",
    "criterion": "loss and the penalties' weights",
    "corruption": "corruption and corruption_level",
    "lr": "learning_rate_init",
    "optimizer__lr": "learning_rate_init",
    "optimizer__weight_decay": "alpha",
    "max_epochs": "max_iter",
    "batch_size": "batch_size",
    "train_split": "early_stopping and validation_fraction",
    "dataset": "X",
    "iterator_train": "batch_size and shuffle",
    "iterator_valid": "validation_fraction",
    "warm_start": "warm_start",
    "device": "device",
    "verbose": "verbose",
}


def is_conv(params):
    """True for convolutions on images or signals."""
    return isinstance(params.architecture, str) and params.architecture == "conv"


def architecture(params, n_features, generator):
    """Return the ``nn.Architecture`` of rows of ``n_features``."""
    if not isinstance(params.architecture, str):
        return CallableArchitecture(params.architecture, n_features, generator)
    widths = hidden_widths(params)
    if not is_conv(params):
        return MLPArchitecture(n_features, widths, params.activation, generator)
    channels, *sides = picture_shape(params, n_features)
    height, width = [1] * (2 - len(sides)) + sides
    widths = widths or _channels(height, width)
    shape = channels, height, width
    return ConvArchitecture(shape, widths, params.activation, generator)


def picture_shape(params, n_features):
    """Channels and sides of the image or signal that a row is; by default a signal."""
    shape = params.input_shape
    return folded_shape((n_features,) if shape is None else shape, n_features)


def _channels(height, width):
    """Channels of each stage, until no side is 8 or more.

    Powers of two from 16 to 64, such that all stages take about the same time.
    """
    channels = []
    while not channels or max(height, width) >= MIN_SIDE:
        height, width = -(-height // 2), -(-width // 2)
        power = round(math.log2(256 / math.sqrt(height * width)))
        channels.append(2 ** min(max(power, 4), 6))
    return tuple(channels)


def hidden_widths(params):
    """``hidden_layer_sizes`` as a tuple of integers; empty for "auto" of "conv"."""
    if isinstance(params.hidden_layer_sizes, str):
        return () if is_conv(params) else DEFAULT_MLP_WIDTHS
    sizes = np.atleast_1d(np.asarray(params.hidden_layer_sizes, dtype=object))
    if not all(isinstance(n, Integral) and n > 0 for n in sizes):
        raise ValueError(
            "hidden_layer_sizes must be positive integers, one for each hidden "
            f"layer of the encoder, got {params.hidden_layer_sizes!r}."
        )
    return tuple(int(n) for n in sizes)


def refuse_contradictions(params):
    """Refuse settings that exclude each other, with a ValueError that names them."""
    if is_conv(params) and np.size(params.hidden_layer_sizes) == 0:
        raise ValueError(
            "hidden_layer_sizes must name the channels of one stage or more with "
            f"architecture='conv', got {params.hidden_layer_sizes!r}."
        )
    normal = params.latent == "gaussian"
    if normal and _is_squashed(params):
        raise ValueError(
            "sparsity='kl' needs a code between 0 and 1, which latent='gaussian' "
            "is not: set sparsity_weight=0, sparsity='l1' or "
            "latent='deterministic'."
        )
    if normal and params.loss != "squared_error":
        raise ValueError(
            "latent='gaussian' has a normal likelihood, which is "
            f"loss='squared_error', got loss={params.loss!r}."
        )
    if params.prior == "normal" and not normal:
        raise ValueError(
            "prior='normal' is what latent='gaussian' holds the codes to in training; "
            "those of latent='deterministic' have another distribution. Set "
            "prior='mixture', which is fitted to them, or latent='gaussian'."
        )
    level, kind = corruption_level(params), params.corruption
    if np.max(level) > 1 and isinstance(kind, str) and kind != "gaussian":
        raise ValueError(
            f"corruption_level is a probability with corruption={kind!r}, at most "
            f"1, got {params.corruption_level!r}. Only of corruption='gaussian' may it "
            "be above."
        )


def warn_of_idle_settings(params):
    """Warn of settings that do nothing without another one, and name that one."""
    level, weight = params.corruption_level, params.sparsity_weight
    above_0 = "sparsity_weight above 0"
    needed = {
        ("corruption", "gaussian"): (level, "corruption_level above 0"),
        ("sparsity", "kl"): (weight, above_0),
        ("sparsity_target", 0.05): (
            _is_squashed(params),
            "sparsity='kl'" if weight else above_0,
        ),
        ("beta", 1.0): (params.latent == "gaussian", "latent='gaussian'"),
    }
    for (name, default), (is_used, way_out) in needed.items():
        value = getattr(params, name)
        if value != default and not is_used:
            warnings.warn(
                f"{name}={value!r} does nothing without {way_out}: set that too, or "
                f"leave {name} at its default, {default!r}.",
                UserWarning,
                stacklevel=2,
            )


def validate_given(autoencoder, estimator):
    """Validate the autoencoder that an estimator was given in place of its own.

    ValueError for a setting out of its range, or if the estimator's ``architecture`` or
    ``input_shape`` are set too: they describe its own autoencoder.
    """
    if (estimator.architecture, estimator.input_shape) != ("mlp", None):
        raise ValueError(
            f"architecture={estimator.architecture!r} and input_shape="
            f"{estimator.input_shape!r} only describe the default autoencoder, but "
            "autoencoder is given: set them in it instead."
        )
    # An estimator's fit skips the validation of the estimators that it fits.
    autoencoder._validate_params()


def clone_given(autoencoder, estimator):
    """Return a clone of the autoencoder that an estimator was given.

    The estimator's ``device`` and ``verbose`` count for more, if they are set.
    """
    new = clone(autoencoder)
    if estimator.device != "auto":
        new.set_params(device=estimator.device)
    if estimator.verbose:
        new.set_params(verbose=estimator.verbose)
    return new


def corruption_level(params):
    """``corruption_level`` as a float, or as a pair of them: the lowest and highest."""
    level = params.corruption_level
    if isinstance(level, Real):
        return float(level)
    numbers = all(isinstance(s, Real) and not isinstance(s, bool) for s in level)
    if not numbers or len(level) != 2 or not 0 < level[0] < level[1] < np.inf:
        raise ValueError(
            "corruption_level must be a number, or two of them, the lowest level and "
            f"the highest, with 0 < low < high, got {level!r}."
        )
    return float(level[0]), float(level[1])


def is_noise_conditional(params):
    """True if the encoder gets each row's noise level.

    Wiener's filter, which it starts at, needs PCA and Gaussian noise.
    """
    return (
        isinstance(corruption_level(params), tuple)
        and params.corruption == "gaussian"
        and params.init == "pca"
        and isinstance(params.architecture, str)
        and code_kind(params) == "plain"
    )


def code_kind(params):
    """Return "plain", "sigmoid" (for KL sparsity) or "gaussian"."""
    if params.latent == "gaussian":
        return "gaussian"
    return "sigmoid" if _is_squashed(params) else "plain"


def _is_squashed(params):
    return params.sparsity == "kl" and params.sparsity_weight > 0


def scale(params):
    """``scale``, with "auto" resolved: normal scores for a normal likelihood."""
    if params.scale != "auto":
        return params.scale
    if is_conv(params):
        return None
    return "quantile" if params.latent == "gaussian" else "standard"


def has_common_scale(params):
    """True if noise and nonlinear paths scale all columns by one number."""
    return is_conv(params) or scale(params) is None


def can_sample(params):
    """True if codes will have a distribution that rows can be drawn from."""
    return params.latent == "gaussian" or params.prior == "mixture"


def has_mixture(params):
    """True if a mixture of normals will be fitted to the codes."""
    if params.prior == "auto":
        return params.latent == "gaussian"
    return params.prior == "mixture"


def lasting_settings(params):
    """Parameters that can't change while training goes on."""
    return {
        "n_components": params.n_components,
        "architecture": params.architecture,
        "input_shape": params.input_shape and tuple(params.input_shape),
        "hidden_layer_sizes": hidden_widths(params),
        "activation": params.activation,
        "init": params.init,
        "scale": scale(params),
        "loss": params.loss,
        # A kind counts only if its strength is above 0.
        "corruption_level": corruption_level(params),
        "corruption": params.corruption if params.corruption_level else None,
        "sparsity_weight": params.sparsity_weight,
        "sparsity": params.sparsity if params.sparsity_weight else None,
        "sparsity_target": params.sparsity_target if params.sparsity_weight else None,
        "contraction_weight": params.contraction_weight,
        "latent": params.latent,
        "beta": params.beta,
        "alpha": params.alpha,
        "device": params.device,
    }


def batch_size(params, n_rows):
    """Rows in a mini-batch: by default an eighth of the rows, rounded and bounded."""
    if params.batch_size != "auto":
        return params.batch_size
    most = 64 if is_conv(params) else 256
    return int(np.clip(2 ** np.ceil(np.log2(n_rows / 8)), 16, most))


def max_iterations(params):
    """``max_iter``; fewer for convolutions, which gain more in an iteration."""
    if params.max_iter != "auto":
        return params.max_iter
    return 80 if is_conv(params) else 200


def max_batches(params):
    """Largest number of mini-batches in an iteration: it bounds the steps of a fit."""
    return 25 if is_conv(params) else 50


def learning_rate(params, n_rows, *, schedule):
    """Peak of the learning rate, or its constant value without a schedule."""
    if params.learning_rate_init != "auto":
        return params.learning_rate_init
    # A constant rate has no decay to end on: it has to be lower throughout.
    peak = 0.003 if is_conv(params) else 0.01
    return (peak if schedule else peak / 10) * min(
        1, np.sqrt(batch_size(params, n_rows) / 64)
    )


def free_net_params(net_params):
    """Return a copy of ``net_params``; ValueError for settings that are parameters."""
    for name in net_params or {}:
        prefix = str(name).split("__")[0]
        if taken := TAKEN_NET_PARAMS.get(name, TAKEN_NET_PARAMS.get(prefix)):
            raise ValueError(f"net_params may not set {name!r}: set {taken} instead.")
    return copy.deepcopy(net_params or {})
