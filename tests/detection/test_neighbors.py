import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.datasets import load_wine
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors

from sklearn_ae.detection import _neighbors
from sklearn_ae.detection._neighbors import Neighbors, QueryRows
from sklearn_ae.tables._column_scaler import ColumnScaler

WINE = load_wine().data
TRAIN, NEW = WINE[::2], WINE[1::2]
SCALINGS = ["standard", "minmax", "quantile", None]


def neighbors_of(X, scale="standard", weight=None):
    weight = np.ones(len(X)) if weight is None else weight.astype(float)
    return Neighbors(ColumnScaler(scale).fit(X, weight), X, weight)


def table(n=60, d=3):
    return np.random.default_rng(0).normal(size=(n, d)) * np.arange(1, d + 1) + 4


# -- distances -----------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 3, 10])
@pytest.mark.parametrize("scale", SCALINGS)
def test_distances_are_those_of_brute_force(scale, k):
    near = neighbors_of(TRAIN, scale)
    scaled = near.columns.transform
    brute = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(scaled(TRAIN))
    new = near.mean_distances(QueryRows(NEW), k)
    expected = brute.kneighbors(scaled(NEW))[0].mean(axis=1)
    np.testing.assert_allclose(new, expected, rtol=1e-6)
    # Without rows, scikit-learn leaves each out of its own neighbours.
    distances = near.mean_distances(QueryRows(TRAIN, True), k)
    np.testing.assert_allclose(distances, brute.kneighbors()[0].mean(axis=1), rtol=1e-6)


def test_only_training_rows_are_left_out_of_their_neighbours():
    near = neighbors_of(TRAIN)
    some = np.arange(len(TRAIN)) % 3 == 0
    mixed = near.mean_distances(QueryRows(TRAIN, some), 2)
    distances = near.mean_distances(QueryRows(TRAIN, True), 2)
    new = near.mean_distances(QueryRows(TRAIN), 2)
    np.testing.assert_array_equal(mixed, np.where(some, distances, new))
    np.testing.assert_allclose(2 * new, near.mean_distances(QueryRows(TRAIN, True), 1))


def test_copies_of_a_training_row_are_neighbours_of_new_rows_only():
    X, weight = table(), np.ones(60)
    weight[0] = 3
    near = neighbors_of(X, weight=weight)
    plain = Neighbors(near.columns, X, np.ones(60))
    first = X[:1]
    for k in (2, 3, 59):
        weighted, once = (
            n.mean_distances(QueryRows(first, True), k) for n in (near, plain)
        )
        assert weighted == pytest.approx(once)
    assert near.mean_distances(QueryRows(first), 3) == pytest.approx(0, abs=1e-9)
    assert near.mean_distances(QueryRows(first), 4) > 0.01


def test_rows_are_equal_by_their_values():
    X = table().astype(np.float32)
    X[0, 0] = 0.0
    same = X.astype(np.float64)
    same[0, 0] = -0.0
    np.testing.assert_array_equal(QueryRows(X).hashes, QueryRows(same).hashes)
    # The next number in float64 is another, which float32 does not tell apart.
    other = QueryRows(np.nextafter(same, 1e9)).hashes
    assert not np.isin(other, QueryRows(same).hashes).any()


@pytest.mark.parametrize("scale", SCALINGS)
@pytest.mark.parametrize("offset", [1.7e9, 2.0**40])
def test_an_offset_changes_no_distance(scale, offset):
    # Eighths near the offset are exact in float64; float32 has them as one number.
    X, new = (np.round(8 * table(n)) / 8 for n in (60, 90))
    near, far = neighbors_of(X, scale), neighbors_of(X + offset, scale)
    for queries, is_training_row in ((X, True), (new, False)):
        rows = QueryRows(queries, is_training_row)
        moved = QueryRows(queries + offset, is_training_row)
        for measure in (
            lambda n, r: n.mean_distances(r, 3),
            lambda n, r: n.neighbourhood_distances(r),
        ):
            np.testing.assert_allclose(
                measure(far, moved), measure(near, rows), rtol=1e-4, atol=1e-9
            )


def first(X):
    return np.zeros(len(X), dtype=int)


