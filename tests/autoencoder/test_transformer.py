"""AutoencoderTransformer: its mathematics, its contract, its awkward tables."""

import copy
import io
import pickle
import tracemalloc

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import sklearn
from joblib import Parallel, delayed
from scipy.linalg import subspace_angles
from sklearn.base import clone
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_linnerud,
    load_wine,
)
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from sklearn_ae import AutoencoderTransformer
from tests import helpers
from tests.helpers import SharedCallback

X = load_wine().data
TABLES = {
    "iris": load_iris().data,
    "wine": X,
    "breast_cancer": load_breast_cancer().data,
    "diabetes": load_diabetes().data,
    "digits": load_digits().data[:500],
    "linnerud": load_linnerud().data,
}
SCALES = ["standard", "minmax", "quantile", None]


def transformer(n_components=2, **params):
    return helpers.transformer(n_components, **({"learning_rate_init": 0.01} | params))


def at_pca(n_components=2, **params):
    """A transformer that stays where it starts."""
    start = {"learning_rate_init": 1e-30, "max_iter": 1}
    return transformer(n_components, **(start | params))


def same_up_to_sign(A, B):
    return A * np.sign((A * B).sum(axis=0))


def assert_same_fit(*fitted):
    """Equal to the bit: in what was learnt, and on the way there.

    The weights at the start may be the ones kept, so codes alone would show little.
    """
    first, *others = fitted
    for other in others:
        np.testing.assert_array_equal(other.transform(X), first.transform(X))
        for name in ("loss_curve_", "validation_curve_", "best_loss_", "n_iter_"):
            np.testing.assert_array_equal(getattr(other, name), getattr(first, name))


class Monitored(SharedCallback):
    """Keeps the monitored rows of a fit."""

    def on_train_begin(self, net, **kwargs):
        rows = net.monitored
        self.x, self.weight = rows.x.double().numpy(), rows.weight.double().numpy()


# -- PCA inside ------------------------------------------------------------------


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("scale", ["standard", None])
@pytest.mark.parametrize("name", TABLES)
def test_never_worse_than_pca_on_the_monitored_rows(name, scale, early_stopping):
    table = TABLES[name]
    monitored = Monitored()
    ae = transformer(
        scale=scale,
        early_stopping=early_stopping,
        max_iter=6,
        net_params={"callbacks": [monitored]},
    ).fit(table)
    scaled = StandardScaler().fit_transform(table)
    if scale is None:
        centred = table - table.mean(axis=0)
        scaled = centred / np.sqrt(centred.var(axis=0).mean())
    pca = PCA(2).fit(scaled)
    back = pca.inverse_transform(pca.transform(monitored.x))
    errors = np.square(back - monitored.x).mean(axis=1)
    pcas = np.average(errors, weights=monitored.weight)
    assert ae.validation_curve_[0] == pytest.approx(pcas, rel=1e-5)
    assert ae.best_loss_ <= pcas * (1 + 1e-6)


@pytest.mark.parametrize("name", TABLES)
def test_the_start_is_pca(name):
    table = TABLES[name]
    scaler = StandardScaler().fit(table)
    Z = scaler.transform(table)
    pca = PCA(2).fit(Z)
    code = pca.transform(Z)
    ae = at_pca().fit(table)
    ours = ae.transform(table)
    np.testing.assert_allclose(same_up_to_sign(ours, code), code, atol=1e-4)
    back = scaler.inverse_transform(pca.inverse_transform(code))
    spread = table.std(axis=0).max()
    np.testing.assert_allclose(ae.reconstruct(table) / spread, back / spread, atol=1e-4)
    expected = r2_score(Z, pca.inverse_transform(code), multioutput="variance_weighted")
    assert ae.score(table) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("hidden_layer_sizes", [(), (6,)])
@pytest.mark.parametrize("variances", [[25, 16, 9], [9, 9, 9]])
def test_a_linear_random_autoencoder_ends_on_pcas_subspace(
    hidden_layer_sizes, variances
):
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    deviations = np.sqrt([*variances, 1, 1, 1, 1, 1])
    table = rng.normal(size=(400, 8)) * deviations @ rotation + 1
    ae = transformer(
        3,
        init="random",
        activation="identity",
        hidden_layer_sizes=hidden_layer_sizes,
        scale=None,
        alpha=0,
        early_stopping=False,
        batch_size=32,
        max_iter=100,
        n_iter_no_change=100,
    ).fit(table)
    start = clone(ae).set_params(learning_rate_init=1e-30, max_iter=1).fit(table)
    axes = PCA(3).fit(table).components_.T

    def angles(ae):
        """Of the encoder's rows and of the decoder's columns with PCA's axes."""
        encoder = ae.transform(np.eye(8)) - ae.transform(np.zeros((8, 8)))
        decoder = ae.inverse_transform(np.eye(3)) - ae.inverse_transform(
            np.zeros((3, 3))
        )
        return [subspace_angles(m, axes).max() for m in (encoder, decoder.T)]

    assert max(angles(ae)) < 0.05
    assert min(angles(start)) > 0.5


