import tracemalloc

import numpy as np
import pytest
from scipy.linalg import subspace_angles
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.preprocessing import scale

from sklearn_ae.tables import _rows, _weighted_pca
from sklearn_ae.tables._weighted_pca import principal_axes

TABLES = {
    "iris": load_iris,
    "wine": load_wine,
    "breast_cancer": load_breast_cancer,
    "digits": load_digits,
}


def table(name):
    # Off centre, so that a forgotten mean shows.
    return scale(TABLES[name]().data) + 2.0


def axes_of(X, n_components, weight=None):
    weight = np.ones(len(X)) if weight is None else weight
    return principal_axes(X, weight, n_components, np.random.RandomState(0))


def assert_is_pca(ours, pca, n_samples):
    np.testing.assert_allclose(ours.mean, pca.mean_, atol=1e-9)
    # PCA divides by n - 1.
    variances = pca.explained_variance_ * (n_samples - 1) / n_samples
    np.testing.assert_allclose(ours.component_std**2, variances, rtol=1e-6)
    cosines = np.abs(np.sum(ours.components * pca.components_, axis=1))
    np.testing.assert_allclose(cosines, 1, atol=1e-6)


@pytest.mark.parametrize("cells", [50 * 13, 2**20])
@pytest.mark.parametrize("name", TABLES)
def test_axes_are_pcas(name, cells, monkeypatch):
    monkeypatch.setattr(_rows, "CELLS_PER_BLOCK", cells)
    X = table(name) * np.arange(1, 1 + table(name).shape[1])
    ours = axes_of(X, 4)
    assert_is_pca(ours, PCA(4).fit(X), len(X))


@pytest.mark.parametrize("share", [0.1, 0.95])
@pytest.mark.parametrize("name", TABLES)
def test_a_share_keeps_as_many_axes_as_pca(name, share):
    X = table(name)
    pca = PCA(share, svd_solver="full").fit(X)
    ours = axes_of(X, share)
    assert len(ours.components) == len(ours.component_std) == pca.n_components_
    assert_is_pca(ours, pca, len(X))


def test_a_share_that_is_met_exactly_needs_one_more_as_in_pca():
    X = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    assert PCA(0.5).fit(X).n_components_ == len(axes_of(X, 0.5).components) == 2


@pytest.mark.parametrize("shape", [(60, 20), (15, 40)])
@pytest.mark.parametrize("n_components", [4, 0.9])
def test_weights_count_as_repetition(shape, n_components):
    rng = np.random.default_rng(0)
    X = rng.normal(size=shape) * np.linspace(3, 1, shape[1]) + 1
    weight = rng.integers(1, 5, size=shape[0])
    weighted = axes_of(X, n_components, weight.astype(float))
    repeated = axes_of(np.repeat(X, weight, axis=0), n_components)
    for a, b in zip(weighted, repeated, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-8)
    assert not np.allclose(weighted.mean, X.mean(axis=0))


@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e3])
def test_only_the_proportions_of_weights_matter(factor):
    X = table("iris")
    weight = np.arange(1.0, len(X) + 1)
    for a, b in zip(axes_of(X, 2, weight), axes_of(X, 2, factor * weight), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-10)


def test_fewer_rows_than_columns():
    X = table("digits")[:20]
    assert_is_pca(axes_of(X, 10), PCA(10, svd_solver="full").fit(X), 20)


@pytest.mark.parametrize(("n", "d", "rank"), [(40, 6, 2), (5, 12, 4), (3, 2, 2)])
def test_axes_past_the_rank_are_zero(n, d, rank):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, d)) + 1
    k = d + 3
    mean, components, component_std = axes_of(X, k)
    assert components.shape == (k, d)
    assert component_std.shape == (k,)
    assert (component_std[:rank] > 0.01).all()
    assert not components[rank:].any()
    assert not component_std[rank:].any()
    # The components that are left span the data.
    np.testing.assert_allclose(
        mean + (X - mean) @ components.T @ components, X, atol=1e-9
    )


@pytest.mark.parametrize("n_components", [3, 0.95])
def test_a_table_of_constants_has_no_axes(n_components):
    mean, components, component_std = axes_of(np.full((6, 3), 7.0), n_components)
    np.testing.assert_allclose(mean, 7)
    assert not components.any()
    assert not component_std.any()
    assert len(components) >= 1


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("k", [2, 4])
def test_axes_are_orthonormal_in_falling_order_and_of_one_sign(name, k):
    _, components, component_std = axes_of(table(name), k)
    np.testing.assert_allclose(components @ components.T, np.eye(k), atol=1e-10)
    assert (np.diff(component_std) <= 0).all()
    assert (components[np.arange(k), np.abs(components).argmax(axis=1)] > 0).all()


