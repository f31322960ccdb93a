"""Denoisers by name: what each may choose, learns, and makes of noisy pictures.

All know the noise. What a method chooses it chooses by the noise taken off ``n_tune``
training pictures, having learnt from the others; then it learns from all of them.
"""

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib import import_module
from itertools import product

import numpy as np
from sklearn.decomposition import PCA, MiniBatchDictionaryLearning
from sklearn.feature_extraction.image import (
    extract_patches_2d,
    reconstruct_from_patches_2d,
)
from sklearn.linear_model import orthogonal_mp_gram

from benchmarks._judge import timed
from benchmarks._pictures import split
from sklearn_ae import AutoencoderTransformer
from sklearn_ae.metrics import peak_signal_noise_ratio

ANY_LEVEL = "ours, any level"
LEVELS = (0.05, 0.6)  # of the data's range: what the one for any level is trained for

TV_WEIGHTS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # times sigma, as the two below
NL_MEANS_H = (0.4, 0.7, 1.0, 1.5, 2.5, 5.0)
WAVELET_SIGMAS = (0.25, 0.5, 1.0)
SHRINKING = ("BayesShrink", "VisuShrink")
NL_MEANS_SMALL, NL_MEANS_LARGE = (3, 5), (5, 7)  # side of a patch, how far to look
LARGE = 16  # from which side on the larger ones
PATCH = 8  # side of the dictionary's patches
N_ATOMS = (1, 2, 4, 8, 16)  # of a code; or as many as leave this share of the noise
NOISE_LEFT = (1.0, 1.15)  # the latter of Elad and Aharon (2006)
MAX_ATOMS, MAX_LEARNT = 256, 10_000  # of a dictionary, and rows that it learns from


@dataclass(frozen=True)
class Method:
    """Three functions.

    ``grid(problem)`` gives for each thing to learn the settings of what is learnt;
    ``fit(problem, train, learnt)`` returns it, and ``restore(problem, fitted, setting,
    noisy)`` the denoised rows.
    """

    restore: Callable
    fit: Callable = lambda problem, train, learnt: None
    grid: Callable = lambda problem: {None: [None]}
    ours: bool = False

    def choose(self, problem):
        """What is best for the noisy ones of the training pictures."""
        grid = self.grid(problem)
        choices = [(learnt, s) for learnt, settings in grid.items() for s in settings]
        if len(choices) == 1:
            return choices[0]
        learn = problem.train[problem.n_tune :]
        fitted = {learnt: self.fit(problem, learn, learnt) for learnt in grid}
        return max(choices, key=partial(self._decibels, problem, fitted))

    def _decibels(self, problem, fitted, choice):
        rows = self.restore(problem, fitted[choice[0]], choice[1], problem.noisy_tune)
        return decibels(problem, problem.tune, rows)

    def denoise(self, problem, choice):
        """Learn from all training pictures, and denoise those held out."""
        learnt, setting = choice
        fitted = self.fit(problem, problem.train, learnt)
        return self.restore(problem, fitted, setting, problem.noisy_test)


def denoised(method, problem):
    """Denoised rows, the seconds to learn and to denoise, and what was chosen."""
    with nullcontext() if method.ours else warnings.catch_warnings():
        if not method.ours:
            warnings.simplefilter("ignore")  # a rival's are not our news
        choice = method.choose(problem)
        seconds, rows = timed(method.denoise, problem, choice)
    if not np.isfinite(rows).all():
        raise ArithmeticError("a denoised value is not finite")
    return rows, seconds, _text(choice)


def _text(choice):
    learnt, setting = choice
    parts = (learnt, *setting) if isinstance(setting, tuple) else choice
    return " ".join(str(part) for part in parts if part is not None)


def decibels(problem, X, rows):
    """Mean peak signal-to-noise ratio of pictures."""
    return peak_signal_noise_ratio(X, rows, data_range=problem.pictures.data_range)


