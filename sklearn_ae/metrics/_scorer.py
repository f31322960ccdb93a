"""Reconstruction metrics as scorers of scikit-learn's model selection."""

import inspect
import math
from numbers import Integral
from typing import NamedTuple

from sklearn_ae.metrics._lpips import (
    learned_perceptual_image_patch_similarity,
    lpips_images,
)
from sklearn_ae.metrics._psnr import peak_signal_noise_ratio, psnr_width
from sklearn_ae.metrics._ssim import ssim_of_pair, structural_similarity


class _Metric(NamedTuple):
    function: object
    # Takes the parameters by name and raises where one is wrong.
    check: object
    # Of a score, where higher is better.
    sign: int

    def takes(self):
        """Names of the parameters that are this metric's own."""
        names = inspect.signature(self.check).parameters
        return [
            n for n in names if n not in ("n_features", "input_shape", "data_range")
        ]


METRICS = {
    "psnr": _Metric(peak_signal_noise_ratio, psnr_width, 1),
    "ssim": _Metric(structural_similarity, ssim_of_pair, 1),
    "lpips": _Metric(learned_perceptual_image_patch_similarity, lpips_images, -1),
}


def make_reconstruction_scorer(metric, *, input_shape=None, data_range, **params):
    """Score an estimator by what it makes of rows: for GridSearchCV's ``scoring``.

    The scorer is a function of (estimator, X, y=None), higher is better: LPIPS is
    negated. Rows are reconstructed by ``estimator.reconstruct`` where there is such a
    method, else by ``transform`` and ``inverse_transform``, as of a PCA or a Pipeline.
    scikit-learn keeps no public registry of names, hence ``scoring="psnr"`` is not
    possible.

    Parameters
    ----------
    metric : {"psnr", "ssim", "lpips"} or list of these
        A list gives a dict, for several metrics at once.
    input_shape : tuple of int, default=None
        Shape that a row is folded to; "ssim" and "lpips" need it.
    data_range : float or pair of float
        Range of values that there can be, (low, high), or its width.
    **params
        The metric's other parameters, such as ``win_size``. Of several metrics, each
        gets those that it takes.

    Returns
    -------
    scorer : callable, or dict of str to callable
        It can be pickled.

    Raises
    ------
    TypeError
        If a parameter is of the wrong type or none of the metric's.
    ValueError
        If there is no such metric, or if a parameter's value is wrong.

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
    names = _known(metric if several else [metric], metric)
    _refuse_unknown(params, names)
    settings = {"input_shape": input_shape, "data_range": data_range}
    scorers = {
        name: ReconstructionScorer(name, settings | _taken(params, name))
        for name in names
    }
    return scorers if several else scorers[metric]


class ReconstructionScorer:
    """Callable (estimator, X, y=None) that gives a score, higher is better.

    Parameters
    ----------
    metric : {"psnr", "ssim", "lpips"}
    params : dict
        Its parameters by name. They are checked.
    """

    def __init__(self, metric, params):
        METRICS[metric].check(_size(params["input_shape"]), **params)
        self.metric = metric
        self.params = params

    def __call__(self, estimator, X, y=None):
        metric = METRICS[self.metric]
        return metric.sign * metric.function(X, _restored(estimator, X), **self.params)

    def __repr__(self):
        given = {k: v for k, v in self.params.items() if v is not None}
        listed = "".join(f", {name}={value!r}" for name, value in given.items())
        return f"make_reconstruction_scorer({self.metric!r}{listed})"


def _restored(estimator, X):
    if hasattr(estimator, "reconstruct"):
        return estimator.reconstruct(X)
    if hasattr(estimator, "transform") and hasattr(estimator, "inverse_transform"):
        return estimator.inverse_transform(estimator.transform(X))
    raise TypeError(
        f"{type(estimator).__name__} can't reconstruct rows: it has no reconstruct, "
        "and not both transform and inverse_transform. Score an autoencoder, a PCA or "
        "a Pipeline of transformers that have an inverse."
    )


def _known(names, metric):
    if names and all(isinstance(name, str) and name in METRICS for name in names):
        return names
    raise ValueError(f"metric must be of {list(METRICS)}, got {metric!r}.")


def _taken(params, name):
    return {k: v for k, v in params.items() if k in METRICS[name].takes()}


def _refuse_unknown(params, names):
    known = sorted({own for name in names for own in METRICS[name].takes()})
    unknown = sorted(set(params) - set(known))
    if unknown:
        raise TypeError(
            f"{unknown} are no parameters of {', '.join(names)}; these are: {known}."
        )


def _size(input_shape):
    """Features of a row of that shape; what else may be wrong is told elsewhere."""
    if not isinstance(input_shape, tuple | list):
        return 0
    return math.prod(n for n in input_shape if isinstance(n, Integral))
