"""AutoencoderCompressor: errors, bits, streams and what is refused."""

import pickle
import re
import signal
import struct
import subprocess
import sys
import tracemalloc
import warnings
import zlib
from collections import Counter as Counts
from functools import partial

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from torch import nn

from sklearn_ae import AutoencoderCompressor, AutoencoderTransformer, stream_info
from sklearn_ae.compression._codec import _empty
from sklearn_ae.compression._container import Header, _checksum, pack, unpack
from sklearn_ae.compression._entropy_coding import encode_bits
from sklearn_ae.compression._quantiser import Quantiser
from sklearn_ae.compression._rate_net import RateDistortionNet
from sklearn_ae.compression._rate_target import Rate
from sklearn_ae.compression._step_search import Outcome, Trial
from sklearn_ae.metrics import peak_signal_noise_ratio
from tests.compression.golden_compressor import PATH, golden_model, rows
from tests.helpers import memory_until_refused

DIGITS = load_digits().data.astype(np.uint8)
TRAIN, TEST = DIGITS[450:], DIGITS[:450]
IRIS = load_iris().data
RNG = np.random.default_rng(0)


def compressor(*args, network=None, **params):
    """A compressor of a short training, with other settings of the network."""
    network = AutoencoderTransformer(**({"max_iter": 8} | (network or {})))
    params = {"autoencoder": network, "random_state": 0} | params
    return AutoencoderCompressor(*args, **params)


@pytest.fixture(scope="module")
def trained():
    """A compressor of digits at 20 dB."""
    return compressor(20, network={"max_iter": 80}).fit(TRAIN)


@pytest.fixture(scope="module")
def small():
    """A compressor of iris, with residuals: small streams."""
    return compressor(error_bound=0.05).fit(IRIS)


@pytest.fixture(scope="module")
def lossless():
    return compressor(error_bound=0).fit(TRAIN)


def psnr(X, back, data_range):
    error = np.mean(np.square((X.astype(float) - back) / data_range))
    return -10 * np.log10(error)


def pca_bytes(train, test, quality):
    """Bytes of all of PCA's components, by the coarsest step with that PSNR."""
    pca = PCA().fit(train.astype(float))
    codes = pca.transform(test.astype(float))
    for step in np.geomspace(30, 0.1, 200):
        quantiser = Quantiser(step)
        back = np.clip(np.rint(pca.inverse_transform(quantiser.rounded(codes))), 0, 16)
        if psnr(test, back, 16) >= quality:
            quantiser.fit(pca.transform(train.astype(float)), None)
            return len(quantiser.models.encode(quantiser.symbols(codes)))
    raise AssertionError


# -- what comes back -------------------------------------------------------------


def test_far_fewer_bits_than_pca_with_the_same_coder(trained):
    stream = trained.compress(TEST)
    quality = psnr(TEST, trained.decompress(stream), 16)
    # Header and checksum count against ours, and not against PCA.
    assert len(stream) < 0.8 * pca_bytes(TRAIN, TEST, quality)
    assert 20 * len(stream) < TEST.nbytes * 8


def test_psnr_and_bits_hold_for_new_rows(trained):
    stream = trained.compress(TEST)
    back = trained.decompress(stream)
    assert trained.psnr_ == pytest.approx(20, abs=0.3)
    assert psnr(TEST, back, 16) == pytest.approx(20, abs=0.7)
    X, float_back = TEST.astype(float), back.astype(float)
    assert peak_signal_noise_ratio(X, float_back, data_range=16) >= 19
    bits = 8 * (len(stream) - 76) / len(TEST)
    assert bits == pytest.approx(trained.bits_per_row_, rel=0.1)


@pytest.mark.parametrize("target", [15, 25, 40])
def test_a_target_is_met_on_rows_held_out(target):
    ours = compressor(target, network={"max_iter": 2}).fit(IRIS)
    assert target <= ours.psnr_ < target + 1.5


def test_bits_of_a_component_are_kept_to():
    # Training for PCA's distortion at this rate would miss it by far.
    for bits in (0.5, 2.0):
        ours = compressor(bits_per_component=bits, n_components=4).fit(TRAIN)
        assert ours.n_components_ == 4
        assert 0.7 * 4 * bits < ours.bits_per_row_ <= 4 * bits


@pytest.mark.parametrize(
    ("target", "reached"),
    [({"target_psnr": 20.0}, 23.0), ({"bits_per_component": 2.0}, 1)],
)
def test_the_training_target_makes_up_for_the_pilots_gain(target, reached):
    trial = object.__new__(Trial)
    trial.rate, trial.residuals, trial.step = Rate(**target), {}, 0.1
    trial.codes, trial.max_error = np.zeros((5, 4)), 10**-2.0
    trial.error = lambda step: 10 ** (-reached / 10)
    trial.bits = lambda step: 4 * reached
    found = trial.training_target(None)
    if "target_psnr" in target:
        # The pilot is three decibels above the target.
        assert found == Rate(target_psnr=pytest.approx(17))
    else:
        assert found == Rate(bits_per_component=pytest.approx(4))


def test_with_residuals_the_training_target_is_the_best_steps_distortion():
    trial = object.__new__(Trial)
    trial.rate, best = Rate(), Outcome(False, 1.0, 1.0, 1.0, 0.6, None)
    assert trial.training_target(best) == Rate(distortion=pytest.approx(0.03))


@pytest.mark.parametrize("best", [0.25, 1.0, 2.0, 64.0])
def test_with_residuals_steps_are_tried_until_they_cost_more(best):
    trial, tried = object.__new__(Trial), []
    trial.rate, trial.residuals, trial.step = Rate(), {"error_bound": 1}, 10.0

    def outcome(step):
        tried.append(step)
        cost = abs(np.log2(step / (10 * best)))
        return Outcome(False, cost, cost, 0.0, step, None)

    trial.outcome = outcome
    assert trial.best().step == 10 * best
    assert len(tried) == len(set(tried)) <= 9


def test_components_alone_are_a_rate():
    few, more = (compressor(n_components=k).fit(TRAIN) for k in (3, 12))
    assert (few.n_components_, more.n_components_) == (3, 12)
    assert few.bits_per_row_ < more.bits_per_row_
    assert few.psnr_ < more.psnr_
    assert compressor(n_components=0.5).fit(IRIS).n_components_ == 1


