"""Pictures: what is cut, made noisy and chosen, and what is said about it."""

import gzip
from argparse import Namespace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits, load_sample_images
from sklearn.decomposition import PCA
from sklearn.linear_model import orthogonal_mp

from tests.benchmarks.asking import ask

pytest.importorskip("matplotlib")
pytest.importorskip("skimage")

from benchmarks import _denoisers, _pictures, images
from benchmarks.__main__ import main
from benchmarks._denoisers import Method, decibels, denoised
from benchmarks._pictures import NOISES, Pictures, problem
from benchmarks._tables import BadInput, Table
from sklearn_ae import AEOutlierDetector, AutoencoderTransformer

DIGITS = Pictures("digits", load_digits().data[:120], (8, 8), 16.0)
RIVALS = [name for name, m in _denoisers.METHODS.items() if not m.ours]


def options(**given):
    defaults = {"data": None, "tables": None, "quick": False, "seed": 0, "seeds": 1}
    return Namespace(**defaults | given)


def write_idx(path, images):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = np.array(images.shape, ">u4").tobytes()
    content = bytes([0, 0, 8, images.ndim]) + shape + images.tobytes()
    path.write_bytes(gzip.compress(content))


def write_beats(path, beats, classes):
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") as file:
        np.savetxt(file, np.c_[classes, beats])


@pytest.fixture
def folder(tmp_path):
    """Both files of --data, small."""
    rng = np.random.default_rng(0)
    write_idx(
        tmp_path / _pictures.MNIST, rng.integers(0, 256, (60, 9, 10)).astype(np.uint8)
    )
    beats = rng.normal(size=(40, 1)) * np.sin(np.arange(24))
    beats[30:] += 3 * rng.normal(size=(10, 24))
    write_beats(tmp_path / _pictures.ECG, beats, [1] * 30 + [2, 5] * 5)
    return tmp_path


@pytest.fixture
def quick(monkeypatch):
    """Short fits, few pictures."""
    monkeypatch.setattr(_pictures, "MAX_TEST", 10)
    monkeypatch.setattr(_pictures, "MAX_TUNE", 3)
    monkeypatch.setattr(_denoisers, "MAX_LEARNT", 100)
    monkeypatch.setattr(_denoisers, "MAX_ATOMS", 8)
    short = {
        "ours": _denoisers.ours(max_iter=1),
        _denoisers.ANY_LEVEL: _denoisers.ours_any_level(max_iter=1),
    }
    monkeypatch.setattr(images, "DENOISERS", _denoisers.METHODS | short)
    monkeypatch.setattr(images, "AutoencoderTransformer", short_transformer)
    conv = partial(_denoisers.conv, n_components=16, max_iter=1)
    monkeypatch.setitem(images.CODERS, "ours, conv", conv)
    for name, shape in (("conv", {"architecture": "conv"}), ("mlp", {})):
        detector = partial(short_detector, **shape)
        monkeypatch.setitem(images.DETECTORS, f"AEOutlierDetector, {name}", detector)


def short_transformer(*args, **params):
    return AutoencoderTransformer(*args, max_iter=1, **params)


def short_detector(train, test, seed, **params):
    autoencoder = AutoencoderTransformer(max_iter=1, **params)
    model = AEOutlierDetector(0, autoencoder=autoencoder, random_state=seed)
    return -model.fit(train).score_samples(test)


def test_idx_is_read_as_it_was_written(tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4) * 10
    write_idx(tmp_path / "a.gz", array)
    np.testing.assert_array_equal(_pictures.read_idx(tmp_path / "a.gz"), array)
    pictures = _pictures.mnist(tmp_path / "a.gz")
    assert pictures.shape == (3, 4)
    np.testing.assert_allclose(pictures.X, array.reshape(2, 12) / 255)