@pytest.mark.parametrize("init", ["pca", "random"])
def test_better_than_pca_on_held_out_digits(init):
    train, test = train_test_split(load_digits().data, random_state=0)
    ae = transformer(8, init=init, max_iter=25).fit(train)
    scaler = StandardScaler().fit(train)
    Z = scaler.transform(test)
    pca = PCA(8).fit(scaler.transform(train))
    back = pca.inverse_transform(pca.transform(Z))
    pcas = 1 - r2_score(Z, back, multioutput="variance_weighted")
    # Measured: 0.35 and 0.6.
    assert 1 - ae.score(test) < (0.5 if init == "pca" else 0.85) * pcas


@pytest.mark.parametrize("n_components", [0.3, None, 3])
@pytest.mark.parametrize("init", ["pca", "random"])
@pytest.mark.parametrize("name", ["wine", "digits"])
def test_n_components_means_what_it_means_to_pca(name, init, n_components):
    table = TABLES[name]
    ae = transformer(n_components, init=init, max_iter=1).fit(table)
    pca = PCA(0.95 if n_components is None else n_components)
    pca.fit(StandardScaler().fit_transform(table))
    assert ae.n_components_ == pca.n_components_
    assert ae.transform(table).shape == (len(table), pca.n_components_)


# -- score -----------------------------------------------------------------------


SCALERS = {"standard": StandardScaler(), "minmax": MinMaxScaler()}


@pytest.mark.parametrize("scale", SCALERS)
def test_score_is_r2_of_the_scaled_columns_weighted_by_variance(scale):
    ae = transformer(scale=scale).fit(X)
    scaler = clone(SCALERS[scale]).fit(X)
    Z, back = scaler.transform(X[:90]), scaler.transform(ae.reconstruct(X[:90]))
    residual = np.square(Z - back).sum()
    expected = 1 - residual / np.square(Z - Z.mean(axis=0)).sum()
    assert ae.score(X[:90]) == pytest.approx(expected, rel=1e-9)
    assert ae.score(X[:90]) == pytest.approx(
        r2_score(Z, back, multioutput="variance_weighted"), rel=1e-9
    )


def test_score_counts_weights_as_repetition():
    ae = transformer().fit(X)
    weight = np.arange(len(X)) % 4
    weighted = ae.score(X, sample_weight=weight)
    assert weighted == pytest.approx(ae.score(np.repeat(X, weight, axis=0)), rel=1e-9)
    assert weighted != pytest.approx(ae.score(X), rel=1e-3)


@pytest.mark.parametrize(
    ("loss", "function"),
    [
        ("squared_error", np.square),
        ("absolute_error", np.abs),
        ("huber", lambda r: np.where(np.abs(r) < 1, r**2 / 2, np.abs(r) - 0.5)),
    ],
)
def test_score_samples_is_minus_the_rows_mean_loss(loss, function):
    ae = transformer(loss=loss).fit(X)
    scaler = StandardScaler().fit(X)
    # Rows that the fit has not seen, some of them far away.
    rows = X[:40] * np.linspace(0.5, 2, 40)[:, None]
    r = scaler.transform(rows) - scaler.transform(ae.reconstruct(rows))
    scores = ae.score_samples(rows)
    np.testing.assert_allclose(scores, -function(r).mean(axis=1), rtol=1e-8)
    assert scores.dtype == ae.score_samples(rows.astype(np.float32)).dtype == np.float64


def test_reconstruct_is_the_inverse_transform_of_transform():
    ae = transformer().fit(X)
    np.testing.assert_allclose(
        ae.reconstruct(X), ae.inverse_transform(ae.transform(X)), rtol=1e-9
    )
    np.testing.assert_array_equal(ae.fit_transform(X), ae.transform(X))


def test_blocks_of_rows_change_nothing():
    ae = transformer().fit(X)
    many = np.tile(X, (12, 1))
    Z = ae.transform(many)
    assert len(Z) == len(many)
    np.testing.assert_allclose(Z, np.tile(ae.transform(X), (12, 1)), rtol=1e-11)
    np.testing.assert_allclose(Z[:1], ae.transform(many[:1]), rtol=1e-11)


