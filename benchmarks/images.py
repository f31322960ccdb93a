"""How well noise is taken off pictures, beside the denoisers in use.

Scikit-learn's digits and two photographs, cut to squares; with ``--data DIR`` also
``DIR/images/mnist-t10k-images-idx3-ubyte.gz`` and, to find abnormal heartbeats in,
``DIR/signals/ECG5000_TRAIN.txt.gz``. Noisy pictures are not clipped, and a method gets
them and the noise, but no clean one of those held out. MNIST, or else the digits, are
compressed to 16 numbers as well.
"""

from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import numpy as np
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from benchmarks import _denoisers, _detectors
from benchmarks._denoisers import ANY_LEVEL, LEVELS, conv, denoised
from benchmarks._detectors import detect, one_class
from benchmarks._judge import timed
from benchmarks._pictures import (
    HELD_OUT,
    MAX_TEST,
    MAX_TUNE,
    NOISES,
    load,
    problem,
    split,
)
from benchmarks._report import number
from benchmarks._tables import BadInput, Table
from sklearn_ae import AEOutlierDetector, AutoencoderTransformer
from sklearn_ae.metrics import peak_signal_noise_ratio, structural_similarity
from sklearn_ae.plots import ReconstructionDisplay

OURS, NOISY, DRAWN = "ours", "noisy", "gaussian 50 %"
DENOISERS = _denoisers.METHODS
N_NUMBERS, N_BEATS, N_DRAWN = 16, 5, 8  # of a code; seeds of the signals; pictures
CODES, BEATS = f"{N_NUMBERS} numbers", "abnormal beats"

CODERS = {  # (pictures, seed) -> estimator
    "PCA": lambda pictures, seed: PCA(N_NUMBERS, random_state=seed),
    "ours, mlp": lambda pictures, seed: _coder(seed),
    "ours, mlp, scale=None": lambda pictures, seed: _coder(seed, scale=None),
    "ours, conv": partial(conv, n_components=N_NUMBERS),
}


def _coder(seed, **params):
    return AutoencoderTransformer(N_NUMBERS, random_state=seed, **params)


def _conv_detector(train, test, seed, **params):
    shape = {"architecture": "conv", "input_shape": train.shape[1:]}
    model = AEOutlierDetector(contamination=0, random_state=seed, **shape | params).fit(
        train
    )
    return -model.score_samples(test)


def _pca_error(train, test, seed):
    """Squared error of standardised rows, 95 % of the variance kept."""
    scaler = StandardScaler().fit(train)
    pca = PCA(0.95, random_state=seed).fit(scaler.transform(train))
    Z = scaler.transform(test)
    return ((Z - pca.inverse_transform(pca.transform(Z))) ** 2).sum(axis=1)


DETECTORS = {  # (training rows, test rows, seed) -> a number a row
    "AEOutlierDetector, conv": _conv_detector,
    "AEOutlierDetector, mlp": _detectors.METHODS["AEOutlierDetector"],
    "PCA error": _pca_error,
    **{name: _detectors.METHODS[name] for name in ("IsolationForest", "OneClassSVM")},
}
FORMATS = {
    **dict.fromkeys(("data", "task", "method"), str),
    **dict.fromkeys(("seed", "train", "test"), "{:.0f}".format),
    "psnr": "{:.2f}".format,
    "ssim": number,
    "mse": "{:.4g}".format,
    "auroc": number,
    "chosen": lambda text: text or "-",
    "seconds": "{:.2f}".format,
}
SHOWN = {}  # name -> clean, noisy and denoised pictures, their shape and range


def cases(options):
    """Pictures with each noise and each denoiser, then codes, then signals."""
    if not find_spec("skimage"):
        raise BadInput('images needs scikit-image: pip install "sklearn-ae[bench]"')
    SHOWN.clear()
    loaded = {data.name: data for data in load(options)}
    beats = [data for data in loaded.values() if isinstance(data, Table)]
    pictures = [data for data in loaded.values() if data not in beats]
    coded = [loaded[name] for name in ("MNIST", "digits") if name in loaded][:1]
    seeds = range(options.seed, options.seed + options.seeds)
    more = range(options.seed, options.seed + max(N_BEATS, options.seeds))
    return [
        *(c for c in _each(pictures, NOISES, DENOISERS, seeds) if _suits(**c)),
        *_each(coded, [CODES], CODERS, seeds),
        *_each(beats, [BEATS], DETECTORS, more),
    ]