@pytest.mark.parametrize(
    "content",
    [
        b"no gzip",
        gzip.compress(b"\0\0\x0b\1"),
        gzip.compress(b""),
        gzip.compress(b"\0\0\x08\1\0\0\0\5ab"),
        gzip.compress(b"\0\0\x08\1\0\0\0\5abcde")[:-9],
    ],
    ids=["plain", "of other numbers", "empty", "values lack", "broken off"],
)
def test_a_bad_file_is_named(tmp_path, content):
    (tmp_path / "bad.gz").write_bytes(content)
    with pytest.raises(BadInput, match=r"bad\.gz"):
        _pictures.read_idx(tmp_path / "bad.gz")


@pytest.mark.parametrize(
    "content", [b"no gzip", gzip.compress(b"1 2 x")], ids=["plain", "text"]
)
def test_a_bad_file_of_beats_is_named(tmp_path, content):
    (tmp_path / "bad.gz").write_bytes(content)
    with pytest.raises(BadInput, match=r"bad\.gz"):
        _pictures.ecg(tmp_path / "bad.gz")


def test_beats_of_class_one_are_normal(tmp_path):
    beats = np.arange(15.0).reshape(5, 3)
    write_beats(tmp_path / "ecg.gz", beats, [1, 2, 1, 5, 4])
    table = _pictures.ecg(tmp_path / "ecg.gz")
    np.testing.assert_array_equal(table.X, beats)
    assert list(table.y) == [0, 1, 0, 1, 1]


def test_squares_of_an_image_do_not_overlap():
    image = np.arange(7 * 11).reshape(7, 11)
    rows = _pictures.cut(image, 3)
    assert rows.shape == (2 * 3, 9)
    np.testing.assert_array_equal(rows[4].reshape(3, 3), image[3:6, 3:6])
    assert len(np.unique(rows)) == rows.size


def test_photographs_are_grey_and_no_pixel_is_in_both_parts(monkeypatch):
    numbered = np.arange(2 * 16 * 24).reshape(2, 16, 24)
    grey = Namespace(images=np.repeat(numbered[..., None], 3, axis=3))
    monkeypatch.setattr(_pictures, "load_sample_images", lambda: grey)
    train, test = _pictures.split(_pictures.photographs(8), 0)
    assert train.size + test.size == numbered.size
    pixels = np.sort(np.concatenate([train, test], axis=None)) * 255
    np.testing.assert_allclose(pixels, numbered.ravel())


def test_photographs_are_a_capped_draw():
    pictures = _pictures.photographs(8)
    assert pictures.X.shape == (_pictures.MAX_PATCHES, 64)
    assert 0 <= pictures.X.min() < 0.1 < 0.9 < pictures.X.max() <= 1 + 1e-12
    corner = load_sample_images().images[0][:8, :8] @ np.array(_pictures.GREY) / 255
    whole = _pictures.cut(corner, 8)
    np.testing.assert_allclose(whole.reshape(8, 8), corner)


@pytest.mark.parametrize("task", NOISES)
def test_noise_is_of_its_size_and_the_same_for_all(task):
    given, again = (_pictures.Problem(DIGITS, NOISES[task], 0) for _ in range(2))
    np.testing.assert_array_equal(given.noisy_test, again.noisy_test)
    changed = given.noisy_test - given.test
    if task != "masking 25 %":
        assert changed.std() == pytest.approx(given.sigma, rel=0.05)
        assert given.sigma == 16 * NOISES[task].level
        return
    mean = given.train.mean(axis=0)
    to_mean = given.noisy_test == mean
    assert to_mean[:, mean > 0].mean() == pytest.approx(0.25, abs=0.03)
    assert not changed[~to_mean].any()


def test_pictures_that_tune_train_and_test_are_different():
    given = problem(DIGITS, "gaussian 25 %", 0)
    assert (len(given.train), len(given.test), given.n_tune) == (84, 36, 21)
    rows = np.concatenate([given.train, given.test])
    assert len(np.unique(rows, axis=0)) == len(np.unique(DIGITS.X, axis=0))
    other = problem(DIGITS, "gaussian 25 %", 1)
    assert not np.array_equal(given.test, other.test)


