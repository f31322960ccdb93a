"""One quick run a question, the formulas against closed forms, and failures."""

import gzip
from argparse import Namespace
from functools import partial
from time import sleep

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info

pytest.importorskip("matplotlib")
pytest.importorskip("skimage")
pytest.importorskip("zstandard")

from benchmarks import (
    _denoisers,
    _detectors,
    _measure,
    _report,
    _tables,
    compression,
    generation,
    images,
    pca,
    pretraining,
    variants,
)
from benchmarks.__main__ import QUESTIONS, main
from sklearn_ae import AEOutlierDetector, AutoencoderTransformer

outliers, robustness, explanations, measures = QUESTIONS["outliers"].values()
speed, quality, growth, scoring, detection = QUESTIONS["speed"].values()
IRIS = _tables.Table("iris", *load_iris(return_X_y=True))
QUICK = partial(AutoencoderTransformer, max_iter=2)
SHALLOW = AEOutlierDetector(method="reconstruction", autoencoder=QUICK(2))


def options(**given):
    defaults = {"data": None, "tables": None, "quick": False, "seed": 0, "seeds": 1}
    return Namespace(**defaults | given)


def keep(monkeypatch, face, *names, name="METHODS", **more):
    methods = getattr(face, name)
    kept = {n: methods[n] for n in names} | more
    monkeypatch.setattr(face, name, kept)


@pytest.fixture
def few(monkeypatch):
    """Fast methods, and small tables where they are drawn."""
    keep(monkeypatch, pca, "PCA", ours=QUICK)
    knobs = {"contractive": ({}, "contraction_weight", (1.0,))}
    monkeypatch.setattr(variants, "KNOBS", knobs)
    keep(monkeypatch, generation, "Gaussian q", "mixture r", "variational")
    rivals = "kNN", "kNN min-max", "IsolationForest", "PCA error"
    fast = {"AEOutlierDetector": _detectors.pca_error}
    keep(monkeypatch, outliers, *rivals, **fast)
    keep(monkeypatch, outliers, name="CLEAN", **fast)
    keep(monkeypatch, robustness, "kNN", **fast)
    keep(monkeypatch, explanations, "PCA", "standard score", "AEOutlierDetector")
    short = partial(_denoisers.ours, max_iter=1), lambda _: [""]
    keep(monkeypatch, images, "noisy", "wavelet", name="DENOISERS", ours=short)
    keep(monkeypatch, images, "PCA", name="CODERS")
    monkeypatch.setattr(_denoisers, "MAX_LEARNT", 200)
    monkeypatch.setattr(pretraining, "METHODS", [*pretraining.RIVALS, "ours"])
    monkeypatch.setattr(compression, "TABLE_POINTS", (20, 30))
    keep(monkeypatch, speed, speed.FLOOR, speed.BARE, "ours", name="LOOPS")
    short_ours = partial(quality.ours, max_iter=2)
    keep(monkeypatch, quality, "MLPRegressor", ours=short_ours)
    keep(monkeypatch, growth, "PCA", ours=QUICK)
    monkeypatch.setattr(growth, "QUICK", [(60, 9), (120, 9)])
    monkeypatch.setattr(growth, "N_HELD_OUT", 50)
    monkeypatch.setattr(growth, "measure", growth.fit)
    monkeypatch.setattr(scoring, "QUICK_ROWS", 200)
    keep(monkeypatch, detection, "IsolationForest", "kNN", AEOutlierDetector=SHALLOW)
    for face in (scoring, detection):
        monkeypatch.setattr(face, "N_TRAIN", 400)
        monkeypatch.setattr(face, "N_CALLS", 2)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("question", "tables"),
    [(q, "iris") for q in ("pca", "variants", "generation", "outliers", "speed")]
    + [("images", "digits"), ("pretraining", "wine"), ("compression", "diabetes")],
)
def test_a_question_is_answered_quickly(question, tables, tmp_path, capsys):
    out = tmp_path / "out"
    assert main([question, "--tables", tables, "--quick", "--out", str(out)]) == 0
    page = (out / f"{question}.md").read_text(encoding="utf-8")
    for i, (name, face) in enumerate(QUESTIONS[question].items()):
        frame = pd.read_csv(out / f"{question}{f'-{name}' if i else ''}.csv")
        assert set(face.MEASURED) <= set(frame)
        assert frame["error"].isna().all()
        assert page.count(f"## {face.__doc__.splitlines()[0]}\n") == 1
        table = _report.summary(face, frame.assign(error=""))
        lines = _report._markdown(table).splitlines()
        assert len(lines) > 2
        assert set(lines) <= set(page.splitlines())
    assert (out / f"{question}.png").read_bytes().startswith(b"\x89PNG")
    assert "Python 3" in capsys.readouterr().out