def test_where_training_gains_nothing_it_is_pca():
    still = {"learning_rate_init": 1e-9, "max_iter": 4}
    ours = compressor(25, network=still).fit(TRAIN)
    k, pca = ours.n_components_, PCA().fit(TRAIN.astype(float))
    codes = pca.transform(TEST.astype(float))[:, :k]
    codes /= ours._codec.autoencoder.columns.scale_[0]
    ours_codes = ours._codec.autoencoder.encode(TEST.astype(float))
    np.testing.assert_allclose(np.abs(ours_codes), np.abs(codes), atol=1e-3)


def test_a_network_that_went_astray_is_not_kept():
    astray = compressor(20, network={"learning_rate_init": 30.0, "max_iter": 3})
    with pytest.warns(ConvergenceWarning, match="loss was not finite"):
        astray.fit(TRAIN)
    still = {"learning_rate_init": 1e-9, "max_iter": 3}
    start = compressor(20, network=still).fit(TRAIN)
    assert astray.bits_per_row_ <= 1.01 * start.bits_per_row_


@pytest.mark.parametrize(
    ("bound", "dtype"),
    [(0.01, "f2"), (0.3, "f2"), ([0.01, 0.3, 0.02, 5.0], "f4"), (0.01, "f8")],
)
def test_no_cell_is_further_off_than_the_bound(bound, dtype):
    X = IRIS.astype(dtype)
    ours = compressor(error_bound=bound).fit(X)
    further = np.concatenate([X, 100 * X, -X])
    for rows_ in (X, further):
        back = ours.decompress(ours.compress(rows_))
        assert back.dtype == rows_.dtype
        off = np.abs(back.astype(np.float64) - rows_.astype(np.float64))
        assert (off <= bound).all()


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"])
def test_whole_numbers_come_back_as_they_were(lossless, dtype):
    X = TEST.astype(dtype)
    info = np.iinfo(dtype)
    X[0, :2] = max(info.min, -(2**52)), min(info.max, 2**52)
    back = lossless.decompress(lossless.compress(X))
    assert back.dtype == X.dtype
    np.testing.assert_array_equal(back, X)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4"])
@pytest.mark.parametrize("share", [1e-3, 0.5, 1])
def test_zeros_keep_their_sign_where_nothing_is_lost(lossless, dtype, share):
    X = TEST.astype(dtype)
    is_negative = (X == 0) & (np.random.default_rng(0).random(X.shape) < share)
    signed = np.asfortranarray(np.where(is_negative, X.dtype.type(-0.0), X))
    stream = lossless.compress(signed)
    back = lossless.decompress(stream)
    np.testing.assert_array_equal(back, X)
    np.testing.assert_array_equal(np.signbit(back), is_negative)
    # At its entropy, a sign takes less than the bit that it may be.
    entropy = (
        0 if share == 1 else -np.log2(share) * share - np.log2(1 - share) * (1 - share)
    )
    n_bytes = len(stream) - len(lossless.compress(X))
    assert n_bytes < 1.1 * entropy * (X == 0).sum() / 8 + 40


def test_zeros_keep_their_sign_in_columns_of_bound_0_alone():
    X = np.column_stack([np.rint(IRIS[:, :2]), IRIS[:, 2:]])
    ours = compressor(error_bound=[0, 0, 0.1, 0.1]).fit(X)
    X[::3, 0] = X[::2, 2] = -0.0
    back = ours.decompress(ours.compress(X))
    np.testing.assert_array_equal(back[:, :2], X[:, :2])
    np.testing.assert_array_equal(np.signbit(back[:, 0]), np.signbit(X[:, 0]))
    # Where 0.0 is within the bound, signs would be paid for in vain.
    X[:, 0] = 1
    assert unpack(ours.compress(X))[0].flags == 0


def test_signs_of_other_zeros_are_refused():
    model, X = golden_model(lossless=True), np.where(rows() == 0, -0.0, rows())
    block = bytes(next(unpack(model.compress(X))[1]))
    n_zeros = int((X == 0).sum())
    good = encode_bits(np.ones(n_zeros, bool))
    assert good in block
    header = unpack(model.compress(X))[0]
    for wrong, said in (
        (b"\xff" * len(good), "damaged integer"),
        (good + b"\0", "damaged list of bits"),
        (bytes([n_zeros + 1]) + good[1:], "damaged list of bits"),
        (good + bytes(4), f"not that of {n_zeros} bits"),
    ):
        length, at = bytes([len(good)]), block.index(good)
        assert block[at - 1 : at] == length
        forged = block[: at - 1] + bytes([len(wrong)]) + wrong
        forged += block[at + len(good) :]
        with pytest.raises(ValueError, match=f"Block 0 .* damaged: .*{said}"):
            model.decompress(pack(header, [forged]))


@pytest.mark.parametrize("dtype", ["i1", "u2", "i8", ">i4"])
@pytest.mark.parametrize("bound", [0.3, 0.6, 1.7])
def test_integers_keep_a_bound_that_was_fitted_to_floats(dtype, bound):
    # Points of the grid are no integers: rounding them may take them past the bound.
    ours = compressor(error_bound=bound, network={"max_iter": 1}).fit(20 * IRIS + 0.1)
    X = np.rint(20 * IRIS[::-1]).clip(0, 127).astype(dtype)
    back = ours.decompress(ours.compress(X))
    assert back.dtype.kind == X.dtype.kind
    assert np.abs(back.astype(float) - X.astype(float)).max() <= bound


@pytest.mark.parametrize("bound", [1e25, 1e200, 1e300])
def test_a_bound_far_above_all_cells_costs_hardly_anything(bound):
    ours = compressor(error_bound=bound).fit(IRIS)
    stream = ours.compress(IRIS)
    assert len(stream) < 150
    assert (np.abs(ours.decompress(stream) - IRIS) <= bound).all()


def test_exact_whole_numbers_of_a_wide_range_cost_no_more_than_with_a_target():
    t = np.random.default_rng(0).uniform(-2, 2, 600)
    smooth = np.column_stack([t, t**2, np.sin(3 * t)])
    rough = smooth + 1e-3 * np.random.default_rng(1).normal(size=smooth.shape)
    X = np.rint(1e9 * rough).astype(np.int64)
    params = {"error_bound": 0, "network": {"max_iter": 30}}
    ours = compressor(**params).fit(X)
    np.testing.assert_array_equal(ours.decompress(ours.compress(X)), X)
    targeted = compressor(50, **params).fit(X)
    assert ours.bits_per_row_ < 1.02 * targeted.bits_per_row_