def ours(**params):
    """Told the noise; ``params`` are those of the estimator that are not the task's."""
    return Method(
        restore=lambda problem, model, _, X: model.denoise(X),
        fit=lambda problem, train, _: _fit(problem, train, **params),
        ours=True,
    )


def _fit(problem, train, **params):
    kind, level = problem.noise.kind, problem.noise.level
    if kind == "gaussian":
        level = problem.sigma / _unit(train)
    noise = {"corruption": kind, "corruption_level": level}
    return conv(problem.pictures, problem.seed, **noise, **params).fit(train)


def conv(pictures, seed, n_components=None, **params):
    """An estimator for pictures: a filter, unless it is told how long a code is."""
    k = pictures.X.shape[1] if n_components is None else n_components
    shape = {"architecture": "conv", "input_shape": pictures.shape}
    return AutoencoderTransformer(k, random_state=seed, **shape, **params)


def _unit(train):
    """What a convolutional network's level of normal noise is in units of."""
    return np.sqrt(train.var(axis=0).mean())


def ours_any_level(**params):
    """One fit for all normal noises, told the level only of what it denoises."""
    settings = tuple(params.items())

    def fit(problem, train, _):
        if problem.noise.kind != "gaussian":
            raise ValueError("it is for normal noise")
        return _fit_any_level(problem.pictures, problem.seed, settings)

    def restore(problem, model, _, X):
        return model.denoise(X, level=problem.sigma / _unit(problem.train))

    return Method(restore, fit, ours=True)


@lru_cache(maxsize=1)  # the levels share it
def _fit_any_level(pictures, seed, settings):
    train = split(pictures, seed)[0]
    levels = tuple(pictures.data_range * share / _unit(train) for share in LEVELS)
    model = conv(pictures, seed, corruption_level=levels, **dict(settings))
    return model.fit(train)


def _fit_pca(problem, train, _):
    pca = PCA(random_state=problem.seed).fit(train)
    return pca.mean_, pca.components_


def _numbers_of_components(problem):
    """1, 2, 4, ... and all."""
    most = min(problem.train[problem.n_tune :].shape)
    return {None: sorted({*(2**i for i in range(most.bit_length())), most})}


def _restore_pca(problem, fitted, k, X):
    mean, axes = fitted[0], fitted[1][:k]
    return (X - mean) @ axes.T @ axes + mean


def _each(function):
    """Restore picture by picture with a function of scikit-image, which is optional."""

    def restore(problem, _, setting, X):
        restoration = import_module("skimage.restoration")
        pictures = X.reshape(-1, *problem.pictures.shape)
        rows = [function(restoration, one, problem, setting) for one in pictures]
        return np.reshape(rows, X.shape)

    return restore


def _nl_means(restoration, picture, problem, h):
    sizes = NL_MEANS_SMALL if min(picture.shape) < LARGE else NL_MEANS_LARGE
    return restoration.denoise_nl_means(
        picture, *sizes, h=h * problem.sigma, sigma=problem.sigma, fast_mode=True
    )


def _total_variation(restoration, picture, problem, weight):
    return restoration.denoise_tv_chambolle(picture, weight=weight * problem.sigma)


def _wavelet(restoration, picture, problem, setting):
    method, factor, levels = setting
    sigma = factor * problem.sigma
    # Values are as they are: sigma is not to be rescaled.
    return restoration.denoise_wavelet(
        picture, sigma, method=method, wavelet_levels=levels, rescale_sigma=False
    )


def _wavelet_settings(problem):
    """As many levels as scikit-image takes (three less than there are), or all."""
    levels = int(np.log2(min(problem.pictures.shape)))
    return {None: list(product(SHRINKING, WAVELET_SIGMAS, (None, levels)))}


def _dictionaries(problem):
    """Of whole pictures and of patches; what ends a code."""
    ends = [("atoms", n) for n in N_ATOMS] + [("noise", share) for share in NOISE_LEFT]
    return dict.fromkeys(("whole", "patches"), ends)