@pytest.mark.parametrize("cells", [1, 2_000])
def test_blocks_change_nothing(cells, monkeypatch):
    near, new = neighbors_of(TRAIN), QueryRows(NEW)
    distances = near.mean_distances(new, 3)
    wide = near.neighbourhood_distances(QueryRows(NEW))
    parts, mean = near.parts(new, 3), near.mean_of_nearest(new, 3, first(NEW))
    neighbourhood_parts = near.neighbourhood_parts(QueryRows(NEW))
    monkeypatch.setattr(_neighbors, "CELLS_PER_BLOCK", cells)
    np.testing.assert_allclose(near.mean_distances(new, 3), distances)
    np.testing.assert_allclose(near.neighbourhood_distances(QueryRows(NEW)), wide)
    np.testing.assert_allclose(near.parts(new, 3), parts)
    np.testing.assert_allclose(
        near.neighbourhood_parts(QueryRows(NEW)), neighbourhood_parts
    )
    np.testing.assert_allclose(near.mean_of_nearest(new, 3, first(NEW)), mean)


@pytest.mark.parametrize(("copies", "usual"), [(40, 1), (40, 5), (3, 1), (15, 5)])
def test_copies_are_neighbours_of_a_row_that_has_many_more_than_usual(copies, usual):
    weight = np.full(len(TRAIN), float(usual))
    weight[7] = copies
    distances = neighbors_of(TRAIN, weight=weight).mean_distances(
        QueryRows(TRAIN, True), 3
    )
    assert (distances[7] == 0) == (copies > 3 * usual)
    assert (np.delete(distances, 7) > 0).all()


@pytest.mark.parametrize("scale", SCALINGS)
def test_weights_of_one_size_change_nothing(scale):
    near = neighbors_of(TRAIN, scale)
    twice = Neighbors(near.columns, TRAIN, np.full(len(TRAIN), 4.0))
    once, often = (n.mean_distances(QueryRows(TRAIN, True), 1) for n in (near, twice))
    np.testing.assert_allclose(once, often)


@pytest.mark.parametrize("is_training_row", [True, False])
def test_weights_count_as_repetition(is_training_row):
    rng = np.random.default_rng(0)
    weight = rng.integers(1, 5, size=len(TRAIN))
    near = neighbors_of(TRAIN, weight=weight)
    repeated = Neighbors(
        near.columns, np.repeat(TRAIN, weight, axis=0), np.ones(weight.sum())
    )
    queries = TRAIN if is_training_row else NEW
    for k in (1, 3):
        a, b = (
            n.mean_distances(QueryRows(queries, is_training_row), k)
            for n in (near, repeated)
        )
        np.testing.assert_allclose(a, b, atol=1e-12)
    a, b = (n.neighbourhood_distances(QueryRows(queries)) for n in (near, repeated))
    np.testing.assert_allclose(a, b, atol=1e-12)


def test_neighbours_are_found_among_many(monkeypatch):
    # Also if there are so many copies that groups of rows are as near as each other.
    rng = np.random.default_rng(0)
    X = np.r_[table(2_000), np.repeat(table(3), 40, axis=0), 1e7 * table(30)]
    X = X[rng.permutation(len(X))]
    near = neighbors_of(X)
    scaled = near.columns.transform(X)
    brute = NearestNeighbors(n_neighbors=4, algorithm="kd_tree").fit(scaled)
    expected = brute.kneighbors(scaled)[0].mean(axis=1)
    new = near.mean_distances(QueryRows(X), 4)
    np.testing.assert_allclose(new, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("far", [0, 1e6])
def test_neighbours_in_tight_clusters_are_those_of_brute_force(far):
    # Nearer to each other than float32 tells their distance from the centre; and one
    # row is far off.
    rng = np.random.default_rng(0)
    X = np.repeat(3 * rng.normal(size=(40, 5)), 30, axis=0)
    X += 1e-5 * rng.normal(size=X.shape)
    X[0] += far
    X = rng.permutation(X)
    near = neighbors_of(X, None)
    brute = NearestNeighbors(n_neighbors=3, algorithm="kd_tree")
    brute.fit(near.columns.transform(X))
    distances = near.mean_distances(QueryRows(X, True), 3)
    np.testing.assert_allclose(distances, brute.kneighbors()[0].mean(axis=1), rtol=1e-6)
    one_by_one = [near.mean_distances(QueryRows(X[[i]], True), 3)[0] for i in range(50)]
    np.testing.assert_allclose(one_by_one, distances[:50], rtol=1e-9)


def grid():
    """Whole numbers: many rows are equally near."""
    return np.random.default_rng(0).integers(0, 3, size=(80, 4)).astype(float)


def nearly_equal():
    """Rows so near to each other that squares by products order them at random."""
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 3, size=(8, 4)).astype(float)
    return np.repeat(corners, 30, axis=0) + 1e-8 * rng.integers(0, 3, size=(240, 4))