def _each(loaded, tasks, methods, seeds):
    return [
        {"data": data, "task": task, "method": method, "seed": seed}
        for data in loaded
        for seed in seeds
        for task in tasks
        for method in methods
    ]


def _suits(data, task, method, seed):
    return NOISES[task].kind == "gaussian" or method != ANY_LEVEL


def measure(data, task, method, seed):
    """One method at one task, judged on what is held out."""
    if task == BEATS:
        return _find(data, method, seed)
    return (_code if task == CODES else _denoise)(data, task, method, seed)


def _denoise(pictures, task, method, seed):
    given = problem(pictures, task, seed)
    rows, seconds, chosen = denoised(DENOISERS[method], given)
    if (task, method) == (DRAWN, OURS):
        drawn = given.test, given.noisy_test, rows
        SHOWN.setdefault(pictures.name, (*drawn, pictures.shape, pictures.data_range))
    return {
        "train": len(given.train),
        **_judged(pictures, given.test, rows),
        "chosen": chosen,
        "seconds": seconds,
    }


def _judged(pictures, X, rows):
    known = {"input_shape": pictures.shape, "data_range": pictures.data_range}
    return {
        "test": len(X),
        "psnr": peak_signal_noise_ratio(X, rows, **known),
        "ssim": structural_similarity(X, rows, **known),
        "mse": np.mean((X - rows) ** 2) / pictures.data_range**2,
    }


def _code(pictures, task, method, seed):
    """Fit, and restore held-out pictures from their codes."""
    train, test = split(pictures, seed)
    model = CODERS[method](pictures, seed)
    seconds, _ = timed(model.fit, train)
    rows = model.inverse_transform(model.transform(test))
    judged = _judged(pictures, test, rows)
    return {"train": len(train), **judged, "seconds": seconds}


def _find(table, method, seed):
    train, test, truth = one_class(table, seed)
    found = detect(DETECTORS[method], train, test, truth, seed)
    found = {name: found[name] for name in ("auroc", "seconds")}
    return {"train": len(train), "test": len(test), **found}


def summary(frame, cases):
    """Each method at each task, the best in bold, and where ours is first."""
    figures = ["psnr", "ssim", "mse", "auroc", "seconds"]
    keys = ["data", "method", "task"]
    means = frame.groupby(keys, sort=False)[figures].mean()
    # Of AUROC and PSNR a task has one; the best is that of the means over the seeds.
    best = means[["psnr", "auroc"]].groupby(["data", "task"]).transform("max")
    is_best = means["psnr"].eq(best["psnr"]) | means["auroc"].eq(best["auroc"])
    texts = means.apply(_text, axis=1)
    texts = texts.where(~is_best, "**" + texts + "**")
    table = texts.unstack("task", sort=False)
    table["seconds"] = means["seconds"].groupby(["data", "method"]).sum(min_count=1)
    lines = [*_ranking(means), *_above_noisy(means), *_codes(means), *_beats(frame)]
    return table.reset_index(), [*lines, *_notes(frame)]


def _text(mean):
    if not np.isnan(mean["auroc"]):
        return f"{mean['auroc']:.3f}"
    if np.isnan(mean["psnr"]):
        return "failed"
    return f"{mean['psnr']:.2f} / {mean['ssim']:.3f}"


def _decibels(means):
    """(data, noise) x denoisers."""
    noises = means.index.get_level_values("task").isin(list(NOISES))
    return means.loc[noises, "psnr"].unstack("method", sort=False)


def _ranking(means):
    psnr = _decibels(means)
    rivals = psnr.drop(columns=[m for m in psnr if m.startswith(OURS)])
    return [
        f"{method}: {_leads((psnr[method] - rivals.max(axis=1)).dropna())}"
        for method in psnr
        if method.startswith(OURS) and not rivals.empty
    ]


def _leads(lead):
    """Where it is first among all but ours, and by how much."""
    won, lost = lead[lead > 0], lead[lead <= 0]
    text = f"first in PSNR in {len(won)} of {len(lead)} pairs of pictures and noise"
    if len(won):
        text += f", by {won.min():.2f} dB at the least ({' '.join(won.idxmin())})"
    behind = [f"{' '.join(pair)} ({-gap:.2f} dB)" for pair, gap in lost.items()]
    return text + f"; behind: {', '.join(behind)}" * bool(behind) + "."


