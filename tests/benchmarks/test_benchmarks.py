from argparse import Namespace
from contextlib import suppress
from time import perf_counter, sleep

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from tests.benchmarks.asking import ask

pytest.importorskip("matplotlib")

from benchmarks import (
    _detectors,
    _judge,
    explanations,
    generation,
    outliers,
    pca,
    robustness,
    variants,
)
from benchmarks.__main__ import main
from benchmarks._rivals import KERNEL_ROWS, CappedKernelPCA, MLPAutoencoder
from benchmarks._tables import Table, anomaly_tasks

COLUMNS = ["table", "method", "seed", "rows", "columns", "k", "r2", "ratio"]
COLUMNS += ["knn", "logistic", "ari", "trust", "fit_s", "transform_s", "error"]


def run(out, *arguments):
    """The exit code and the table that was written."""
    code = main(["pca", "--out", str(out), *arguments])
    return code, pd.read_csv(out / "pca.csv").set_index(["table", "method"])


class Zero(PCA):
    """A quick method whose reconstruction is nothing at all."""

    def inverse_transform(self, Z):
        return np.zeros((len(Z), self.n_features_in_))


class Broken(PCA):
    def transform(self, X):
        raise ArithmeticError("the tenth root of nothing")


@pytest.fixture
def quick(monkeypatch):
    """Only methods that take no time: these tests are of the harness."""
    monkeypatch.setattr(pca, "METHODS", {"PCA": PCA, "MLPRegressor": PCA, "ours": Zero})


def fail(argv, capsys):
    with pytest.raises(SystemExit) as error:
        main(argv)
    assert error.value.code == 2
    return capsys.readouterr().err


@pytest.fixture(scope="module")
def bundled(tmp_path_factory):
    """The real methods, once for all tests that only read what was written."""
    out = tmp_path_factory.mktemp("bundled")
    code, frame = run(out, "--tables", "iris,linnerud")
    return out, code, frame


def test_every_table_and_method_is_a_row(bundled):
    _, code, frame = bundled
    assert code == 0
    assert list(frame.reset_index()) == COLUMNS
    assert list(frame.index) == [
        (t, m) for t in ("iris", "linnerud") for m in pca.METHODS
    ]
    assert (
        frame[["r2", "ratio", "trust", "fit_s", "transform_s"]].notna().all(axis=None)
    )
    assert frame.loc["iris", ["knn", "logistic", "ari"]].notna().all(axis=None)
    assert frame.loc["linnerud", ["knn", "logistic", "ari"]].isna().all(axis=None)


def test_pca_r2_is_an_independent_one(bundled):
    X, y = load_iris(return_X_y=True)
    train, test = train_test_split(X, test_size=0.25, random_state=0, stratify=y)
    scaler = StandardScaler().fit(train)
    train, test = scaler.transform(train), scaler.transform(test)
    axis = np.linalg.svd(train, full_matrices=False)[2][:1]
    expected = r2_score(test, test @ axis.T @ axis, multioutput="variance_weighted")
    assert bundled[2].loc[("iris", "PCA"), "r2"] == pytest.approx(expected, rel=1e-9)


def test_ratio_is_the_unexplained_share_over_pcas(bundled):
    r2, ratio = bundled[2]["r2"], bundled[2]["ratio"]
    for table in ("iris", "linnerud"):
        expected = (1 - r2[table]) / (1 - r2[table, "PCA"])
        np.testing.assert_allclose(ratio[table], expected, rtol=1e-9)
    assert not np.allclose(ratio["iris"], 1, atol=0.01)


def test_ours_is_no_copy_of_pca(bundled):
    assert bundled[2].loc[("iris", "ours"), "ratio"] < 0.99


def test_picture_and_markdown_are_written(bundled):
    out, _, frame = bundled
    assert (out / "pca.png").read_bytes().startswith(b"\x89PNG")
    text = (out / "pca.md").read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert f"| iris | PCA | 0 | 150 | 4 | 1 | {frame.iloc[0]['r2']:.4f} | 1.000" in text
    assert "ours against PCA on 2 tables" in text


