"""Bits that rows take at a quality: ours, PCA with the same coder, JPEG and WebP.

Digits, squares of two photographs and scikit-learn's tables; with ``--data DIR`` also
MNIST from ``DIR/images`` and tables of ``DIR/adbench``. Three tenths of the rows are
held out and stored as one stream, of which all bytes count. Five qualities, by
``target_psnr``; rivals are given the held-out rows' own PSNR to choose by. "lossless"
is ``error_bound=0`` beside zstd.
"""

import pickle
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.model_selection import train_test_split

from benchmarks._codecs import bd_rate, linear, picture_curve, psnr
from benchmarks._judge import timed
from benchmarks._pictures import HELD_OUT, MNIST, digits, fewer, mnist, photographs
from benchmarks._report import number, one_legend
from benchmarks._tables import BadInput, Table, chosen, one_table
from sklearn_ae import AutoencoderCompressor

POINTS = {  # dB
    "digits": (14, 17, 20, 23, 26),
    "MNIST": (16, 19, 22, 25, 28),
    "photographs 8x8": (24, 27, 30, 33, 36),
}
TABLE_POINTS = (20, 25, 30, 35, 40)
BUNDLED, ADBENCH = ("breast_cancer", "diabetes"), ("cover", "pendigits")
ZSTD_LEVEL = 19
OURS, CONV, LINEAR, ZSTD = "ours", "ours, conv", "PCA", "zstd"
PICTURES = {
    f"{name}, {kind}": (name, kind == "mosaic")
    for name in ("JPEG", "WebP")
    for kind in ("tiles", "mosaic")
}
METHODS = (OURS, CONV, LINEAR, *PICTURES, ZSTD)
FORMATS = {
    **dict.fromkeys(("table", "point", "method"), str),
    "seed": "{:.0f}".format,
    "psnr": "{:.2f}".format,
    "bits": "{:.4f}".format,
    "over_pca": number,
    "fit_seconds": "{:.1f}".format,
    **dict.fromkeys(("compress_mb_s", "decompress_mb_s"), "{:.2f}".format),
    "model_kb": "{:.0f}".format,
    "bits_with_model": "{:.3f}".format,
}


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
    X = table.X
    if not isinstance(table, Table):
        X = np.rint(X / table.data_range * _levels(table)).astype(np.uint8)
    train, test = train_test_split(X, test_size=HELD_OUT, random_state=seed)
    if isinstance(table, Table):
        return Problem(train, test, _ranges(train))
    return Problem(train, test, float(_levels(table)), table.shape)


def _levels(pictures):
    return 16 if pictures.name == "digits" else 255


def _ranges(X):
    span = np.ptp(X, axis=0)
    return np.where(span > 0, span, 1.0)


def sources(options):
    """Name -> function that returns Pictures or a Table."""
    folder, quick = options.data, options.quick
    pictures = {"digits": digits, "photographs 8x8": partial(photographs, 8)}
    tables = {name: partial(one_table, name, None, quick) for name in BUNDLED}
    if folder and (folder / MNIST).is_file():
        pictures["MNIST"] = partial(mnist, folder / MNIST)
    for name in ADBENCH if folder else ():
        for path in sorted((folder / "adbench").glob(f"*{name}.npz")):
            tables[name] = partial(one_table, path.stem, path.parent, quick)
    found = pictures | tables
    if folder and len(found) == 2 + len(BUNDLED):
        raise BadInput(f"--data {folder}: no MNIST and no table of ADBench in it")
    return found


def cases(options):
    """Every table, seed, method and quality."""
    found = sources(options)
    tables = [found[name]() for name in chosen(found, options)]
    if options.quick:
        tables = [fewer(table) for table in tables]
    return [
        {"table": table, "point": point, "method": method, "seed": seed}
        for table in tables
        for seed in range(options.seed, options.seed + options.seeds)
        for method in METHODS
        for point in _points(table, method)
    ]


def _points(table, method):
    is_table = isinstance(table, Table)
    if is_table and method not in (OURS, LINEAR):
        return ()
    if method == ZSTD:
        return ("lossless",)
    points = tuple(f"{p} dB" for p in POINTS.get(table.name, TABLE_POINTS))
    return points if is_table or method != OURS else (*points, "lossless")


def measure(table, point, method, seed):
    """Bytes of the rows held out by one method at one quality."""
    asked = problem(table, seed)
    if method in (OURS, CONV):
        return _ours(asked, point, seed, is_conv=method == CONV)
    if method == ZSTD:
        return _result(asked, _zstd(asked.test), np.inf)
    target = _decibels(point)
    if method == LINEAR:
        return _result(asked, *linear(asked).at(asked.test, target))
    curve = sorted(picture_curve(asked, *PICTURES[method]))
    # The fewest bytes that reach it; the most, where none do.
    return _result(asked, *next((c for c in curve if c[1] >= target), curve[-1]))


