"""Seconds to an error: what the clock counts, and what is said about it."""

from functools import partial
from itertools import repeat
from time import perf_counter, sleep
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_iris

pytest.importorskip("matplotlib")

from benchmarks import _watched, quality
from benchmarks.__main__ import main
from benchmarks._rivals import MLPAutoencoder
from benchmarks._tables import Table
from benchmarks._watched import METHODS, Watch
from sklearn_ae import AutoencoderTransformer

IRIS = Table("iris", *load_iris(return_X_y=True))
ROWS = (IRIS.X - IRIS.X.mean(axis=0)) / IRIS.X.std(axis=0)
SHORT = {
    "ours": partial(METHODS["ours"], max_iter=5),
    "MLPRegressor": METHODS["MLPRegressor"],
}


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by a second each time that it is read."""
    clock = SimpleNamespace(now=0.0)

    def read():
        clock.now += 1
        return clock.now

    monkeypatch.setattr(_watched, "perf_counter", read)
    return clock


def judge_of(clock, errors):
    """A judge that takes long, and what it finds."""
    errors = iter(errors)

    def judge(reconstruct):
        assert reconstruct(ROWS).shape == ROWS.shape
        clock.now += 1000
        return next(errors)

    return judge


def never(max_seconds=np.inf):
    """A watch on an error that is never reached."""
    return Watch(lambda reconstruct: np.inf, 0.0, max_seconds)


@pytest.mark.parametrize("method", METHODS)
def test_the_first_error_at_the_target_counts_and_looks_cost_no_time(method, clock):
    # A fourth one is not asked for.
    watch = Watch(judge_of(clock, [3.0, np.nan, 2.0]), 2.0, max_seconds=5)
    METHODS[method](ROWS, 2, 0, watch)
    watch.stop()
    # A second from each start to the next stop.
    assert (watch.reached, watch.iterations, watch.seconds) == (3, 5, 6)


def test_what_is_copied_for_a_look_costs_no_time(clock, monkeypatch):
    fitted = AutoencoderTransformer._fitted

    def slow(*args):
        clock.now += 100
        return fitted(*args)

    monkeypatch.setattr(AutoencoderTransformer, "_fitted", slow)
    watch = Watch(judge_of(clock, repeat(3.0)), 2.0, max_seconds=3)
    METHODS["ours"](ROWS, 2, 0, watch)
    watch.stop()
    assert np.isnan(watch.reached)
    # Of four copies the last is the fit's own.
    assert watch.seconds == 4 + 100


def test_a_slow_judge_is_not_in_the_seconds(monkeypatch):
    def slow(X, reconstruct):
        sleep(0.1)
        return 1.0

    monkeypatch.setattr(quality, "error", slow)
    monkeypatch.setattr(quality, "METHODS", SHORT)
    start = perf_counter()
    row = quality.measure(IRIS, "ours", 0)
    seconds = perf_counter() - start
    assert row["iterations"] == 5
    # Five looks, PCA and the fitted model.
    assert row["fit_s"] + row["plain_s"] + 7 * 0.1 <= seconds


def test_the_whole_fit_counts_to_its_end(clock, monkeypatch):
    monkeypatch.setattr(quality, "METHODS", SHORT)
    row = quality.measure(IRIS, "ours", 0)
    assert (row["iterations"], row["fit_s"]) == (5, 6)


def test_looks_change_no_fit_of_ours(monkeypatch):
    alone = SHORT["ours"](ROWS, 2, 0)(ROWS)
    # Autograd would be the slow path.
    monkeypatch.delattr(torch.Tensor, "backward")
    judged = SHORT["ours"](ROWS, 2, 0, never())(ROWS)
    np.testing.assert_array_equal(judged, alone)


def test_the_perceptron_is_judged_in_each_epoch_of_its_own_fit():
    alone = MLPAutoencoder(hidden_layer_sizes=(128, 2, 128), random_state=0).fit(ROWS)
    watch = never()
    judged = METHODS["MLPRegressor"](ROWS, 2, 0, watch)(ROWS)
    np.testing.assert_allclose(judged, alone.predict(ROWS), atol=1e-9)
    assert watch.iterations == alone.n_iter_


def test_looks_do_not_change_the_training_of_pyod(clock):
    auto_encoder = pytest.importorskip("pyod.models.auto_encoder")
    alone = auto_encoder.AutoEncoder(
        epoch_num=3, random_state=0, verbose=0, hidden_neuron_list=[128, 2]
    ).fit(ROWS)
    watch = Watch(judge_of(clock, repeat(3.0)), 2.0, max_seconds=3)
    judged = METHODS["PyOD"](ROWS, 2, 0, watch)(ROWS)
    distance = np.linalg.norm(judged - ROWS, axis=1)
    np.testing.assert_allclose(distance, alone.decision_scores_, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_a_fit_ends_with_its_budget_on_one_thread(method, monkeypatch):
    seen, judge = [], quality.error

    def error(*args):
        seen.append(torch.get_num_threads())
        return judge(*args)

    monkeypatch.setattr(quality, "error", error)
    monkeypatch.setattr(quality, "MAX_SECONDS", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        row = quality.measure(IRIS, method, 0)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    # PCA, one look, the fitted model.
    assert seen == [2, 1, 2]
    assert row["iterations"] == 1
    assert np.isnan(row["plain_s"])


def test_quality_is_asked(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(quality, "METHODS", SHORT)
    arguments = ["quality", "--tables", "iris", "--quick", "--out", str(tmp_path)]
    assert main(arguments) == 0
    frame = pd.read_csv(tmp_path / "quality.csv").set_index("method")
    assert list(frame.index) == list(SHORT)
    assert (frame["k"] == 1).all()
    assert frame.loc["ours", "iterations"] == 5
    # It starts at PCA; the perceptron is far ahead of it on iris.
    assert frame.loc["ours", "ratio"] <= 1
    rival = frame.loc["MLPRegressor"]
    assert rival["ratio"] < quality.SHARE
    assert 0 < rival["seconds"] < rival["fit_s"]
    assert list(frame["plain_s"].notna()) == [True, False]
    assert "MLPRegressor: reached on 1 of 1 tables" in capsys.readouterr().out
    assert (tmp_path / "quality.png").stat().st_size > 1000


def frame_of(seconds):
    """Results of two seeds; ours is at 0.95 of PCA's error at the end on a."""
    rows = [
        {"table": table, "method": method, "seed": seed, "seconds": value}
        for (table, method), values in seconds.items()
        for seed, value in enumerate(values)
    ]
    frame = pd.DataFrame(rows).assign(ratio=0.5, fit_s=6.0, plain_s=np.nan)
    ours = frame["method"] == "ours"
    frame.loc[ours, "plain_s"] = 5.0
    frame.loc[ours & (frame["table"] == "a") & (frame["seed"] == 1), "ratio"] = 0.95
    return frame