@pytest.mark.usefixtures("quick")
def test_summary_counts_and_names(tmp_path, capsys):
    run(tmp_path, "--tables", "iris,wine")
    out = capsys.readouterr().out
    assert "ours against PCA on 2 tables: better on 0, equal on 0, worse on 2" in out
    assert "MLPRegressor beats ours on 2 of 2 tables: iris, wine." in out


@pytest.mark.usefixtures("quick")
def test_seeds_are_rows_of_their_own(tmp_path):
    _, frame = run(tmp_path, "--tables", "iris", "--seed", "3", "--seeds", "2")
    r2 = frame.loc[("iris", "PCA")]
    assert list(r2["seed"]) == [3, 4]
    assert r2["r2"].nunique() == 2


@pytest.mark.usefixtures("quick")
def test_data_adds_a_table_and_draws_rows(tmp_path, capsys):
    X = np.random.default_rng(0).normal(size=(600, 9))
    (tmp_path / "in" / "deep").mkdir(parents=True)
    np.savez(tmp_path / "in" / "deep" / "noise.npz", X=X.astype(np.float32))
    data = ["--data", str(tmp_path / "in"), "--tables", "deep/noise,iris"]
    _, frame = run(tmp_path, *data)
    assert list(frame.loc[("deep/noise", "PCA"), ["rows", "columns", "k"]]) == [
        600,
        9,
        2,
    ]
    assert ("iris", "PCA") in frame.index
    _, frame = run(tmp_path, *data, "--quick")
    assert frame.loc[("deep/noise", "PCA"), "rows"] == 500
    assert "drawn with seed 0: deep/noise (500 of 600)." in capsys.readouterr().out


@pytest.mark.usefixtures("quick")
def test_exact_pca_is_called_exact(tmp_path, capsys):
    line = np.random.default_rng(0).normal(size=(40, 1)) * [1.0, 2, 3, 4]
    np.savez(tmp_path / "line.npz", X=line)
    _, frame = run(tmp_path, "--data", str(tmp_path), "--tables", "line")
    assert list(frame.loc["line", "ratio"])[:2] == [1, 1]
    assert frame.loc[("line", "ours"), "ratio"] > 1e6
    assert "exact  1.000" in capsys.readouterr().out


def test_two_exact_methods_are_equal():
    line = np.random.default_rng(0).normal(size=(40, 1)) * [1.0, 2, 3, 4]
    exact = pca._reconstruction(line[:30], line[30:], line[30:] + 1e-6, 1)
    assert exact["ratio"] == 1
    assert pca.FORMATS["r2"](exact["r2"]) == "exact"
    near = pca._reconstruction(line[:30], line[30:], line[30:] + 1e-2, 1)
    assert near["ratio"] > 100
    assert pca.FORMATS["r2"](near["r2"]) != "exact"


def test_a_failing_method_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(
        pca, "METHODS", {"PCA": PCA, "MLPRegressor": Broken, "ours": PCA}
    )
    code, frame = run(tmp_path, "--tables", "iris,wine")
    assert code == 1
    message = "ArithmeticError: the tenth root of nothing"
    assert list(frame["error"].dropna()) == [message] * 2
    assert frame.loc[("wine", "ours"), "ratio"] == 1
    assert f"FAILED wine MLPRegressor 0: {message}" in capsys.readouterr().out
    assert message in (tmp_path / "pca.md").read_text(encoding="utf-8")