def test_cells_near_the_end_of_floats_are_decoded_finite():
    ours = compressor(30).fit(1e297 * IRIS)
    ends = np.full((5, 4), 1.7e308)
    for rows_ in (1e297 * IRIS, ends, -ends, ends * np.tile([1, -1], 2)):
        assert np.isfinite(ours.decompress(ours.compress(rows_))).all()


FACTOR = np.random.default_rng(0).normal(size=(60, 1))
BASE = FACTOR + 0.1 * np.random.default_rng(1).normal(size=(60, 3))
ENDS = {
    "1e-170": BASE * 1e-170,
    "1e160": BASE * 1e160,
    "of each kind": BASE * [1e-170, 1.0, 1e160],
    "an offset of 1e15": BASE + 1e15,
    "denormal": np.rint(100 * BASE) * 5e-324,
    "float32 at 1e38": (BASE / np.abs(BASE).max() * 1.6e38).astype("f4"),
    "float32 denormal": (BASE * 1e-43).astype("f4"),
    "float16 at its end": (BASE / np.abs(BASE).max() * 3.2e4).astype("f2"),
    "float16 denormal": (BASE * 1e-6).astype("f2"),
}


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("relative", [0.1, 10])
def test_bounds_hold_at_the_ends_of_the_range(name, relative):
    X = ENDS[name]
    bounds = relative * np.ptp(X.astype(float), axis=0)
    ours = compressor(error_bound=bounds, network={"max_iter": 1}).fit(X)
    back = ours.decompress(ours.compress(X))
    assert back.dtype == X.dtype
    assert (np.abs(back.astype(float) - X.astype(float)) <= bounds).all()


@pytest.mark.parametrize("name", ENDS)
def test_numbers_are_finite_at_the_ends_of_the_range(name):
    X, few = ENDS[name], {"max_iter": 1}
    units = np.ptp(X.astype(float), axis=0)
    for params in ({"target_psnr": 20}, {"n_components": 2}):
        ours = compressor(**params, network=few).fit(X)
        assert np.isfinite([ours.psnr_, ours.bits_per_row_, ours.step_]).all()
        back = ours.decompress(ours.compress(X))
        off = (back.astype(float) - X.astype(float)) / units
        # Rounding to the dtype adds to an error where it is as coarse as the column.
        assert np.sqrt(np.mean(off**2)) < 0.1 + ours.step_
        codes = ours.transform(X)
        assert np.isfinite(codes).all()
        assert np.isfinite(ours.inverse_transform(codes)).all()


@pytest.mark.parametrize("bound", [np.float16(0.25), np.float32(0.25), np.array(0.25)])
def test_a_bound_may_be_any_kind_of_number(bound):
    ours = compressor(error_bound=bound, network={"max_iter": 1}).fit(IRIS)
    assert np.abs(ours.decompress(ours.compress(IRIS)) - IRIS).max() <= 0.25


def test_rates_may_be_extreme():
    for params in (
        {"bits_per_component": 5e-324},
        {"bits_per_component": 1e308},
        {"target_psnr": 5e-324},
        {"n_components": 5e-324},
    ):
        ours = compressor(**params, network={"max_iter": 1}).fit(IRIS)
        assert np.isfinite([ours.psnr_, ours.bits_per_row_, ours.step_]).all()
    for target in (300, 1_000, 1e308):
        with pytest.warns(ConvergenceWarning, match="is not reached: .* 1[45]"):
            compressor(target, network={"max_iter": 1}).fit(IRIS)


def test_one_unit_for_cells_and_far_smaller_spreads_is_refused():
    X = np.column_stack([IRIS, np.full(150, 1e300)])
    with pytest.raises(
        ValueError, match=r"5e-?\d*|0.1 and 1e\+300 in columns .*minmax"
    ):
        compressor(20, scale=None, network={"max_iter": 1}).fit(X)
    ours = compressor(20, scale="minmax", network={"max_iter": 1}).fit(X)
    assert (ours.decompress(ours.compress(X))[:, 4] == 1e300).all()


@pytest.mark.parametrize("scale", ["minmax", None])
@pytest.mark.parametrize("unit", [1e300, 1e-300, 1 / 150])
def test_only_the_ratios_of_weights_matter(scale, unit):
    weight = np.random.default_rng(0).uniform(0.5, 1.5, len(IRIS))
    one, other = (
        compressor(20, scale=scale, network={"max_iter": 2}).fit(IRIS, sample_weight=w)
        for w in (weight, weight * unit)
    )
    assert other.psnr_ == pytest.approx(one.psnr_, rel=1e-3)
    assert other.bits_per_row_ == pytest.approx(one.bits_per_row_, rel=1e-3)
    assert np.isfinite(other.decompress(other.compress(IRIS))).all()


def test_lossless_costs_less_than_the_cells_entropy(lossless):
    counts = np.bincount(TEST.ravel()) / TEST.size
    entropy = -np.sum(counts[counts > 0] * np.log2(counts[counts > 0]))
    assert 8 * len(lossless.compress(TEST)) / TEST.size < 0.8 * entropy


def test_lossy_whole_numbers_stay_in_their_range(trained):
    noisy = np.where(RNG.random(TEST.shape) < 0.3, 255, TEST).astype(np.uint8)
    decoded = trained.inverse_transform(trained.transform(noisy))
    assert decoded.min() < -20
    assert decoded.max() > 100
    for dtype in (np.uint8, np.int8, np.int64):
        back = trained.decompress(trained.compress(noisy.astype(dtype)))
        assert back.dtype == dtype
        wanted = trained.inverse_transform(trained.transform(noisy.astype(dtype)))
        info = np.iinfo(dtype)
        wanted = np.clip(np.rint(wanted), float(info.min), float(info.max))
        assert np.abs(back.astype(float) - wanted).max() <= 1


def test_floats_that_their_dtype_cannot_hold_become_its_largest():
    X = np.array([[6e4, -6e4], [-6e4, 6e4], [6.5e4, -6.5e4]] * 5, dtype=np.float16)
    ours = compressor(5).fit(X)
    back = ours.decompress(ours.compress(X))
    assert back.dtype == np.float16
    assert np.isfinite(back).all()


@pytest.mark.parametrize("kind", ["frame", "list", "bool", "big-endian", "longdouble"])
def test_other_tables_come_back_in_the_nearest_dtype(kind):
    table = {
        "frame": pd.DataFrame(IRIS, columns=list("abcd")),
        "list": IRIS.tolist(),
        "bool": IRIS.mean(axis=0) < IRIS,
        "big-endian": IRIS.astype(">f8"),
        "longdouble": IRIS.astype(np.longdouble),
    }[kind]
    ours = compressor(30).fit(table)
    back = ours.decompress(ours.compress(table))
    assert back.dtype == (np.uint8 if kind == "bool" else np.float64)
    X = np.asarray(table, float)
    assert np.mean(np.square((X - back) / np.ptp(X, axis=0))) < 0.003


