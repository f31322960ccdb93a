"""Bits that rows take at a quality: ours, PCA with the same coder, JPEG and WebP."""

import io
import pickle
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib import import_module
from math import ceil, sqrt

import numpy as np
import pandas as pd
from PIL import Image
from scipy.interpolate import PchipInterpolator
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from benchmarks import _tables
from benchmarks._measure import seeds, timed
from benchmarks._report import by, curves
from sklearn_ae import AutoencoderCompressor
from sklearn_ae.compression._container import Header, pack
from sklearn_ae.compression._quantiser import Quantiser

STEPS = np.geomspace(1e-4, 8, 400)  # for PCA's codes, in units of the range
QUALITIES = (0, *range(1, 10), *range(10, 50, 2), *range(50, 101, 5))  # JPEG, WebP
PILLOW = {"JPEG": {"format": "JPEG", "optimize": True}}
PILLOW["WebP"] = {"format": "WEBP", "method": 6}
HELD_OUT = 0.3
POINTS = {  # dB
    "digits": (14, 17, 20, 23, 26),
    "MNIST": (16, 19, 22, 25, 28),
    "photographs 8x8": (24, 27, 30, 33, 36),
}
TABLE_POINTS = (20, 25, 30, 35, 40)
ADBENCH = "10_cover", "28_pendigits"
ADBENCH = {n: (partial(_tables.read_npz, n), f"adbench/{n}.npz") for n in ADBENCH}
ZSTD_LEVEL = 19
OURS, CONV, LINEAR, ZSTD = "ours", "ours, conv", "PCA", "zstd"
PICTURES = {
    f"{name}, {kind}": (name, kind == "mosaic")
    for name in ("JPEG", "WebP")
    for kind in ("tiles", "mosaic")
}
METHODS = (OURS, CONV, LINEAR, *PICTURES, ZSTD)
SPEEDS = ("fit_seconds", "compress_mb_s", "decompress_mb_s", "model_kb")
MEASURED = ("psnr", "bits", "over_pca", *SPEEDS, "bits_with_model")


@dataclass(frozen=True, eq=False)
class Problem:
    """Rows to learn from and rows to store, and the range of each cell."""

    train: np.ndarray
    test: np.ndarray
    data_range: float | np.ndarray
    shape: tuple | None = None


@lru_cache(maxsize=1)  # the methods share it
def problem(table, seed):
    """Training rows and rows held out: pictures in bytes, tables as they are."""
    X, levels = table.X, 16 if table.name == "digits" else 255
    if table.shape:
        X = np.rint(X / table.data_range * levels).astype(np.uint8)
    train, test = train_test_split(X, test_size=HELD_OUT, random_state=seed)
    if table.shape:
        return Problem(train, test, float(levels), table.shape)
    span = np.ptp(train, axis=0)
    return Problem(train, test, np.where(span > 0, span, 1.0))


def cases(options):
    """Every table, seed, method and quality."""
    sources = _tables.bundled(["digits", "breast_cancer", "diabetes"])
    sources["photographs 8x8"] = partial(_tables.photographs, 8)
    sources |= _tables.present(options.data, _tables.MNIST_FILES | ADBENCH)
    return [
        {"table": table, "point": point, "method": method, "seed": seed}
        for table in _tables.load(options, sources)
        for seed in seeds(options)
        for method in METHODS
        for point in points(table, method)
    ]


def points(table, method):
    """Qualities at which a method stores a table."""
    if not table.shape and method not in (OURS, LINEAR):
        return ()
    if method == ZSTD:
        return ("lossless",)
    decibels = tuple(f"{p} dB" for p in POINTS.get(table.name, TABLE_POINTS))
    return (*decibels, "lossless") if table.shape and method == OURS else decibels


def measure(table, point, method, seed):
    """Store the rows held out by one method at one quality."""
    given, figures = problem(table, seed), {}
    target = None if point == "lossless" else float(point.split()[0])
    if method in (OURS, CONV):
        n_bytes, quality, figures = _ours(given, target, seed, method)
    elif method == ZSTD:
        zstd = import_module("zstandard").ZstdCompressor(level=ZSTD_LEVEL)
        n_bytes, quality = len(zstd.compress(given.test.tobytes())), np.inf
    elif method == LINEAR:
        n_bytes, quality = linear(given).at(target)
    else:
        curve = sorted(picture_curve(given, *PICTURES[method]))
        # The fewest bytes that reach it; the most, where none do.
        n_bytes, quality = next((c for c in curve if c[1] >= target), curve[-1])
    return {"psnr": quality, "bits": 8 * n_bytes / given.test.size} | figures


def _ours(given, target, seed, method):
    params = {"error_bound": 0} if target is None else {"target_psnr": target}
    if method == CONV:
        params |= {"architecture": "conv", "input_shape": given.shape}
    model = AutoencoderCompressor(random_state=seed, **params)
    fit_seconds, _ = timed(model.fit, given.train)
    compress_seconds, stream = timed(model.compress, given.test)
    decompress_seconds, back = timed(model.decompress, stream)
    quality, over_pca = psnr(given.test, back, given.data_range), np.nan
    if target is None and not np.array_equal(back, given.test):
        raise AssertionError("decompressed rows differ")
    if np.isfinite(quality):
        over_pca = len(stream) / linear(given).at(quality)[0]
    megabytes, n_model = given.test.nbytes / 1e6, len(pickle.dumps(model))
    speeds = fit_seconds, megabytes / compress_seconds, megabytes / decompress_seconds
    bits = 8 * (len(stream) + n_model) / given.test.size
    figures = over_pca, *speeds, n_model / 1e3, bits
    return len(stream), quality, dict(zip(MEASURED[2:], figures, strict=True))


