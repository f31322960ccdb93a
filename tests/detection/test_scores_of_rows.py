"""One score function: a score follows from the values of its row alone."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris, load_wine
from sklearn.metrics import roc_auc_score

from sklearn_ae import AEOutlierDetector, AutoencoderTransformer

CONTAMINATIONS = ["auto", 0]
SCALES = [None, "minmax", "standard", "quantile"]


def detector(contamination, scale="auto"):
    """With a small network; its scale is that of all distances if it is named."""
    autoencoder = AutoencoderTransformer(
        0.999,
        scale=scale,
        corruption_level=(0.05, 2.0),
        hidden_layer_sizes=(16,),
        early_stopping=False,
        max_iter=5,
    )
    return AEOutlierDetector(contamination, autoencoder=autoencoder, random_state=0)


def random(seed=0):
    return np.random.default_rng(seed)


def correlated(n=300, d=3, seed=0):
    return random(seed).normal(size=(n, d)) @ random(99).normal(size=(d, d))


def mostly_five(seed):
    """Nine tenths of each column are 5."""
    rng = random(seed)
    return np.where(
        rng.random((300, 4)) < 0.9, 5.0, 5 + 3 * rng.exponential(size=(300, 4))
    )


# Training rows and others: floats, whole numbers with many copies or of few rows, a
# frequent value, one column.
TABLES = {
    "wine": (load_wine().data[::2], load_wine().data[1::2]),
    "iris": (load_iris().data, load_iris().data + 0.05),
    "diabetes": (load_diabetes().data[::2], load_diabetes().data[1::2]),
    "counts": tuple(random(s).poisson(2, size=(300, 3)) + 1.0 for s in (0, 1)),
    "eight rows": tuple(random(s).integers(1, 3, (300, 3)) * 1.0 for s in (0, 1)),
    "mostly five": (mostly_five(0), mostly_five(1)),
    "one column": (correlated(300, 1), correlated(100, 1, seed=1)),
}


@pytest.fixture(scope="module")
def fitted_on():
    """A function of a table's name and a contamination; each is fitted once."""
    fits = {}

    def fit(name, contamination):
        key = name, contamination
        if key not in fits:
            fits[key] = detector(contamination).fit(TABLES[name][0])
        return fits[key]

    return fit


def scores_and_jittered(fitted, rows):
    jitter = 1e-9 * random(5).uniform(-1, 1, size=rows.shape)
    return fitted.score_samples(rows), fitted.score_samples(rows * (1 + jitter))


@pytest.mark.parametrize("contamination", CONTAMINATIONS)
@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("of", ["training", "new"])
def test_jitter_moves_no_score(name, of, contamination, fitted_on):
    rows = TABLES[name][of == "new"]
    scores, jittered = scores_and_jittered(fitted_on(name, contamination), rows)
    assert np.abs(jittered - scores).max() < 1e-3 * scores.std()


@pytest.mark.parametrize("contamination", CONTAMINATIONS)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", ["counts", "mostly five"])
def test_jitter_moves_no_score_in_any_scaling(name, scale, contamination):
    X, new = TABLES[name]
    fitted = detector(contamination, scale).fit(X)
    for rows in (X, new):
        scores, jittered = scores_and_jittered(fitted, rows)
        assert np.abs(jittered - scores).max() < 1e-3 * scores.std()


@pytest.mark.parametrize("contamination", CONTAMINATIONS)
def test_jitter_moves_no_score_of_the_default(contamination):
    X, new = TABLES["wine"]
    fitted = AEOutlierDetector(contamination, random_state=0).fit(X)
    for rows in (X, new):
        scores, jittered = scores_and_jittered(fitted, rows)
        assert np.abs(jittered - scores).max() < 1e-3 * scores.std()


@pytest.mark.parametrize("contamination", CONTAMINATIONS)
@pytest.mark.parametrize("name", TABLES)
def test_training_rows_that_are_moved_a_little_keep_their_ranks(name, contamination):
    X, rng = TABLES[name][0].copy(), random()
    is_outlier = np.arange(len(X)) < len(X) // 15
    X[is_outlier] += 2 * X.std(axis=0) * rng.normal(size=X[is_outlier].shape)
    fitted = detector(contamination).fit(X)
    moved = X + 1e-6 * X.std(axis=0) * rng.normal(size=X.shape)
    before, after = (
        roc_auc_score(is_outlier, -fitted.score_samples(rows)) for rows in (X, moved)
    )
    assert before > 0.7
    # In one column neighbours may be as near as the copy of a row.
    tolerance = 0.01 if X.shape[1] == 1 else 1e-3
    assert after == pytest.approx(before, abs=tolerance)
    # They are no more often reported.
    before, after = (np.mean(fitted.predict(rows) < 0) for rows in (X, moved))
    assert after == pytest.approx(before, abs=0.01)