def _fit_dictionary(problem, train, kind):
    n_left_out = len(problem.train) - len(train)
    return _dictionary(problem.pictures, problem.seed, kind, n_left_out)


@lru_cache(maxsize=4)  # it knows no noise: all share it
def _dictionary(pictures, seed, kind, n_left_out):
    """Atoms of what is left of rows without their mean; a patch has a mean of its own.

    Coordinate descent takes a fifth of the default's time, to the same error.
    """
    rows = split(pictures, seed)[0][n_left_out:]
    if kind == "patches":
        rows = _some_patches(rows, pictures.shape, seed)
    mean = rows.mean(axis=0)
    rows = rows - (_own_means(rows) if kind == "patches" else mean)
    model = MiniBatchDictionaryLearning(
        n_components=min(MAX_ATOMS, 2 * rows.shape[1], len(rows)),
        fit_algorithm="cd",
        batch_size=64,
        max_iter=10,
        random_state=seed,
    )
    return kind, mean, model.fit(rows / np.sqrt(np.mean(rows**2))).components_


def _own_means(rows):
    return rows.mean(axis=1, keepdims=True)


def _some_patches(rows, shape, seed):
    """At random, as many of each picture."""
    rng = np.random.RandomState(seed)
    pictures = rows.reshape(-1, *shape)
    take = partial(extract_patches_2d, patch_size=(PATCH, PATCH), random_state=rng)
    n = -(-MAX_LEARNT // len(rows))
    patches = np.concatenate([take(one, max_patches=n) for one in pictures])
    return rng.permutation(patches)[:MAX_LEARNT].reshape(-1, PATCH**2)


def _restore_by_dictionary(problem, fitted, end, X):
    kind, mean, atoms = fitted
    code = partial(_coded, atoms=atoms, end=end, sigma=problem.sigma)
    if kind == "whole":
        return mean + code(X - mean)
    pictures = X.reshape(-1, *problem.pictures.shape)
    return np.reshape([_by_patches(one, code) for one in pictures], X.shape)


def _by_patches(picture, code):
    """Mean of all patches over a cell, as in scikit-learn's example."""
    patches = extract_patches_2d(picture, (PATCH, PATCH))
    rows = patches.reshape(len(patches), -1)
    rows = _own_means(rows) + code(rows - _own_means(rows))
    return reconstruct_from_patches_2d(rows.reshape(patches.shape), picture.shape)


def _coded(rows, atoms, end, sigma):
    """Rows by few atoms each: orthogonal matching pursuit."""
    kind, value = end
    gram, similar = atoms @ atoms.T, atoms @ rows.T
    if kind == "atoms":
        n_atoms = min(value, *atoms.shape)
        codes = orthogonal_mp_gram(gram, similar, n_nonzero_coefs=n_atoms)
        return codes.reshape(len(atoms), -1).T @ atoms
    squares, left = np.sum(rows**2, axis=1), rows.shape[1] * (value * sigma) ** 2
    back, more = np.zeros_like(rows), squares > left
    if more.any():
        codes = orthogonal_mp_gram(
            gram, similar[:, more], tol=left, norms_squared=squares[more]
        )
        back[more] = codes.reshape(len(atoms), -1).T @ atoms
    return back


METHODS = {  # of ours, further parameters of the estimator stand in the brackets
    "ours": ours(),
    ANY_LEVEL: ours_any_level(),
    "noisy": Method(lambda problem, fitted, setting, X: X),
    "PCA, best k": Method(_restore_pca, _fit_pca, _numbers_of_components),
    "non-local means": Method(_each(_nl_means), grid=lambda _: {None: NL_MEANS_H}),
    "total variation": Method(
        _each(_total_variation), grid=lambda _: {None: TV_WEIGHTS}
    ),
    "wavelet": Method(_each(_wavelet), grid=_wavelet_settings),
    "dictionary": Method(_restore_by_dictionary, _fit_dictionary, _dictionaries),
}
