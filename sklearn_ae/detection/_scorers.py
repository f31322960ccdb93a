"""The scorers of a detector: of new rows, and of those of training."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from sklearn_ae._runtime import limit_threads
from sklearn_ae.autoencoder._parameters import (
    is_conv,
)
from sklearn_ae.detection._denoisers import (
    MAX_CALIBRATING,
    N_STEPS,
    N_STEPS_OF_TWO,
)
from sklearn_ae.detection._evidence import (
    Explanation,
    HarmonicMeanPValue,
    NearestDistance,
    NeighbourhoodDistance,
    ReconstructionScore,
    calibrated,
)
from sklearn_ae.detection._neighbors import BLOCK, Neighbors, QueryRows
from sklearn_ae.detection._trimming import lowest, outlyingness
from sklearn_ae.tables._column_scaler import ColumnScaler
from sklearn_ae.tables._rows import float32_hash

# Cells that are judged at once by a thread, at the most.
MAX_CELLS = 2**20
# Share of the weight that networks train on where some rows may be outliers; a tenth of
# the distinct rows at the least, and ten.
TRUSTED, MIN_TRUSTED_SHARE, MIN_TRUSTED = 0.4, 0.1, 10
# Fewer of them for each column teach too little to judge the others by them alone.
MIN_TRUSTED_PER_COLUMN = 8
# Weight, among the evidence of trusted rows, of the training rows nearest to one of
# them: outliers have others like them, but one that stands alone is one.
ALONE = 0.1
SCALINGS = ("standard", "minmax", "quantile")


class Scorers:
    """Who judges new rows, and who judges those of training, in bounded memory.

    Parameters
    ----------
    new, known : Fusion or Plain
    X : ndarray of shape (n, d)
        Training rows.
    """

    def __init__(self, new, is_training_row, X):
        self.new, self.is_training_row = new, is_training_row
        self._hashes = np.sort(float32_hash(X))

    def scores(self, X):
        """Scores (n,) of rows (n, d), each by its judge."""
        return _scores(X, self._parts(X))

    def scores_of_new(self, X, is_training_row=False, self_weight=0.0):
        """Scores (n,) of rows as new ones, even if known.

        A known row is not its own neighbour, nor one of those by whose evidence its own
        is judged, with the weight ``self_weight`` (n,) among them.
        """
        parts = ((self.new, block, is_training_row) for block in _blocks(*X.shape))
        return _scores(X, parts, self_weight)

    def explain(self, X):
        """Explanation of ``scores``."""
        contributions, expected = np.empty_like(X), np.empty_like(X)
        for judge, rows, is_training_row in self._parts(X):
            with _far():
                explanation = judge.explain(QueryRows(X[rows], is_training_row))
            contributions[rows], expected[rows] = explanation
        return Explanation(contributions, expected)

    def _parts(self, X):
        hashes = float32_hash(X)
        place = np.searchsorted(self._hashes, hashes)
        is_training_row = (
            self._hashes[np.minimum(place, len(self._hashes) - 1)] == hashes
        )
        for judge, mine in (
            (self.is_training_row, is_training_row),
            (self.new, ~is_training_row),
        ):
            rows = np.flatnonzero(mine)
            for block in _blocks(len(rows), X.shape[1]):
                yield judge, rows[block], mine is is_training_row


def _blocks(n_rows, n_features):
    size = min(BLOCK, max(1, MAX_CELLS // n_features))
    return (slice(i, i + size) for i in range(0, n_rows, size))


def _scores(X, parts, self_weight=0.0):
    """Scores (n,) by (judge, rows, known), by as many threads as torch has."""
    self_weight = np.broadcast_to(self_weight, len(X))
    scores, n_threads = np.empty(len(X)), torch.get_num_threads()

    def score(part):
        judge, rows, is_training_row = part
        with _far():
            scores[rows] = judge.scores(
                QueryRows(X[rows], is_training_row, self_weight[rows])
            )

    with limit_threads(), ThreadPoolExecutor(n_threads) as pool:
        for _ in pool.map(score, parts):
            pass
    return scores


def _far():
    """Without warnings: what is past float64 on its way to a score counts as far."""
    return np.errstate(over="ignore", invalid="ignore")


def reconstruction_scorers(detector, X, weight, networks):
    """One judge for all rows: the textbook's network, by its own loss."""
    judge = ReconstructionScore(networks.error(detector.scale, networks.is_train))
    return Scorers(judge, judge, X)


def fused_scorers(detector, X, weight, networks):
    """Who judges new rows, and who judges those of training."""
    scalings = (detector.scale,)
    if detector.scale == "auto":
        # Cells of a picture keep the unit that they share.
        scalings = (None,) if is_conv(detector) else SCALINGS
    # Rows held out have no say in the scaling, as new ones have none: p-values.
    is_train = networks.is_train
    columns = [
        ColumnScaler(scaling).fit(X[is_train], weight[is_train]) for scaling in scalings
    ]
    clean = detector.contamination == 0
    near = [Neighbors(c, X, weight) for c in columns]
    some, some_weight = QueryRows(X[:MAX_CALIBRATING], True), weight[:MAX_CALIBRATING]
    distances = [calibrated(NearestDistance(n), some, some_weight) for n in near]
    unseen = ~is_train if not is_train.all() else is_train
    n_steps = (N_STEPS,) if clean else N_STEPS_OF_TWO
    error = networks.error(scalings[0], is_train, n_steps[0])
    whole = calibrated(error, QueryRows(X[unseen], True), weight[unseen])
    if clean:
        judge = HarmonicMeanPValue([*distances, whole], typical=near[-1])
        return Scorers(judge, judge, X)
    doubt = outlyingness(X, weight, near, columns[0].transform(X))
    trusted = is_train.copy()
    least = max(MIN_TRUSTED, int(MIN_TRUSTED_SHARE * trusted.sum()))
    trusted[trusted] = lowest(doubt[trusted], weight[trusted], TRUSTED, least)
    typical = Neighbors(columns[-1], X[trusted], weight[trusted])
    evidence = [
        networks.error(scalings[0], trusted, n_steps[1]),
        NeighbourhoodDistance(typical),
    ]
    apart = [calibrated(e, some, some_weight) for e in evidence]
    judge = HarmonicMeanPValue([*distances, whole, *apart], typical)
    if trusted.sum() < MIN_TRUSTED_PER_COLUMN * X.shape[1]:
        return Scorers(judge, judge, X)
    return Scorers(
        judge, HarmonicMeanPValue([*apart, distances[-1]], typical, (1, 1, ALONE)), X
    )
