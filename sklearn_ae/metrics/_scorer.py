"""Reconstruction metrics as scorers of scikit-learn's model selection."""

import inspect
import math
import sys
from numbers import Integral
from typing import NamedTuple

from sklearn_ae.metrics._lpips import (
    learned_perceptual_image_patch_similarity,
    lpips_images,
)
from sklearn_ae.metrics._psnr import pooled_psnr, psnr_width
from sklearn_ae.metrics._ssim import ssim_of_rows, structural_similarity


class _Metric(NamedTuple):
    function: object
    # Takes the parameters by name and raises if one is invalid.
    check: object
    # -1 if lower is better.
    sign: int

    def takes(self):
        """Return the names of the parameters that not every metric has."""
        names = inspect.signature(self.check).parameters
        return [
            n for n in names if n not in ("n_features", "input_shape", "data_range")
        ]


METRICS = {
    "psnr": _Metric(pooled_psnr, psnr_width, 1),
    "ssim": _Metric(structural_similarity, ssim_of_rows, 1),
    "lpips": _Metric(learned_perceptual_image_patch_similarity, lpips_images, -1),
}


def make_reconstruction_scorer(metric, *, input_shape=None, data_range, **params):
    """Make a scorer of reconstructions, for ``scoring`` in GridSearchCV.

    The scorer has the signature ``scorer(estimator, X, y=None)``; higher is better, so
    LPIPS is negated. It reconstructs X by ``estimator.reconstruct`` or, if there is no
    such method, by ``transform`` and ``inverse_transform``, as for PCA or a Pipeline.
    scikit-learn has no public registry of scorers, so ``scoring="psnr"`` is not
    possible.

    SSIM and LPIPS are means over rows. PSNR is pooled: the ratio of the range and the
    mean squared error of all rows, which is finite if some rows are reconstructed
    exactly, and ranks as the mean squared error does; rows with large errors dominate
    it. If all rows are exact, their error counts as float64's smallest number,
    4.9e-324: thousands of dB, above any other score and still comparable. Rows count
    equally; there is no ``sample_weight``.

    Parameters
    ----------
    metric : {"psnr", "ssim", "lpips"} or list of these
        Metric. A list gives a dict of scorers, for multi-metric scoring.
    input_shape : tuple of int, default=None
        Shape that rows were flattened from; "lpips" needs it. None is a signal,
        (n_features,).
    data_range : float or pair of float
        Range of possible values, (low, high), or the width of a range that starts at 0.
    **params
        Other parameters of the metric, such as ``win_size``. If there are several
        metrics, each gets those that it takes.

    Returns
    -------
    scorer : callable, or dict of str to callable
        Scorer, or scorers by metric. They can be pickled.

    Raises
    ------
    TypeError
        If a parameter is of the wrong type or not one of the metric's.
    ValueError
        If there is no such metric, or if a parameter's value is invalid.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn_ae.metrics import make_reconstruction_scorer
    >>> scorer = make_reconstruction_scorer("psnr", data_range=16)
    >>> search = GridSearchCV(PCA(), {"n_components": [4, 16]}, scoring=scorer)
    >>> search.fit(load_digits().data[:500]).best_params_
    {'n_components': 16}
    """
    several = isinstance(metric, list | tuple)
    names = _check_names(metric if several else [metric], metric)
    _refuse_unknown(params, names)
    settings = {"input_shape": input_shape, "data_range": data_range}
    scorers = {
        name: ReconstructionScorer(name, settings | _params_of(params, name))
        for name in names
    }
    return scorers if several else scorers[metric]


class ReconstructionScorer:
    """Callable ``scorer(estimator, X, y=None)``; higher is better.

    Parameters
    ----------
    metric : {"psnr", "ssim", "lpips"}
    params : dict
        Parameters of the metric by name; they are validated.
    """

    def __init__(self, metric, params):
        METRICS[metric].check(_n_features(params["input_shape"]), **params)
        self.metric = metric
        self.params = params

    def __call__(self, estimator, X, y=None):
        metric = METRICS[self.metric]
        return metric.sign * metric.function(
            X, _reconstruct(estimator, X), **self.params
        )

    def __repr__(self):
        given = {k: v for k, v in self.params.items() if v is not None}
        listed = "".join(f", {name}={value!r}" for name, value in given.items())
        return f"make_reconstruction_scorer({self.metric!r}{listed})"


def _reconstruct(estimator, X):
    if hasattr(estimator, "reconstruct"):
        return estimator.reconstruct(X)
    if hasattr(estimator, "transform") and hasattr(estimator, "inverse_transform"):
        return estimator.inverse_transform(estimator.transform(X))
    raise TypeError(
        f"{type(estimator).__name__} can't reconstruct rows: it has no reconstruct, "
        "nor both transform and inverse_transform. Score an autoencoder, a PCA or a "
        "Pipeline of transformers that have an inverse."
    )


def _check_names(names, metric):
    if names and all(isinstance(name, str) and name in METRICS for name in names):
        return names
    raise ValueError(f"metric must be of {list(METRICS)}, got {metric!r}.")


def _params_of(params, name):
    return {k: v for k, v in params.items() if k in METRICS[name].takes()}


def _refuse_unknown(params, names):
    valid = sorted({param for name in names for param in METRICS[name].takes()})
    unknown = sorted(set(params) - set(valid))
    if unknown:
        raise TypeError(
            f"{unknown} are no parameters of {', '.join(names)}; these are: {valid}."
        )


def _n_features(input_shape):
    """Return the number of features; the shape itself is validated later."""
    if not isinstance(input_shape, tuple | list):
        return sys.maxsize  # a signal of any length
    return math.prod(n for n in input_shape if isinstance(n, Integral))
