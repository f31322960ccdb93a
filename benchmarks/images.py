"""How well noise is taken off pictures, beside the denoisers in use."""

from functools import partial
from importlib.util import find_spec

import numpy as np
from matplotlib.figure import Figure
from sklearn.decomposition import PCA

from benchmarks import _denoisers, _detectors, _measure, _tables
from benchmarks._denoisers import ANY_LEVEL, NOISES, conv, denoised, problem, split
from benchmarks._tables import BadInput
from sklearn_ae import AutoencoderTransformer
from sklearn_ae.metrics import peak_signal_noise_ratio, structural_similarity
from sklearn_ae.plots import ReconstructionDisplay

OURS, DRAWN = "ours", "gaussian 50 %"
DENOISERS = _denoisers.METHODS
N_NUMBERS, N_BEATS, N_DRAWN = 16, 5, 8  # code; seeds of the signals; pictures
CODES, BEATS = f"{N_NUMBERS} numbers", "abnormal beats"


def _coder(pictures, seed, scale="auto"):
    return AutoencoderTransformer(N_NUMBERS, scale=scale, random_state=seed)


def _conv_detector(train, test, seed):
    shape = {"architecture": "conv", "input_shape": train.shape[1:]}
    return _detectors.ours(train, test, seed, contamination=0, **shape)


CODERS = {  # (pictures, seed) -> estimator
    "PCA": lambda pictures, seed: PCA(N_NUMBERS, random_state=seed),
    "ours, mlp": _coder,
    "ours, mlp, scale=None": partial(_coder, scale=None),
    "ours, conv": partial(conv, n_components=N_NUMBERS),
}
DETECTORS = {  # (training rows, test rows, seed) -> a number a row
    "AEOutlierDetector, conv": _conv_detector,
    "AEOutlierDetector, mlp": partial(_detectors.ours, contamination=0),
    "PCA error": partial(_detectors.pca_error, n_components=0.95),
    **{name: _detectors.METHODS[name] for name in ("IsolationForest", "OneClassSVM")},
}
FIGURE, ROWS = "psnr", ["data", "task"]
FIGURES = ("psnr", "ssim", "mse", "auroc", "seconds")
MEASURED = (*FIGURES, "chosen")
SHOWN = {}  # name -> clean and denoised pictures, and what draws them


def cases(options):
    """Pictures with each noise and each denoiser, then codes, then signals."""
    if not find_spec("skimage"):
        raise BadInput('images needs scikit-image: pip install "sklearn-ae[bench]"')
    SHOWN.clear()
    sources = _tables.bundled(["digits"])
    for n in (8, 16):
        sources[f"photographs {n}x{n}"] = partial(_tables.photographs, n)
    sources |= _tables.present(options.data, _tables.MNIST_FILES | _tables.ECG_FILES)
    found = {table.name: table for table in _tables.load(options, sources)}
    pictures = [table for table in found.values() if table.shape]
    beats = [table for table in found.values() if not table.shape]
    coded = [found[name] for name in ("MNIST", "digits") if name in found][:1]
    seeds = _measure.seeds(options)
    of_beats = range(options.seed, options.seed + max(N_BEATS, options.seeds))
    every = [
        *_measure.each(data=pictures, seed=seeds, task=NOISES, method=DENOISERS),
        *_measure.each(data=coded, seed=seeds, task=[CODES], method=CODERS),
        *_measure.each(data=beats, seed=of_beats, task=[BEATS], method=DETECTORS),
    ]
    return [c for c in every if c["method"] != ANY_LEVEL or "masking" not in c["task"]]


def measure(data, seed, task, method):
    """Run one method at one task and score it on the rows held out."""
    if task == BEATS:
        train, test, truth = _tables.one_class(data, seed)
        return _detectors.detect(DETECTORS[method], train, test, truth, seed)
    if task == CODES:
        train, test = split(data, seed)
        model, chosen = CODERS[method](data, seed), np.nan
        seconds, _ = _measure.timed(model.fit, train)
        rows = model.inverse_transform(model.transform(test))
    else:
        given = problem(data, task, seed)
        train, test = given.train, given.test
        rows, seconds, chosen = denoised(DENOISERS[method], given)
    look = {"input_shape": data.shape, "data_range": data.data_range}
    if (task, method) == (DRAWN, OURS):
        SHOWN.setdefault(data.name, (test, rows, {"X_noisy": given.noisy_test} | look))
    psnr = peak_signal_noise_ratio(test, rows, **look)
    ssim = structural_similarity(test, rows, **look)
    mse = np.mean((test - rows) ** 2) / data.data_range**2
    figures = psnr, ssim, mse, np.nan, seconds, chosen
    return dict(zip(MEASURED, figures, strict=True))


def summary(frame):
    """Each method at each task: PSNR and SSIM, or AUROC."""
    keys = ["data", "method", "task"]
    means = frame.groupby(keys, sort=False)[list(FIGURES)].mean()
    texts = means["psnr"].map("{:.2f}".format) + means["ssim"].map(" / {:.3f}".format)
    texts = texts.where(means["auroc"].isna(), means["auroc"].map("{:.3f}".format))
    table = texts.unstack("task", sort=False)
    mse = (
        means["mse"].xs(CODES, level="task") if CODES in set(frame["task"]) else np.nan
    )
    sums = means["seconds"].groupby(keys[:2]).sum()
    return table.assign(**{f"squared error of {CODES}": mse, "seconds": sums})


def plot(frame):
    """Draw held-out pictures, with the strongest noise and without it by ours."""
    figure = Figure(figsize=(9, 3.6 * max(1, len(SHOWN))), layout="constrained")
    parts = figure.subfigures(max(1, len(SHOWN)), squeeze=False)[:, 0]
    for part, (name, (X, rows, look)) in zip(parts, SHOWN.items(), strict=False):
        n = min(N_DRAWN, len(X))
        part.suptitle(f"{name}, {DRAWN}")
        axes = part.subplots(3, n, squeeze=False)
        display = ReconstructionDisplay.from_predictions
        display(X, rows, **look, n_samples=n, ax=axes)
    return figure
