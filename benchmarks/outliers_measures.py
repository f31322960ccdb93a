"""What each measure of the outlier detector adds: the detector without one of them."""

from copy import copy
from functools import lru_cache
from itertools import compress

import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks._measure import seeds, timed
from benchmarks._report import by
from benchmarks._tables import (
    all_rows,
    anomaly_tasks,
    contaminated_halves,
    one_class,
)
from benchmarks.outliers import interval
from sklearn_ae import AEOutlierDetector
from sklearn_ae.detection._nearest_distance import NearestDistances

SETTINGS = {  # (split into rows to fit and to score, contamination)
    "S clean": (one_class, 0),
    "S": (one_class, "auto"),
    "V": (contaminated_halves, "auto"),
    "U": (all_rows, "auto"),
}
ALL, ERROR = "all", "network's error"
MEASURES = {  # contamination -> measures in the detector's order
    0: ("nearest 3, min-max", "nearest 3, normal scores", ERROR),
    "auto": (
        "nearest 3, standard",
        "trusted tenth, standard",
        "trusted tenth, arcsinh",
        ERROR,
    ),
}
KEYS, ROWS = ["setting", "method"], ["setting", "table"]
FIGURE, OURS = "auroc", ALL
MEASURED = ("auroc", "ap", "us_a_row")


def cases(options):
    """Every table, setting, seed, and measure that is left out."""
    return [
        {"table": table, "setting": setting, "method": method, "seed": seed}
        for table in anomaly_tasks(options)
        for setting, (_, contamination) in SETTINGS.items()
        for seed in seeds(options)
        for method in (ALL, *(f"without {m}" for m in MEASURES[contamination]))
    ]


def measure(table, setting, method, seed):
    """Score rows by the mean log tail probability of the other measures."""
    scorer, X, truth = _fitted(table, setting, seed)
    names = MEASURES[SETTINGS[setting][1]]
    kept = [method != f"without {name}" for name in names]
    # The classes are private: no setting leaves a measure out.
    part = copy(scorer)
    part._score = _with_measures(scorer._score, kept)
    seconds, scores = timed(part.scores, X)
    return {
        "auroc": roc_auc_score(truth, -scores),
        "ap": average_precision_score(truth, -scores),
        "us_a_row": 1e6 * seconds / len(truth),
    }


@lru_cache(maxsize=1)  # the measures of a fit follow each other
def _fitted(table, setting, seed):
    split, contamination = SETTINGS[setting]
    train, test, truth = split(table, seed)
    detector = AEOutlierDetector(contamination, random_state=seed).fit(train)
    return detector._scorer, train if test is None else test, truth


def _with_measures(score, kept):
    """Copy of a score with the measures that are kept, of all of its measures."""
    part, flags = copy(score), iter(kept)
    part._tails = list(compress(score._tails, kept))
    part._measures = []
    for measure in score._measures:
        if not isinstance(measure, NearestDistances):
            part._measures += [measure] if next(flags) else []
            continue
        columns, sample, nearest = measure._arguments
        if nearest := [one for one in nearest if next(flags)]:
            part._measures.append(NearestDistances(columns, sample, nearest))
    return part


def summary(frame):
    """Means without each measure, and how much more all of them reach."""
    rows = {}
    for setting, part in frame.groupby("setting", sort=False):
        auroc, ap = (by(part, f) for f in ("auroc", "ap"))
        time = part.groupby("method")["us_a_row"].median()
        for method in auroc:
            rows[setting, method] = {
                "auroc": auroc[method].mean(),
                "ap": ap[method].mean(),
                "auroc gained": _gain(auroc, method),
                "ap gained": _gain(ap, method),
                "us a row": time[method],
            }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(KEYS)


def _gain(figures, method):
    if method == ALL:
        return "-"
    gain = figures[ALL] - figures[method]
    low, high = interval(gain)
    return f"{gain.mean():+.3f} [{low:+.3f}, {high:+.3f}]"