def test_all_methods_failing_is_no_crash(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(pca, "METHODS", {"PCA": Broken, "ours": Broken})
    assert run(tmp_path, "--tables", "diabetes")[0] == 1
    assert "ours has no result" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"Z": np.eye(20)}, "no array X, only Z"),
        ({"X": np.eye(4)}, "needs 12 rows"),
        ({"X": np.full((20, 2), np.nan)}, "missing or infinite"),
        ({"X": np.ones((20, 2))}, "every column of X is constant"),
        ({"X": np.eye(20), "y": np.ones(3)}, "X has 20 rows, y has shape (3,)"),
        ({"X": np.full((20, 2), "a")}, "could not convert"),
    ],
)
def test_bad_file(tmp_path, capsys, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    error = fail(["pca", "--data", str(tmp_path)], capsys)
    assert message in error
    assert "bad.npz" in error


def test_bad_input(tmp_path, capsys):
    assert "not a folder" in fail(["--data", str(tmp_path / "no")], capsys)
    assert "no .npz" in fail(["--data", str(tmp_path)], capsys)
    (tmp_path / "text.npz").write_text("not a zip")
    assert "text.npz" in fail(["--data", str(tmp_path)], capsys)
    assert "no table x; there are: digits" in fail(["--tables", "x,iris"], capsys)
    assert "--seeds at 1" in fail(["--seeds", "0"], capsys)
    assert "text.npz" in fail(["--out", str(tmp_path / "text.npz")], capsys)


def test_mlp_code_decodes_to_its_prediction():
    X = StandardScaler().fit_transform(load_iris().data)
    mlp = MLPAutoencoder(hidden_layer_sizes=(8, 2, 8), max_iter=5, random_state=0).fit(
        X
    )
    code = mlp.transform(X)
    assert code.shape == (150, 2)
    np.testing.assert_allclose(mlp.inverse_transform(code), mlp.predict(X))


def test_kernel_pca_learns_from_capped_rows():
    X = np.random.default_rng(0).normal(size=(KERNEL_ROWS + 50, 2))
    assert len(CappedKernelPCA(1, random_state=0).fit(X).X_fit_) == KERNEL_ROWS


def test_code_is_judged_not_the_table():
    """A code that is pure noise is worth no more than chance."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 400)
    Z = rng.normal(size=(400, 2))
    scores = _judge.on_code(Z[:300], Z[300:], y[:300], y[300:], 0)
    assert 0.3 < scores["logistic"] < 0.7
    told = _judge.on_code(y[:300, None], y[300:, None], y[:300], y[300:], 0)
    assert told == {"knn": 1, "logistic": 1, "ari": 1}


def test_live_table_ends_whole(capsys):
    pytest.importorskip("rich")
    from benchmarks._live import Live

    formats = {"table": str, "r2": "{:.2f}".format}
    with Live(formats, [{"table": "a"}, {"table": "b"}]) as live:
        for name in "ab":
            live.start_case({"table": name})
            live.add({"table": name, "r2": 0.5, "error": ""})
    out = capsys.readouterr().out
    assert "a" in out
    assert out.count("0.50") >= 2


def test_variants_are_measured_at_every_strength(tmp_path, capsys, monkeypatch):
    knobs = {
        "kl": ({"sparsity": "kl"}, "sparsity_weight", (1.0,)),
        "contractive": ({}, "contraction_weight", (1.0,)),
    }
    monkeypatch.setattr(variants, "KNOBS", knobs)
    assert main(["variants", "--tables", "iris", "--out", str(tmp_path)]) == 0
    frame = pd.read_csv(tmp_path / "variants.csv").set_index(["knob", "strength"])
    assert list(frame.index) == [(k, s) for k in knobs for s in (0, 1)]
    assert list(frame["k"]) == [8, 8, 1, 1]
    strong, none = (frame.xs(s, level="strength") for s in (1, 0))
    assert strong.loc["kl", "activity"] == pytest.approx(0.05, abs=0.01)
    assert strong.loc["kl", "small"] > 0.9 > none.loc["kl", "small"]
    assert strong.loc["contractive", "jacobian"] < none.loc["contractive", "jacobian"]
    assert (tmp_path / "variants.png").stat().st_size > 1000
    assert "noisy accuracy" in capsys.readouterr().out


def test_drawn_rows_are_told_apart_where_they_differ():
    rng = np.random.default_rng(0)
    real, same = rng.normal(size=(2, 300, 3))
    assert generation.told_apart(real, same, 0) < 0.6
    assert generation.told_apart(real, np.add(same, [0, 0, 3]), 0) > 0.95


def test_generation_compares_every_method(tmp_path, capsys):
    arguments = ["generation", "--tables", "iris", "--out", str(tmp_path)]
    assert main(arguments) == 0
    frame = pd.read_csv(tmp_path / "generation.csv").set_index("method")
    assert list(frame.index) == list(generation.METHODS)
    assert frame["auc"].between(0.5, 1).all()
    # The notes' claim: a plain autoencoder is no generative model.
    assert frame.loc["plain, N(0, I)", "auc"] > frame.loc["variational", "auc"]
    assert "variational is ahead of mixture on" in capsys.readouterr().out


FIRST, LAST = "AEOutlierDetector", "kNN min-max"
EVERY = ("AEOutlierDetector", "IsolationForest", "kNN", "kNN min-max")


def distance(train, test, seed):
    """A quick detector: how far from the training rows' mean."""
    rows = train if test is None else test
    return np.linalg.norm(rows - train.mean(axis=0), axis=1)


def backwards(train, test, seed):
    return -distance(train, test, seed)


def options(**given):
    defaults = {"data": None, "tables": None, "quick": False, "seed": 0, "seeds": 1}
    return Namespace(**defaults | given)


@pytest.fixture
def quick_detectors(monkeypatch):
    methods = dict.fromkeys(EVERY, distance) | {FIRST: backwards}
    monkeypatch.setattr(outliers, "METHODS", methods)
    monkeypatch.setattr(robustness, "METHODS", methods)


@pytest.fixture(scope="module")
def results():
    """Results of two seeds, tables and methods of which one failed on one table."""
    auroc = {"a": (0.7, 0.9, 0.6, 0.85), "b": (0.5, 0.8, 0.75, np.nan)}
    rows = [
        {"table": t, "protocol": "S", "method": m, "seed": s, "auroc": value + d}
        for t, values in auroc.items()
        for m, value in zip(EVERY, values, strict=True)
        for s, d in ((0, -0.1), (1, 0.1))
    ]
    frame = pd.DataFrame(rows)
    return frame.assign(ap=frame["auroc"] / 2, seconds=range(len(frame)))


def test_area_and_precision_are_those_by_hand():
    """Of four pairs three are in order; precisions at the outliers are 1 and 2/3."""
    scores = np.array([1.0, 2, 3, 4])
    found = _detectors.detect(lambda *_: scores, None, None, [0, 1, 0, 1], 0)
    assert found["auroc"] == 0.75
    assert found["ap"] == pytest.approx((1 + 2 / 3) / 2)
    assert 0 <= found["seconds"] < 1


def test_outlier_summary_by_hand(results):
    table = outliers._over_tables("S", results).set_index("method")
    assert list(table["tables"]) == [2, 2, 2, 1]
    np.testing.assert_allclose(table["auroc"], [0.6, 0.85, 0.675, 0.85])
    np.testing.assert_allclose(table["ap"], table["auroc"] / 2)
    # Ranks 3, 1, 4, 2 on a; 3, 1, 2 and last on b.
    assert list(table["rank"]) == [3, 1, 3, 3]
    # By its mean the better kNN is the scaled one, which failed on b.
    assert list(table["kNN w/l"]) == ["0/1", "1/0", "0/1", "0/0"]
    assert list(table["forest w/l"]) == ["0/2", "0/0", "0/2", "0/1"]
    assert table.loc[FIRST, "ours ahead"] == "-"
    assert table.loc["IsolationForest", "ours ahead"] == "-0.250 [-0.300, -0.200]"
    assert table.loc[LAST, "ours ahead"] == "-0.150 [-0.150, -0.150]"
    assert list(table["max s"]) == [9, 11, 13, 15]
    assert list(table["median s"]) == [4.5, 6.5, 8.5, 10.5]


def test_far_losses_are_named(results):
    lines = outliers._sentences("S", results)
    assert "2 tables, seed 0, 1; the better kNN is kNN min-max." in lines[0]
    assert "behind kNN min-max on 1 of 2 tables: a (0.70, 0.85)." in lines[1]
    assert "on 2 of 2 tables: a (0.70, 0.90), b (0.50, 0.80)." in lines[2]


def test_interval_of_a_mean():
    assert list(outliers.interval([0.25] * 7)) == [0.25, 0.25]
    values = np.random.default_rng(0).normal(size=400)
    low, high = outliers.interval(values)
    half = 1.96 * values.std() / 20
    expected = values.mean() - half, values.mean() + half
    np.testing.assert_allclose([low, high], expected, atol=0.01)


def test_details_are_tables_by_methods(results):
    table = outliers.details(results)
    assert list(table) == ["protocol", "figure", "table", *EVERY]
    assert list(table["figure"]) == ["auroc"] * 2 + ["ap"] * 2
    np.testing.assert_allclose(table[FIRST], [0.7, 0.5, 0.35, 0.25])


def test_only_ours_is_told_that_a_class_is_clean(monkeypatch):
    told = []

    class Recorder(IsolationForest):
        def __init__(self, random_state=None, **params):
            super().__init__(n_estimators=1, random_state=random_state)
            told.append(params)

    monkeypatch.setattr(_detectors, "AEOutlierDetector", Recorder)
    X = np.random.default_rng(0).normal(size=(20, 2))
    for name in list(_detectors.METHODS)[:3]:
        _detectors.METHODS[name](X, X, 0)
        _detectors.METHODS[name](X, None, 0)
    plain = {"method": "reconstruction"}
    assert told == [{"contamination": 0}, {}, {}, {}, plain, plain]


def test_one_class_split_is_the_documented_one():
    y = np.array([0, 1, 0, 0, 1, 0, 0])
    table = Table("t", np.arange(7.0)[:, None], y)
    train, test, truth = _detectors.one_class(table, 3)
    normal = np.random.default_rng(3).permutation([0, 2, 3, 5, 6])
    assert list(train.ravel()) == list(normal[:2])
    assert list(test.ravel()) == [*normal[2:], 1, 4]
    assert list(truth) == [0, 0, 0, 1, 1]


def test_a_row_is_not_its_own_neighbour():
    """Of six rows the other five are the neighbours."""
    x = np.array([0.0, 1, 3, 6, 10, 15])
    apart = np.abs(x[:, None] - x).sum(axis=1) / 5
    knn, scaled = (_detectors.METHODS[name] for name in ("kNN", "kNN min-max"))
    np.testing.assert_allclose(knn(x[:, None], None, 0), apart / x.std())
    np.testing.assert_allclose(scaled(x[:, None], None, 0), apart / 15)
    # A new row's own copy among the training rows is one.
    new = np.array([[0.0]])
    expected = np.sort(x)[:5].mean() / x.std()
    np.testing.assert_allclose(knn(x[:, None], new, 0), [expected])


def test_pca_error_by_hand():
    """A column that follows the others is found where it does not."""
    X = np.random.default_rng(0).normal(size=(50, 1)) * np.ones(5)
    X = np.vstack([X, [1, 1, 1, 1, -1]])
    Z = StandardScaler().fit_transform(X)
    axis = np.linalg.svd(Z, full_matrices=False)[2][:1]
    expected = ((Z - Z @ axis.T @ axis) ** 2).sum(axis=1)
    np.testing.assert_allclose(_detectors.METHODS["PCA error"](X, None, 0), expected)
    assert expected.argmax() == 50


@pytest.mark.parametrize("name", [*_detectors.METHODS][3:])
def test_rivals_find_what_is_far(name):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 4)) @ rng.normal(size=(4, 8)) + rng.normal(size=(120, 8))
    X[:6] = 6 * rng.normal(size=(6, 8))
    method, y = _detectors.METHODS[name], np.arange(120) < 6
    found = _detectors.detect(method, X[20:], X[:20], y[:20], 0)
    assert found["auroc"] > 0.8
    found = _detectors.detect(method, X, None, y, 0)
    # Five normals are enough to give outliers one of their own.
    assert found["auroc"] > 0.8 or name == "GaussianMixture"


