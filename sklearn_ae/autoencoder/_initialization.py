"""The start of training: scaled rows, corruption, network and training settings.

``params`` is an estimator: any object with an autoencoder's parameters as attributes.
"""

import functools
from contextlib import contextmanager, nullcontext
from numbers import Integral

import numpy as np
import torch

from sklearn_ae._runtime import (
    limit_threads,
    resolve_device,
    torch_generator,
)
from sklearn_ae.autoencoder._parameters import (
    architecture,
    batch_size,
    code_kind,
    corruption_level,
    free_net_params,
    has_common_scale,
    is_noise_conditional,
    learning_rate,
    max_batches,
    max_iterations,
    refuse_beyond_memory,
    scale,
)
from sklearn_ae.nn import Autoencoder, Corruption, GeneratorMode, cost
from sklearn_ae.objective import Objective
from sklearn_ae.tables._column_scaler import ColumnScaler
from sklearn_ae.tables._rows import (
    RowView,
    TrainingData,
    cell_blocks,
    column_moments,
    merge_equal_rows,
)
from sklearn_ae.tables._weighted_pca import principal_axes
from sklearn_ae.training._batches import WeightedRows
from sklearn_ae.training._net import TrainingConfig

# Corrections divide by the standard deviation of a component: at least this share of
# the largest one.
MIN_STD_SHARE = 1e-2
# Variance of the likelihood at the start: at least this share of a feature's.
MIN_NOISE_SHARE = 1e-4


def scaled_rows(params, X, weight, seed, columns=None):
    """Merge equal rows of a table and scale them.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    weight : ndarray of shape (n_samples,) or None
    seed : int
        Of the order of the rows.
    columns : ColumnScaler, optional
        Fitted scaling; None fits one.

    Returns
    -------
    columns : ColumnScaler
    data : TrainingData
        None of its rows held out.
    """
    rows, weight = merge_equal_rows(X, weight, seed)
    table = RowView(X, rows)
    is_later_batch = columns is not None
    columns = columns or ColumnScaler(scale(params)).fit(table, weight)
    matrix = columns.transform_float32(table)
    if is_later_batch:
        _refuse_far_cells(matrix, rows)
    return columns, TrainingData(matrix, weight, rows)


def _refuse_far_cells(matrix, rows):
    """ValueError for a scaled cell whose square is past float32: it has no loss."""
    farthest = np.abs(matrix).max(axis=0)
    column = int(np.argmax(farthest))
    if not farthest[column] < np.sqrt(np.finfo(np.float32).max):
        row = rows[np.argmax(np.abs(matrix[:, column]))]
        raise ValueError(
            f"Row {row} of X is too far from the rows of the first fit in column "
            f"{column}: {farthest[column]:.1e} of its units. Clip the column, or drop "
            "the row."
        )


def initial_autoencoder(params, data, random, *, corruption=None, pca=None):
    """Return an untrained autoencoder for scaled rows.

    Parameters
    ----------
    data : TrainingData
    random : numpy.random.RandomState
    corruption : Corruption, optional
        Noise whose level the encoder gets, if it is noise-conditional.
    pca : PrincipalAxes, optional
        As many as the code has components; None computes them.

    Returns
    -------
    Autoencoder

    Raises
    ------
    ValueError
        For a network past the machine's memory, and for a user's that has no parameters
        or returns NaN or infinity.
    """
    module = _untrained(params, data, random, corruption, pca)
    if not isinstance(params.architecture, str):
        first_batch = data.matrix[: batch_size(params, len(data))]
        _refuse_unusable(module, torch.from_numpy(first_batch.copy()))
    return module


def _refuse_unusable(module, rows):
    """ValueError for a user's network that can't be trained from its start on."""
    if not any(True for _ in module.parameters()):
        raise ValueError(
            "architecture returned networks without parameters: with init='random' "
            "there is nothing to train."
        )
    module.eval()
    with torch.no_grad(), GeneratorMode(torch.Generator()):
        code = module.encoder(rows)
        parts = {"encoder": code, "decoder": module.decoder(code)}
    module.train()
    for name, out in parts.items():
        if not out.isfinite().all():
            raise ValueError(
                f"The {name} that architecture returned gives NaN or infinity for "
                "rows of X, scaled, before any training: bound what it computes."
            )