def test_the_sign_does_not_depend_on_the_solver():
    X = table("digits")[:200]
    by_eigenvectors = axes_of(X, 3).components
    # Transposing rows and columns by repetition: the same rows, the other solver.
    few = np.unique(X[:50], axis=0)
    by_svd = axes_of(few, 3).components
    again = axes_of(np.repeat(few, 2, axis=0), 3).components
    np.testing.assert_allclose(by_svd, again, atol=1e-8)
    assert by_eigenvectors.shape == by_svd.shape


def low_rank(n, d, rank, seed=0):
    rng = np.random.default_rng(seed)
    strengths = np.linspace(20, 10, rank)
    signal = rng.normal(size=(n, rank)) * strengths @ rng.normal(size=(rank, d))
    return signal / np.sqrt(d) + 0.1 * rng.normal(size=(n, d)) + 1


def test_wide_tables_take_the_randomised_solver_and_span_pcas_subspace(monkeypatch):
    called = []
    solver = _weighted_pca.randomized_svd
    monkeypatch.setattr(
        _weighted_pca,
        "randomized_svd",
        lambda *a, **k: called.append(1) or solver(*a, **k),
    )
    X = low_rank(1_050, 1_100, 3)
    ours = axes_of(X, 3)
    pca = PCA(3, svd_solver="arpack", random_state=0).fit(X)
    assert called
    assert subspace_angles(ours.components.T, pca.components_.T).max() < 1e-3
    np.testing.assert_allclose(
        ours.component_std**2, pca.explained_variance_ * 1_049 / 1_050, rtol=1e-4
    )
    # Its randomness is the generator's.
    np.testing.assert_array_equal(ours.components, axes_of(X, 3).components)


@pytest.mark.parametrize(("share", "tries"), [(0.5, [4]), (0.999, [4, 16])])
def test_a_share_of_a_wide_table_is_reached_by_more_and_more_axes(
    share, tries, monkeypatch
):
    tried, solver = [], _weighted_pca.randomized_svd
    monkeypatch.setattr(_weighted_pca, "MAX_EXACT_SIDE", 20)
    monkeypatch.setattr(_weighted_pca, "N_FIRST_COMPONENTS", 4)
    monkeypatch.setattr(
        _weighted_pca,
        "randomized_svd",
        lambda M, k, **kw: tried.append(k) or solver(M, k, **kw),
    )
    X = low_rank(200, 150, 10)
    ours, pca = axes_of(X, share), PCA(share, svd_solver="full").fit(X)
    assert tried == tries
    assert len(ours.components) == pca.n_components_
    np.testing.assert_allclose(
        ours.component_std**2, pca.explained_variance_ * 199 / 200, rtol=1e-4
    )


def test_the_randomised_solver_is_kept_for_few_axes_of_large_tables(monkeypatch):
    monkeypatch.setattr(_weighted_pca, "MAX_EXACT_SIDE", 20)

    def refuse(*args, **kwargs):
        raise AssertionError

    monkeypatch.setattr(_weighted_pca, "randomized_svd", refuse)
    X = low_rank(40, 50, 3)
    assert_is_pca(axes_of(X, 35), PCA(35, svd_solver="full").fit(X), 40)
    # For a share more axes would be tried at once than the exact solver is worth.
    assert len(axes_of(X, 0.9).components) == PCA(0.9).fit(X).n_components_
    with pytest.raises(AssertionError):
        axes_of(X, 3)


@pytest.mark.parametrize("n_components", [3, 0.5])
def test_of_wide_tables_one_centred_copy_is_held(n_components):
    X = low_rank(4_000, 1_100, 3).astype(np.float32)
    axes_of(X[:1_200], n_components)
    tracemalloc.start()
    try:
        axes_of(X, n_components)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.6 * X.nbytes


def test_where_a_share_takes_too_many_axes_all_are_found(monkeypatch):
    monkeypatch.setattr(_weighted_pca, "MAX_EXACT_SIDE", 20)
    monkeypatch.setattr(_weighted_pca, "N_FIRST_COMPONENTS", 4)
    X = np.random.default_rng(0).normal(size=(60, 50))
    pca = PCA(0.95, svd_solver="full").fit(X)
    assert_is_pca(axes_of(X, 0.95), pca, 60)