def test_bundled_tables_become_five_tasks():
    tasks = anomaly_tasks(options())
    names = ["digits 0", "digits 1", "breast_cancer 1", "wine 1", "iris 1"]
    assert [task.name for task in tasks] == names
    for task in tasks:
        assert set(task.y) == {0, 1}
        assert task.y.mean() == pytest.approx(0.1, abs=0.01)
    X, y = load_iris(return_X_y=True)
    normal = tasks[-1].X[tasks[-1].y == 0]
    np.testing.assert_array_equal(normal, X[y == 1])


def test_a_table_with_outliers_is_taken_as_it_is(tmp_path, capsys):
    X, rare = np.random.default_rng(0).normal(size=(60, 2)), np.arange(60) % 10 == 0
    for name, y in {"rare": rare, "often": ~rare, "none": X[:, 0]}.items():
        np.savez(tmp_path / f"{name}.npz", X=X, y=y)
    data = {"data": tmp_path, "tables": "rare,often,none"}
    as_it_is, turned = anomaly_tasks(options(**data))
    np.testing.assert_array_equal(as_it_is.y, rare)
    assert turned.name == "often 1"
    np.testing.assert_array_equal(turned.y, rare)
    assert "or more in y: none." in capsys.readouterr().out
    message = fail(["outliers", "--tables", "diabetes"], capsys)
    assert "no two classes of two rows or more in y: diabetes" in message


