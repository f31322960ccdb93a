"""Denoisers by name, their settings, and how these are chosen on training pictures."""

import warnings
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib import import_module
from itertools import product
from math import prod

import numpy as np
from sklearn.decomposition import PCA, MiniBatchDictionaryLearning
from sklearn.feature_extraction.image import (
    extract_patches_2d,
    reconstruct_from_patches_2d,
)
from sklearn.linear_model import orthogonal_mp_gram
from sklearn.model_selection import train_test_split

from benchmarks._measure import timed
from benchmarks._tables import Table
from sklearn_ae import AutoencoderTransformer
from sklearn_ae.metrics import peak_signal_noise_ratio

NOISES = {  # normal, by the share of the range; or cells set to the mean picture's
    **{f"gaussian {n} %": ("gaussian", n / 100) for n in (10, 25, 50)},
    "masking 25 %": ("masking", 0.25),
}
HELD_OUT, MAX_TEST = 0.3, 500  # share of the pictures; how many of them are denoised
MAX_TUNE, TUNE_PIXELS = 200, 40_000  # training pictures to choose settings by
ANY_LEVEL = "ours, any level"
LEVELS = (0.05, 0.6)  # shares of the data's range, for ANY_LEVEL
LARGE = 16  # side from which on non-local means has larger patches and looks further
PATCH = 8  # side of the dictionary's patches
MAX_ATOMS, MAX_LEARNT = 256, 10_000  # the dictionary's, and its training rows


@lru_cache(maxsize=2)  # the methods share it
def split(pictures, seed):
    """Training and held-out pictures, at random."""
    return train_test_split(pictures.X, test_size=HELD_OUT, random_state=seed)


@dataclass(frozen=True, eq=False)
class Problem:
    """Pictures with noise; ``noisy_tune`` are the first of ``train``."""

    pictures: Table
    kind: str
    level: float
    seed: int
    train: np.ndarray
    noisy_tune: np.ndarray
    test: np.ndarray
    noisy_test: np.ndarray
    sigma: float