@pytest.mark.parametrize("contamination", CONTAMINATIONS)
@pytest.mark.parametrize(("offset", "spread"), [(1e9, 1), (10, 3e-8)])
def test_an_offset_changes_scores_no_more_than_another_seed(
    offset, spread, contamination
):
    # Rows are held out by their values: an offset acts as another seed. The
    # distances are the same to rounding: see tests of the nearest distance.
    X, new = spread * correlated(), spread * correlated(200, seed=1)
    X[:15] *= 4
    rows = np.r_[X, new]

    def scores(table, moved, seed=0):
        fitted = detector(contamination).set_params(random_state=seed).fit(table)
        return fitted.score_samples(moved), np.mean(fitted.predict(moved) < 0)

    plain, reported = scores(X, rows)
    shifted, reported_too = scores(X + offset, rows + offset)
    other_seeds = [np.corrcoef(plain, scores(X, rows, s)[0])[0, 1] for s in (1, 2, 3)]
    correlation = np.corrcoef(plain, shifted)[0, 1]
    assert correlation > min(other_seeds) - 0.03
    assert correlation > 0.9
    assert reported_too == pytest.approx(reported, abs=0.04)
    is_outlier = np.arange(len(rows)) < 15
    before, after = (roc_auc_score(is_outlier, -s) for s in (plain, shifted))
    assert after == pytest.approx(before, abs=0.02)


@pytest.mark.parametrize("contamination", CONTAMINATIONS)
@pytest.mark.parametrize("name", TABLES)
def test_a_score_does_not_depend_on_the_other_rows(name, contamination, fitted_on):
    X, new = TABLES[name]
    fitted, rows = fitted_on(name, contamination), np.r_[X[:40], new[:40]]
    scores, order = fitted.score_samples(rows), random().permutation(len(rows))
    for same in (
        np.concatenate([fitted.score_samples(row[None]) for row in rows]),
        fitted.score_samples(rows[order])[np.argsort(order)],
        # Rows of several blocks, at other places.
        fitted.score_samples(np.r_[X, new, X, rows])[-len(rows) :],
        fitted.score_samples(np.asfortranarray(rows)),
        fitted.score_samples(rows.repeat(3, axis=0))[1::3],
    ):
        np.testing.assert_allclose(same, scores, rtol=0, atol=1e-9)


@pytest.mark.parametrize("contamination", CONTAMINATIONS)
@pytest.mark.parametrize("name", ["counts", "eight rows", "mostly five"])
def test_equal_rows_have_equal_scores(name, contamination, fitted_on):
    rows = TABLES[name][0]
    fitted = fitted_on(name, contamination)
    scores = fitted.score_samples(rows)
    _, first, which = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    assert len(first) < len(rows)
    np.testing.assert_allclose(scores, scores[first][which], rtol=0, atol=1e-9)
    labels = fitted.predict(rows)
    np.testing.assert_array_equal(labels, labels[first][which])


@pytest.mark.parametrize(
    ("share", "n_reported"), [(0.03, 0), (0.04, 4), (0.06, 4), (0.1, 10), (0.2, 10)]
)
def test_ties_at_the_threshold_are_inliers(share, n_reported):
    # The lowest scores are of the four nines, then of the six threes.
    X = np.repeat([[0.0], [3.0], [9.0]], [90, 6, 4], axis=0)
    fitted = detector(share).fit(X)
    expected = np.where(np.arange(100) < 100 - n_reported, 1, -1)
    np.testing.assert_array_equal(fitted.predict(X), expected)
    alone = [fitted.predict(row[None])[0] for row in X[[0, 90, 96]]]
    np.testing.assert_array_equal(alone, expected[[0, 90, 96]])


@pytest.mark.parametrize("contamination", CONTAMINATIONS)
@pytest.mark.parametrize("scale", ["auto", *SCALES])
@pytest.mark.parametrize("share", [0.6, 0.95])
def test_beside_a_frequent_value_rows_score_alike(share, scale, contamination):
    rng = random()
    X, new = correlated(400), correlated(100, seed=1)
    X[:, 0], new[:, 0] = 5 + 3 * rng.exponential(size=400), 5
    X[rng.random(400) < share, 0] = 5
    fitted = detector(contamination, scale).fit(X)
    scores = fitted.score_samples(new)
    for step in (1e-9, 1e-7, -1e-7, -1e-5):
        beside = new + np.array([step, 0, 0])
        moved = np.abs(fitted.score_samples(beside) - scores).max()
        assert moved < 1e-3 * scores.std()


@pytest.mark.parametrize("contamination", CONTAMINATIONS)
@pytest.mark.parametrize("way", ["weights", "copies"])
def test_weights_and_copies_make_new_rows_no_outliers(way, contamination):
    rng = random(0)
    X, new = rng.normal(size=(100, 3)), rng.normal(size=(300, 3))
    times = rng.integers(13, 30, 100)
    X, weight = (X, times) if way == "weights" else (X.repeat(times, axis=0), None)
    fitted = AEOutlierDetector(contamination, random_state=0)
    fitted.fit(X, sample_weight=weight)
    assert (fitted.predict(new) == -1).mean() < 0.2
    assert (fitted.p_values(new) <= 0.05).mean() < 0.1


def test_a_few_huge_cells_hide_no_others_of_their_column():
    X = random(0).normal(size=(1_000, 3))
    X[:10, 0] = 3e10
    fitted = AEOutlierDetector(random_state=0).fit(X)
    scores = fitted.score_samples([[0, 0, 0], [20, 0, 0], [1_000, 0, 0], [1e6, 0, 0]])
    assert (np.diff(scores) < -0.3).all()
