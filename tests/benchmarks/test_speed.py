"""What the benchmarks of time and memory measure; no test asks how long it took."""

import io
from argparse import Namespace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_info

from tests.benchmarks.asking import ask

pytest.importorskip("matplotlib")

from benchmarks import _memory, growth, scoring, speed
from benchmarks.__main__ import main
from benchmarks._judge import held_to
from benchmarks._loops import LOOPS, bare
from benchmarks._memory import with_peak
from benchmarks._tables import curved_sheet
from sklearn_ae import AutoencoderTransformer
from sklearn_ae.autoencoder._parameters import max_iterations

# -- speed -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["torch, flat", "numpy, by hand"])
def test_bare_loops_are_the_same_training(name):
    X = curved_sheet(700, 6)
    expected = bare(X, 0, 3)(X)
    np.testing.assert_allclose(LOOPS[name](X, 0, 3)(X), expected, atol=1e-5)


def test_the_floor_is_the_products_of_one_layer_after_the_other(monkeypatch):
    shapes, matmul = [], np.matmul
    monkeypatch.setattr(
        np, "matmul", lambda a, b, out: (shapes.append(out.shape), matmul(a, b, out))[1]
    )
    LOOPS[speed.FLOOR](curved_sheet(256, 6), 0, 1)
    forward = [(256, 64), (256, 16), (256, 64), (256, 6)]
    weights = [(64, 6), (256, 64), (16, 64), (256, 16), (64, 16), (256, 64), (6, 64)]
    assert shapes == forward + weights


@pytest.mark.usefixtures("several_threads")
def test_speed_is_asked_in_a_minute(tmp_path, monkeypatch):
    methods = (speed.FLOOR, "bare torch", speed.OURS)
    monkeypatch.setattr(speed, "LOOPS", {name: LOOPS[name] for name in methods})
    n_threads = torch.get_num_threads()
    assert main(["speed", "--quick", "--out", str(tmp_path)]) == 0
    assert torch.get_num_threads() == n_threads
    frame = pd.read_csv(tmp_path / "speed.csv")
    assert set(frame["method"]) == set(methods)
    assert frame["loss"].dropna().between(0, 1).all()
    table, _ = speed.summary(frame, None)
    assert (table.set_index("method").loc[speed.OURS, "/ ours"] == 1).all()
    by = frame.set_index(["threads", "method"])["seconds"]
    ratio = by[1, "bare torch"] / by[1, speed.FLOOR]
    first = table[(table["threads"] == 1) & (table["method"] == "bare torch")]
    assert first["/ floor"].item() == pytest.approx(ratio)
    assert (tmp_path / "speed.png").stat().st_size > 0


def test_a_loss_above_the_bare_loops_is_named():
    row = {"shape": "9 x 2", "threads": 1, "round": 0, "seconds": 1.0, "rows_s": 9.0}
    losses = {speed.FLOOR: np.nan, "bare torch": 1.0, speed.OURS: 1.05, "low": 0.5}
    frame = pd.DataFrame([row | {"method": m, "loss": x} for m, x in losses.items()])
    _, sentences = speed.summary(frame, None)
    assert "ours: its training loss is 5.0% above" in sentences[0]
    assert not any("low" in sentence for sentence in sentences)


def test_a_loop_that_fails_is_a_failure_of_its_own(tmp_path, monkeypatch, capsys):
    def broken(X, seed, n_epochs):
        raise ArithmeticError("nothing learnt")

    loops = {name: LOOPS[name] for name in (speed.FLOOR, "bare torch", speed.OURS)}
    monkeypatch.setattr(speed, "LOOPS", loops | {"broken": broken})
    arguments = ["speed", "--quick", "--seed", "5", "--out", str(tmp_path)]
    assert main(arguments) == 1
    frame = pd.read_csv(tmp_path / "speed.csv")
    failed = frame[frame["method"] == "broken"]
    assert len(failed) == frame["threads"].nunique()
    assert (failed["error"] == "ArithmeticError: nothing learnt").all()
    assert set(frame["round"]) == {0}
    assert "nothing learnt" in capsys.readouterr().out


# -- what they share -------------------------------------------------------------------


def peak(function, *args):
    found, _ = with_peak(function, *args)
    if np.isnan(found):
        pytest.skip("this system does not tell its memory")
    return found / 1e6