@pytest.mark.usefixtures("quick_detectors")
def test_outliers_are_asked_for_in_both_protocols(tmp_path, capsys):
    arguments = ["--tables", "wine,iris", "--seeds", "2"]
    code, frame = ask("outliers", tmp_path, *arguments)
    assert code == 0
    assert list(frame) == [*outliers.FORMATS, "error"]
    # What has no seed is not run again where the rows are the same.
    count = frame.groupby(["protocol", "method"]).size()
    assert list(count["S"]) == [4] * 4
    assert dict(count["U"]) == dict(zip(EVERY, (4, 4, 2, 2), strict=True))
    auroc = frame.set_index(["protocol", "table", "seed", "method"])["auroc"].unstack()
    np.testing.assert_allclose(auroc[FIRST], 1 - auroc["IsolationForest"])
    assert (tmp_path / "outliers.png").stat().st_size > 1000
    text = (tmp_path / "outliers.md").read_text(encoding="utf-8")
    assert "| protocol | figure | table | AEOutlierDetector | Isol" in text
    assert text.count("| wine 1 |") == 4
    assert "S: 2 tables, seed 0, 1;" in capsys.readouterr().out


def test_what_fails_or_takes_too_long_is_named(monkeypatch, tmp_path, capsys):
    def slow(train, test, seed):
        stop = perf_counter() + 20
        while perf_counter() < stop:
            with suppress(TimeoutError):  # it is raised again
                sleep(0.01)
                continue
            sleep(20)

    def infinite(train, test, seed):
        return np.full(len(train if test is None else test), np.inf)

    methods = dict.fromkeys(EVERY, distance) | {"slow": slow, FIRST: infinite}
    monkeypatch.setattr(outliers, "METHODS", methods)
    monkeypatch.setattr(outliers, "burn_in", lambda methods: None)
    monkeypatch.setattr(_detectors, "SECONDS", 0.1)
    start = perf_counter()
    code, frame = ask("outliers", tmp_path, "--tables", "iris")
    assert code == 1
    assert perf_counter() - start < 15
    error = frame.set_index(["protocol", "method"])["error"].dropna()
    late, endless = "TimeoutError: not done after 0.1 s", "ArithmeticError: "
    for protocol in "SU":
        assert error[protocol, "slow"] == late
        assert error[protocol, FIRST] == endless + "a score is not finite"
    assert len(error) == 4
    assert f"FAILED iris 1 U slow 0: {late}" in capsys.readouterr().out