def test_many_rows_are_several_blocks(small):
    many = np.repeat(IRIS, 60, axis=0)
    stream = small.compress(many)
    assert unpack(stream)[0].n_blocks == 3
    assert np.abs(small.decompress(stream) - many).max() <= 0.05


def test_blocks_of_wide_rows_are_short(monkeypatch, small):
    monkeypatch.setattr("sklearn_ae.compression._codec.MAX_CELLS_PER_BLOCK", 40)
    stream = small.compress(IRIS)
    assert unpack(stream)[0].block_rows == 10
    assert np.abs(small.decompress(stream) - IRIS).max() <= 0.05


def test_one_row_is_a_stream(small):
    assert np.abs(small.decompress(small.compress(IRIS[:1])) - IRIS[:1]).max() <= 0.05


@pytest.mark.parametrize(
    "params",
    [
        {"target_psnr": 20},
        {"bits_per_component": 2.0},
        {"n_components": 2},
        {"error_bound": 0.1},
        {"error_bound": 0},
    ],
    ids=str,
)
def test_no_rows_are_a_stream_of_no_rows(params):
    ours = compressor(**params, network={"max_iter": 1}).fit(np.rint(IRIS))
    for dtype in (*"BbHhIiQqefd", ">f4", "?", "g"):
        X = np.empty((0, 4), dtype)
        back, info = (read(ours.compress(X)) for read in (ours.decompress, stream_info))
        assert back.shape == (0, 4)
        assert back.dtype == {"?": "u1", "g": "f8"}.get(
            dtype, X.dtype.newbyteorder("=")
        )
        assert info[:3] == (0, 4, back.dtype)
    frame = pd.DataFrame(columns=range(4), dtype="Int64")
    assert ours.decompress(ours.compress(frame), max_rows=0).dtype == np.float64
    for wrong, said in ((np.empty((0, 3)), "3 features"), ([], "Expected 2D")):
        with pytest.raises(ValueError, match=said):
            ours.compress(wrong)
    # As scikit-learn's methods do.
    for call in (ours.fit, ours.transform, ours.inverse_transform):
        with pytest.raises(ValueError, match=r"0 sample\(s\)"):
            call(np.empty((0, 4)))


# -- the code --------------------------------------------------------------------


def test_transform_gives_the_code_that_is_stored(trained):
    codes = trained.transform(TEST)
    whole = codes / trained.step_
    np.testing.assert_allclose(whole, np.rint(whole), atol=1e-9)
    back = trained.inverse_transform(codes)
    decoded = trained.decompress(trained.compress(TEST.astype(float)))
    np.testing.assert_allclose(back, decoded, atol=1e-3)
    # To the bit, however many rows there are.
    for some in (slice(1), slice(7, 9)):
        np.testing.assert_array_equal(trained.transform(TEST[some]), codes[some])
    assert len(trained.get_feature_names_out()) == trained.n_components_


def test_codes_in_a_stream_are_those_codes(trained):
    blocks = unpack(trained.compress(TEST))[1]
    start = 2  # Bytes of the length.
    models = trained._codec.quantiser.models
    symbols = models.decode(bytes(next(blocks))[start:], len(TEST))
    np.testing.assert_array_equal(symbols * trained.step_, trained.transform(TEST))


def test_in_a_pipeline_and_a_frame():
    y = load_iris().target
    X = pd.DataFrame(IRIS, columns=["a", "b", "c", "d"])
    model = make_pipeline(compressor(30), LogisticRegression(max_iter=500))
    assert model.fit(X, y).score(X, y) > 0.9
    frame = compressor(30).set_output(transform="pandas").fit_transform(X)
    assert next(iter(frame)) == "autoencodercompressor0"


# -- the same again --------------------------------------------------------------


def test_the_same_bytes_of_one_random_state(small):
    again = clone(small).fit(IRIS)
    assert again.compress(IRIS) == small.compress(IRIS)
    other = clone(small).set_params(random_state=1).fit(IRIS)
    assert other.compress(IRIS) != small.compress(IRIS)


def test_the_same_bytes_in_another_process(tmp_path, small):
    (tmp_path / "model").write_bytes(pickle.dumps(small))
    np.save(tmp_path / "rows.npy", IRIS)
    code = (
        "import pickle, sys, numpy as np; "
        "model = pickle.load(open('model', 'rb')); X = np.load('rows.npy'); "
        "stream = model.compress(X); "
        "assert np.abs(model.decompress(stream) - X).max() <= 0.05; "
        "sys.stdout.buffer.write(stream)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=True
    )
    assert done.stdout == small.compress(IRIS)


@pytest.mark.parametrize("name", ["lossy", "lossless"])
def test_streams_of_version_1_are_read(name):
    golden = np.load(PATH)
    model = golden_model(lossless=name == "lossless")
    stream = golden[f"{name}_stream"].tobytes()
    np.testing.assert_array_equal(model.decompress(stream), golden[f"{name}_rows"])
    assert model.decompress(stream).dtype == np.int16
    assert model.compress(rows()) == stream
    if name == "lossless":
        np.testing.assert_array_equal(golden["lossless_rows"], rows())


def test_the_golden_streams_have_what_can_go_wrong():
    model = golden_model(lossless=True)
    symbols = model._codec.symbols(rows())
    for table, column in zip(
        model._codec.quantiser.models._tables, symbols.T, strict=True
    ):
        index, beyond = table.index(column >> table.shift)
        assert len(beyond) > 0
        assert len(np.unique(index)) > 3


# -- streams that are refused ------------------------------------------------------


def test_a_stream_of_another_model_is_refused(small):
    other = clone(small).set_params(random_state=1).fit(IRIS)
    with pytest.raises(ValueError, match="written by another model: its fingerprint"):
        other.decompress(small.compress(IRIS))
    fewer = clone(small).fit(IRIS[:, :3])
    with pytest.raises(ValueError, match="has 4 columns, the model 3"):
        fewer.decompress(small.compress(IRIS))


