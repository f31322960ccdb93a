"""Scorers of a detector: one for new rows, one for training rows."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from sklearn_ae._runtime import limit_threads, n_threads_outside
from sklearn_ae.autoencoder._parameters import is_conv
from sklearn_ae.detection._conditional_means import ConditionalMeans
from sklearn_ae.detection._denoisers import MAX_CALIBRATION_ROWS, default_scalings
from sklearn_ae.detection._neighbors import (
    CELLS_PER_BLOCK,
    ROWS_PER_BLOCK,
    Neighbors,
    QueryRows,
)
from sklearn_ae.detection._score_components import (
    Explanation,
    HarmonicMeanPValue,
    NearestDistance,
    NeighbourhoodDistance,
    ReconstructionScore,
    calibrated,
)
from sklearn_ae.detection._trimming import lowest, outlyingness
from sklearn_ae.tables._column_scaler import ColumnScaler
from sklearn_ae.tables._rows import value_hash

# Share of the weight of the training rows that the second network is trained on. With
# 0.6 mean average precision on 20 contaminated tables of ADBench is 0.455, not 0.475.
TRUSTED_SHARE = 0.4
# With fewer of them the second network is too poor to score training rows alone:
# average precision over 12 tables of ADBench is 0.005 lower without this rule.
MIN_TRUSTED_ROWS_PER_COLUMN = 8
# Weight, beside the components of trusted rows, of the distance to the nearest training
# rows: outliers among these are close to each other, but a lone one, in the centre of
# 600 rows on a sphere, scores lowest by it and 48th without it.
NEAREST_DISTANCE_WEIGHT = 0.1


class Scorers:
    """A scorer for new rows and one for training rows, applied in blocks by threads.

    Parameters
    ----------
    new, training : HarmonicMeanPValue or ReconstructionScore
    X : ndarray of shape (n, d)
        Training rows.
    """

    def __init__(self, new, training, X):
        self.new, self.training = new, training
        self._hashes = np.sort(value_hash(X))

    def scores(self, X):
        """Scores (n,) of rows (n, d), each by its scorer."""
        return _scores(X, self._parts(X))

    def scores_of_new(self, X, is_training_row=False, self_weight=0.0):
        """Scores (n,) of rows, training rows or not, by the scorer for new ones.

        A training row is not its own neighbour, and is left out, with its weight
        ``self_weight`` (n,), of the rows that calibrate its p-values.
        """
        parts = ((self.new, block, is_training_row) for block in _blocks(*X.shape))
        return _scores(X, parts, self_weight)

    def explain(self, X):
        """Explanation of ``scores``."""
        contributions, expected = np.empty_like(X), np.empty_like(X)
        for scorer, rows, is_training_row in self._parts(X):
            with limit_threads(), _allow_overflow():
                explanation = scorer.explain(QueryRows(X[rows], is_training_row))
            contributions[rows], expected[rows] = explanation
        return Explanation(contributions, expected)

    def are_training_rows(self, X):
        """Return True for rows (n,) of values that a training row has."""
        hashes = value_hash(X)
        place = np.searchsorted(self._hashes, hashes)
        return self._hashes[np.minimum(place, len(self._hashes) - 1)] == hashes

    def _parts(self, X):
        """Blocks of the rows: (scorer, indices, True for training rows)."""
        is_training_row = self.are_training_rows(X)
        for scorer, flag in ((self.training, True), (self.new, False)):
            rows = np.flatnonzero(is_training_row == flag)
            for block in _blocks(len(rows), X.shape[1]):
                yield scorer, rows[block], flag


def _blocks(n_rows, n_features):
    size = min(ROWS_PER_BLOCK, max(1, CELLS_PER_BLOCK // n_features))
    return (slice(i, i + size) for i in range(0, n_rows, size))


def _scores(X, parts, self_weight=0.0):
    """Scores (n,) by (scorer, rows, is_training_row), on torch's number of threads."""
    self_weight = np.broadcast_to(self_weight, len(X))
    scores, n_threads = np.empty(len(X)), n_threads_outside()

    def score(part):
        scorer, rows, is_training_row = part
        with limit_threads(), _allow_overflow():
            scores[rows] = scorer.scores(
                QueryRows(X[rows], is_training_row, self_weight[rows])
            )

    with ThreadPoolExecutor(n_threads) as pool:
        # Exceptions of the threads are raised with their results.
        for _ in pool.map(score, parts):
            pass
    return scores