# -- what comes in and goes out --------------------------------------------------


@pytest.mark.parametrize("scale", ["standard", "quantile"])
@pytest.mark.parametrize(
    ("dtype", "out"),
    [
        (np.float64, np.float64),
        (np.float32, np.float32),
        (np.float16, np.float64),
        (np.int64, np.float64),
        (np.uint8, np.float64),
        (bool, np.float64),
    ],
)
def test_dtypes(dtype, out, scale):
    table = (TABLES["digits"][:100, 10:30] // 4).astype(dtype)
    ae = transformer(scale=scale).fit(table)
    Z = ae.transform(table)
    assert (
        Z.dtype == ae.inverse_transform(Z).dtype == ae.reconstruct(table).dtype == out
    )
    again = clone(ae).fit(table.astype(np.float64))
    rtol = 1e-3 if out == np.float32 else 1e-12
    np.testing.assert_allclose(
        again.transform(table.astype(np.float64)), Z, rtol=rtol, atol=rtol
    )


def fortran(table, tmp_path):
    return np.asfortranarray(table)


def strided(table, tmp_path):
    return np.repeat(np.repeat(table, 2, axis=0), 3, axis=1)[::2, ::3]


def memmap(table, tmp_path):
    path = tmp_path / f"{table.shape[1]}.npy"  # a mapped file is never written again
    np.save(path, table)
    return np.load(path, mmap_mode="r")


def lists(table, tmp_path):
    return table.tolist()


def frame(table, tmp_path):
    return pd.DataFrame(table)


@pytest.mark.parametrize("layout", [fortran, strided, memmap, lists, frame])
@pytest.mark.parametrize("scale", ["standard", "quantile"])
@pytest.mark.filterwarnings("ignore:X has feature names:UserWarning")
def test_the_layout_of_the_table_does_not_matter(layout, scale, tmp_path):
    expected = transformer(scale=scale).fit(X)
    table = layout(X, tmp_path)
    ae = transformer(scale=scale).fit(table)
    # The fit is the same bit for bit; products of matrices may round differently.
    Z = expected.transform(X)
    assert_same_fit(ae, expected)
    np.testing.assert_allclose(ae.transform(table), Z, rtol=1e-9)
    np.testing.assert_allclose(ae.reconstruct(table), ae.reconstruct(X), rtol=1e-9)
    assert ae.score(table) == pytest.approx(ae.score(X), rel=1e-9)
    back = ae.inverse_transform(layout(Z, tmp_path))
    np.testing.assert_allclose(back, ae.inverse_transform(Z), rtol=1e-9)
    assert transformer().partial_fit(table).n_features_in_ == X.shape[1]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("scale", SCALES)
def test_what_is_given_is_left_as_it_is(dtype, scale):
    table, weight = X.astype(dtype), np.arange(1.0, len(X) + 1)
    copies = table.copy(), weight.copy()
    ae = transformer(scale=scale).fit(table, sample_weight=weight)
    ae.partial_fit(table, sample_weight=weight)
    Z = ae.transform(table)
    code = Z.copy()
    ae.inverse_transform(Z)
    ae.score(table, sample_weight=weight)
    ae.score_samples(table)
    for given, before in zip((table, weight, Z), (*copies, code), strict=True):
        np.testing.assert_array_equal(given, before)
    assert not any(np.shares_memory(table, v) for v in (Z, ae.reconstruct(table)))


def test_names_of_columns_are_kept_and_checked():
    table = load_iris(as_frame=True).data
    ae = transformer().fit(table)
    assert ae.feature_names_in_.tolist() == table.columns.tolist()
    with pytest.raises(ValueError, match="feature names should match"):
        ae.transform(table.rename(columns={table.columns[0]: "other"}))
    with pytest.raises(ValueError, match="feature names"):
        ae.partial_fit(table[table.columns[::-1]])


@pytest.mark.parametrize(("container", "kind"), [("pandas", pd), ("polars", pl)])
def test_set_output(container, kind):
    table = load_iris(as_frame=True).data
    names = ["autoencodertransformer0", "autoencodertransformer1"]
    ae = transformer().fit(table)
    assert ae.get_feature_names_out().tolist() == names
    expected = ae.transform(table)
    ae.set_output(transform=container)
    for Z in (ae.transform(table), clone(ae).fit_transform(table)):
        assert isinstance(Z, kind.DataFrame)
        assert list(Z.columns) == names
        np.testing.assert_array_equal(Z.to_numpy(), expected)
    # A frame of codes goes back.
    back = ae.inverse_transform(ae.transform(table))
    np.testing.assert_array_equal(back, ae.inverse_transform(expected))


METHODS = ["transform", "inverse_transform", "reconstruct", "score", "score_samples"]


@pytest.mark.parametrize("method", ["fit", "partial_fit", *METHODS])
def test_sparse_is_a_type_error_that_says_what_to_do(method):
    ae = transformer().fit(X)
    sparse = sp.csr_array(X[:, :2] if method == "inverse_transform" else X)
    with pytest.raises(TypeError, match=r"dense data is required.*toarray"):
        getattr(ae, method)(sparse)


@pytest.mark.parametrize("method", ["fit", "partial_fit", *METHODS])
@pytest.mark.parametrize(("bad", "match"), [(np.nan, "NaN"), (np.inf, "infinity")])
def test_missing_and_infinite_values_are_a_value_error(method, bad, match):
    ae = transformer().fit(X)
    table = (X[:, :2] if method == "inverse_transform" else X).copy()
    table[3, 1] = bad
    with pytest.raises(ValueError, match=rf"X contains {match}"):
        getattr(ae, method)(table)


@pytest.mark.parametrize(
    "method", ["partial_fit", "transform", "reconstruct", "score", "score_samples"]
)
@pytest.mark.parametrize("n_columns", [20])
def test_the_wrong_number_of_columns_is_an_error_with_both_numbers(method, n_columns):
    ae = transformer().fit(X)
    with pytest.raises(ValueError, match=rf"{n_columns} features.*13 features"):
        getattr(ae, method)(np.ones((4, n_columns)))


@pytest.mark.parametrize("n_columns", [1, 13])
def test_the_wrong_width_of_a_code_is_an_error_with_both_numbers(n_columns):
    with pytest.raises(ValueError, match=rf"{n_columns} columns.*n_components_=2"):
        transformer().fit(X).inverse_transform(np.ones((4, n_columns)))


@pytest.mark.parametrize("method", METHODS)
def test_before_fit_there_is_nothing_to_apply(method):
    with pytest.raises(NotFittedError):
        getattr(transformer(), method)(X)


def test_before_fit_there_are_no_names():
    with pytest.raises(NotFittedError):
        transformer().get_feature_names_out()


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_one_row_is_too_few_to_start_from(method):
    with pytest.raises(ValueError, match="1 sample"):
        getattr(transformer(), method)(X[:1])


# -- awkward tables --------------------------------------------------------------


rng = np.random.default_rng(0)
UNITS = np.ones(13)
UNITS[:2] = 1e-12, 1e12
AWKWARD = {
    "constant columns": np.column_stack([X, np.zeros(len(X)), np.full(len(X), 1e9)]),
    "only constants": np.full((30, 4), 2.5),
    "one feature": X[:, :1],
    "two rows": X[:2],
    "three rows": X[:3],
    "fewer rows than components": X[:4],
    "fewer rows than columns": TABLES["digits"][:20],
    "duplicated rows": np.repeat(X[:10], 8, axis=0),
    "two distinct rows": np.repeat(X[:2], 20, axis=0),
    "units of 1e-12 and 1e12": X * UNITS,
    "one far outlier": np.vstack([X, 1e6 * X[:1]]),
    "large offset": X + 1e7,
    "tiny numbers": 1e-30 * X,
    "huge numbers": 1e100 * X,
    "collinear columns": np.column_stack([X, X[:, :3] @ np.ones(3), 2 * X]),
}


@pytest.mark.parametrize(
    ("init", "scale"), [*(("pca", scale) for scale in SCALES), ("random", "standard")]
)
@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_tables_fit_without_a_warning_and_are_no_worse_than_the_start(
    name, init, scale
):
    table = AWKWARD[name]
    ae = transformer(5, init=init, scale=scale).fit(table)
    Z = ae.transform(table)
    assert Z.shape == (len(table), 5)
    assert np.isfinite(Z).all()
    assert np.isfinite(ae.reconstruct(table)).all()
    assert ae.best_loss_ <= ae.validation_curve_[0]
    ae.partial_fit(table)
    assert np.isfinite(ae.transform(table)).all()


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_tables_with_a_share_of_the_variance(name):
    table = AWKWARD[name]
    ae = transformer(0.5).fit(table)
    assert 1 <= ae.n_components_ <= min(table.shape)
    assert np.isfinite(ae.reconstruct(table)).all()


@pytest.mark.parametrize("scale", ["standard", "minmax", "quantile"])
def test_every_column_comes_back_whatever_its_unit(scale):
    table = X * UNITS
    ae = at_pca(13, scale=scale).fit(table)
    error = np.abs(ae.reconstruct(table) - table) / table.std(axis=0)
    assert error.max() < 1e-3
    # And the unit is not seen in the code.
    code = at_pca(13, scale=scale).fit(X).transform(X)
    np.testing.assert_allclose(ae.transform(table), code, atol=1e-3)


def test_constant_columns_come_back():
    table = AWKWARD["constant columns"]
    back = transformer(5, max_iter=1).fit(table).reconstruct(table)
    np.testing.assert_allclose(back[:, -2:], table[:, -2:], atol=1e-3)


def test_identical_rows_come_back():
    table = AWKWARD["only constants"]
    for init in ("pca", "random"):
        ae = transformer(2, init=init, max_iter=50).fit(table)
        np.testing.assert_allclose(ae.reconstruct(table), table, atol=0.5)
    np.testing.assert_allclose(transformer(2).fit(table).reconstruct(table), table)


@pytest.mark.parametrize("n_components", [14, 40])
def test_a_code_wider_than_the_table(n_components):
    ae = at_pca(n_components).fit(X)
    Z = ae.transform(X)
    assert Z.shape == (len(X), n_components)
    np.testing.assert_allclose(ae.inverse_transform(Z), X, rtol=1e-4, atol=1e-4)
    assert transformer(n_components).fit(X).score(X) > 0.999


@pytest.mark.parametrize("params", [{}, {"corruption_level": 0.3}])
@pytest.mark.parametrize("shape", [(400_000, 20), (20_000, 500)])
def test_a_fit_takes_little_more_memory_than_its_rows_in_float32(shape, params):
    X = np.random.default_rng(0).normal(size=shape)
    X[::1000, 0] = 1e4  # rows that change their place
    ae = AutoencoderTransformer(2, hidden_layer_sizes=(4,), max_iter=1, **params)
    ae.fit(X[:100])
    tracemalloc.start()
    try:
        ae.fit(X)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Half of them is the rows in float32; as much is what is known of each row, or
    # blocks of rows. Of mini-batches torch has the memory.
    assert peak < 1.4 * X.nbytes


def test_of_many_rows_little_more_than_the_result_is_held():
    X = np.random.default_rng(0).normal(size=(100_000, 20)).astype(np.float32)
    ae = AutoencoderTransformer(2, max_iter=1).fit(X[:100])
    ae.reconstruct(X[:100])
    tracemalloc.start()
    try:
        result = ae.reconstruct(X)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A block of rows in float64, and what is looked at to see that all are finite.
    assert peak < result.nbytes + X.nbytes / 4


def test_duplicated_rows_are_weights():
    repeated = AWKWARD["duplicated rows"]
    assert_same_fit(
        transformer().fit(repeated),
        transformer().fit(X[:10], sample_weight=np.full(10, 8)),
    )


# -- parameters ------------------------------------------------------------------


BAD = [
    *[("n_components", bad) for bad in (0, -1, 1.0, 0.0, 1.5, "mle")],
    *[("architecture", bad) for bad in ("rnn", None)],
    *[("input_shape", bad) for bad in ("13", (), (1, 1, 1, 13), (0, 13), (12,))],
    *[("hidden_layer_sizes", bad) for bad in (0, -3, (8, 0), (8, -1), "8", (8.5,))],
    *[("hidden_layer_sizes", bad) for bad in ([[8]], ("a",), None)],
    ("activation", "step"),
    ("init", "zeros"),
    *[("scale", bad) for bad in ("robust", True)],
    ("loss", "log_loss"),
    *[("corruption", bad) for bad in ("dropout", None)],
    *[("corruption_level", bad) for bad in (-0.1, "a")],
    *[("sparsity", bad) for bad in ("l2", None)],
    *[("sparsity_weight", bad) for bad in (-0.1, "a")],
    *[("sparsity_target", bad) for bad in (0, 1, "a")],
    ("contraction_weight", -0.1),
    ("latent", "normal"),
    ("beta", -1),
    ("prior", "laplace"),
    *[("alpha", bad) for bad in (-0.1, "a")],
    *[("batch_size", bad) for bad in (0, "large", 2.5)],
    *[("learning_rate_init", bad) for bad in (0, -1, "adaptive")],
    *[("max_iter", bad) for bad in (0, 2.5, "long")],
    ("tol", -1),
    ("early_stopping", "yes"),
    *[("validation_fraction", bad) for bad in (0, 1, 1.5)],
    ("n_iter_no_change", 0),
    ("shuffle", 2),
    ("warm_start", "no"),
    *[("device", bad) for bad in (0, "abacus")],
    ("random_state", "seed"),
    ("verbose", -1),
    *[("net_params", bad) for bad in ([], {"nonsense": 1}, {"lr": 0.1})],
    *[("net_params", {"callbacks": bad}) for bad in (3, [3])],
    # Past float32, or past any machine's memory.
    *[("corruption_level", bad) for bad in (1e39, (0.1, 1e39), (1e-300, 1.0))],
    *[(name, 1e39) for name in ("sparsity_weight", "contraction_weight", "beta")],
    *[(name, 1e39) for name in ("alpha", "learning_rate_init")],
    *[("n_components", bad) for bad in (10**9, 10**30)],
    *[("hidden_layer_sizes", bad) for bad in (10**12, (10**6, 10**6), 10**400)],
    *[(name, 10**400) for name in ("batch_size", "max_iter", "n_iter_no_change")],
]


@pytest.mark.parametrize(("name", "bad"), BAD)
def test_a_bad_parameter_is_an_error_that_names_it(name, bad):
    said = "nonsense" if bad == {"nonsense": 1} else name
    ae = transformer().set_params(**{name: bad})
    for method in (ae.fit, ae.partial_fit):
        with pytest.raises(ValueError, match=said):
            method(X)
    assert not hasattr(ae, "module_")


def test_every_parameter_has_a_bad_value_here():
    assert {name for name, _ in BAD} == set(AutoencoderTransformer().get_params())


@pytest.mark.parametrize("sizes", [5, (5,), [5, 4], np.array([5, 4]), ()])
def test_hidden_layer_sizes(sizes):
    ae = transformer(hidden_layer_sizes=sizes).fit(X)
    asked = np.atleast_1d(np.asarray(sizes, dtype=int)).tolist()
    for path, widths in (
        (ae.module_.encoder, [13, *asked, 2]),
        (ae.module_.decoder, [2, *asked[::-1], 13]),
    ):
        shapes = [tuple(layer.weight.shape) for layer in path.correction.layers]
        assert shapes == list(zip(widths[1:], widths[:-1], strict=True))


@pytest.mark.parametrize(
    "params",
    [
        {"activation": "tanh"},
        {"loss": "absolute_error"},
        {"alpha": 10.0},
        {"batch_size": 7},
        {"learning_rate_init": 0.02},
        {"shuffle": False},
        {"random_state": 1},
        {"validation_fraction": 0.4},
        {"scale": "minmax"},
        {"hidden_layer_sizes": (64, 64)},
    ],
    ids=lambda p: next(iter(p)),
)
def test_every_parameter_of_training_has_an_effect(params):
    table = TABLES["digits"]
    codes = [
        transformer(early_stopping="validation_fraction" in params, **p)
        .fit(table)
        .transform(table)
        for p in ({}, params)
    ]
    assert not np.allclose(*codes, rtol=1e-3)


# -- going on --------------------------------------------------------------------


def test_warm_start_goes_on_from_the_fitted_weights():
    table = TABLES["digits"]
    ae = transformer(warm_start=True, early_stopping=False, max_iter=10).fit(table)
    n_weights = sum(p.numel() for p in ae.module_.parameters())
    first = ae.best_loss_
    assert ae.fit(table).validation_curve_[0] == pytest.approx(first, rel=1e-5)
    assert ae.best_loss_ <= first
    assert ae.n_iter_ == 10
    assert sum(p.numel() for p in ae.module_.parameters()) == n_weights
    # Cold, it begins at PCA again.
    assert (
        clone(ae).set_params(max_iter=1).fit(table).validation_curve_[0] > 1.2 * first
    )


def test_warm_start_keeps_the_scaling_and_the_width():
    ae = at_pca(0.5, warm_start=True).fit(X)
    codes, width = ae.transform(X), ae.n_components_
    ae.fit(2 * X + 1)
    np.testing.assert_array_equal(ae.transform(X), codes)
    assert ae.n_components_ == width
    with pytest.raises(ValueError, match="3 features"):
        ae.fit(X[:, :3])


LASTING = {
    "n_components": 3,
    "hidden_layer_sizes": (8,),
    "activation": "relu",
    "init": "random",
    "scale": "minmax",
    "loss": "huber",
    "alpha": 0.5,
    "device": "cpu",
}


@pytest.mark.parametrize(("name", "value"), LASTING.items())
def test_warm_start_can_not_change_what_lasts(name, value):
    ae = transformer(warm_start=True).fit(X)
    before = ae.transform(X)
    ae.set_params(**{name: value})
    with pytest.raises(ValueError, match=rf"{name} can't change"):
        ae.fit(X)
    np.testing.assert_array_equal(ae.transform(X), before)
    assert ae.set_params(warm_start=False).fit(X).n_iter_ > 0


def test_warm_start_spells_hidden_layer_sizes_as_it_likes():
    ae, twin = (
        transformer(warm_start=True, hidden_layer_sizes=(8, 8)).fit(X) for _ in range(2)
    )
    ae.set_params(hidden_layer_sizes=np.array([8, 8]))
    assert_same_fit(ae.fit(X), twin.fit(X))
    assert ae.loss_curve_ != transformer(hidden_layer_sizes=(8, 8)).fit(X).loss_curve_


def test_warm_start_takes_new_settings_of_training():
    ae = transformer(warm_start=True).fit(X)
    ae.set_params(max_iter=5, batch_size=8, learning_rate_init="auto", tol=0.1)
    assert ae.fit(X).n_iter_ == 5


def test_partial_fit_sets_up_at_the_first_call():
    ae = at_pca(0.6).partial_fit(X)
    assert ae.n_features_in_ == 13
    assert (
        ae.n_components_
        == PCA(0.6).fit(StandardScaler().fit_transform(X)).n_components_
    )
    assert ae.n_iter_ == len(ae.loss_curve_) == 1
    # Later batches may be small, and don't move the scaling.
    codes = ae.transform(X)
    ae.partial_fit(X[:1] + 100)
    np.testing.assert_array_equal(ae.transform(X), codes)
    assert ae.n_iter_ == len(ae.loss_curve_) == 2


def test_partial_fit_learns():
    table = load_digits().data
    ae = transformer(8, learning_rate_init=0.002)
    start = at_pca(8).fit(table).score(table)
    batches = np.array_split(np.random.default_rng(0).permutation(table), 4)
    for _ in range(8):
        for batch in batches:
            ae.partial_fit(batch)
    assert 1 - ae.score(table) < 0.8 * (1 - start)
    assert ae.n_iter_ == 32


def test_partial_fit_goes_on_after_fit():
    ae = transformer().fit(X)
    before, n_iter = ae.transform(X), ae.n_iter_
    ae.partial_fit(X)
    assert ae.n_iter_ == n_iter + 1
    assert not np.array_equal(ae.transform(X), before)
    # At a low rate it stays near: it did not start again.
    near = transformer().fit(X).set_params(learning_rate_init=1e-6).partial_fit(X)
    np.testing.assert_allclose(near.transform(X), before, atol=1e-2)


# -- weights and order -----------------------------------------------------------


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize(
    ("init", "scale", "early_stopping"),
    [
        *(("pca", scale, True) for scale in SCALES),
        ("random", "standard", True),
        ("pca", "standard", False),
    ],
)
def test_weights_are_repetition_bit_for_bit(method, init, scale, early_stopping):
    weight = np.arange(len(X)) % 4  # zeros among them
    ae = transformer(init=init, scale=scale, early_stopping=early_stopping)
    assert_same_fit(
        getattr(clone(ae), method)(X, sample_weight=weight),
        getattr(clone(ae), method)(np.repeat(X, weight, axis=0)),
    )


def test_weights_matter():
    weight = np.where(load_wine().target == 0, 10, 0.1)
    errors = [
        -transformer().fit(X, sample_weight=w).score_samples(X)[weight > 1].mean()
        for w in (weight, 1 / weight)
    ]
    assert errors[0] < 0.8 * errors[1]


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize(
    ("init", "weighted", "shuffle"),
    [("pca", True, True), ("pca", False, False), ("random", False, True)],
)
def test_the_order_of_the_rows_does_not_matter_bit_for_bit(
    method, init, weighted, shuffle
):
    table = np.repeat(X[:60], 3, axis=0)
    weight = np.tile([0.1, 0.2, 0.3], 60) if weighted else None
    p = np.random.default_rng(0).permutation(len(table))
    ae = transformer(init=init, shuffle=shuffle)
    assert_same_fit(
        getattr(clone(ae), method)(table, sample_weight=weight),
        getattr(clone(ae), method)(
            table[p], sample_weight=None if weight is None else weight[p]
        ),
    )


@pytest.mark.parametrize(
    ("weight", "match"),
    [
        (-np.ones(len(X)), "[Nn]egative"),
        (np.zeros(len(X)), "non-zero"),
        (np.ones(3), "sample_weight"),
        (np.full(len(X), np.nan), "NaN"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_bad_weights_are_a_value_error(method, weight, match):
    with pytest.raises(ValueError, match=match):
        getattr(transformer(), method)(X, sample_weight=weight)


# -- the same again --------------------------------------------------------------


def joblib_round_trip(ae):
    buffer = io.BytesIO()
    joblib.dump(ae, buffer)
    buffer.seek(0)
    return joblib.load(buffer)


@pytest.mark.parametrize("init", ["pca", "random"])
@pytest.mark.parametrize("n_components", [2, 0.5])
def test_an_int_seed_gives_the_same_bits(init, n_components):
    ae = transformer(n_components, init=init).fit(X)
    refitted = copy.deepcopy(ae).fit(X)
    unpickled = pickle.loads(pickle.dumps(clone(ae))).fit(X)
    assert_same_fit(ae, clone(ae).fit(X), refitted, unpickled)
    other = clone(ae).set_params(random_state=1).fit(X)
    assert other.loss_curve_ != ae.loss_curve_


@pytest.mark.parametrize(
    "copied",
    [lambda ae: pickle.loads(pickle.dumps(ae)), joblib_round_trip, copy.deepcopy],
    ids=["pickle", "joblib", "deepcopy"],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_copies_of_a_fitted_estimator_give_the_same_bits(copied, method):
    ae = getattr(transformer(), method)(X)
    other = copied(ae)
    for table in (X, X.astype(np.float32)):
        Z = ae.transform(table)
        np.testing.assert_array_equal(other.transform(table), Z)
        np.testing.assert_array_equal(
            other.inverse_transform(Z), ae.inverse_transform(Z)
        )
        np.testing.assert_array_equal(other.reconstruct(table), ae.reconstruct(table))
        np.testing.assert_array_equal(
            other.score_samples(table), ae.score_samples(table)
        )
    assert other.score(X) == ae.score(X)
    assert other.get_params() == ae.get_params()


def test_n_jobs_does_not_change_a_bit():
    here, there = (
        Parallel(n_jobs=n_jobs)(
            delayed(transformer(init=init).fit)(X) for init in ("pca", "random")
        )
        for n_jobs in (1, 2)
    )
    for a, b in zip(here, there, strict=True):
        assert_same_fit(a, b)


def test_a_random_state_instance_moves_on():
    random_state = np.random.RandomState(0)
    codes = [
        transformer(init="random", random_state=random_state).fit_transform(X)
        for _ in range(2)
    ]
    assert not np.array_equal(*codes)
    again = transformer(init="random", random_state=np.random.RandomState(0))
    np.testing.assert_array_equal(again.fit_transform(X), codes[0])


# -- metadata routing ------------------------------------------------------------


@pytest.fixture
def _routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


WEIGHT = 1.0 + np.arange(len(X)) % 5


@pytest.mark.usefixtures("_routing")
def test_weights_are_routed_through_a_pipeline():
    pipeline = Pipeline(
        [
            ("scale", StandardScaler().set_fit_request(sample_weight=False)),
            ("reduce", transformer().set_fit_request(sample_weight=True)),
        ]
    ).fit(X, sample_weight=WEIGHT)
    Z = StandardScaler().fit_transform(X)
    expected = transformer().fit(Z, sample_weight=WEIGHT)
    assert_same_fit(pipeline[-1], expected)
    assert expected.loss_curve_ != transformer().fit(Z).loss_curve_


@pytest.mark.usefixtures("_routing")
def test_weights_are_routed_through_a_grid_search():
    ae = transformer().set_fit_request(sample_weight=True)
    ae.set_score_request(sample_weight=True)
    search = GridSearchCV(ae, {"n_components": [1, 2]}, cv=2)
    search.fit(X, sample_weight=WEIGHT)
    expected = transformer().fit(X, sample_weight=WEIGHT)
    assert_same_fit(search.best_estimator_, expected)
    assert expected.loss_curve_ != transformer().fit(X).loss_curve_


@pytest.mark.usefixtures("_routing")
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_routing_changes_nothing_for_a_single_estimator(method):
    ae = getattr(transformer(), method)(X, sample_weight=WEIGHT)
    with sklearn.config_context(enable_metadata_routing=False):
        expected = getattr(transformer(), method)(X, sample_weight=WEIGHT)
    assert_same_fit(ae, expected)
    assert ae.score(X, sample_weight=WEIGHT) == expected.score(X, sample_weight=WEIGHT)