SECONDS = {
    ("a", "ours"): (1, 3),
    ("a", "rival"): (4, 8),
    ("b", "ours"): (2, np.nan),
    ("b", "rival"): (1, 1),
    ("c", "ours"): (4, 4),
    ("c", "rival"): (20, 20),
}
CASES = [{"table": IRIS, "method": "ours", "seed": 0}]


def test_summary_counts_and_compares():
    table, sentences = quality.summary(frame_of(SECONDS), CASES)
    expected = {"ours": [2, np.nan, 4], "rival": [6.0, 1, 20]}
    pd.testing.assert_frame_equal(
        table.set_index("table"),
        pd.DataFrame(expected, index=["a", "b", "c"]),
        check_names=False,
    )
    assert sentences[:4] == [
        "ours: reached on 2 of 3 tables, after 3.000 s at the median.",
        "rival: reached on 3 of 3 tables, after 6.000 s at the median; "
        "4.00 times ours where both did (2).",
        "Not there any more at the end: ours on a (seed 1).",
        "Ours judged took 1.20 times ours alone (fit_s / plain_s, median).",
    ]


def test_plot_has_a_dot_for_each_median():
    axes = quality.plot(frame_of(SECONDS)).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "c", "a"]
    dots = {d.get_label(): d.get_offsets() for d in axes.collections}
    np.testing.assert_array_equal(dots["rival"], [[1, 0], [20, 1], [6, 2]])
    assert axes.get_xscale() == "log"


def test_nobody_may_get_there(tmp_path):
    frame = frame_of({key: (np.nan, np.nan) for key in SECONDS})
    table, sentences = quality.summary(frame, CASES)
    assert table[["ours", "rival"]].isna().all(axis=None)
    assert sentences[:2] == [
        f"{m}: reached on 0 of 3 tables." for m in ("ours", "rival")
    ]
    quality.plot(frame).savefig(tmp_path / "plot.png")