@lru_cache(maxsize=8)  # the methods share its noise
def problem(pictures, task, seed):
    """Pictures with one of the noises, split; the noise is the same for each method."""
    (kind, level), (train, test) = NOISES[task], split(pictures, seed)
    n_tune = min(MAX_TUNE, TUNE_PIXELS // prod(pictures.shape), len(train) // 4)
    tune, test = train[: max(1, n_tune)], test[:MAX_TEST]
    mean, sigma = train.mean(axis=0), level * pictures.data_range

    def noisy(X, stream):
        rng = np.random.default_rng([seed, stream])
        if kind == "gaussian":
            return X + sigma * rng.normal(size=X.shape)
        return np.where(rng.random(X.shape) < level, mean, X)

    rows = train, noisy(tune, 1), test, noisy(test, 0)
    if kind == "masking":
        sigma = np.sqrt(np.mean((rows[1] - tune) ** 2))
    return Problem(pictures, kind, level, seed, *rows, sigma)


def denoised(method, problem):
    """Denoised rows, the seconds to learn and to denoise, and the setting chosen."""
    denoise, settings = method
    tune, learn = np.split(problem.train, [len(problem.noisy_tune)])

    def decibels(setting):
        rows = denoise(problem, learn, problem.noisy_tune, setting)
        data_range = problem.pictures.data_range
        return peak_signal_noise_ratio(tune, rows, data_range=data_range)

    with warnings.catch_warnings(action="ignore"):  # a rival's are not our news
        choices = list(settings(problem))
        choice = choices[0] if len(choices) == 1 else max(choices, key=decibels)
        rows = problem.train, problem.noisy_test
        seconds, rows = timed(denoise, problem, *rows, choice)
    if not np.isfinite(rows).all():
        raise ArithmeticError("a denoised value is not finite")
    return rows, seconds, choice


def conv(pictures, seed, n_components=None, **params):
    """An estimator for pictures: a filter, unless a code's length is given."""
    k = pictures.X.shape[1] if n_components is None else n_components
    shape = {"architecture": "conv", "input_shape": pictures.shape}
    return AutoencoderTransformer(k, random_state=seed, **shape, **params)


def _unit(train):
    """Unit of a convolutional network's level of normal noise."""
    return np.sqrt(train.var(axis=0).mean())


def ours(problem, train, noisy, _, **params):
    """AutoencoderTransformer for one noise; ``params`` are further parameters."""
    is_normal = problem.kind == "gaussian"
    level = problem.sigma / _unit(train) if is_normal else problem.level
    noise = {"corruption": problem.kind, "corruption_level": level}
    model = conv(problem.pictures, problem.seed, **noise, **params)
    return model.fit(train).denoise(noisy)


@lru_cache(maxsize=1)  # the levels share it
def _for_any_level(pictures, seed):
    train = split(pictures, seed)[0]
    levels = tuple(pictures.data_range * share / _unit(train) for share in LEVELS)
    return conv(pictures, seed, corruption_level=levels).fit(train)


def _any_level(problem, train, noisy, _):
    """One fit for all normal noises; the level is a parameter of ``denoise``."""
    model = _for_any_level(problem.pictures, problem.seed)
    return model.denoise(noisy, level=problem.sigma / _unit(train))


def _pca(problem, train, noisy, k):
    pca = PCA(random_state=problem.seed).fit(train)
    components = pca.components_[:k]
    return (noisy - pca.mean_) @ components.T @ components + pca.mean_


def _numbers_of_components(problem):
    n_rows, n_columns = problem.train.shape
    most = min(n_rows - len(problem.noisy_tune), n_columns)
    return sorted({*(2**i for i in range(most.bit_length())), most})


def _skimage(name, parameters):
    """A function of scikit-image, picture by picture; the settings' parameters."""

    def denoise(problem, train, noisy, setting):
        function = getattr(import_module("skimage.restoration"), f"denoise_{name}")
        params = parameters(problem)[setting]
        pictures = noisy.reshape(-1, *problem.pictures.shape)
        return np.reshape([function(one, **params) for one in pictures], noisy.shape)

    return denoise, parameters


def _nl_means(problem):
    side, distance = (5, 7) if min(problem.pictures.shape) >= LARGE else (3, 5)
    params = {"patch_size": side, "patch_distance": distance, "sigma": problem.sigma}
    heights = (0.4, 0.7, 1.0, 1.5, 2.5, 5.0)
    return {
        f"{h}": {"h": h * problem.sigma, "fast_mode": True} | params for h in heights
    }


def _total_variation(problem):
    weights = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
    return {f"{weight}": {"weight": weight * problem.sigma} for weight in weights}


def _wavelet(problem):
    """As many levels as scikit-image takes (three less than there are), or all."""
    every = int(np.log2(min(problem.pictures.shape)))
    methods, factors = ("BayesShrink", "VisuShrink"), (0.25, 0.5, 1.0)
    return {
        f"{method} {factor} {levels or ''}".strip(): {"method": method}
        | {"sigma": factor * problem.sigma, "wavelet_levels": levels}
        | {"rescale_sigma": False}
        for method, factor, levels in product(methods, factors, (None, every))
    }


def _row_means(rows):
    return rows.mean(axis=1, keepdims=True)


@lru_cache(maxsize=4)  # the noises share it
def _dictionary(pictures, seed, kind, n_left_out):
    """Atoms of rows less their mean picture, of patches less the mean of each."""
    rows = split(pictures, seed)[0][n_left_out:]
    if kind == "patches":  # at random, as many of each picture
        rng, n = np.random.RandomState(seed), -(-MAX_LEARNT // len(rows))
        draw = partial(extract_patches_2d, patch_size=(PATCH, PATCH), random_state=rng)
        rows = [draw(one, max_patches=n) for one in rows.reshape(-1, *pictures.shape)]
        rows = rng.permutation(np.concatenate(rows))[:MAX_LEARNT].reshape(-1, PATCH**2)
    mean = rows.mean(axis=0)
    rows = rows - (_row_means(rows) if kind == "patches" else mean)
    model = MiniBatchDictionaryLearning(
        n_components=min(MAX_ATOMS, 2 * rows.shape[1], len(rows)),
        fit_algorithm="cd",  # a fifth of the default's time, to the same error
        batch_size=64,
        max_iter=10,
        random_state=seed,
    )
    return mean, model.fit(rows / np.sqrt(np.mean(rows**2))).components_


def _by_dictionary(problem, train, noisy, setting):
    """Whole pictures or patches; over a cell, the mean of all patches is taken."""
    kind, *end = setting.split()
    n_left_out = len(problem.train) - len(train)
    mean, atoms = _dictionary(problem.pictures, problem.seed, kind, n_left_out)
    code = partial(sparse_coded, atoms=atoms, end=end, sigma=problem.sigma)
    if kind == "whole":
        return mean + code(noisy - mean)
    back = []
    for picture in noisy.reshape(-1, *problem.pictures.shape):
        patches = extract_patches_2d(picture, (PATCH, PATCH))
        rows = patches.reshape(len(patches), -1)
        rows = _row_means(rows) + code(rows - _row_means(rows))
        back.append(
            reconstruct_from_patches_2d(rows.reshape(patches.shape), picture.shape)
        )
    return np.reshape(back, noisy.shape)


def sparse_coded(rows, atoms, end, sigma):
    """Rows by orthogonal matching pursuit, of so many atoms or to a share of noise."""
    kind, value = end
    gram, similar = atoms @ atoms.T, atoms @ rows.T
    squares = np.sum(rows**2, axis=1)
    left = rows.shape[1] * (float(value) * sigma) ** 2
    coded = squares > left if kind == "noise" else np.full(len(rows), True)
    params = {"tol": left, "norms_squared": squares[coded]}
    if kind == "atoms":
        params = {"n_nonzero_coefs": min(int(value), *atoms.shape)}
    back = np.zeros_like(rows)
    if coded.any():
        codes = orthogonal_mp_gram(gram, similar[:, coded], **params)
        back[coded] = codes.reshape(len(atoms), -1).T @ atoms
    return back


def _dictionaries(problem):
    """So many atoms, or to a share of the noise (Elad and Aharon, 2006)."""
    ends = "atoms 1", "atoms 2", "atoms 4", "atoms 8", "atoms 16"
    ends += "noise 1.0", "noise 1.15"
    return [f"{kind} {end}" for kind in ("whole", "patches") for end in ends]


METHODS = {  # (problem, training rows, noisy rows, setting) -> rows; its settings
    "ours": (ours, lambda _: [""]),
    ANY_LEVEL: (_any_level, lambda _: [""]),
    "noisy": (lambda problem, train, noisy, _: noisy, lambda _: [""]),
    "PCA, best k": (_pca, _numbers_of_components),
    "non-local means": _skimage("nl_means", _nl_means),
    "total variation": _skimage("tv_chambolle", _total_variation),
    "wavelet": _skimage("wavelet", _wavelet),
    "dictionary": (_by_dictionary, _dictionaries),
}