def test_the_sheet_is_standardised_and_made_without_a_second_table():
    found, X = peak(curved_sheet, 200_000, 20), curved_sheet(1500, 20)
    assert 16 <= found < 22
    assert X.dtype == np.float32
    np.testing.assert_allclose(X.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(X.std(axis=0), 1, atol=1e-5)


def test_less_noise_is_nearer_to_the_sheet():
    none, little, much = (
        np.linalg.svd(curved_sheet(500, 30, noise), compute_uv=False)[-1]
        for noise in (0, 0.1, 0.3)
    )
    assert none < little < much


def test_a_peak_is_of_one_call_and_beyond_what_was_held():
    def take(n_megabytes):
        return np.ones(n_megabytes * 125_000)[:1].copy()

    held = np.ones(10_000_000)
    assert peak(take, 60) == pytest.approx(60, abs=3)
    assert peak(take, 30) == pytest.approx(30, abs=3)  # no longer that of before
    assert peak(len, held) == pytest.approx(0, abs=3)
    assert with_peak(divmod, 7, 2)[1] == (3, 1)


def test_what_was_freed_is_counted_when_it_is_used_again():
    def take():
        return [bytearray(2000) for _ in range(10_000)]

    pieces = take()
    del pieces[:-1]  # the last keeps the process from giving them back
    assert peak(take) == pytest.approx(20, abs=4)


@pytest.mark.parametrize("there", [(), ("status",)])
def test_a_peak_that_is_not_told_is_nan(there, monkeypatch, tmp_path):
    process = tmp_path / "none"
    monkeypatch.setattr(_memory, "PROCESS", process)
    if there:
        process.mkdir()
        (process / "status").write_text("VmHWM:  12 kB\n")
        (process / "clear_refs").mkdir()  # it can't be written to
    found, result = with_peak(divmod, 7, 2)
    assert np.isnan(found)
    assert result == (3, 1)


def test_threads_are_held_and_given_back():
    def now():
        pools = {pool["prefix"]: pool["num_threads"] for pool in threadpool_info()}
        return torch.get_num_threads(), pools

    before, held = now(), {}

    def fail():
        held["torch"], held["pools"] = now()
        raise ArithmeticError

    with pytest.raises(ArithmeticError), held_to(3):
        fail()
    assert held["torch"] == 3
    assert set(held["pools"].values()) == {3}
    assert now() == before


# -- growth ----------------------------------------------------------------------------


def few_iterations(n, **params):
    return partial(AutoencoderTransformer, max_iter=n, random_state=0, **params)


@pytest.fixture
def quick_growth(monkeypatch):
    """Small tables and budgets, in this process."""
    methods = {
        growth.OURS: few_iterations(2),
        growth.LONG: few_iterations(5, n_iter_no_change=99),
        "PCA": growth.METHODS["PCA"],
    }
    monkeypatch.setattr(growth, "METHODS", methods)
    monkeypatch.setattr(growth, "QUICK", [(60, 9), (120, 9), (60, 5)])
    monkeypatch.setattr(growth, "LONG_SHAPES", {(60, 9)})
    monkeypatch.setattr(growth, "N_HELD_OUT", 50)
    monkeypatch.setattr(growth, "measure", growth.fit)
    return methods


@pytest.mark.usefixtures("quick_growth")
def test_growth_is_asked_by_rows_and_by_columns(tmp_path, capsys):
    code, frame = ask("growth", tmp_path, "--quick")
    assert code == 0
    shapes = [*zip(frame["rows"], frame["columns"], strict=True)]
    assert shapes == [(60, 9)] * 3 + [(120, 9)] * 2 + [(60, 5)] * 2
    n_iter = frame.groupby("method")["n_iter"].apply(list)
    assert n_iter[growth.LONG] == [5]
    assert n_iter[growth.OURS] == [2] * 3
    k = frame.pivot(index=["rows", "columns"], columns="method", values="k")
    pd.testing.assert_series_equal(k["PCA"], k["ours"], check_names=False)
    assert frame["unexplained"].between(0, 0.2, inclusive="neither").all()
    assert (frame["seconds"] > 0).all()
    told = capsys.readouterr().out
    assert "ours: from 60 to 120 rows, 2 times as many" in told
    assert "PCA: from 5 to 9 columns, 1.8 times as many" in told
    assert "60 x 9: the error is " in told
    assert (tmp_path / "growth.png").stat().st_size > 1000


def test_the_long_fit_differs_in_its_budget_alone():
    ours, long = (growth.METHODS[m]().get_params() for m in (growth.OURS, growth.LONG))
    assert long["max_iter"] == 10 * max_iterations(AutoencoderTransformer())
    assert long["n_iter_no_change"] > long["max_iter"]
    other = {"max_iter", "n_iter_no_change"}
    assert {k for k in ours if ours[k] != long[k]} == other
    assert ours == AutoencoderTransformer(random_state=0).get_params()


def test_growth_asks_for_what_is_promised():
    full, quick = (growth.cases(Namespace(quick=q)) for q in (False, True))

    def shapes(cases, method):
        return [(c["rows"], c["columns"]) for c in cases if c["method"] == method]

    rows = [(10**n, 50) for n in (3, 4, 5, 6)]
    columns = [(10**4, d) for d in (10, 30, 100, 300, 1000, 2000)]
    assert shapes(full, "ours") == shapes(full, "PCA") == rows + columns
    assert shapes(full, growth.LONG) == rows[1:]
    assert shapes(quick, growth.LONG) == [(1000, 10)]


def test_what_a_fit_leaves_is_one_minus_its_score():
    X = curved_sheet(400, 9)
    ours = few_iterations(3)().fit(X)
    expected = 1 - ours.score(X)
    assert growth._unexplained(ours, X) == pytest.approx(expected, rel=1e-4)
    values = np.linalg.svd(X.astype(float), compute_uv=False) ** 2
    expected = values[4:].sum() / values.sum()
    pca = PCA(4).fit(X)
    assert growth._unexplained(pca, X) == pytest.approx(expected, rel=1e-4)


@pytest.mark.usefixtures("quick_growth")
def test_memory_is_told_in_units_of_the_rows_fitted(monkeypatch):
    monkeypatch.setattr(growth, "with_peak", lambda f, *args: (720, f(*args)))
    assert growth.fit(60, 6, "PCA")["memory"] == 0.5


def test_a_fit_has_a_process_of_its_own(monkeypatch):
    monkeypatch.setattr(growth, "METHODS", {})  # of this one
    found = growth.measure(40_000, 20, "PCA")
    # PCA centres a copy at the most: had the table's making counted, it were more.
    assert np.isnan(found["memory"]) or 0 < found["memory"] < 2
    assert 0 < found["unexplained"] < 0.06


@pytest.mark.parametrize("broken", [["PCA"], ["ours", growth.LONG, "PCA"]])
def test_a_fit_that_fails_is_named(broken, quick_growth, tmp_path, capsys, monkeypatch):
    class Broken(PCA):
        def fit(self, X, y=None):
            raise MemoryError("too many rows")

    for name in broken:
        monkeypatch.setitem(quick_growth, name, Broken)
    code, frame = ask("growth", tmp_path, "--quick")
    assert code == 1
    failed = frame.loc[frame["error"].notna(), "method"]
    assert set(failed) == set(broken)
    told = capsys.readouterr().out
    assert "FAILED 60 5" in told
    for name in ("ours", "PCA"):
        assert (f"{name}: from 60 to 120 rows" in told) == (name not in broken)


def test_growth_by_hand():
    shapes = (10**3, 50), (10**4, 50), (10**6, 50), (10**4, 10)
    ours = pd.DataFrame(shapes, columns=["rows", "columns"])
    ours = ours.assign(method="ours", seconds=[1.0, 2, 9, 4])
    ours = ours.assign(memory=[8.0, 4, 1.25, 3], unexplained=[0.2, 0.103, 0.1, 0.3])
    pca = ours.assign(method="PCA", seconds=0.5, unexplained=0.2)
    long = ours[1:3].assign(method=growth.LONG, unexplained=[0.1, 0.08])
    frame = pd.concat([ours, pca, long], ignore_index=True)
    table, sentences = growth.summary(frame, None)
    assert list(table["seconds / PCA"][:4]) == [2, 4, 18, 8]
    np.testing.assert_allclose(table["unexplained / PCA"][8:], [0.5, 0.4])
    rows, columns = (s for s in sentences if s.startswith("ours"))
    assert "from 10,000 to 1,000,000 rows, 100 times as many" in rows
    assert "grow 4.5-fold, and its memory is then 1.25 times that of X" in rows
    assert "from 10 to 50 columns, 5 times as many" in columns
    assert "its seconds grow 0.5-fold" in columns
    assert "10,000 x 50: the error is 1.030 times" in sentences[4]
    assert sentences[4].endswith("longer, within 3%.")
    assert "1,000,000 x 50: the error is 1.250 times" in sentences[5]
    assert sentences[5].endswith("NOT within 3%.")


def test_the_panels_are_of_rows_and_of_columns():
    frame = pd.DataFrame(growth.cases(Namespace(quick=False)))
    frame = frame.assign(seconds=frame["rows"] * frame["columns"], memory=2.0)
    figure = growth.plot(frame.sample(frac=1, random_state=0))
    rows, columns = figure.axes[:2]
    lines = {line.get_label(): line.get_xydata() for line in rows.lines}
    assert list(lines) == [*growth.METHODS]
    expected = [(n, 50 * n) for n in (10**3, 10**4, 10**5, 10**6)]
    np.testing.assert_array_equal(lines["ours"], expected)
    line = columns.lines[0].get_xydata()
    expected = [(d, 10**4 * d) for d in (10, 30, 50, 100, 300, 1000, 2000)]
    np.testing.assert_array_equal(line, expected)
    growth.plot(frame.assign(memory=np.nan)).savefig(io.BytesIO())  # not on Linux


# -- scoring ---------------------------------------------------------------------------


@pytest.fixture
def quick_scoring(monkeypatch):
    caches = scoring._methods, scoring._table
    for function in caches:
        function.cache_clear()
    monkeypatch.setattr(scoring, "ROWS", dict.fromkeys(scoring.ROWS, (300, 200)))
    monkeypatch.setattr(scoring, "N_TRAIN", 400)
    monkeypatch.setattr(scoring, "N_CALLS", 3)
    yield
    for function in caches:
        function.cache_clear()


@pytest.mark.usefixtures("quick_scoring", "several_threads")
def test_scoring_is_asked_for_many_rows_and_for_one(tmp_path, capsys):
    n_threads = torch.get_num_threads()
    code, frame = ask("scoring", tmp_path, "--quick")
    assert code == 0
    assert torch.get_num_threads() == n_threads
    many = frame[frame["rows"] == 200].set_index("method")
    one = frame[frame["rows"] == 1].set_index("method")
    assert list(many.index) == list(scoring.ROWS)
    assert list(one.index) == list(scoring.SINGLE)
    np.testing.assert_allclose(many["rows_s"], 200 / many["seconds"])
    table, _ = scoring.summary(frame, None)
    table = table.set_index("method")
    for method, floor in scoring.FLOORS.items():
        expected = many.loc[method, "seconds"] / many.loc[floor, "seconds"]
        assert table.loc[method, "/ floor"] == pytest.approx(expected)
    np.testing.assert_allclose(table["one row us"].dropna(), 1e6 * one["seconds"])
    assert "IsolationForest takes " in capsys.readouterr().out
    assert (tmp_path / "scoring.png").stat().st_size > 1000


@pytest.mark.usefixtures("quick_scoring")
def test_every_method_does_what_its_name_says():
    X, new = curved_sheet(400, 50), scoring._table(30)
    methods = scoring._methods()
    assert methods["transform"](new).shape == methods["PCA.transform"](new).shape
    assert methods["transform"](new).shape == (30, 10)
    # Of nearly standardised columns the scores are their mean squared errors.
    errors = np.square(new - methods["reconstruct"](new)).mean(axis=1)
    np.testing.assert_allclose(methods["score_samples"](new), -errors, rtol=0.2)
    apart = np.sort(np.linalg.norm(new[:, None] - X, axis=2), axis=1)
    expected = apart[:, :5].mean(axis=1)
    np.testing.assert_allclose(methods["KNN"](new), expected, rtol=1e-3)
    for name in ("score_samples", scoring.FOREST, scoring.LOF):
        assert np.shape(methods[name](new)) == (30,)


def test_scoring_asks_for_what_is_promised():
    cases = scoring.cases(Namespace(quick=False))
    sizes = {(c["method"], c["rows"]) for c in cases}
    assert len(cases) == 5 * len(sizes) == 5 * (len(scoring.ROWS) + 4)
    millions = {m for m, n in sizes if n == 10**6}
    assert millions >= {"transform", "reconstruct", "score_samples", "PCA.transform"}
    quick = scoring.cases(Namespace(quick=True))
    assert max(c["rows"] for c in quick) == 20_000
    assert ("KNN", 500) in {(c["method"], c["rows"]) for c in quick}


def test_the_floor_is_every_product_of_the_layers_on_every_row(monkeypatch):
    shapes, matmul = [], np.matmul
    ours = few_iterations(1, hidden_layer_sizes=(7, 7))(3).fit(curved_sheet(100, 5))
    call = scoring.products(ours.module_)

    def note(a, b, out):
        shapes.append((len(a), *b.shape))
        return matmul(a, b, out=out)

    monkeypatch.setattr(np, "matmul", note)
    monkeypatch.setattr(scoring, "BLOCK", 64)
    call(curved_sheet(100, 5))
    path = [(5, 3), (5, 7), (7, 7), (7, 3)]
    back = [(3, 5), (3, 7), (7, 7), (7, 5)]
    assert shapes == [(n, *s) for n in (64, 36) for s in path + back]
    shapes.clear()
    scoring.products(ours.module_.encoder)(curved_sheet(64, 5))
    assert shapes == [(64, *s) for s in path]


def test_one_row_is_the_median_of_many_calls(monkeypatch):
    calls, seconds = [], iter([9.0, 1.0, 2.0])
    monkeypatch.setattr(scoring, "timed", lambda f, X: (next(seconds), f(X)))
    assert scoring._seconds(calls.append, "X", 3) == 2
    assert calls == ["X"] * 3


def test_scoring_by_hand():
    """Ratios are taken within a round: each takes twice as long in the second."""
    rows = dict.fromkeys(scoring.ROWS, 1000) | {scoring.FOREST: 100}
    seconds = dict.fromkeys(rows, 1.0)
    seconds |= {"transform": 2.0, scoring.BACK_TOO: 0.5, scoring.PCA_CODE: 0.1}
    many = [
        {"method": m, "rows": n, "round": i, "seconds": seconds[m] * slower}
        for i, slower in enumerate((1, 2, 4))
        for m, n in rows.items()
    ]
    one = [
        {"method": m, "rows": 1, "round": i, "seconds": s * slower}
        for i, slower in enumerate((1, 2, 4))
        for m, s in zip(scoring.SINGLE, (3e-4, 4e-4, 1e-4, 8e-3), strict=True)
    ]
    frame = pd.DataFrame(many + one)
    frame = frame.assign(rows_s=frame["rows"] / frame["seconds"], memory_mb=1.0)
    # One round where a method is late does not move its median.
    late = (frame["method"] == "reconstruct") & (frame["round"] == 2)
    frame.loc[late, "rows_s"] /= 50
    table, sentences = scoring.summary(frame, None)
    table = table.set_index("method")
    floors = table["/ floor"].dropna()
    assert dict(floors) == {"transform": 2, "reconstruct": 2, "score_samples": 2}
    assert table.loc[scoring.FOREST, "/ score_samples"] == pytest.approx(10)
    assert table.loc[scoring.PCA_CODE, "/ score_samples"] == pytest.approx(0.1)
    assert table.loc["transform", "one row us"] == pytest.approx(600)
    assert table.loc["score_samples", "one row / PCA"] == pytest.approx(4)
    told = "\n".join(sentences)
    assert "transform takes 2.00 times its floor's seconds." in told
    assert "transform takes 20 times as long a row as PCA.transform." in told
    assert "IsolationForest takes 10 times as long a row as score_samples." in told
    assert "One row: transform takes 3 times as long as PCA.transform." in told
    assert "score_samples takes 0.05 times as long as IsolationForest." in told


@pytest.mark.usefixtures("quick_scoring")
def test_scoring_that_fails_is_named(tmp_path, capsys, monkeypatch):
    def broken(X):
        raise ArithmeticError("no score")

    # All of them, where nothing is left to draw, and one.
    monkeypatch.setattr(scoring, "_methods", lambda: dict.fromkeys(methods, broken))
    methods = scoring.ROWS
    assert ask("scoring", tmp_path, "--quick")[0] == 1
    quick = dict.fromkeys(methods, len) | {"KNN": broken}
    monkeypatch.setattr(scoring, "_methods", lambda: quick)
    capsys.readouterr()
    code, frame = ask("scoring", tmp_path, "--quick")
    assert code == 1
    assert list(frame.loc[frame["error"].notna(), "method"]) == ["KNN"]
    assert "FAILED KNN 200 0: ArithmeticError: no score" in capsys.readouterr().out