@pytest.mark.usefixtures("few")
def test_a_face_replaces_its_section_and_keeps_the_others(tmp_path):
    run = ["speed", "--quick", "--out", str(tmp_path), "--face"]
    for face in ("growth", "scoring", "growth"):
        assert main([*run, face]) == 0
    page = (tmp_path / "speed.md").read_text(encoding="utf-8")
    assert page.count("\n## ") == 2
    assert "`python -m benchmarks speed --face growth --quick`" in page
    assert not (tmp_path / "speed.png").exists()  # it is of the first face


# -- failures and bad input ------------------------------------------------------------


class Broken(PCA):
    def transform(self, X):
        raise ArithmeticError("the tenth root of nothing")


def test_a_failing_method_is_named_and_the_others_are_kept(
    monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(pca, "METHODS", {"PCA": PCA, "bad": Broken, "ours": PCA})
    run = ["pca", "--tables", "iris", "--out", str(tmp_path), "--seeds", "2"]
    assert main(run) == 1
    message = "ArithmeticError: the tenth root of nothing"
    assert f"FAILED iris 1 bad: {message}" in capsys.readouterr().out
    frame = pd.read_csv(tmp_path / "pca.csv")
    assert frame["error"].dropna().tolist() == [message] * 2
    assert frame.loc[frame["error"].isna(), "ratio"].tolist() == [1] * 4
    assert message in (tmp_path / "pca.md").read_text(encoding="utf-8")
    monkeypatch.setattr(pca, "METHODS", {"PCA": Broken, "ours": Broken})
    assert main(run) == 1


def fail(capsys, *argv):
    with pytest.raises(SystemExit) as error:
        main([*map(str, argv)])
    assert error.value.code == 2
    return capsys.readouterr().err


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
def test_a_bad_file_is_named(tmp_path, capsys, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    error = fail(capsys, "pca", "--data", tmp_path)
    assert message in error
    assert "bad.npz" in error


def test_bad_input_is_exit_code_2(tmp_path, capsys):
    assert "not a folder" in fail(capsys, "--data", tmp_path / "no")
    assert "no .npz" in fail(capsys, "--data", tmp_path)
    assert "none of" in fail(capsys, "images", "--data", tmp_path)
    assert "no table x; there are: digits" in fail(capsys, "--tables", "x,iris")
    assert "--seeds at 1" in fail(capsys, "--seeds", "0")
    assert "training, quality, growth" in fail(capsys, "speed", "--face", "pca")
    assert "no two classes" in fail(capsys, "outliers", "--tables", "diabetes")
    (tmp_path / "text.gz").write_text("not a zip")
    for read in (_tables.read_idx, _tables.ecg):
        with pytest.raises(_tables.BadInput, match=r"text\.gz"):
            read(tmp_path / "text.gz")


def test_a_slow_detector_is_stopped_and_an_infinite_score_fails(monkeypatch):
    monkeypatch.setattr(_detectors, "SECONDS", 0.1)
    with pytest.raises(TimeoutError, match=r"not done after 0\.1 s"):
        _detectors.detect(lambda *_: sleep(20), None, None, None, 0)
    with pytest.raises(ArithmeticError, match="not finite"):
        _detectors.detect(lambda *_: np.array([np.inf]), None, None, None, 0)


# -- formulas --------------------------------------------------------------------------


def test_error_ratio_is_the_unexplained_share_over_pcas():
    train, test, *_ = _measure.split(IRIS, 0)
    axis = np.linalg.svd(train, full_matrices=False)[2][:1]
    back = test @ axis.T @ axis
    assert pca.reconstruction(train, test, back, 1)["ratio"] == pytest.approx(1)
    half = pca.reconstruction(train, test, (back + test) / 2, 1)
    assert half["ratio"] == pytest.approx(0.25)
    assert 1 - half["r2"] == pytest.approx(
        ((test - back) ** 2).sum() / 4 / ((test - test.mean(0)) ** 2).sum()
    )
    line = np.random.default_rng(0).normal(size=(40, 1)) * [1.0, 2, 3, 4]
    assert pca.reconstruction(line[:30], line[30:], line[30:] + 1e-6, 1)["ratio"] == 1


def test_ratios_are_within_a_round_and_comparisons_count():
    frame = pd.DataFrame(
        {"method": list("abab"), "round": [0, 0, 1, 1], "s": [1.0, 2, 9, 3]}
    )
    assert _report.over(frame, "s", "b", "round").tolist() == [0.5, 1, 3, 1]
    face = Namespace(OURS="a", LOWER_IS_BETTER=True)
    table = pd.DataFrame({"a": [1.0, 2, 3], "b": [2.0, 2, 1]}, index=["x", "y", "z"])
    said = list(_report.comparisons(face, table))
    assert said == [
        "a ahead of b on 1 of 3, behind on 1; at worst 3.000 against 1.000 (z)."
    ]
    face.FLOOR = "b"
    assert not list(_report.comparisons(face, table.assign(nothing_to_compare=np.nan)))
    face.FIGURE, face.HOW = "s", "median"
    rounds = pd.DataFrame({"table": "t", "method": "a", "s": [1.0, 2, 9]})
    assert _report.details(face, rounds).loc["t", "a"] == 2


def test_auroc_precision_ranks_and_intervals_by_hand():
    found = _detectors.detect(lambda *_: np.arange(4.0), None, None, [0, 1, 0, 1], 0)
    assert (found["auroc"], found["ap"]) == (0.75, pytest.approx((1 + 2 / 3) / 2))
    names = ("AEOutlierDetector", "IsolationForest", "kNN", "kNN min-max")
    auroc = {"a": (0.7, 0.9, 0.6, 0.85), "b": (0.5, 0.8, 0.75, np.nan)}
    rows = [
        (t, m, v) for t, vs in auroc.items() for m, v in zip(names, vs, strict=True)
    ]
    frame = pd.DataFrame(rows, columns=["table", "method", "auroc"])
    table = outliers.over_tables(frame.assign(ap=1 - frame["auroc"], seconds=1.0))
    assert table["rank"].tolist() == [3, 1, 3, 3]  # a failure is last
    assert table["ap rank"].tolist() == [1.5, 3.5, 1.5, 3.5]
    assert table["ours ahead"].tolist()[:2] == ["-", "-0.250 [-0.300, -0.200]"]
    values = np.random.default_rng(0).normal(size=400)
    half = 1.96 * values.std() / 20
    expected = values.mean() - half, values.mean() + half
    np.testing.assert_allclose(outliers.interval(values), expected, atol=0.01)


def test_distances_and_pca_errors_by_hand():
    x = np.array([0.0, 1, 3, 6, 10, 15])
    apart = np.abs(x[:, None] - x).sum(axis=1) / 5  # without the row itself
    found = _detectors.METHODS["kNN min-max"](x[:, None], None, 0)
    np.testing.assert_allclose(found, apart / 15)
    Z = StandardScaler().fit_transform(IRIS.X)
    axis = np.linalg.svd(Z, full_matrices=False)[2][:1]
    expected = ((Z - Z @ axis.T @ axis) ** 2).sum(axis=1)
    np.testing.assert_allclose(_detectors.pca_error(IRIS.X, None, 0), expected)


def test_tasks_and_worse_rows_are_as_documented():
    tasks = _tables.anomaly_tasks(options())
    assert [t.name for t in tasks] == [
        "digits 0",
        "digits 1",
        "breast_cancer 1",
        "wine 1",
        "iris 1",
    ]
    assert all(t.y.mean() == pytest.approx(0.1, abs=0.01) for t in tasks)
    table, rng = tasks[-1], np.random.default_rng(0)
    clean, test, truth = _tables.one_class(table, 0)
    assert (len(clean), len(test)) == (25, len(table.X) - 25)
    assert truth.sum() == table.y.sum()
    train, *_ = robustness.contaminated(table, 0.5, rng, 0)
    np.testing.assert_array_equal(train[:25], clean)
    assert len(train) == 50
    X, _, _ = robustness.with_noise(table, 0.5, rng, 0)
    assert X.shape[1] == 8
    assert robustness.repeated(table, 3, rng, 0)[2].sum() == 3 * table.y.sum()
    X = rng.normal(size=(100, 3))
    train, rows, _ = explanations.planted(X, "far", 0)
    right = np.array([min(X, key=lambda x: np.sum(x != row)) for row in rows])
    moved = (np.abs(rows - right) / train.std(axis=0)).max(axis=1)
    np.testing.assert_allclose(moved, 5)


def test_leaving_a_measure_out_is_the_mean_of_the_others():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)), np.repeat([0, 1], [50, 10])
    X[50:] += 4
    table = _tables.Table("small", X, y)
    names = [case["method"] for case in measures.cases(options(tables="iris"))]
    assert len(names) == 4 + 3 * 5
    scorer, rows, _ = measures._fitted(table, "U", 0)
    scores = AEOutlierDetector(random_state=0).fit(X).score_samples(X)
    np.testing.assert_allclose(scorer.scores(rows), scores)
    alone = [
        measures._with_measures(scorer._score, np.arange(4) == i).scores(X)
        for i in range(4)
    ]
    np.testing.assert_allclose(np.mean(alone, axis=0), scores)
    found = measures.measure(table, "U", "without network's error", 0)
    assert found["auroc"] == roc_auc_score(y, -np.mean(alone[:3], axis=0))