def test_worse_rows_are_as_documented():
    y = np.arange(100) >= 90
    table = Table("t", np.random.default_rng(0).normal(size=(100, 6)), y.astype(int))
    clean, test, truth = _detectors.one_class(table, 0)
    for share in (0, 0.05, 0.3):
        rng = np.random.default_rng(0)
        train, *scored = robustness.contaminated(table, share, rng, 0)
        np.testing.assert_array_equal(train[:45], clean)
        assert 1 - 45 / len(train) == pytest.approx(share, abs=0.01)
        assert {*map(tuple, train[45:])} <= {*map(tuple, table.X[90:])}
        np.testing.assert_array_equal(scored[0], test)
        np.testing.assert_array_equal(scored[1], truth)
    rng = np.random.default_rng(0)
    X, _, found = robustness.with_noise(table, 0.5, rng, 0)
    assert X.shape == (100, 12)
    np.testing.assert_array_equal(X[:, :6], table.X)
    assert np.abs(X[:, 6:]).max() <= np.abs(table.X).max()
    np.testing.assert_array_equal(found, y)
    X, _, found = robustness.repeated(table, 3, rng, 0)
    assert (len(X), found.sum()) == (120, 30)
    np.testing.assert_array_equal(X[90:93], table.X[[90] * 3])


