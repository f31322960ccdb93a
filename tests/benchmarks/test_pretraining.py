"""Few labels: which rows have one, how text becomes numbers, what is said."""

import gzip
from argparse import Namespace

import numpy as np
import pandas as pd
import pytest

from tests.benchmarks.asking import ask

pytest.importorskip("matplotlib")

from benchmarks import _labelled, pretraining
from benchmarks._labelled import encoded, load
from benchmarks._tables import BadInput, Table
from benchmarks.pretraining import METHODS, measure, problem

RNG = np.random.default_rng(0)
BLOBS = Table(
    "blobs",
    RNG.normal(size=(200, 3)) + 6 * np.eye(3).repeat(67, 0)[:200],
    (np.arange(200) // 67),
)


def options(**given):
    defaults = {"data": None, "tables": None, "quick": False, "seed": 0, "seeds": 1}
    return Namespace(**defaults | given)


@pytest.fixture
def folder(tmp_path):
    """Files of --data, small."""
    (tmp_path / "tabular").mkdir()
    frame = pd.DataFrame(RNG.normal(size=(60, 20)))
    frame[20] = np.where(frame[0] > 0, "good", "bad")
    with gzip.open(tmp_path / "tabular" / "german.csv.gz", "wt") as file:
        frame.to_csv(file, header=False, index=False)
    (tmp_path / "images").mkdir()
    pictures = RNG.integers(0, 256, (40, 28, 28)).astype(np.uint8)
    for name, array in (
        (_labelled.MNIST, pictures),
        (_labelled.LABELS, np.arange(40, dtype=np.uint8) % 4),
    ):
        shape = np.array(array.shape, ">u4").tobytes()
        content = bytes([0, 0, 8, array.ndim]) + shape + array.tobytes()
        (tmp_path / name).write_bytes(gzip.compress(content))
    return tmp_path


def test_tables_that_are_there(folder):
    bundled = [table.name for table in load(options())]
    assert bundled == ["digits", "breast_cancer", "wine", "iris"]
    found = {table.name: table for table in load(options(data=folder))}
    assert list(found) == [*bundled, "german", "MNIST"]
    assert found["german"].X.shape == (60, 20)
    assert set(found["german"].y) == {0, 1}
    assert found["MNIST"].X.max() <= 1
    assert found["MNIST"].y.tolist() == [i % 4 for i in range(40)]
    assert len(load(options(tables="digits", quick=True))[0].X) == 500


def test_what_is_not_there(tmp_path):
    with pytest.raises(BadInput, match="no table nil; there are: digits"):
        load(options(tables="nil"))
    with pytest.raises(BadInput, match="no MNIST in it"):
        load(options(data=tmp_path))


def test_text_becomes_a_column_a_value():
    frame = pd.DataFrame({"n": [1.0, None, 5], "t": ["a", None, "a"]})
    expected = [[1, 1, 0], [3, 0, 1], [5, 1, 0]]
    np.testing.assert_array_equal(encoded(frame), expected)
    many = pd.DataFrame({"n": range(60), "name": map(str, range(60))})
    assert encoded(many).shape == (60, 1)


@pytest.mark.parametrize(("share", "n"), [("1 %", 6), ("5 %", 7), ("100 %", 140)])
def test_labels_are_drawn_two_of_each_class_at_the_least(share, n):
    X, few, X_test, y_test = problem(BLOBS, share, 0)
    assert (len(X), len(X_test), len(y_test)) == (140, 60, 60)
    assert (few >= 0).sum() == n
    assert np.bincount(few[few >= 0]).min() >= 2


@pytest.mark.parametrize("method", [m for m in METHODS if "conv" not in m])
def test_every_method_tells_blobs_apart(method):
    result = measure(BLOBS, "5 %" if "supervised" not in method else "100 %", method, 0)
    # With seven rows boosting has nothing to split.
    assert result["accuracy"] > (0.3 if method == "boosting" else 0.9)
    if method == "SVC on PCA":
        assert np.isnan(result["log_loss"])
    elif method not in pretraining.SPREADS:
        assert result["log_loss"] < 1.2


def test_which_methods_suit():
    picture = Table("MNIST", BLOBS.X, BLOBS.y)
    suits = pretraining._suits
    assert suits(picture, "100 labels", "ours, conv")
    assert not suits(BLOBS, "5 %", "ours, conv")
    assert not suits(picture, "100 labels", "boosting")
    assert not suits(BLOBS, "5 %", "ours, supervised only")
    assert not suits(BLOBS, "100 %", "label spreading")


def test_a_run_writes_what_it_found(tmp_path, monkeypatch, capsys):
    quick = ("logistic", "boosting", "ours")
    monkeypatch.setattr(pretraining, "METHODS", {m: METHODS[m] for m in quick})
    code, frame = ask("pretraining", tmp_path, "--tables", "iris", "--quick")
    assert code == 0
    assert frame["method"].tolist() == 3 * list(quick)
    said = capsys.readouterr().out
    assert "5 %, ours less logistic: " in said
    assert "log loss of ours: ours at 1 % " in said
    assert (tmp_path / "pretraining.png").stat().st_size > 10_000