@pytest.mark.parametrize("part", ["decoder", "step", "tables", "columns", "residuals"])
def test_the_fingerprint_is_of_all_that_decoding_depends_on(small, part):
    other = pickle.loads(pickle.dumps(small))
    codec = other._codec
    vars(codec).pop("fingerprint", None)
    if part == "decoder":
        decoder = codec.autoencoder.module.decoder
        next(decoder.parameters()).data.view(-1)[0] += 1e-3
    elif part == "step":
        codec.quantiser.step *= 1 + 1e-12
    elif part == "tables":
        codec.quantiser.models._tables[0].frequencies[:2] += (1, -1)
    elif part == "columns":
        codec.autoencoder.columns.shift_[0] += 1e-12
    else:
        codec.residuals._models._tables[3].frequencies[:2] += (1, -1)
    assert codec.fingerprint != small._codec.fingerprint


def test_every_cut_and_every_changed_byte_is_noticed(small):
    stream = small.compress(IRIS[:3])
    for end in range(len(stream)):
        with pytest.raises(ValueError, match=r"stream|SKAE"):
            small.decompress(stream[:end])
    with pytest.raises(ValueError, match="1 bytes too many"):
        small.decompress(stream + b"\0")
    for i in range(len(stream)):
        with pytest.raises(ValueError, match=r"stream|SKAE|columns"):
            small.decompress(stream[:i] + bytes([stream[i] ^ 1]) + stream[i + 1 :])


def test_other_versions_and_what_is_to_come(small):
    stream = bytearray(small.compress(IRIS[:3]))
    stream[4] = 2
    with pytest.raises(ValueError, match=r"version 2; .* reads version 1"):
        small.decompress(stream)
    header, blocks = unpack(small.compress(IRIS[:3]))
    later = Header(**{**vars(header), "flags": 2})
    with pytest.raises(ValueError, match=r"flags=2 .* writes 0 or 1 and 4096"):
        small.decompress(pack(later, list(blocks)))


def mutated(stream, other, rng):
    """A stream with something changed; four in five with checksums that fit."""
    data, at = bytearray(stream), int(rng.integers(len(stream)))
    kind, some = rng.integers(6), int(rng.integers(1, 9))
    if kind == 0:
        data[at] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        del data[at:]
    elif kind == 2:
        data[at:at] = rng.bytes(some)
    elif kind == 3:
        del data[at : at + some]
    elif kind == 4:
        data[at:] = other[at:]
    else:
        data[at : at + some] = rng.choice([b"\xff", b"\x00", b"\x80"]) * some
    return bytes(data) if rng.random() < 0.2 else signed(bytes(data))


def signed(data):
    """With checksums of the whole and of the block that fit, if there is room."""
    if len(data) < 61:
        return data
    body = bytearray(data[:-8])
    struct.pack_into("<II", body, 44, zlib.crc32(body[52:]), len(body) - 52)
    return bytes(body) + _checksum(bytes(body))


@pytest.mark.parametrize("extra", [1, -60])
def test_a_block_of_another_length_is_refused(extra):
    model = golden_model(lossless=False)
    body = model.compress(rows())[:-8]
    body = body + bytes(extra) if extra > 0 else body[:extra]
    with pytest.raises(ValueError, match="another length than it states"):
        model.decompress(signed(body + bytes(8)))


@pytest.mark.parametrize("kind", ["lossy", "lossless", "signed zeros"])
def test_damaged_streams_are_refused_or_decoded(kind):
    model, X = golden_model(lossless=kind != "lossy"), rows()
    if kind == "signed zeros":
        X = np.where(X == 0, -0.0, X)
    stream, other = (model.compress(X[some]) for some in (slice(5), slice(5, 12)))
    assert unpack(stream)[0].flags == (kind == "signed zeros")
    rng = np.random.default_rng(0)
    n_read, refusals = 0, set()
    tracemalloc.start()
    for _ in range(500):
        try:
            back = model.decompress(mutated(stream, other, rng))
        except ValueError as error:
            refusals.add(re.sub(r"\d+", "", str(error))[:60])
            continue
        n_read += 1
        assert back.ndim == 2
        assert back.shape[1] == 4
    max_memory = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Some are other rows, well written; the others are refused in several places.
    assert len(refusals) > 8
    assert 0 < n_read < 250
    assert max_memory < 5e7


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        (b"PK" + bytes(100), "does not begin with SKAE"),
        ("text", "must be bytes, bytearray or a memoryview"),
        (None, "must be bytes"),
        (memoryview(bytes(200))[::2], "must be bytes"),
    ],
)
def test_other_than_streams_is_refused(stream, said):
    with pytest.raises(ValueError, match=said):
        golden_model(lossless=False).decompress(stream)


def repeated(stream, n_blocks):
    """A stream of many copies of its only block, as can be made without the model."""
    header, (block,) = unpack(stream)
    header = Header(**{**vars(header), "n_rows": n_blocks * header.block_rows})
    return pack(header, [bytes(block)] * n_blocks)


@pytest.fixture(scope="module")
def full_block():
    """A stream of one full block."""
    return golden_model(lossless=False).compress(np.zeros((4_096, 4)))


def test_rows_beyond_max_rows_are_refused_before_they_take_memory(full_block):
    model, n_rows = golden_model(lossless=False), 50 * 4_096
    forged = repeated(full_block, 50)
    said = (
        f"states {n_rows} rows, {32 * n_rows} bytes when decoded, more than max_rows="
        f"{n_rows - 1}. If you expect so many, pass max_rows={n_rows}."
    )
    for few in (n_rows - 1, np.int64(n_rows - 1)):
        peak, message = memory_until_refused(
            partial(model.decompress, forged, max_rows=few)
        )
        assert said in message
        assert peak < 1e5
    assert stream_info(forged).n_rows == n_rows
    for many in (n_rows, None, "auto"):
        assert model.decompress(forged, max_rows=many).shape == (n_rows, 4)
    with pytest.raises(ValueError, match="more than max_rows=0"):
        model.decompress(full_block, max_rows=0)