def test_contaminated_halves_hold_half_of_each_class():
    X, y = np.arange(11.0)[:, None], np.repeat([0, 1], [6, 5])
    table = _tables.Table("small", X, y)
    train, test, truth = _tables.contaminated_halves(table, 0)
    assert (len(train), len(test), truth.sum()) == (6, 5, 2)  # 3 and 3; 3 and 2
    np.testing.assert_array_equal(np.sort(np.r_[train, test], axis=0), X)
    np.testing.assert_array_equal(truth, test.ravel() > 5)
    others = [_tables.contaminated_halves(table, seed)[0] for seed in range(5)]
    assert len({tuple(other.ravel()) for other in others}) > 1


def test_each_protocol_has_its_methods_and_seeds(monkeypatch):
    """contamination=0 in S alone; without a seed and a split there is one run."""
    monkeypatch.setattr(outliers, "burn_in", lambda methods: None)
    frame = pd.DataFrame(outliers.cases(options(tables="iris", quick=True, seeds=3)))
    runs = frame.pivot_table("seed", "method", "protocol", "count", fill_value=0)
    assert runs.loc["AEOutlierDetector auto"].to_dict() == {"S": 3, "U": 0, "V": 0}
    assert runs.loc["AEOutlierDetector"].to_dict() == {"S": 3, "U": 3, "V": 3}
    assert runs.loc["IsolationForest"].to_dict() == {"S": 3, "U": 3, "V": 3}
    assert runs.loc["kNN"].to_dict() == {"S": 3, "U": 1, "V": 3}
    for protocol, given in {"S": {"contamination": 0}, "U": {}, "V": {}}.items():
        method = outliers.methods(protocol)["AEOutlierDetector"]
        assert getattr(method, "keywords", {}) == given