def _above_noisy(means):
    psnr = _decibels(means)
    if not {OURS, NOISY} <= set(psnr) or DRAWN not in psnr.index.unique("task"):
        return []
    gain = (psnr[OURS] - psnr[NOISY]).xs(DRAWN, level="task").dropna()
    gains = [f"{value:.1f} dB on {name}" for name, value in gain.items()]
    return [f"{DRAWN}: ours is above the noisy pictures by {', '.join(gains)}."]


def _codes(means):
    if CODES not in means.index.unique("task"):
        return []
    part = means.xs(CODES, level="task")
    return [
        f"{name} to {CODES}, {method}: squared error {row['mse']:.5f} of a pixel from "
        f"0 to 1, {row['mse'] / part['mse'].get((name, 'PCA'), np.nan):.3f} of PCA's; "
        f"{row['psnr']:.2f} dB, SSIM {row['ssim']:.3f}; {row['seconds']:.1f} s to fit."
        for (name, method), row in part.dropna(subset="mse").iterrows()
    ]


def _beats(frame):
    part = frame[frame["task"] == BEATS].dropna(subset="auroc")
    return [
        f"{name}, {method}: AUROC {auroc.mean():.3f} "
        f"({', '.join(f'{value:.3f}' for value in auroc)})."
        for (name, method), auroc in part.groupby(["data", "method"], sort=False)[
            "auroc"
        ]
    ]


def _notes(frame):
    sizes = frame.groupby(["data", "task"], sort=False)[["train", "test"]].first()
    noises = [index for index in sizes.index if index[1] in NOISES]
    sizes = sizes.loc[noises].dropna().groupby("data", sort=False).first()
    told = [f"{d}: {n:,.0f} and {m:,.0f}" for d, (n, m) in sizes.T.items()]
    notes = [
        f"Pictures to learn from and to denoise: {', '.join(told)}.",
        f"{_percent(HELD_OUT)} of the pictures, at random, are held out; the first "
        f"{MAX_TEST} of these at the most are denoised, with the same noise for all. "
        "Squares of the photographs do not overlap, and those held out may lie beside "
        "others.",
        "Cells are PSNR in dB, the mean of the pictures' decibels, and SSIM. Gaussian "
        "noise is in units of the range; masking sets pixels to the mean picture's.",
        "All know the noise. Rivals choose their settings by noise that is put on "
        f"training pictures, {MAX_TUNE} at the most; then they learn from all.",
        f"{ANY_LEVEL} is fitted once for noise of {' to '.join(map(_percent, LEVELS))} "
        "of the range, and told the level of what it denoises.",
    ] * bool(told)
    last = (
        "seconds: to fit and to denoise, the sum over the tasks (what is fitted once "
        "for several counts in the first); to choose is not in them."
    )
    return [*notes, last, f"Seeds: {_seeds(frame)}. {_versions()}."]


def _percent(share):
    return f"{100 * share:.0f} %"


def _seeds(frame):
    """Of the pictures, and of the signals."""
    of_beats = frame["task"].eq(BEATS).map({False: "pictures", True: "signals"})
    seeds = frame["seed"].groupby(of_beats).unique()
    return "; ".join(f"{', '.join(map(str, s))} of {what}" for what, s in seeds.items())


def _versions():
    names = ("scikit-image", "PyWavelets")
    return ", ".join(f"{name} {_version(name)}" for name in names)


def _version(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return "is not there"


def plot(frame):
    """Draw held-out pictures, with the strongest noise and without it by ours."""
    figure = Figure(figsize=(9, 3.6 * max(1, len(SHOWN))), layout="constrained")
    if not SHOWN:
        return figure
    parts = figure.subfigures(len(SHOWN), squeeze=False)[:, 0]
    for part, (name, shown) in zip(parts, SHOWN.items(), strict=True):
        X, noisy, rows, shape, data_range = shown
        n = min(N_DRAWN, len(X))
        part.suptitle(f"{name}, {DRAWN}")
        ReconstructionDisplay.from_predictions(
            X,
            rows,
            X_noisy=noisy,
            input_shape=shape,
            data_range=data_range,
            n_samples=n,
            ax=part.subplots(3, n, squeeze=False),
        )
    return figure


def details(frame):
    """Every measurement, but without columns that nothing has."""
    return frame.drop(columns="error").dropna(axis=1, how="all")
