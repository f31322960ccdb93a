import hashlib
import os
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pytest
import torch

from sklearn_ae.metrics import _lpips_weights as module
from sklearn_ae.metrics import learned_perceptual_image_patch_similarity as lpips
from sklearn_ae.metrics._lpips_net import NETS, Backbone, Heads
from tests.helpers import generator

# Convolutions of the published checkpoints: channels out and in, and the kernel's side.
ALEXNET = {
    0: (64, 3, 11),
    3: (192, 64, 5),
    6: (384, 192, 3),
    8: (256, 384, 3),
    10: (256, 256, 3),
}
VGG16 = {
    0: (64, 3, 3),
    2: (64, 64, 3),
    5: (128, 64, 3),
    7: (128, 128, 3),
    10: (256, 128, 3),
    12: (256, 256, 3),
    14: (256, 256, 3),
    17: (512, 256, 3),
    19: (512, 512, 3),
    21: (512, 512, 3),
    24: (512, 512, 3),
    26: (512, 512, 3),
    28: (512, 512, 3),
}
PUBLISHED = {"alex": ALEXNET, "vgg": VGG16}
X = np.random.default_rng(0).uniform(size=(2, 1024))
SETTINGS = {"input_shape": (32, 32), "data_range": 1}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Torch's cache, empty; and the internet is far."""

    def refuse(url, *_, **__):
        raise URLError("no route to host")

    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr("torch.hub.urlopen", refuse)
    yield tmp_path / "hub" / "checkpoints"
    module._loaded.cache_clear()


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A folder, and the address where its files can be fetched."""
    folder = tmp_path / "served"
    folder.mkdir()
    monkeypatch.setattr("torch.hub.urlopen", urlopen)
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        yield folder, f"http://127.0.0.1:{httpd.server_port}/"
        httpd.shutdown()
        thread.join()


def checkpoint(net="alex", seed=0):
    source, weights = generator(seed), {}
    for place, (n_out, n_in, side) in PUBLISHED[net].items():
        shape = (n_out, n_in, side, side)
        weight = 0.02 * torch.randn(shape, generator=source)
        weights[f"features.{place}.weight"] = weight
        weights[f"features.{place}.bias"] = torch.zeros(n_out)
    return weights | {"classifier.6.bias": torch.zeros(1000)}


def saved(weights, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(weights, path)
    return path


@pytest.mark.parametrize("net", NETS)
def test_the_backbone_is_the_published_checkpoint(net):
    expected = {
        key: tuple(weight.shape)
        for key, weight in checkpoint(net).items()
        if key.startswith("features.")
    }
    found = Backbone(net).state_dict()
    assert {key: tuple(weight.shape) for key, weight in found.items()} == expected


@pytest.mark.parametrize("net", NETS)
def test_the_heads_are_the_file_in_torchmetrics(net):
    stored = torch.load(module.heads_file(net), map_location="cpu", weights_only=True)
    shapes = {key: weight.shape for key, weight in stored.items()}
    assert {k: w.shape for k, w in Heads(net).state_dict().items()} == shapes
    # A distance can't be negative.
    assert all((weight >= 0).all() for weight in stored.values())


@pytest.mark.parametrize("net", NETS)
def test_names_of_files_end_with_a_hash(net):
    assert torch.hub.HASH_REGEX.search(module.BACKBONES[net]).group(1)


def test_the_cache_is_used_and_the_file_that_is_named_comes_first(cache, tmp_path):
    saved(checkpoint(), cache / module.BACKBONES["alex"])
    cached = lpips(X, X[::-1], **SETTINGS)
    other = saved(checkpoint(seed=1), tmp_path / "other.pth")
    named = lpips(X, X[::-1], weights=other, **SETTINGS)
    assert named != cached
    assert lpips(X, X[::-1], weights=str(other), **SETTINGS) == named


def test_a_file_is_read_once_until_it_changes(tmp_path, monkeypatch):
    path = saved(checkpoint(), tmp_path / "alex.pth")
    read = []
    load = torch.load
    monkeypatch.setattr("torch.load", lambda f, **k: read.append(f) or load(f, **k))
    for _ in range(3):
        lpips(X, X[::-1], weights=path, **SETTINGS)
    assert len(read) == 2  # Heads and backbone.
    os.utime(path, (0, 0))
    lpips(X, X[::-1], weights=path, **SETTINGS)
    assert len(read) == 4


def test_weights_of_another_precision_are_taken(tmp_path):
    double = {key: weight.double() for key, weight in checkpoint().items()}
    one, other = (
        lpips(X, X[::-1], weights=saved(w, tmp_path / name), **SETTINGS)
        for w, name in ((checkpoint(), "a"), (double, "b"))
    )
    assert one == other


@pytest.mark.parametrize("net", NETS)
def test_offline_it_is_told_which_file_goes_where(net, cache):
    name = module.BACKBONES[net]
    with pytest.raises(FileNotFoundError, match="no route to host") as error:
        lpips(X, X, net=net, **SETTINGS)
    assert f"Download https://download.pytorch.org/models/{name}" in str(error.value)
    assert str(cache / name) in str(error.value)
    assert "as weights" in str(error.value)
    assert list(cache.iterdir()) == []


def test_a_file_that_is_not_there_is_named(tmp_path):
    for path in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(FileNotFoundError, match=f"{path}' is no file.*alexnet-owt"):
            lpips(X, X, weights=path, **SETTINGS)


def serve(server, monkeypatch, content):
    """Offer bytes under a name with their hash, as the network's weights."""
    folder, url = server
    name = f"alexnet-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    (folder / name).write_bytes(content)
    monkeypatch.setattr(module, "URL", url)
    monkeypatch.setitem(module.BACKBONES, "alex", name)
    return folder / name