def test_drawn_rows_are_distinguished_where_they_differ():
    real, same = np.random.default_rng(0).normal(size=(2, 300, 3))
    assert generation.two_sample_auc(real, same, 0) < 0.6
    assert generation.two_sample_auc(real, np.add(same, [0, 0, 3]), 0) > 0.95


def test_noise_has_its_size_and_parts_differ():
    digits = _tables.load(options(tables="digits", quick=True), _tables.bundled())[0]
    given = _denoisers.problem(digits, "gaussian 25 %", 0)
    assert given.sigma == 4
    assert (given.noisy_test - given.test).std() == pytest.approx(4, rel=0.05)
    assert (len(given.train), len(given.test), len(given.noisy_tune)) == (350, 150, 87)
    masked = _denoisers.problem(digits, "masking 25 %", 0)
    mean = masked.train.mean(axis=0)
    changed = (masked.noisy_test == mean)[:, mean > 0].mean()
    assert changed == pytest.approx(0.25, abs=0.03)

    def shifted(problem, train, noisy, shift):
        clean = problem.train[:87] if noisy is problem.noisy_tune else problem.test
        return clean + shift

    rows, _, chosen = _denoisers.denoised((shifted, lambda _: [3, 1, 2]), given)
    assert chosen == 1
    np.testing.assert_array_equal(rows, given.test + 1)
    atoms = np.eye(4)[:3]
    coded = _denoisers.sparse_coded(
        np.array([[3.0, 2, 1, 5]]), atoms, ("atoms", "2"), 1
    )
    np.testing.assert_allclose(coded, [[3, 2, 0, 0]], atol=1e-12)