def test_a_choice_is_made_by_training_pictures_only():
    seen = []

    def fit(problem, train, learnt):
        seen.append((learnt, len(train)))
        assert not (train[:, None] == problem.test).all(axis=2).any()

    def restore(problem, fitted, shift, X):
        seen.append((shift, X is problem.noisy_tune))
        clean = problem.tune if X is problem.noisy_tune else problem.test
        return clean + shift

    given = problem(DIGITS, "gaussian 25 %", 0)
    method = Method(restore, fit, lambda _: {"a": [3, 1], "b": [2]})
    rows, _, chosen = denoised(method, given)
    fits, tuning = [("a", 63), ("b", 63)], [(3, True), (1, True), (2, True)]
    assert seen == [*fits, *tuning, ("a", 84), (1, False)]
    np.testing.assert_array_equal(rows, given.test + 1)
    assert chosen == "a 1"


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", RIVALS[1:])
def test_rivals_take_noise_off(name, monkeypatch):
    monkeypatch.setattr(_denoisers, "MAX_ATOMS", 64)
    monkeypatch.setattr(_denoisers, "MAX_LEARNT", 1000)
    # Larger than the dictionary's patches: smooth blots.
    x, y = np.meshgrid(np.arange(10), np.arange(12))
    middles = np.random.default_rng(0).uniform(2, 8, size=(60, 2, 1, 1))
    squares = (x - middles[:, 0]) ** 2 + (y - middles[:, 1]) ** 2
    blots = np.exp(-squares / 8).reshape(60, -1)
    given = problem(Pictures("blots", blots, (12, 10), 1.0), "gaussian 25 %", 0)
    rows, seconds, chosen = denoised(_denoisers.METHODS[name], given)
    before = decibels(given, given.test, given.noisy_test)
    assert decibels(given, given.test, rows) > before + 3
    assert seconds > 0
    assert chosen


def test_the_best_number_of_components_is_that_by_hand():
    given = problem(DIGITS, "gaussian 50 %", 0)
    learn, errors = given.train[given.n_tune :], {}
    assert _denoisers._numbers_of_components(given) == {None: [1, 2, 4, 8, 16, 32, 63]}
    for k in (1, 2, 4, 8, 16, 32, 63):
        pca = PCA(k, svd_solver="full").fit(learn)
        back = pca.inverse_transform(pca.transform(given.noisy_tune))
        errors[k] = decibels(given, given.tune, back)
    rows, _, chosen = denoised(_denoisers.METHODS["PCA, best k"], given)
    assert chosen == str(max(errors, key=errors.get))
    pca = PCA(int(chosen), svd_solver="full").fit(given.train)
    back = pca.inverse_transform(pca.transform(given.noisy_test))
    np.testing.assert_allclose(rows, back, atol=1e-8)


def test_codes_of_few_atoms_are_matching_pursuits():
    rng = np.random.default_rng(0)
    atoms = rng.normal(size=(12, 6))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    rows = rng.normal(size=(5, 6))
    rows[0] *= 0.01
    expected = orthogonal_mp(atoms.T, rows.T, n_nonzero_coefs=2).T @ atoms
    found = _denoisers._coded(rows, atoms, ("atoms", 2), 1.0)
    np.testing.assert_allclose(found, expected, atol=1e-10)
    # Until the noise is left: of a row that is less, nothing.
    found = _denoisers._coded(rows, atoms, ("noise", 1.15), 0.3)
    left = np.mean((rows - found) ** 2, axis=1)
    assert (left <= (1.15 * 0.3) ** 2).all()
    assert not found[0].any()
    assert found[1:].any(axis=1).all()


