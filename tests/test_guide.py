"""The guides' pictures can be drawn again; their examples are doctests."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import sklearn_ae

DOCS = Path(sklearn_ae.__file__).parents[1] / "docs"


def path(name):
    if not (DOCS / name).exists():
        pytest.skip(f"docs/{name} is not part of an installed package")
    return DOCS / name


def load_module(name):
    spec = importlib.util.spec_from_file_location(name, path(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_its_pictures_can_be_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    load_module("pictures").draw(tmp_path, max_iter=2)
    drawn = {p.name: p.read_bytes()[:4] for p in tmp_path.iterdir()}
    assert drawn == dict.fromkeys(("latent.png", "samples.png"), b"\x89PNG")


def test_its_heartbeats_can_be_compared_and_drawn(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    beats = load_module("beats")
    monkeypatch.setattr(beats, "N_SPLITS", 1)
    rng, time = np.random.default_rng(0), np.linspace(0, 6, 20)
    classes = np.repeat([1, 2, 4], [60, 10, 5])
    signal = np.where(classes[:, None] == 1, np.sin(time), np.cos(time))
    table = np.c_[classes, signal + 0.1 * rng.normal(size=(75, 20))]
    np.savetxt(tmp_path / "beats.txt", table)
    X, is_normal = beats.load(tmp_path / "beats.txt")
    assert X.shape == (75, 20)
    assert is_normal.sum() == 60
    train, test, is_odd = beats.split(X, is_normal, 0)
    assert (len(train), len(test), is_odd.sum()) == (30, 45, 15)
    assert not {row.tobytes() for row in train} & {row.tobytes() for row in test}
    beats.main(tmp_path / "beats.txt", tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "AEOutlierDetector",
        "IsolationForest",
        "LocalOutlierFactor",
        "OneClassSVM",
    ]
    assert all("AUROC 1.000" in line for line in lines)
    assert (tmp_path / "beats.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(FileNotFoundError, match="UCR time series archive"):
        beats.load(tmp_path / "none.txt")