def test_weights_are_fetched_once_and_kept(server, cache, tmp_path, monkeypatch, capfd):
    path = saved(checkpoint(), tmp_path / "alex.pth")
    offered = serve(server, monkeypatch, path.read_bytes())
    found = lpips(X, X[::-1], **SETTINGS)
    assert "100%" in capfd.readouterr().err
    assert found == lpips(X, X[::-1], weights=path, **SETTINGS)
    assert [p.name for p in cache.iterdir()] == [offered.name]
    offered.unlink()
    module._loaded.cache_clear()
    assert lpips(X, X[::-1], **SETTINGS) == found


def test_a_download_with_another_hash_is_refused(server, cache, monkeypatch):
    offered = serve(server, monkeypatch, b"weights")
    offered.write_bytes(b"others")
    with pytest.raises(ValueError, match=rf"{offered.name} gave another file"):
        lpips(X, X, **SETTINGS)
    assert list(cache.iterdir()) == []


def test_a_download_that_is_not_there_is_named(server, cache, monkeypatch):
    serve(server, monkeypatch, b"weights").unlink()
    with pytest.raises(FileNotFoundError, match=r"could not be fetched .*404"):
        lpips(X, X, **SETTINGS)


def wrong_files():
    lacking = checkpoint()
    del lacking["features.3.weight"]
    of_another_shape = checkpoint() | {"features.0.bias": torch.zeros(63)}
    return {
        "lacking": (
            lacking,
            r"it lacks features.3.weight of shape \(192, 64, 5, 5\)\.",
        ),
        "shape": (of_another_shape, r"it lacks features.0.bias of shape \(64,\)\."),
        "net": (checkpoint("vgg"), "it lacks features.0.weight .* features.3.weight"),
        "list": ([1, 2], "does not hold the weights of Backbone"),
        "NaN": (
            checkpoint() | {"features.0.bias": torch.full((64,), torch.nan)},
            "NaN or infinite",
        ),
        "no tensor": (checkpoint() | {"features.0.bias": 3}, "lacks features.0.bias"),
    }


@pytest.mark.parametrize("kind", wrong_files())
def test_weights_of_something_else_are_named(kind, tmp_path):
    content, said = wrong_files()[kind]
    path = saved(content, tmp_path / "wrong.pth")
    with pytest.raises(ValueError, match=f"^{path} .*{said}"):
        lpips(X, X, weights=path, **SETTINGS)


def spoilt(path):
    content = path.read_bytes()
    yield b""
    yield b"<html>Not found</html>"
    yield b"PK\x03\x04" + bytes(100)
    yield from (content[: len(content) * i // 7] for i in range(1, 7))
    yield from (np.random.default_rng(i).bytes(1000) for i in range(20))
    # As torch wrote it before its files were archives.
    legacy = path.with_suffix(".old")
    torch.save({"a": torch.zeros(9)}, legacy, _use_new_zipfile_serialization=False)
    content = legacy.read_bytes()
    yield from (content[:i] for i in range(1, len(content), 13))


def test_files_that_are_spoilt_are_named(tmp_path):
    path = saved({"a": torch.zeros(1000)}, tmp_path / "alex.pth")
    for content in list(spoilt(path)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"^{path} (is no file|does not hold)"):
            lpips(X, X, weights=path, **SETTINGS)


def test_a_file_that_runs_code_does_not(tmp_path):
    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    path = saved({"features.0.weight": Harm()}, tmp_path / "alex.pth")
    with pytest.raises(ValueError, match="no file of weights that torch can read"):
        lpips(X, X, weights=path, **SETTINGS)
    assert not (tmp_path / "harm").exists()