def test_ours_is_told_the_noise(monkeypatch):
    told = []

    class Recorder(AutoencoderTransformer):
        def fit(self, X):
            told.append((self.corruption, self.corruption_level))
            return super().fit(X)

    monkeypatch.setattr(_denoisers, "AutoencoderTransformer", Recorder)
    method = _denoisers.ours(max_iter=1)
    for task in ("gaussian 25 %", "masking 25 %"):
        rows, _, chosen = denoised(method, problem(DIGITS, task, 0))
        assert rows.shape == (36, 64)
        assert chosen == ""
    unit = np.sqrt(problem(DIGITS, task, 0).train.var(axis=0).mean())
    assert told == [("gaussian", pytest.approx(4 / unit)), ("masking", 0.25)]


def test_one_fit_is_for_any_level(monkeypatch):
    fits = []

    class Counter(AutoencoderTransformer):
        def fit(self, X):
            fits.append(self.corruption_level)
            return super().fit(X)

    monkeypatch.setattr(_denoisers, "AutoencoderTransformer", Counter)
    method = _denoisers.ours_any_level(max_iter=1)
    for task in ("gaussian 10 %", "gaussian 50 %"):
        given = problem(DIGITS, task, 3)
        rows = denoised(method, given)[0]
        # It starts at Wiener's filter.
        noisy = decibels(given, given.test, given.noisy_test)
        assert decibels(given, given.test, rows) > noisy + 1
    unit = np.sqrt(given.train.var(axis=0).mean())
    assert fits == [pytest.approx((0.05 * 16 / unit, 0.6 * 16 / unit))]
    with pytest.raises(ValueError, match="normal noise"):
        denoised(method, problem(DIGITS, "masking 25 %", 3))


@pytest.mark.usefixtures("quick")
def test_every_picture_noise_and_method_is_a_row(folder, tmp_path, capsys):
    data = ["--data", str(folder), "--tables", "MNIST,ECG5000"]
    code, frame = ask("images", tmp_path / "out", *data)
    assert code == 0
    pictures = frame[frame["task"].isin(NOISES)]
    # The one for any level is not for masking.
    assert len(pictures) == 4 * len(_denoisers.METHODS) - 1
    assert pictures[["psnr", "ssim", "mse", "seconds"]].notna().all(axis=None)
    assert list(frame.loc[frame["task"] == images.CODES, "method"]) == [*images.CODERS]
    beats = frame[frame["task"] == images.BEATS]
    assert len(beats) == 5 * len(images.DETECTORS)
    assert beats["auroc"].between(0.5, 1).all()
    assert set(beats["train"]) == {15}
    assert set(beats["test"]) == {25}
    shown = capsys.readouterr().out
    assert "MNIST to 16 numbers, PCA: squared error 0." in shown
    assert "1.000 of PCA's" in shown
    assert "Seeds: 0 of pictures; 0, 1, 2, 3, 4 of signals." in shown
    text = (tmp_path / "out" / "images.md").read_text(encoding="utf-8")
    assert "| data | method | gaussian 10 % | gaussian 25 % | gaussian 50 % |" in text
    assert (tmp_path / "out" / "images.png").read_bytes().startswith(b"\x89PNG")
    X, noisy, rows, shape, _ = images.SHOWN["MNIST"]
    assert X.shape == noisy.shape == rows.shape == (10, 90)
    assert shape == (9, 10)


@pytest.mark.usefixtures("quick")
def test_a_failing_method_is_a_row_that_says_so(monkeypatch, tmp_path, capsys):
    def fail(*args):
        raise ArithmeticError("no noise at all")

    methods = {"ours": Method(fail), "noisy": _denoisers.METHODS["noisy"]}
    monkeypatch.setattr(images, "DENOISERS", methods)
    monkeypatch.setattr(images, "CODERS", {"PCA": images.CODERS["PCA"]})
    arguments = ["--tables", "digits", "--quick", "--seeds", "2"]
    assert ask("images", tmp_path, *arguments)[0] == 1
    message = "FAILED digits gaussian 10 % ours 0: ArithmeticError: no noise at all"
    out = capsys.readouterr().out
    assert message in out
    assert "failed" in (tmp_path / "images.md").read_text(encoding="utf-8")
    assert "Seeds: 0, 1 of pictures." in out
    # With nothing to draw there is still a picture.
    assert (tmp_path / "images.png").exists()