@pytest.mark.parametrize("make", [grid, nearly_equal])
@pytest.mark.parametrize("scale", SCALINGS)
@pytest.mark.parametrize("is_training_row", [True, False])
def test_distances_of_a_row_do_not_depend_on_the_others(make, scale, is_training_row):
    X = np.unique(make(), axis=0)
    near = neighbors_of(X, scale)
    some = X[:40]

    def of(rows):
        rows, aside = QueryRows(rows, is_training_row), first(rows)
        return (
            near.mean_distances(rows, 3),
            near.neighbourhood_distances(rows),
            near.parts(rows, 3),
            near.neighbourhood_parts(rows),
            near.mean_of_nearest(rows, 3, aside),
        )

    alone = [
        np.concatenate(part) for part in zip(*(of(r[None]) for r in some), strict=True)
    ]
    for together, one_by_one in zip(of(some), alone, strict=True):
        np.testing.assert_allclose(together, one_by_one, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("make", [grid, nearly_equal])
def test_distances_are_exact_where_products_round_them(make):
    X = np.unique(make(), axis=0)
    near = neighbors_of(X)
    distances = cdist(near.references, near.references)
    np.fill_diagonal(distances, np.inf)
    exact = np.sort(distances, axis=1)[:, :3].mean(axis=1)
    np.testing.assert_allclose(near.mean_distances(QueryRows(X, True), 3), exact)
    # As a new row it is at distance zero of itself.
    nearest = near.mean_distances(QueryRows(X), 1)
    np.testing.assert_array_equal(nearest, 0)


def test_of_equally_near_rows_the_first_explain():
    X = np.unique(grid(), axis=0)
    near = neighbors_of(X, None)
    differences = near.references[:, None] - near.references
    squares = np.square(differences).sum(axis=2)
    np.fill_diagonal(squares, np.inf)
    order = np.argsort(squares, axis=1, kind="stable")[:, :3, None]
    nearest = np.take_along_axis(differences, order, axis=1)
    lengths = np.linalg.norm(nearest, axis=2, keepdims=True)
    np.testing.assert_allclose(
        near.parts(QueryRows(X, True), 3), (nearest**2 / lengths).mean(axis=1)
    )


# -- explanations --------------------------------------------------------------------


@pytest.mark.parametrize("is_training_row", [True, False])
@pytest.mark.parametrize("scale", SCALINGS)
def test_cells_sum_to_the_distance(scale, is_training_row):
    near = neighbors_of(TRAIN, scale)
    queries = TRAIN if is_training_row else NEW
    cells = near.parts(QueryRows(queries, is_training_row), 3)
    assert cells.shape == queries.shape
    assert (cells >= 0).all()
    distances = near.mean_distances(QueryRows(queries, is_training_row), 3)
    np.testing.assert_allclose(cells.sum(axis=1), distances)


@pytest.mark.parametrize("scale", SCALINGS)
def test_the_mean_is_of_the_nearest_by_all_cells_but_one(scale):
    near = neighbors_of(TRAIN, scale)
    aside = np.arange(len(NEW)) % NEW.shape[1]
    scaled = near.columns.transform
    squares = np.square(scaled(NEW)[:, None] - scaled(TRAIN))
    squares[np.arange(len(NEW)), :, aside] = 0
    nearest = np.argsort(squares.sum(axis=2), axis=1)[:, :3]
    mean = near.columns.inverse_transform(scaled(TRAIN)[nearest].mean(axis=1))
    np.testing.assert_allclose(near.mean_of_nearest(QueryRows(NEW), 3, aside), mean)


@pytest.mark.parametrize("weight", [1, 50])
def test_a_training_row_is_not_in_the_mean_of_its_nearest(weight):
    X = table()
    X[0] = [4, 50, 4]
    weights = np.ones(60)
    weights[0] = weight
    near = neighbors_of(X, weight=weights)
    aside = np.ones(1, dtype=int)
    assert near.mean_of_nearest(QueryRows(X[:1], True), 3, aside)[0, 1] < 15
    assert near.mean_of_nearest(QueryRows(X[:1]), 3, aside)[0, 1] > 15


def test_a_wrong_cell_has_the_distance_and_no_effect_on_the_mean():
    X = table()
    spoilt = X[:20].copy()
    spoilt[:, 1] += 100
    near, aside = neighbors_of(X), np.ones(20, dtype=int)
    cells = near.parts(QueryRows(spoilt), 3)
    assert (cells[:, 1] > 0.99 * cells.sum(axis=1)).all()
    np.testing.assert_array_equal(
        near.mean_of_nearest(QueryRows(spoilt), 3, aside),
        near.mean_of_nearest(QueryRows(X[:20]), 3, aside),
    )


# -- neighbourhood -------------------------------------------------------------------


@pytest.mark.parametrize("scale", SCALINGS)
@pytest.mark.parametrize(("n_rows", "k"), [(3, 3), (89, 5), (450, 22)])
def test_neighbourhood_distances_are_those_of_brute_force(scale, n_rows, k):
    X = table(n_rows)
    near = neighbors_of(X, scale)
    for queries in (X, table(50) + 0.5):
        differences = near.columns.transform(queries)[:, None] - near.columns.transform(
            X
        )
        distances = np.sqrt(np.square(differences).sum(axis=2))
        wide = near.neighbourhood_distances(QueryRows(queries))
        expected = np.sort(distances, axis=1)[:, :k].mean(axis=1)
        np.testing.assert_allclose(wide, expected, rtol=1e-9)
        order = np.argsort(distances, axis=1)[:, :k]
        nearest = np.take_along_axis(differences, order[:, :, None], axis=1)
        lengths = np.linalg.norm(nearest, axis=2, keepdims=True)
        cells = (nearest**2 / np.where(lengths > 0, lengths, 1)).mean(axis=1)
        np.testing.assert_allclose(
            near.neighbourhood_parts(QueryRows(queries)), cells, atol=1e-9
        )


def test_neighbourhood_distances_are_of_a_share_of_many_rows():
    X = table(4_000)
    near = neighbors_of(X)
    assert len(near.references) == 4_000
    distances = pairwise_distances(near.references[:50], near.references)
    wide = near.neighbourhood_distances(QueryRows(X[:50]))
    some = np.sort(distances[:, ::4], axis=1)[:, :50].mean(axis=1)
    np.testing.assert_allclose(wide, some, atol=1e-6)
    # A quarter of them tells about as much.
    exact = np.sort(distances, axis=1)[:, :200].mean(axis=1)
    np.testing.assert_allclose(wide, exact, rtol=0.3)
    assert np.mean(wide / exact) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("place", [0, 999])
def test_a_frequent_row_has_its_share_in_neighbourhood_distances(place):
    X, weight = table(1_000), np.ones(1_000)
    weight[place] = 1_000
    near = neighbors_of(X, weight=weight)
    scaled = near.columns.transform(X)
    distances = np.repeat(pairwise_distances(scaled), weight.astype(int), axis=1)
    exact = np.sort(distances, axis=1)[:, :100].mean(axis=1)
    wide = near.neighbourhood_distances(QueryRows(X))
    assert np.median(wide) == pytest.approx(np.median(exact), rel=0.2)


# -- corners -------------------------------------------------------------------------


@pytest.mark.parametrize("scale", SCALINGS)
def test_of_fewer_rows_than_neighbours_there_are_fewer(scale):
    X = table(4)
    near = neighbors_of(X, scale)
    pairs = pairwise_distances(near.columns.transform(X))
    training = near.mean_distances(QueryRows(X, True), 10)
    np.testing.assert_allclose(training, pairs.sum(axis=1) / 3)
    # New rows have no more than training rows.
    new = near.mean_distances(QueryRows(X), 10)
    expected = (pairs.sum(axis=1) - pairs.max(axis=1)) / 3
    np.testing.assert_allclose(new, expected, atol=1e-9)


def test_two_rows_have_each_other():
    X = np.array([[0.0, 1.0], [4.0, 1.0]])
    near = neighbors_of(X)
    np.testing.assert_allclose(near.mean_distances(QueryRows(X, True), 3), 2)
    cells = near.parts(QueryRows(X, True), 3)
    np.testing.assert_allclose(cells, [[2, 0], [2, 0]])
    new = near.mean_distances(QueryRows(np.array([[1.0, 1.0]])), 3)
    assert new == pytest.approx(0.5)


@pytest.mark.parametrize("weight", [1, 2, 50])
@pytest.mark.parametrize("scale", SCALINGS)
def test_a_row_alone_is_at_distance_zero(scale, weight):
    X = np.array([[3.0, -2.0]])
    near = neighbors_of(X, scale, np.array([weight]))
    for is_training_row in (True, False):
        assert near.mean_distances(QueryRows(X, is_training_row), 3) == 0
        assert not near.parts(QueryRows(X, is_training_row), 3).any()
    np.testing.assert_allclose(near.mean_of_nearest(QueryRows(X), 3, first(X)), X)
    assert near.neighbourhood_distances(QueryRows(X)) == 0
    assert not near.neighbourhood_parts(QueryRows(X)).any()


def test_identical_rows_are_at_distance_zero():
    X = np.full((30, 3), 7.0)
    near = neighbors_of(X)
    for is_training_row in (True, False):
        assert not near.mean_distances(QueryRows(X, is_training_row), 3).any()
    np.testing.assert_array_equal(near.mean_of_nearest(QueryRows(X), 3, first(X)), X)


@pytest.mark.parametrize("value", [1e200, -1e200, 1.7e308])
@pytest.mark.parametrize("scale", SCALINGS)
@pytest.mark.parametrize("d", [3, 30])
def test_far_rows_have_finite_distances(d, scale, value):
    X = table(60, d)
    near = neighbors_of(X, scale)
    far = X[:3].copy()
    far[0, 0] = far[1] = value
    for is_training_row in (True, False):
        distances = near.mean_distances(QueryRows(far, is_training_row), 3)
        cells = near.parts(QueryRows(far, is_training_row), 3)
        for values in (
            distances,
            cells,
            near.mean_of_nearest(QueryRows(far), 3, first(far)),
            near.neighbourhood_distances(QueryRows(far)),
            near.neighbourhood_parts(QueryRows(far)),
        ):
            assert np.isfinite(values).all()
        assert distances[:2].min() > 50 * distances[2]
        np.testing.assert_allclose(cells.sum(axis=1), distances)


# -- many rows -----------------------------------------------------------------------


def test_of_many_rows_some_are_kept(monkeypatch):
    monkeypatch.setattr(_neighbors, "MAX_REFERENCE_ROWS", 300)
    X = table(3_000, 2)
    near = neighbors_of(X)
    kept = near.columns.inverse_transform(near.references + near.center)
    assert kept.shape == (300, 2)
    assert len(np.unique(kept, axis=0)) == 300
    assert (pairwise_distances(kept, X).min(axis=1) < 1e-6).all()
    np.testing.assert_allclose(kept.mean(axis=0), X.mean(axis=0), atol=0.4)
    # Training rows that are not kept are no references: nothing is left out for them.
    scaled = near.columns.transform(X) - near.center
    nearest = np.sort(pairwise_distances(scaled, near.references), axis=1)
    is_kept = nearest[:, 0] < 1e-6
    distances = near.mean_distances(QueryRows(X, True), 1)
    expected = np.where(is_kept, nearest[:, 1], nearest[:, 0])
    np.testing.assert_allclose(distances, expected, rtol=1e-6)


def test_they_are_kept_in_proportion_to_their_weight(monkeypatch):
    monkeypatch.setattr(_neighbors, "MAX_REFERENCE_ROWS", 100)
    X, weight = table(400), np.ones(400)
    weight[7] = 400
    near = neighbors_of(X, weight=weight)
    kept = near.columns.inverse_transform(near.references + near.center)
    assert len(kept) == 100
    n_copies = (np.abs(kept - X[7]).max(axis=1) < 1e-9).sum()
    assert n_copies == pytest.approx(50, abs=1)
