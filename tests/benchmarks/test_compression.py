"""Rate and distortion: curves, the rivals' codecs, what is asked and said."""

import gzip
from argparse import Namespace

import numpy as np
import pandas as pd
import pytest

from sklearn_ae import AutoencoderCompressor, AutoencoderTransformer
from tests.benchmarks.asking import ask

pytest.importorskip("matplotlib")
pytest.importorskip("zstandard")

from benchmarks import _codecs, compression
from benchmarks._codecs import LinearCodec, bd_rate, mosaic, picture_curve, psnr
from benchmarks._codecs import unmosaic as back_to_rows
from benchmarks._pictures import MNIST, Pictures
from benchmarks._tables import BadInput, Table
from benchmarks.compression import METHODS, PICTURES, cases, measure, problem

RNG = np.random.default_rng(0)
FACTORS = RNG.normal(size=(400, 2))
TABLE = Table("factors", FACTORS @ RNG.normal(size=(2, 6)) * [1, 1, 1, 9, 9, 99], None)
BLURRED = np.clip(FACTORS @ RNG.random((2, 64)) + 4, 0, 16)
DRAWN = Pictures("digits", np.rint(BLURRED)[:200], (8, 8), 16.0)


def options(**given):
    defaults = {"data": None, "tables": None, "quick": False, "seed": 0, "seeds": 1}
    return Namespace(**defaults | given)


def test_bd_rate_of_curves_that_are_apart_by_a_factor():
    quality = np.array([20.0, 25, 30, 35, 40])
    theirs = np.c_[quality, 2 ** (quality / 6)]
    half = np.c_[quality + 1.3, 0.5 * 2 ** ((quality + 1.3) / 6)]
    assert bd_rate(half, theirs) == pytest.approx(-0.5, abs=1e-3)
    assert bd_rate(theirs, half) == pytest.approx(1.0, abs=5e-3)
    assert bd_rate(theirs[::-1], theirs) == pytest.approx(0)
    assert np.isnan(bd_rate(theirs, theirs + np.array([100, 0])))


def test_pca_takes_the_coarsest_step_with_the_quality():
    asked = problem(TABLE, 0)
    codec = LinearCodec(asked.train, asked.data_range)
    sizes = []
    for target in (20, 30, 40):
        n_bytes, quality = codec.at(asked.test, target)
        assert target <= quality < target + 0.5
        sizes.append(n_bytes)
    assert sizes == sorted(sizes)
    # Two factors and ten decibels more: 1.66 bits more for each.
    more = 8 * np.diff(sizes) / len(asked.test)
    np.testing.assert_allclose(more, 2 * 10 / (20 * np.log10(2)), rtol=0.15)


def test_mosaics_come_apart():
    rows = RNG.integers(0, 256, (7, 12)).astype(np.uint8)
    picture = mosaic(rows, (3, 4))
    assert picture.shape == (9, 12)
    np.testing.assert_array_equal(picture[:3, 4:8].ravel(), rows[1])
    np.testing.assert_array_equal(back_to_rows(picture, 7, (3, 4)), rows)


@pytest.mark.parametrize(("name", "is_mosaic"), PICTURES.values())
def test_pictures_are_better_with_more_bytes(monkeypatch, name, is_mosaic):
    monkeypatch.setattr(_codecs, "QUALITIES", (0, 50, 100))
    curve = picture_curve(problem(DRAWN, 0), name, is_mosaic)
    n_bytes, quality = zip(*curve, strict=True)
    assert list(n_bytes) == sorted(n_bytes)
    assert list(quality) == sorted(quality)
    assert quality[-1] > 30


def test_psnr_is_in_units_of_each_columns_range():
    rows = np.array([[0.0, 0.0], [1.0, 10.0]])
    ranges = np.array([1.0, 10.0])
    assert psnr(rows, rows + 0.1 * ranges, ranges) == pytest.approx(20)
    assert psnr(rows, rows, 1.0) == np.inf


@pytest.fixture
def _quick(monkeypatch):
    """Few iterations of ours."""

    def quick(architecture="mlp", input_shape=None, **params):
        network = AutoencoderTransformer(
            architecture=architecture, input_shape=input_shape, max_iter=8
        )
        return AutoencoderCompressor(autoencoder=network, **params)

    monkeypatch.setattr(compression, "AutoencoderCompressor", quick)


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize("method", METHODS)
def test_every_method_stores_pictures(monkeypatch, method):
    monkeypatch.setattr(_codecs, "QUALITIES", (0, 20, 50, 100))
    points = compression._points(DRAWN, method)
    result = measure(DRAWN, points[1 if len(points) > 1 else 0], method, 0)
    assert result["bits"] > 0
    assert result["psnr"] > 10
    if method == "ours":
        assert result["over_pca"] == pytest.approx(1, abs=0.3)
        lossless = measure(DRAWN, "lossless", method, 0)
        assert lossless["psnr"] == np.inf
        assert 0 < lossless["bits"] < measure(DRAWN, "lossless", "zstd", 0)["bits"]
        assert lossless["bits_with_model"] > lossless["bits"] + 1


def test_tables_that_are_there(tmp_path):
    names = list(dict.fromkeys(c["table"].name for c in cases(options())))
    assert names == ["digits", "photographs 8x8", "breast_cancer", "diabetes"]
    tables = {c["method"] for c in cases(options(tables="diabetes"))}
    assert tables == {"ours", "PCA"}
    (tmp_path / "images").mkdir()
    (tmp_path / "adbench").mkdir()
    content = bytes([0, 0, 8, 3]) + np.array([20, 28, 28], ">u4").tobytes()
    (tmp_path / MNIST).write_bytes(gzip.compress(content + bytes(20 * 784)))
    np.savez(tmp_path / "adbench" / "10_cover.npz", X=TABLE.X, y=np.arange(400) % 2)
    quick = cases(options(data=tmp_path, quick=True))
    assert {c["table"].name for c in quick} == {*names, "MNIST", "10_cover"}
    assert max(len(c["table"].X) for c in quick) == 500


def test_what_is_not_there(tmp_path):
    with pytest.raises(BadInput, match="no table nil; there are: digits"):
        cases(options(tables="nil"))
    with pytest.raises(BadInput, match="no MNIST and no table of ADBench"):
        cases(options(data=tmp_path))


@pytest.mark.usefixtures("_quick")
def test_a_run_writes_what_it_found(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(compression, "TABLE_POINTS", (20, 30))
    code, frame = ask("compression", tmp_path, "--tables", "diabetes", "--quick")
    assert code == 0
    assert frame["method"].tolist() == 2 * ["ours"] + 2 * ["PCA"]
    assert (frame.loc[frame["method"] == "ours", "over_pca"] < 1.03).all()
    said = capsys.readouterr().out
    assert "diabetes, ours: compresses " in said
    assert (tmp_path / "compression.png").stat().st_size > 10_000


def test_rates_are_the_mean_over_seeds():
    quality = np.arange(5) + 20.0
    parts = [
        pd.DataFrame({"method": m, "seed": s, "psnr": quality, "bits": b * quality})
        for s, factor in enumerate((0.5, 1.0))
        for m, b in (("ours", factor), ("PCA", 1.0))
    ]
    frame = pd.concat(parts).assign(point="20 dB", over_pca=np.nan, table="t")
    frame["model_kb"] = np.nan
    table, _ = compression.summary(frame, [])
    assert table["over PCA"].tolist() == pytest.approx([-0.25])