@pytest.fixture
def results():
    """Two seeds on two tables; ours wins once, and the other of ours is no rival."""
    psnr = {"a": (20.0, 30.0, 12.0, 15.0), "b": (18.0, 19.0, 11.0, 18.5)}
    methods = ("ours", "ours, any level", "noisy", "PCA, best k")
    rows = [
        {"data": d, "task": "gaussian 50 %", "method": m, "seed": s, "psnr": value + e}
        for d, values in psnr.items()
        for m, value in zip(methods, values, strict=True)
        for s, e in ((0, -1), (1, 1))
    ]
    frame = pd.DataFrame(rows).assign(ssim=0.5, mse=0.1, auroc=np.nan, seconds=2.0)
    return frame.assign(train=84, test=36)


def test_summary_by_hand(results):
    table, lines = images.summary(results, [])
    assert list(table) == ["data", "method", "gaussian 50 %", "seconds"]
    cells = table.set_index(["data", "method"])["gaussian 50 %"]
    assert cells["a", "ours, any level"] == "**30.00 / 0.500**"
    assert cells["b", "ours, any level"] == "**19.00 / 0.500**"
    assert cells["a", "ours"] == "20.00 / 0.500"
    assert cells.str.contains("**", regex=False).sum() == 2
    assert lines[0] == (
        "ours: first in PSNR in 1 of 2 pairs of pictures and noise, by 5.00 dB at the "
        "least (a gaussian 50 %); behind: b gaussian 50 % (0.50 dB)."
    )
    assert "first in PSNR in 2 of 2" in lines[1]
    assert "by 0.50 dB at the least (b gaussian 50 %)." in lines[1]
    assert lines[2].endswith("above the noisy pictures by 8.0 dB on a, 7.0 dB on b.")
    assert "a: 84 and 36, b: 84 and 36." in lines[3]


def test_cases_follow_data_and_tables(folder):
    names = list(_pictures.sources(folder))
    assert names == [
        *("digits", "photographs 8x8", "photographs 16x16"),
        *("MNIST", "ECG5000"),
    ]
    cases = images.cases(options(data=folder, tables="digits,MNIST", quick=True))
    coded = {case["data"].name for case in cases if case["task"] == images.CODES}
    assert coded == {"MNIST"}
    assert max(len(case["data"].X) for case in cases) == 500
    cases = images.cases(options(data=folder, tables="ECG5000", quick=True))
    assert {type(case["data"]) for case in cases} == {Table}
    assert [case["seed"] for case in cases][:: len(images.DETECTORS)] == [*range(5)]


def test_bad_input(tmp_path, capsys, monkeypatch):
    def fail(*arguments):
        with pytest.raises(SystemExit):
            main(["images", *arguments])
        return capsys.readouterr().err

    assert "neither images/mnist" in fail("--data", str(tmp_path))
    assert "no table MNIST; there are: digits" in fail("--tables", "MNIST")
    monkeypatch.setattr(images, "find_spec", lambda name: None)
    assert "needs scikit-image" in fail()


def test_errors_of_standardised_rows_are_pcas():
    X = np.random.default_rng(0).normal(size=(50, 1)) * np.ones(5)
    X = np.vstack([X, [1, 1, 1, 1, -1]])
    assert images._pca_error(X[:50], X, 0).argmax() == 50
    found = images._conv_detector(X[:50], X, 0, max_iter=1)
    assert found.argmax() == 50