@pytest.mark.usefixtures("quick_detectors")
def test_robustness_draws_curves(tmp_path, capsys):
    code, frame = ask("robustness", tmp_path, "--tables", "wine,iris")
    assert code == 0
    assert len(frame) == 2 * (5 + 4 + 3) * len(EVERY)
    mean = robustness.curves(frame)
    assert list(mean) == list(EVERY)
    part = frame[(frame["change"] == "columns") & (frame["level"] == 0.25)]
    expected = part.groupby("method")["auroc"].mean()[list(EVERY)]
    np.testing.assert_allclose(mean.loc[("columns", 0.25)], expected)
    fall = mean.loc[("copies", 1), FIRST] - mean.loc[("copies", 6), FIRST]
    told = f"AUROC lost from 1 to 6: {FIRST} {fall:.3f}"
    assert told in capsys.readouterr().out
    # Where one method fails, the table counts for none.
    failed = (frame["table"] == "iris 1") & (frame["method"] == FIRST)
    frame.loc[failed & (frame["level"] == 0.3), "auroc"] = np.nan
    wine = frame[frame["table"] == "wine 1"]
    left, alone = (robustness.curves(f).loc["contamination"] for f in (frame, wine))
    pd.testing.assert_frame_equal(left, alone)
    assert (tmp_path / "robustness.png").stat().st_size > 1000


@pytest.mark.parametrize("change", explanations.CHANGES)
def test_explanations_plant_one_wrong_cell_a_row(change):
    X = np.c_[np.random.default_rng(0).normal(size=(100, 3)), np.ones(100)]
    train, rows, cells = explanations.planted(X, change, 0)
    assert (len(train), len(rows)) == (75, 25)
    assert set(cells) <= {0, 1, 2}
    right = np.array([min(X, key=lambda x: np.sum(x != row)) for row in rows])
    every = np.arange(25)
    assert ((right != rows).sum(axis=1) <= 1).all()
    was, now = right[every, cells], rows[every, cells]
    if change == "far":
        deviations = np.abs(now - was) / train.std(axis=0)[cells]
        np.testing.assert_allclose(deviations, 5)
    else:
        # What was high is low.
        assert np.corrcoef(was, now)[0, 1] < -0.8
        assert np.isin(now, train).all()


def test_explanations_count_the_wrong_cells_that_are_blamed(
    tmp_path, capsys, monkeypatch
):
    methods = {"right": explanations._standard_score, "none": lambda *a: np.eye(4)[[0]]}
    monkeypatch.setattr(explanations, "METHODS", methods)
    code, frame = ask("explanations", tmp_path, "--tables", "iris")
    assert code == 0
    far = frame[frame["change"] == "far"].set_index("method")["hit"]
    assert far["right"] == 1
    assert far["none"] < 0.5
    assert "far: 0.9 or more on 1 by right, 0 by none of 1 tables." in (
        capsys.readouterr().out
    )
    assert (tmp_path / "explanations.png").stat().st_size > 1000
