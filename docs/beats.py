"""Abnormal heartbeats: the outliers guide's second example, and its picture.

``python docs/beats.py ECG5000_TRAIN.txt [FOLDER]``: the file is the training part of
ECG5000, from the UCR time series archive, plain or gzipped; the picture goes to FOLDER,
by default beside this file.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import LocalOutlierFactor
from sklearn.svm import OneClassSVM

from sklearn_ae import AEOutlierDetector

N_SPLITS = 5


def load(path):
    """Load beats of 140 values, and a mask of the normal ones.

    Parameters
    ----------
    path : path-like
        Text, a beat a line: its class, 1 if it is normal, then its values.

    Returns
    -------
    X : ndarray of shape (n_beats, n_values)
    is_normal : ndarray of shape (n_beats,), bool

    Raises
    ------
    FileNotFoundError
        Without the file; it says where to get one.
    """
    if not Path(path).exists():
        raise FileNotFoundError(
            f"There is no {path}. ECG5000_TRAIN.txt is part of the data set ECG5000 of "
            "the UCR time series archive: download it there and give its path."
        )
    table = np.loadtxt(path)
    return table[:, 1:], table[:, 0] == 1


def split(X, is_normal, seed):
    """Split into half of the normal beats, all other beats, and a mask of outliers."""
    normal = np.random.default_rng(seed).permutation(np.flatnonzero(is_normal))
    train, rest = np.array_split(normal, 2)
    test = np.r_[rest, np.flatnonzero(~is_normal)]
    return X[train], X[test], ~is_normal[test]


def detectors(seed):
    """Detectors to compare, set for training rows that are all normal."""
    return [
        AEOutlierDetector(contamination=0, random_state=seed),
        IsolationForest(random_state=seed),
        LocalOutlierFactor(novelty=True),
        OneClassSVM(),
    ]


def compare(X, is_normal):
    """Print each detector's mean AUROC and average precision over the splits."""
    figures = {}
    for seed in range(N_SPLITS):
        train, test, is_outlier = split(X, is_normal, seed)
        for detector in detectors(seed):
            score = -detector.fit(train).score_samples(test)
            pair = (
                roc_auc_score(is_outlier, score),
                average_precision_score(is_outlier, score),
            )
            figures.setdefault(type(detector).__name__, []).append(pair)
    for name, pairs in figures.items():
        auroc, precision = np.mean(pairs, axis=0)
        print(f"{name:20} AUROC {auroc:.3f}  average precision {precision:.3f}")


def draw(X, is_normal, path):
    """Draw the most outlying beat, the expected beat and their difference by sample."""
    train, test, _ = split(X, is_normal, 0)
    detector = AEOutlierDetector(contamination=0, random_state=0).fit(train)
    most_outlying = test[[detector.score_samples(test).argmin()]]
    contributions, expected = detector.explain(most_outlying)
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    upper, lower = figure.subplots(2, sharex=True, height_ratios=[2, 1])
    upper.plot(most_outlying[0], color="tab:red", label="the beat")
    upper.plot(expected[0], color="tab:blue", label="expected")
    upper.set_ylabel("signal")
    upper.legend()
    lower.bar(range(X.shape[1]), contributions[0], width=1, color="tab:red")
    lower.set(xlabel="sample", ylabel="contribution")
    figure.savefig(path, dpi=100)


def main(path, folder=Path(__file__).parent):
    """Print the comparison and draw the picture."""
    beats = load(path)
    compare(*beats)
    draw(*beats, Path(folder) / "beats.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