def _decibels(point):
    return float(point.split()[0])


def _result(asked, n_bytes, quality):
    return {"psnr": quality, "bits": 8 * n_bytes / asked.test.size}


def _ours(asked, point, seed, *, is_conv):
    settings = {"architecture": "conv", "input_shape": asked.shape} if is_conv else {}
    if point == "lossless":
        settings["error_bound"] = 0
    else:
        settings["target_psnr"] = _decibels(point)
    model = AutoencoderCompressor(random_state=seed, **settings)
    fit_seconds, _ = timed(model.fit, asked.train)
    compress_seconds, stream = timed(model.compress, asked.test)
    decompress_seconds, back = timed(model.decompress, stream)
    quality = psnr(asked.test, back, asked.data_range)
    if point == "lossless" and not np.array_equal(back, asked.test):
        raise AssertionError("not what was stored")
    over_pca = np.nan
    if np.isfinite(quality):
        over_pca = len(stream) / linear(asked).at(asked.test, quality)[0]
    megabytes, n_model = asked.test.nbytes / 1e6, len(pickle.dumps(model))
    return _result(asked, len(stream), quality) | {
        "over_pca": over_pca,
        "fit_seconds": fit_seconds,
        "compress_mb_s": megabytes / compress_seconds,
        "decompress_mb_s": megabytes / decompress_seconds,
        "model_kb": n_model / 1e3,
        "bits_with_model": 8 * (len(stream) + n_model) / asked.test.size,
    }


def _zstd(rows):
    from zstandard import ZstdCompressor

    return len(ZstdCompressor(level=ZSTD_LEVEL).compress(rows.tobytes()))


def summary(frame, cases):
    """BD-rates of ours against each rival, the mean over the seeds."""
    rows = [
        {"table": table, "method": ours, **_against(part, ours)}
        for table, part in frame.groupby("table", sort=False)
        for ours in (OURS, CONV)
        if ours in set(part["method"])
    ]
    return pd.DataFrame(rows), [
        *_sentences(frame),
        "BD-rate: bits of ours over theirs at the same PSNR, less one, the mean over "
        "the PSNRs that both have; over_pca: bits over PCA's at that PSNR, by the step "
        "that the rows held out ask for. Bits are of a cell; all bytes of a stream "
        "count, those of the model only in bits_with_model.",
    ]


def _against(part, ours):
    rivals = [m for m in (LINEAR, *PICTURES) if m in set(part["method"])]
    rates = {}
    for rival in rivals:
        each = [
            bd_rate(_curve(one, ours), _curve(one, rival))
            for _, one in part.groupby("seed")
        ]
        rates[f"over {rival}"] = float(np.mean(each))
    over = part.loc[part["method"] == ours, "over_pca"].dropna()
    return rates | {"worst over PCA": float(over.max()) - 1}


def _curve(part, method):
    lossy = part[(part["method"] == method) & (part["point"] != "lossless")]
    return lossy[["psnr", "bits"]].to_numpy(dtype=float)


def _sentences(frame):
    lines = []
    lossless = frame[frame["point"] == "lossless"]
    for table, part in lossless.groupby("table", sort=False):
        bits = part.groupby("method", sort=False)["bits"].mean()
        told = ", ".join(f"{name} {value:.3f}" for name, value in bits.items())
        lines.append(f"{table}, lossless, bits a cell: {told}.")
    for (table, method), part in frame.dropna(subset="model_kb").groupby(
        ["table", "method"], sort=False
    ):
        lines.append(
            f"{table}, {method}: compresses {part['compress_mb_s'].median():.2f} and "
            f"decompresses {part['decompress_mb_s'].median():.2f} MB/s, model "
            f"{part['model_kb'].median():.0f} kB, fitted in "
            f"{part['fit_seconds'].median():.0f} s (medians)."
        )
    return lines


def plot(frame):
    """Draw bits by PSNR, a panel a table, a line a method."""
    names = list(dict.fromkeys(frame["table"]))
    n_rows = -(-len(names) // 2)
    figure = Figure(figsize=(9, 3.2 * n_rows + 0.6), layout="constrained")
    panels = figure.subplots(n_rows, 2, squeeze=False).ravel()
    for axes, name in zip(panels, names, strict=False):
        part = frame[frame["table"] == name]
        part = part[part["seed"] == part["seed"].min()]
        for i, method in enumerate(METHODS):
            curve = _curve(part, method)
            curve, look = curve[np.argsort(curve[:, 0])], {"marker": "o", "ms": 4}
            if len(curve):
                axes.plot(*curve.T, **look, color=f"C{i}", label=method)
        axes.set(title=name, xlabel="PSNR, dB", ylabel="bits a cell", yscale="log")
        axes.grid(alpha=0.3)
    one_legend(figure, panels, len(names))
    return figure