def _untrained(params, data, random, corruption, pca):
    n_components = 0.95 if params.n_components is None else params.n_components
    is_given = isinstance(n_components, Integral)
    refuse_beyond_memory(params, n_components if is_given else 1, data.matrix.shape[1])
    needs_pca = params.init == "pca" or not is_given
    if pca is None and needs_pca:
        pca = principal_axes(data.matrix, data.weight, n_components, random)
    if pca is not None:
        n_components = len(pca.components)
    code, n_features = code_kind(params), data.matrix.shape[1]
    networks = architecture(params, n_features, torch_generator(random))
    if params.init == "random":
        return Autoencoder.random(networks, n_components, code=code)
    common = has_common_scale(params)
    mean, std = _training_moments(data.matrix[data.n_held_out :], common_scale=common)
    largest = pca.component_std[0]
    floor = MIN_STD_SHARE * largest if largest > 0 else 1.0
    start = {
        "pca_mean": torch.from_numpy(pca.mean),
        "mean": torch.from_numpy(mean),
        "std": torch.from_numpy(std),
        "components": torch.from_numpy(pca.components),
        "component_std": torch.from_numpy(np.maximum(pca.component_std, floor)),
    }
    if is_noise_conditional(params):
        noise, levels = corruption.noise_std(), corruption.level
        return Autoencoder.around_wiener(networks, noise=noise, levels=levels, **start)
    variance = _noise_variance(data, pca) if code == "gaussian" else 0.0
    return Autoencoder.around_linear(
        networks, code=code, noise_variance=variance, **start
    )


def fit_corruption(params, moments):
    """Return the ``Corruption`` of scaled rows; None at level 0.

    Gaussian noise has the unit of each column, or of all if they share a scale.
    """
    level = corruption_level(params)
    if level == 0:
        return None
    std = moments.std
    if has_common_scale(params):
        std = np.full_like(std, _root_mean_square(std))
    statistics = {"mean": moments.mean, "std": std}
    statistics |= {"low": moments.low, "high": moments.high}
    tensors = {name: torch.from_numpy(v) for name, v in statistics.items()}
    return Corruption(params.corruption, level, **tensors)


def initial_net(params, kind, module, **settings):
    """Return the initialized net, a ``Net`` of that kind, that trains a module.

    ValueError if ``net_params`` is not accepted.
    """
    criterion = functools.partial(
        Objective,
        params.loss,
        sparsity=params.sparsity,
        sparsity_weight=float(params.sparsity_weight),
        sparsity_target=float(params.sparsity_target),
        contraction_weight=float(params.contraction_weight),
        beta=float(params.beta),
    )
    settings |= {
        "device": resolve_device(params.device),
        "optimizer__weight_decay": params.alpha,
    }
    settings |= free_net_params(params.net_params)
    try:
        net = kind(module, criterion, **settings).initialize()
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"net_params={params.net_params!r} is not accepted by skorch's NeuralNet "
            f"or by the optimizer: {error}"
        ) from error
    # A callback may pickle the net: its weights once, as net.module_.
    net.module = type(module)
    return net


def weighted_rows(data, device):
    """Return training data as ``WeightedRows`` on a device."""
    x, weight = torch.from_numpy(data.matrix), torch.from_numpy(data.weight)
    return WeightedRows(x.to(device), weight.to(device))


def training_config(params, n_rows, random, *, one_pass=False):
    """Return the ``TrainingConfig`` of a fit, or of one pass at a constant rate."""
    return TrainingConfig(
        n_iterations=1 if one_pass else max_iterations(params),
        max_batches=n_rows if one_pass else max_batches(params),
        batch_size=batch_size(params, n_rows),
        learning_rate=learning_rate(params, n_rows, schedule=not one_pass),
        schedule=not one_pass,
        shuffle=params.shuffle,
        patience=params.n_iter_no_change,
        tol=params.tol,
        # A random start is nothing to hold on to.
        keep_start_unless_significant=params.init == "pca",
        verbose=bool(params.verbose),
        generator=torch_generator(random),
        has_user_code=callable(params.architecture) or callable(params.sparsity),
    )


@contextmanager
def training_context(params, net, config, n_features):
    """The number of threads that a step is worth, and a generator for callbacks."""
    # A step's products: forward, and backward by weights and by inputs.
    flops = 6 * cost(net.module_, n_features).n_multiplications
    # A user's optimiser or callbacks may draw, too.
    draws = GeneratorMode(config.generator) if params.net_params else nullcontext()
    with limit_threads(flops * config.batch_size), draws:
        yield


def _training_moments(matrix, *, common_scale):
    """Mean and standard deviation of the columns of the rows to train on.

    A constant column has its value and inf.
    """
    moments = column_moments(matrix, np.ones(len(matrix)))
    constant = moments.low == moments.high
    std = np.where(constant, np.inf, moments.std)
    if common_scale and not constant.all():
        std[~constant] = _root_mean_square(std[~constant])
    return np.where(constant, moments.low, moments.mean), std


def _noise_variance(data, pca):
    """Mean variance along the directions that PCA leaves out, at least a little."""
    matrix, n_features = data.matrix, data.matrix.shape[1]
    squares = [
        np.square(matrix[block] - pca.mean).mean(axis=1, dtype=np.float64)
        for block in cell_blocks(matrix)
    ]
    total = n_features * np.average(np.concatenate(squares), weights=data.weight)
    n_left = n_features - len(pca.component_std)
    rest = total - np.square(pca.component_std).sum()
    least = max(MIN_NOISE_SHARE * total / n_features, np.finfo(np.float32).tiny)
    return float(max(rest / n_left if n_left > 0 else 0.0, least))


def _root_mean_square(std):
    return np.sqrt(np.mean(np.square(std)))
