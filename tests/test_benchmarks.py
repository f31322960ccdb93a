import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

pytest.importorskip("matplotlib")

from benchmarks import _judge, generation, pca, variants
from benchmarks.__main__ import main
from benchmarks._rivals import KERNEL_ROWS, CappedKernelPCA, MLPAutoencoder

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