def test_labels_are_drawn_two_of_each_class_at_the_least():
    for share, n in {"1 %": 6, "5 %": 6, "100 %": 105}.items():
        _, few_labels, X_test, _ = pretraining.problem(IRIS, share, 0)
        assert ((few_labels >= 0).sum(), len(X_test)) == (n, 45)
        assert np.bincount(few_labels[few_labels >= 0]).min() >= 2
    frame = pd.DataFrame({"n": [1.0, None, 5], "t": ["a", None, "a"]})
    np.testing.assert_array_equal(
        _tables.encoded(frame), [[1, 1, 0], [3, 0, 1], [5, 1, 0]]
    )


def test_bd_rate_psnr_and_mosaics_by_hand():
    quality = np.array([20.0, 25, 30, 35, 40])
    theirs = np.c_[quality, 2 ** (quality / 6)]
    assert compression.bd_rate(theirs * [1, 0.5], theirs) == pytest.approx(-0.5)
    assert compression.bd_rate(theirs, theirs * [1, 0.5]) == pytest.approx(1)
    assert np.isnan(compression.bd_rate(theirs, np.add(theirs, [100, 0])))
    rows, ranges = np.array([[0.0, 0], [1, 10]]), np.array([1.0, 10])
    assert compression.psnr(rows, rows + 0.1 * ranges, ranges) == pytest.approx(20)
    rows = np.random.default_rng(0).integers(0, 256, (7, 12)).astype(np.uint8)
    picture = compression.mosaic(rows, (3, 4))
    assert picture.shape == (9, 12)
    np.testing.assert_array_equal(compression.unmosaic(picture, 7, (3, 4)), rows)


def test_the_watch_counts_training_only(monkeypatch):
    times = iter([0.0, 1, 10, 12, 20, 25])
    monkeypatch.setattr(quality, "perf_counter", lambda: next(times))
    errors = iter([3.0, 2.0])
    watch = quality.StopWatch(lambda reconstruct: next(errors), 2.0, 5)
    watch.stop()
    assert not watch.score(None)
    watch.stop()
    assert not watch.score(None)
    watch.stop()
    assert (watch.reached, watch.iterations, watch.seconds) == (3, 2, 8)


def test_detectors_score_rows_with_a_wrong_cell_each(monkeypatch):
    monkeypatch.setattr(detection, "N_TRAIN", 50)
    wrong = detection._table(7, 9) - _tables.curved_sheet(59, 7)
    assert not wrong[:50].any()
    np.testing.assert_allclose(wrong[50:], 5 * np.eye(7)[np.arange(9) % 7], atol=1e-6)
    rows = np.array([[0.0], [1], [2], [4], [9], [20]])
    scores = detection.METHODS["kNN"].fit(rows).score_samples([[0.0]])
    assert scores == -(0 + 1 + 2 + 4 + 9) / 5
    seconds = {
        "seconds": [3.0, 2.0],
        "method": ["AEOutlierDetector", "IsolationForest"],
    }
    frame = pd.DataFrame(dict.fromkeys([*detection.ROWS, "round"], 1) | seconds)
    assert detection.derived(frame)["/ IsolationForest"].tolist() == [1.5, 1]


@pytest.mark.skipif(
    not (_measure.PROCESS / "clear_refs").exists(), reason="only Linux has the peak"
)
def test_the_peak_of_memory_is_what_the_call_takes():
    found, length = _measure.with_peak(lambda: len(np.ones(7_500_000)))
    assert found / 1e6 == pytest.approx(60, abs=4)
    assert length == 7_500_000


def test_threads_are_held_and_given_back():
    def numbers():
        pools = {pool["num_threads"] for pool in threadpool_info()}
        return pools | {torch.get_num_threads()}

    with _measure.held_to(2):
        with _measure.held_to(1):
            assert numbers() == {1}
        assert numbers() == {2}


def test_idx_files_are_read(tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    shape = np.array(array.shape, ">u4").tobytes()
    content = bytes([0, 0, 8, 3]) + shape + array.tobytes()
    (tmp_path / "a.gz").write_bytes(gzip.compress(content))
    np.testing.assert_array_equal(_tables.read_idx(tmp_path / "a.gz"), array)