def psnr(rows, decoded, data_range):
    """In dB, of all cells together; ranges are one number or one a column."""
    error = np.mean(np.square((rows.astype(float) - decoded) / data_range))
    return 10 * np.log10(1 / error) if error > 0 else np.inf


class LinearCodec:
    """All of PCA's components, rounded to one step, in streams like ours."""

    def __init__(self, given):
        self.given = given
        self.pca = PCA().fit(given.train / given.data_range)
        self.train_codes, self.test_codes = (
            self.pca.transform(X / given.data_range) for X in (given.train, given.test)
        )

    def at(self, target):
        """Bytes of the test rows and their PSNR, by the coarsest step that has it."""
        found = bisect_right(STEPS, -target, key=lambda step: -self._psnr(step))
        step = STEPS[max(found - 1, 0)]
        quantiser = Quantiser(step).fit(self.train_codes, None)
        payload = quantiser.models.encode(quantiser.symbols(self.test_codes))
        header = Header("<f8", *self.given.test.shape, 4096, bytes(16))
        n_bytes = len(pack(header, [payload] * header.n_blocks))
        return n_bytes - (header.n_blocks - 1) * len(payload), self._psnr(step)

    def _psnr(self, step):
        decoded = self.pca.inverse_transform(Quantiser(step).rounded(self.test_codes))
        decoded *= self.given.data_range
        if self.given.shape:
            decoded = np.clip(np.rint(decoded), 0, self.given.data_range)
        return psnr(self.given.test, decoded, self.given.data_range)


linear = lru_cache(maxsize=1)(LinearCodec)  # the points of a table share it


def mosaic(rows, shape):
    """Rows (n, d) side by side as one picture, black where there are no more."""
    n = ceil(sqrt(len(rows)))
    full = np.zeros((n * n, *shape), np.uint8)
    full[: len(rows)] = rows.reshape(-1, *shape)
    return full.reshape(n, n, *shape).swapaxes(1, 2).reshape(n * shape[0], -1)


def unmosaic(picture, n, shape):
    """The first n rows of a mosaic."""
    tiles = picture.reshape(-1, shape[0], picture.shape[1] // shape[1], shape[1])
    return tiles.swapaxes(1, 2).reshape(-1, shape[0] * shape[1])[:n]


@lru_cache(maxsize=8)  # the points of a table share it
def picture_curve(given, name, is_mosaic):
    """Bytes and PSNR by quality, a list of pairs, of rows as pictures of 0 to 255."""
    scale, shape, test, curve = 255 / given.data_range, given.shape, given.test, []
    bright = np.rint(test * scale).astype(np.uint8)
    pictures = [mosaic(bright, shape)] if is_mosaic else bright.reshape(-1, *shape)
    for quality in QUALITIES:
        files, back = [io.BytesIO() for _ in pictures], []
        for picture, file in zip(pictures, files, strict=True):
            Image.fromarray(picture).save(file, quality=quality, **PILLOW[name])
            back.append(np.asarray(Image.open(file).convert("L")))
        rows = unmosaic(back[0], len(test), shape) if is_mosaic else np.stack(back)
        rows = np.rint(rows.reshape(test.shape) / scale)
        n_bytes = sum(len(file.getbuffer()) for file in files)
        curve.append((n_bytes, psnr(test, rows, given.data_range)))
    return curve


def bd_rate(ours, theirs):
    """Bits over theirs at one PSNR, less 1: Bjontegaard (2001), but by PCHIP."""
    curves = [np.array(sorted(set(map(tuple, c)))) for c in (ours, theirs)]
    low, high = max(c[0, 0] for c in curves), min(c[-1, 0] for c in curves)
    if low >= high:
        return np.nan
    ours, theirs = (
        PchipInterpolator(c[:, 0], np.log(c[:, 1])).integrate(low, high) for c in curves
    )
    return float(np.exp((ours - theirs) / (high - low)) - 1)


def summary(frame):
    """BD-rates of ours against each rival, the mean over the seeds, and speeds."""
    rows = {
        (name, ours): _against(part, ours)
        for name, part in frame.groupby("table", sort=False)
        for ours in (OURS, CONV)
        if ours in set(part["method"])
    }
    table = pd.DataFrame(rows).T.rename_axis(["table", "method"])
    table = table.join(frame.groupby(["table", "method"])[list(SPEEDS)].median())
    lossless = by(frame[frame["point"] == "lossless"], "bits")
    return table.join(lossless.add_prefix("lossless bits, "), on="table")


def _against(part, ours):
    rates = {}
    for rival in [m for m in (LINEAR, *PICTURES) if m in set(part["method"])]:
        rates[f"over {rival}"] = np.mean(
            [bd_rate(curve(s, ours), curve(s, rival)) for _, s in part.groupby("seed")]
        )
    over = part.loc[part["method"] == ours, "over_pca"].dropna()
    return rates | {"worst over PCA": over.max() - 1}


def curve(part, method):
    """PSNR and bits (n, 2) of a method."""
    lossy = part[(part["method"] == method) & (part["point"] != "lossless")]
    return lossy[["psnr", "bits"]].dropna().to_numpy(dtype=float)


def plot(frame):
    """Draw bits by PSNR of the first seed, a panel a table, a line a method."""
    first = frame[frame["seed"] == frame["seed"].min()]
    panels = {
        name: {
            method: pd.Series(points[:, 1], points[:, 0]).sort_index()
            for method in METHODS
            if len(points := curve(part, method))
        }
        for name, part in first.groupby("table", sort=False)
    }
    return curves(panels, "PSNR, dB", "bits a cell", yscale="log")