def _allow_overflow():
    """Suppress warnings: rows whose distance or error is past float64 are far."""
    return np.errstate(over="ignore", invalid="ignore")


def reconstruction_scorers(detector, X, weight, networks):
    """One scorer for all rows: minus the reconstruction error of one network."""
    scorer = ReconstructionScore(networks.error(networks.is_train))
    return Scorers(scorer, scorer, X)


def fused_scorers(detector, X, weight, networks):
    """Scorers by networks and distances, for new rows and for training rows."""
    # The scaling is without the rows held out, as it is without new ones: p-values.
    is_train = networks.is_train
    columns = [
        ColumnScaler(scaling).fit(X[is_train], weight[is_train])
        for scaling in _scalings(detector)
    ]
    clean = detector.contamination == 0
    neighbors = [Neighbors(columns[0], X, weight)]
    sample = neighbors[0].sample
    neighbors += [Neighbors(c, X, weight, sample) for c in columns[1:]]
    conditional_means = ConditionalMeans(columns[-1], X, weight)
    calibration = slice(MAX_CALIBRATION_ROWS)
    rows, rows_weight = QueryRows(X[calibration], True), weight[calibration]
    distances = [calibrated(NearestDistance(n), rows, rows_weight) for n in neighbors]
    held_out = ~is_train if not is_train.all() else is_train
    # Networks fit the bulk of the rows first (Arpit et al., 2017. A closer look at
    # memorization. ICML): fewer steps where some may be outliers.
    error = networks.error(is_train, n_steps=600 if clean else 175)
    whole = calibrated(error, QueryRows(X[held_out], True), weight[held_out])
    if clean:
        scorer = HarmonicMeanPValue(
            [*distances, whole], neighbors[-1], conditional_means
        )
        return Scorers(scorer, scorer, X)
    outlying = outlyingness(X, weight, neighbors, columns[0].transform(X))
    trusted = _trusted(outlying, weight, is_train)
    typical = Neighbors(columns[-1], X[trusted], weight[trusted])
    components = [networks.error(trusted, n_steps=125), NeighbourhoodDistance(typical)]
    of_trusted = [calibrated(c, rows, rows_weight) for c in components]
    shared = typical, conditional_means
    new = HarmonicMeanPValue([*distances, whole, *of_trusted], *shared)
    if trusted.sum() < MIN_TRUSTED_ROWS_PER_COLUMN * X.shape[1]:
        return Scorers(new, new, X)
    # The first network was trained on the outliers among the training rows, and these
    # are near to each other: by one scorer for all rows mean average precision on 20
    # contaminated tables of ADBench is 0.439, not 0.475.
    weights = (1, 1, NEAREST_DISTANCE_WEIGHT)
    training = HarmonicMeanPValue([*of_trusted, distances[-1]], *shared, weights)
    return Scorers(new, training, X)


def _scalings(detector):
    """Scalings that distances are taken in: that of the given autoencoder, if named."""
    autoencoder = detector.autoencoder
    if autoencoder is None:
        return default_scalings(is_conv(detector))
    if autoencoder.scale == "auto":
        return default_scalings(is_conv(autoencoder))
    return (autoencoder.scale,)


def _trusted(outlyingness, weight, is_train):
    """Mask (n,) of the least outlying of the rows that are not held out."""
    trusted = is_train.copy()
    # Also where few rows have most of the weight a network needs some to train on.
    least = max(10, int(0.1 * trusted.sum()))
    trusted[trusted] = lowest(
        outlyingness[trusted], weight[trusted], TRUSTED_SHARE, least
    )
    return trusted
