"""Pictures, the noise on them, and which of them train, tune and test."""

import gzip
import zlib
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from math import prod

import numpy as np
from sklearn.datasets import load_digits, load_sample_images
from sklearn.model_selection import train_test_split

from benchmarks._tables import QUICK_ROWS, BadInput, Table, chosen

HELD_OUT, MAX_TEST = 0.3, 500  # share of the pictures; what is denoised of them
MAX_TUNE, TUNE_PIXELS = 200, 40_000  # training pictures to choose settings by
MAX_PATCHES = 5_000
GREY = (0.2125, 0.7154, 0.0721)  # weights of red, green and blue (ITU-R 709)
MNIST, ECG = "images/mnist-t10k-images-idx3-ubyte.gz", "signals/ECG5000_TRAIN.txt.gz"


@dataclass(frozen=True, eq=False)
class Pictures:
    """Rows (n, H * W), the pictures' shape, and the width of their range from 0."""

    name: str
    X: np.ndarray
    shape: tuple
    data_range: float


@dataclass(frozen=True)
class Noise:
    """Normal, by the share of the range; or cells set to the mean picture's."""

    kind: str
    level: float

    def add(self, X, mean, data_range, rng):
        """Noisy rows, not clipped."""
        if self.kind == "gaussian":
            return X + self.level * data_range * rng.normal(size=X.shape)
        return np.where(rng.random(X.shape) < self.level, mean, X)


NOISES = {
    **{f"gaussian {n} %": Noise("gaussian", n / 100) for n in (10, 25, 50)},
    "masking 25 %": Noise("masking", 0.25),
}


@lru_cache(maxsize=2)  # the methods share it
def split(pictures, seed):
    """Training and held-out pictures, at random."""
    return train_test_split(pictures.X, test_size=HELD_OUT, random_state=seed)


@dataclass(frozen=True, eq=False)
class Problem:
    """Pictures with a noise: what every denoiser is given, and what it never sees."""

    pictures: Pictures
    noise: Noise
    seed: int

    @property
    def train(self):
        """All training rows, clean: n_tune of them, then those to learn from."""
        return split(self.pictures, self.seed)[0]

    @property
    def n_tune(self):
        """How many training rows settings are chosen by: fewer of large pictures."""
        n = min(MAX_TUNE, TUNE_PIXELS // prod(self.pictures.shape))
        return max(1, min(n, len(self.train) // 4))

    @property
    def tune(self):
        """Training rows that settings are chosen by, clean."""
        return self.train[: self.n_tune]

    @property
    def test(self):
        """Held-out rows, clean."""
        return split(self.pictures, self.seed)[1][:MAX_TEST]

    @cached_property
    def noisy_tune(self):
        """``tune`` with noise of its own."""
        return self._noisy(self.tune, 1)

    @cached_property
    def noisy_test(self):
        """``test`` with noise: the same for each method."""
        return self._noisy(self.test, 0)

    def _noisy(self, X, stream):
        rng = np.random.default_rng([self.seed, stream])
        mean = self.train.mean(axis=0)
        return self.noise.add(X, mean, self.pictures.data_range, rng)

    @cached_property
    def sigma(self):
        """The noise's standard deviation; of masking its size on training pictures."""
        if self.noise.kind == "gaussian":
            return self.noise.level * self.pictures.data_range
        return np.sqrt(np.mean((self.noisy_tune - self.tune) ** 2))


@lru_cache(maxsize=8)  # the methods share its noise
def problem(pictures, task, seed):
    """What a task on pictures is."""
    return Problem(pictures, NOISES[task], seed)


def sources(folder):
    """Name -> function that returns Pictures, or a Table of signals."""
    found = {
        "digits": digits,
        "photographs 8x8": partial(photographs, 8),
        "photographs 16x16": partial(photographs, 16),
    }
    if not folder:
        return found
    files = {"MNIST": (mnist, folder / MNIST), "ECG5000": (ecg, folder / ECG)}
    there = {name: partial(f, p) for name, (f, p) in files.items() if p.is_file()}
    if not there:
        raise BadInput(f"--data {folder}: neither {MNIST} nor {ECG} in it")
    return found | there


def load(options):
    """The pictures and signals that ``--data`` and ``--tables`` ask for."""
    found = sources(options.data)
    loaded = [found[name]() for name in chosen(found, options)]
    return [fewer(one) if options.quick else one for one in loaded]


def fewer(data):
    """Some pictures, for CI. Signals are few as it is."""
    if isinstance(data, Table):
        return data
    X = np.random.default_rng(0).permutation(data.X)[:QUICK_ROWS]
    return Pictures(data.name, X, data.shape, data.data_range)


def digits():
    """Digits of scikit-learn."""
    return Pictures("digits", load_digits().data, (8, 8), 16.0)


def photographs(side):
    """Squares of scikit-learn's two photographs, none over another."""
    grey = [image @ np.array(GREY) / 255 for image in load_sample_images().images]
    X = np.concatenate([cut(image, side) for image in grey])
    X = np.random.default_rng(0).permutation(X)[:MAX_PATCHES]
    return Pictures(f"photographs {side}x{side}", X, (side, side), 1.0)


def cut(image, side):
    """Rows of the squares that fit side by side into an image."""
    down, across = (n // side for n in image.shape)
    squares = image[: down * side, : across * side].reshape(down, side, across, side)
    return squares.swapaxes(1, 2).reshape(down * across, side**2)


def mnist(path):
    """MNIST's test digits, from 0 to 1."""
    images = read_idx(path)
    shape = images.shape[1:]
    return Pictures("MNIST", images.reshape(len(images), -1) / 255, shape, 1.0)


def read_idx(path):
    """Bytes of a gzipped file in MNIST's format; whatever is wrong names the file.

    Two zeros, the type (8: bytes), the number of dimensions; these, 32 bits each with
    the highest first; then the values in C order.
    """
    try:
        content = gzip.decompress(path.read_bytes())
        if content[:3] != b"\0\0\x08":
            raise ValueError("not idx of bytes")
        start = 4 + 4 * content[3]
        shape = np.frombuffer(content[4:start], ">u4")
        return np.frombuffer(content[start:], np.uint8).reshape(shape)
    except (OSError, EOFError, IndexError, ValueError, zlib.error) as error:
        raise BadInput(f"{path}: {error}") from error


def ecg(path):
    """Beats of ECG5000: class 1 is normal (0), the others are not (1)."""
    try:
        values = np.loadtxt(path, ndmin=2)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise BadInput(f"{path}: {error}") from error
    return Table("ECG5000", values[:, 1:], (values[:, 0] != 1).astype(int))