@pytest.mark.parametrize(("dtype", "n_rows"), [("f8", 2**24), ("f4", 2**25)])
def test_by_default_rows_take_512_mib_in_their_dtype(dtype, n_rows):
    model = golden_model(lossless=False)
    stream = model.compress(np.zeros((4_096, 4), dtype))
    header = unpack(stream)[0]
    for n_blocks, said in (
        (n_rows // 4_096, "Block 0 of the stream is damaged"),
        (n_rows // 4_096 + 1, f"more than max_rows={n_rows}"),
    ):
        stated = Header(**{**vars(header), "n_rows": 4_096 * n_blocks})
        with pytest.raises(ValueError, match=said):
            model.decompress(pack(stated, [b""] * n_blocks))


@pytest.mark.parametrize(
    ("max_rows", "error", "said"),
    [
        (-1, ValueError, "max_rows == -1, must be >= 0"),
        (2.0, TypeError, "max_rows must be an instance of int"),
        ("all", TypeError, "max_rows must be an instance of int"),
    ],
)
def test_max_rows_is_a_number_of_rows(full_block, max_rows, error, said):
    with pytest.raises(error, match=said):
        golden_model(lossless=False).decompress(full_block, max_rows=max_rows)


@pytest.mark.parametrize(
    ("n_rows", "n_blocks", "said"),
    [
        (2**40, 3, "make 268435456 blocks, the stream has 3"),
        (2**44 - 4_096, 2**32 - 1, "its table of blocks is cut off"),
        (3_000 * 4_096, 3_000, "damaged integer"),
    ],
)
def test_rows_that_are_only_stated_take_no_memory(n_rows, n_blocks, said):
    fingerprint = golden_model(lossless=False)._codec.fingerprint
    numbers = (b"SKAE", 1, 1, 0, n_rows, 4, 4_096, n_blocks, fingerprint)
    body = struct.pack("<4sBBHQIII16s", *numbers) + bytes(8 * min(n_blocks, 3_000))
    decode, stream = golden_model(lossless=False).decompress, body + _checksum(body)
    peak, message = memory_until_refused(partial(decode, stream, max_rows=None))
    assert said in message
    # numpy reserves the rows, 0.4 GB of them in the last case, and touches none.
    reserved = 8 * 4 * n_rows if n_blocks == 3_000 else 0
    assert peak - reserved < 1e5


def test_rows_that_no_memory_holds_are_named():
    header = Header("<f8", 2**50, 4, 4_096, bytes(16))
    with pytest.raises(ValueError, match=f"states {2**50} rows, for which there is no"):
        _empty(header)


def test_blocks_are_as_long_as_they_are_written(small):
    stream = small.compress(IRIS[:3])
    header, blocks = unpack(stream)
    longer = Header(**{**vars(header), "block_rows": 4_095})
    with pytest.raises(ValueError, match=r"blocks of 4095 rows; .* and 4096"):
        small.decompress(pack(longer, list(blocks)))


# -- what is refused, and what is said -------------------------------------------


def test_two_rates_are_refused():
    with pytest.raises(ValueError, match="target_psnr=20 and bits_per_component=2"):
        compressor(20, bits_per_component=2).fit(IRIS)


@pytest.mark.parametrize(
    ("bound", "said"),
    [
        ([0.1, 0.2], "error_bound must be one number or 4, .* shape \\(2,\\)"),
        ([0.1, 0.2, -1, 0.1], "must be in \\[0, 1e300\\], got -1.0 for column 2"),
        (["a"] * 4, "error_bound must be one number or one for each column of X, got"),
        (1e301, "must be in \\[0, 1e300\\], got 1e\\+301 for column 0"),
        (10**400, "error_bound must be one number or one for each column of X, got"),
        ([np.nan] * 4, "error_bound must be in \\[0, 1e300\\]"),
        (
            0,
            "Column 0 has a cell of 5.1, which is no whole number: give an error",
        ),
    ],
)
def test_bounds_that_cannot_be_kept_are_refused_before_training(bound, said):
    ours = compressor(error_bound=bound)
    with pytest.raises(ValueError, match=said):
        ours.fit(IRIS)
    assert not hasattr(ours, "module_")


def test_cells_that_cannot_be_kept_to_the_bound_are_refused(lossless):
    X = TEST.astype(float)
    X[3, 5] += 0.5
    with pytest.raises(
        ValueError, match=r"Column 5 has a cell of .*5, which is no whole"
    ):
        lossless.compress(X)


def test_bounds_of_a_series_go_by_the_names_of_columns():
    X = pd.DataFrame(IRIS, columns=list("abcd"))
    bounds = pd.Series([10.0, 0.01, 0.02, 0.03], index=list("dcba"))
    ours = compressor(error_bound=bounds).fit(X)
    off = np.abs(ours.decompress(ours.compress(X)) - IRIS).max(axis=0)
    assert (off <= [0.03, 0.02, 0.01, 10]).all()
    assert off[3] > 0.1
    with pytest.raises(ValueError, match=r"Series of .*, but the columns of X are"):
        compressor(error_bound=bounds.rename({"d": "e"})).fit(X)


@pytest.mark.parametrize("kind", ["object", "nullable", "mixed", "list", "longdouble"])
def test_whole_numbers_that_float64_rounds_are_refused_with_a_bound(kind):
    large = [2**60 + 37 * i for i in range(9)]
    X = {
        "object": np.array([[v, i] for i, v in enumerate(large)], dtype=object),
        "nullable": pd.DataFrame({"a": pd.array(large, dtype="Int64")}).assign(b=3),
        "mixed": pd.DataFrame({"a": large, "b": np.arange(9) / 2}),
        "list": [[v, i / 2] for i, v in enumerate(large)],
        "longdouble": np.array([[v, 1] for v in large], np.longdouble),
    }[kind]
    with pytest.raises(ValueError, match=r"Column 0 .* integers beyond 2\*\*53"):
        compressor(error_bound=256).fit(X)
    X = np.asarray(X, float)
    X = X.tolist() if kind == "list" else X
    ours = compressor(error_bound=1e3).fit(X)
    assert ours.decompress(ours.compress(X)).shape == (9, 2)


def test_cells_beyond_float64_are_refused():
    X = IRIS.astype(np.longdouble)
    X[3, 2] = np.longdouble("-1e4000")
    with pytest.raises(ValueError, match=r"(Column 2 .* beyond|too large for) float64"):
        compressor().fit(X)


def test_dates_are_refused():
    X = np.array([["2020-01-01", "2021-01-01"]] * 5, dtype="M8[ns]")
    with pytest.raises(ValueError, match="dates or durations in columns 0, 1"):
        compressor().fit(X)


def test_a_target_out_of_reach_is_warned_of():
    with pytest.warns(
        ConvergenceWarning, match=r"target_psnr=60 is not reached: .* dB"
    ):
        ours = compressor(60, n_components=1).fit(IRIS)
    assert 10 < ours.psnr_ < 40


def test_what_falls_short_of_the_target_falls_short_by_little():
    t = np.random.default_rng(0).uniform(0, 2 * np.pi, 1_000)
    circle = np.column_stack([np.cos(t), np.sin(t), np.cos(2 * t)])
    with pytest.warns(ConvergenceWarning, match="target_psnr=60 is not reached"):
        ours = compressor(60, n_components=1, network={"max_iter": 60}).fit(circle)
    # PCA has 11 dB, and fewer bits.
    assert ours.psnr_ > 20


def test_before_fit_and_after_a_failing_one(small):
    for method in ("compress", "transform", "inverse_transform"):
        with pytest.raises(NotFittedError):
            getattr(compressor(), method)(IRIS)
    with pytest.raises(NotFittedError):
        compressor().decompress(b"")
    kept = pickle.loads(pickle.dumps(small))
    with pytest.raises(ValueError, match="NaN"):
        kept.fit(np.full((5, 4), np.nan))
    assert kept.compress(IRIS) == small.compress(IRIS)


def test_codes_of_another_width_are_refused(small):
    k = small.n_components_
    with pytest.raises(ValueError, match=f"has {k + 1} columns, .* n_components_={k}"):
        small.inverse_transform(np.zeros((2, k + 1)))


def test_without_constriction_nothing_is_trained(monkeypatch, small):
    stream, before = small.compress(IRIS), dict(vars(small))
    trained, new = [], compressor(n_components=2)
    monkeypatch.setitem(sys.modules, "constriction", None)
    monkeypatch.setattr(
        RateDistortionNet, "train_step", lambda *args, **params: trained.append(1)
    )
    calls = (
        lambda: new.fit(IRIS),
        lambda: small.fit(IRIS + 1),
        lambda: small.compress(IRIS),
        lambda: small.decompress(stream),
    )
    for call in calls:
        with pytest.raises(ImportError, match=r"sklearn-ae\[compression\]"):
            call()
    assert not trained
    assert not hasattr(new, "n_features_in_")
    # The very same objects.
    assert vars(small).keys() == before.keys()
    assert all(vars(small)[name] is before[name] for name in before)


def test_constant_rows_and_columns():
    X = np.column_stack([IRIS, np.full(150, 7.0)])
    for params in ({}, {"error_bound": 0.01}, {"bits_per_component": 2.0}):
        ours = compressor(**params).fit(X)
        back = ours.decompress(ours.compress(X))
        np.testing.assert_allclose(back[:, 4], 7, atol=1e-5)
        constant = compressor(scale=None, **params).fit(np.full((9, 2), 7.0))
        assert constant.psnr_ == np.inf
        stream = constant.compress(np.full((4_000, 2), 7.0))
        assert (constant.decompress(stream) == 7).all()
        assert len(stream) < 900


def test_bits_of_a_row_are_their_weighted_mean():
    std = np.repeat([0.1, 10.0], 300)[:, None]
    X = np.random.default_rng(0).normal(size=(600, 2)) * std
    weight = np.where(std[:, 0] < 1, 100.0, 1.0)
    ours = compressor(n_components=2).fit(X, sample_weight=weight)
    narrow, wide = (8 * (len(ours.compress(X[i:][:300])) - 76) / 300 for i in (0, 300))
    assert wide > narrow + 4
    expected = (100 * narrow + wide) / 101
    assert ours.bits_per_row_ == pytest.approx(expected, abs=0.5)


@pytest.mark.parametrize("params", [{}, {"error_bound": 0.5}])
def test_a_weight_of_two_is_the_row_twice(params):
    weight = RNG.integers(0, 3, len(IRIS))
    one = compressor(25, **params).fit(IRIS, sample_weight=weight)
    other = compressor(25, **params).fit(np.repeat(IRIS, weight, axis=0))
    assert one.compress(IRIS) == other.compress(IRIS)


# -- the autoencoder -------------------------------------------------------------


def test_settings_of_the_autoencoder_arrive():
    network = AutoencoderTransformer(
        n_components=3,
        hidden_layer_sizes=(5, 4),
        activation="tanh",
        alpha=0.5,
        batch_size=40,
        max_iter=4,
        net_params={"optimizer__betas": (0.8, 0.9)},
        random_state=1,
    ).fit(IRIS)
    before, module = network.get_params(), network.module_
    ours = AutoencoderCompressor(autoencoder=network, random_state=0).fit(IRIS)
    assert ours.n_components_ == 3
    assert ours.n_iter_ == 4
    layers = [m for m in ours.module_.encoder.modules() if isinstance(m, nn.Linear)]
    assert {5, 4, 3} <= {layer.out_features for layer in layers}
    assert any(isinstance(m, nn.Tanh) for m in ours.module_.modules())
    # The given one is neither fitted again nor changed, and its fit is not used.
    assert network.get_params() == before
    assert network.module_ is module
    again = AutoencoderCompressor(autoencoder=clone(network), random_state=0).fit(IRIS)
    assert again.compress(IRIS) == ours.compress(IRIS)
    for changed in ({"alpha": 0.1}, {"batch_size": 20}, {"net_params": None}):
        other = clone(again).set_params(autoencoder__max_iter=4)
        other.autoencoder.set_params(**changed)
        assert other.fit(IRIS).compress(IRIS) != ours.compress(IRIS)


def linear(n_features, n_components):
    """An architecture that trains fast."""
    return nn.Linear(n_features, n_components), nn.Linear(n_components, n_features)


def test_the_default_is_that_of_the_transformer():
    params = {"n_components": 2, "random_state": 0}
    ours = AutoencoderCompressor(architecture=linear, **params).fit(IRIS[:40])
    network = AutoencoderTransformer(architecture=linear)
    given = AutoencoderCompressor(autoencoder=network, **params).fit(IRIS[:40])
    assert given.compress(IRIS) == ours.compress(IRIS)


def test_the_compressors_settings_count_for_more(capsys):
    network = {"n_components": 2, "scale": "minmax", "max_iter": 2, "verbose": 1}
    ours = compressor(n_components=3, scale="minmax", network=network).fit(IRIS)
    assert ours.n_components_ == 3
    assert capsys.readouterr().out.count("Iteration ") == 2
    for params in ({"device": "one"}, {"network": {"device": "one"}}):
        with pytest.raises(ValueError, match="device='one' can't be used"):
            compressor(**params).fit(IRIS)
    compressor(device="cpu", network={"device": "one"}).fit(IRIS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("init", "random"),
        ("loss", "huber"),
        ("corruption_level", 0.1),
        ("corruption_level", (0.1, 1.0)),
        ("sparsity_weight", 0.5),
        ("contraction_weight", 0.5),
        ("latent", "gaussian"),
        ("prior", "mixture"),
        ("early_stopping", False),
        ("warm_start", True),
    ],
)
def test_settings_that_rounding_excludes_are_refused(name, value):
    said = rf"autoencoder has {name}={re.escape(repr(value))}, .* needs {name}="
    ours = compressor(network={name: value})
    with pytest.raises(ValueError, match=said):
        ours.fit(IRIS)
    assert not hasattr(ours, "n_features_in_")


@pytest.mark.parametrize(("ours", "given"), [("auto", None), (None, "minmax")])
def test_the_unit_of_errors_is_set_in_the_compressor(ours, given):
    said = f"autoencoder has scale={given!r}, .* set scale in the compressor"
    with pytest.raises(ValueError, match=said):
        compressor(scale=ours, network={"scale": given}).fit(IRIS)


@pytest.mark.parametrize(
    "params", [{"architecture": "conv"}, {"input_shape": (2, 2)}], ids=str
)
def test_what_describes_the_default_is_refused_beside_a_given_one(params):
    with pytest.raises(ValueError, match="only describe the default autoencoder"):
        compressor(**params).fit(IRIS)


@pytest.mark.parametrize(
    "other", [PCA(), "mlp", AutoencoderTransformer, FrozenEstimator(PCA())]
)
def test_another_kind_of_autoencoder_is_refused(other):
    with pytest.raises(TypeError, match="'autoencoder' parameter"):
        compressor(autoencoder=other).fit(IRIS)


def test_settings_of_the_autoencoder_are_validated():
    with pytest.raises(ValueError, match="'alpha' parameter of AutoencoderTransformer"):
        compressor(network={"alpha": -1.0}).fit(IRIS)


def test_settings_of_the_autoencoder_are_axes_of_a_grid():
    def minus_bits(estimator, X, y=None):
        return -estimator.bits_per_row_

    grid = {"autoencoder__alpha": [0.01, 1.0], "target_psnr": [20, 40]}
    few = compressor(network={"max_iter": 2})
    found = GridSearchCV(few, grid, scoring=minus_bits, cv=2).fit(IRIS)
    assert found.best_params_["target_psnr"] == 20
    best = found.best_estimator_.autoencoder
    assert best.alpha == found.best_params_["autoencoder__alpha"]


# -- long work -------------------------------------------------------------------


@pytest.mark.parametrize("pressed", [1, 7])
def test_an_interrupted_fit_keeps_the_best_so_far(monkeypatch, pressed):
    steps = []
    loss = RateDistortionNet._loss

    def interrupted(self, batch):
        steps.append(1)
        if len(steps) == 5 * pressed:
            signal.raise_signal(signal.SIGINT)
        return loss(self, batch)

    monkeypatch.setattr(RateDistortionNet, "_loss", interrupted)
    ours = compressor(20, network={"max_iter": 16, "batch_size": 250})
    with pytest.warns(ConvergenceWarning, match="Interrupted after"):
        ours.fit(TRAIN)
    # In the pilot fit of 4 iterations or in the second one: there is none after it.
    assert ours.n_iter_ <= pressed + 1
    assert len(steps) == 5 * pressed
    assert ours.decompress(ours.compress(TEST)).shape == TEST.shape


def test_an_interrupted_fit_does_not_also_warn_of_the_target(monkeypatch):
    def interrupted(self, batch):
        raise KeyboardInterrupt

    monkeypatch.setattr(RateDistortionNet, "_loss", interrupted)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ours = compressor(60, n_components=1).fit(IRIS)
    assert ours.psnr_ < 40
    assert [str(w.message)[:17] for w in caught] == ["Interrupted after"]


def test_an_interrupted_search_keeps_the_step_that_was_trained_for(monkeypatch):
    calls, outcome = [], Trial.outcome

    def interrupted(self, step):
        calls.append(step)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return outcome(self, step)

    monkeypatch.setattr(Trial, "outcome", interrupted)
    with pytest.warns(ConvergenceWarning, match="in the search for the best step"):
        ours = compressor(error_bound=0.1).fit(IRIS)
    assert ours.step_ == calls[0] == calls[2]
    assert len(calls) == 3
    assert np.abs(ours.decompress(ours.compress(IRIS)) - IRIS).max() <= 0.1


def test_iterations_of_both_fits_are_counted():
    ours = compressor(20).fit(IRIS)
    assert ours.n_iter_ == 2 + 8
    assert len(ours.loss_curve_) == 8
    assert compressor(n_components=2).fit(IRIS).n_iter_ == 8


class Counter:
    """A callback that counts tasks by name."""

    def __init__(self):
        self.n = Counts()

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context, *, X, y, metadata):
        self.n[context.task_name] += 1

    def on_fit_task_end(self, estimator, context, *, X, y, metadata):
        return False

    def teardown(self, estimator, context):
        pass

    @property
    def max_propagation_depth(self):
        return None

    def __deepcopy__(self, memo):
        return self


