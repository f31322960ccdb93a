"""What the benchmarks of time and memory measure; no test asks how long it took."""

import numpy as np
import pandas as pd
import pytest
import torch
from threadpoolctl import threadpool_info

pytest.importorskip("matplotlib")

from benchmarks import _memory, speed
from benchmarks.__main__ import main
from benchmarks._judge import held_to
from benchmarks._loops import LOOPS, bare
from benchmarks._memory import with_peak
from benchmarks._tables import curved_sheet

# -- speed -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["torch, flat", "torch, by hand"])
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
