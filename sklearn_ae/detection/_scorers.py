"""The scorers of a detector: of new rows, and of those of training."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from sklearn_ae._runtime import few_threads
from sklearn_ae.autoencoder._parameters import (
    is_conv,
)
from sklearn_ae.detection._denoisers import (
    MAX_CALIBRATING,
    N_STEPS,
    N_STEPS_OF_TWO,
)
from sklearn_ae.detection._evidence import (
    Distance,
    Explanation,
    Fusion,
    Plain,
    WideDistance,
    calibrated,
)
from sklearn_ae.detection._neighbors import BLOCK, Neighbors, Rows
from sklearn_ae.detection._trimming import lowest, suspicion
from sklearn_ae.tables._column_scaler import Columns
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


class Judges:
    """Who judges new rows, and who judges those of training, in bounded memory.

    Parameters
    ----------
    new, known : Fusion or Plain
    X : ndarray of shape (n, d)
        Training rows.
    """

    def __init__(self, new, known, X):
        self.new, self.known = new, known
        self._hashes = np.sort(float32_hash(X))

    def scores(self, X):
        """Scores (n,) of rows (n, d), each by its judge."""
        return _scores(X, self._parts(X))

    def scores_of_new(self, X, known=False, own=0.0):
        """Scores (n,) of rows as new ones, even if known.

        A known row is not its own neighbour, nor one of those by whose evidence its own
        is judged, with the weight ``own`` (n,) among them.
        """
        parts = ((self.new, block, known) for block in _blocks(*X.shape))
        return _scores(X, parts, own)

    def explain(self, X):
        """Explanation of ``scores``."""
        contributions, expected = np.empty_like(X), np.empty_like(X)
        for judge, rows, known in self._parts(X):
            with _far():
                explanation = judge.explain(Rows(X[rows], known))
            contributions[rows], expected[rows] = explanation
        return Explanation(contributions, expected)

    def _parts(self, X):
        hashes = float32_hash(X)
        place = np.searchsorted(self._hashes, hashes)
        known = self._hashes[np.minimum(place, len(self._hashes) - 1)] == hashes
        for judge, mine in ((self.known, known), (self.new, ~known)):
            rows = np.flatnonzero(mine)
            for block in _blocks(len(rows), X.shape[1]):
                yield judge, rows[block], mine is known


def _blocks(n_rows, n_features):
    size = min(BLOCK, max(1, MAX_CELLS // n_features))
    return (slice(i, i + size) for i in range(0, n_rows, size))


def _scores(X, parts, own=0.0):
    """Scores (n,) by (judge, rows, known), by as many threads as torch has."""
    own = np.broadcast_to(own, len(X))
    scores, n_threads = np.empty(len(X)), torch.get_num_threads()

    def score(part):
        judge, rows, known = part
        with _far():
            scores[rows] = judge.scores(Rows(X[rows], known, own[rows]))

    with few_threads(), ThreadPoolExecutor(n_threads) as pool:
        for _ in pool.map(score, parts):
            pass
    return scores


def _far():
    """Without warnings: what is past float64 on its way to a score counts as far."""
    return np.errstate(over="ignore", invalid="ignore")


def plain_judges(detector, X, weight, networks):
    """One judge for all rows: the textbook's network, by its own loss."""
    judge = Plain(networks.error(detector.scale, networks.seen))
    return Judges(judge, judge, X)


def fused_judges(detector, X, weight, networks):
    """Who judges new rows, and who judges those of training."""
    scalings = (detector.scale,)
    if detector.scale == "auto":
        # Cells of a picture keep the unit that they share.
        scalings = (None,) if is_conv(detector) else SCALINGS
    # Rows held out have no say in the scaling, as new ones have none: p-values.
    seen = networks.seen
    columns = [Columns(scaling).fit(X[seen], weight[seen]) for scaling in scalings]
    clean = detector.contamination == 0
    near = [Neighbors(c, X, weight) for c in columns]
    some, some_weight = Rows(X[:MAX_CALIBRATING], True), weight[:MAX_CALIBRATING]
    distances = [calibrated(Distance(n), some, some_weight) for n in near]
    unseen = ~seen if not seen.all() else seen
    n_steps = (N_STEPS,) if clean else N_STEPS_OF_TWO
    error = networks.error(scalings[0], seen, n_steps[0])
    whole = calibrated(error, Rows(X[unseen], True), weight[unseen])
    if clean:
        judge = Fusion([*distances, whole], typical=near[-1])
        return Judges(judge, judge, X)
    doubt = suspicion(X, weight, near, columns[0].transform(X))
    trusted = seen.copy()
    least = max(MIN_TRUSTED, int(MIN_TRUSTED_SHARE * trusted.sum()))
    trusted[trusted] = lowest(doubt[trusted], weight[trusted], TRUSTED, least)
    typical = Neighbors(columns[-1], X[trusted], weight[trusted])
    evidence = [networks.error(scalings[0], trusted, n_steps[1]), WideDistance(typical)]
    apart = [calibrated(e, some, some_weight) for e in evidence]
    judge = Fusion([*distances, whole, *apart], typical)
    if trusted.sum() < MIN_TRUSTED_PER_COLUMN * X.shape[1]:
        return Judges(judge, judge, X)
    return Judges(judge, Fusion([*apart, distances[-1]], typical, (1, 1, ALONE)), X)