class Codes:
    """A callback that codes rows by the estimator as it is, in and after training."""

    def __init__(self):
        self.shapes = []

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, X, fitted_estimator):
        self.shapes.append(fitted_estimator.transform(X[:5]).shape)
        return False

    def teardown(self, estimator, context):
        pass

    def __deepcopy__(self, memo):
        return self


def test_callbacks_of_the_given_autoencoder_get_it_fitted():
    callback = Codes()
    network = AutoencoderTransformer(max_iter=4, n_components=2).set_callbacks(callback)
    AutoencoderCompressor(20, autoencoder=network, random_state=0).fit(IRIS)
    # A pilot fit and a second one, each iteration of theirs, and their ends.
    assert callback.shapes == [(5, 2)] * (1 + 4 + 2)


def test_scikit_learns_callbacks_count_both_fits():
    counter = Counter()
    compressor(20).set_callbacks(counter).fit(IRIS)
    assert counter.n["iteration"] == 2 + 8


def test_lines_for_each_iteration(capsys):
    compressor(n_components=2, network={"max_iter": 3}, verbose=1).fit(IRIS)
    assert capsys.readouterr().out.count("Iteration ") == 3


def test_convolutions_compress_pictures():
    pictures = {"architecture": "conv", "input_shape": (8, 8)}
    network = pictures | {"hidden_layer_sizes": (8,), "max_iter": 4}
    ours = compressor(18, network=network).fit(TRAIN)
    back = ours.decompress(ours.compress(TEST))
    assert psnr(TEST, back, 16) == pytest.approx(18, abs=1)
