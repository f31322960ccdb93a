import numpy as np
import pytest
import torch
from torch import nn
from torchmetrics.functional.image import lpips as reference

from sklearn_ae.metrics import _lpips, _lpips_weights
from sklearn_ae.metrics import learned_perceptual_image_patch_similarity as lpips
from sklearn_ae.metrics._lpips_net import NETS, Backbone
from tests.helpers import generator

NAMES = {"alex": "alexnet", "vgg": "vgg16"}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """For each network a file of random weights, by the rule of He et al."""
    return {net: random_backbone(net, tmp_path_factory.mktemp(net)) for net in NETS}


@pytest.fixture(autouse=True)
def _forget_networks():
    yield
    _lpips_weights._loaded.cache_clear()


def random_backbone(net, folder):
    source = generator()
    weights = {}
    for key, weight in Backbone(net).state_dict().items():
        scale = (2 / weight[0].numel()) ** 0.5 if weight.ndim > 1 else 0.1
        weights[key] = scale * torch.randn(weight.shape, generator=source)
    path = folder / f"{net}.pth"
    torch.save(weights, path)
    return path


def tables(shape, n=3, seed=0):
    """Bytes, and the same with noise."""
    rng = np.random.default_rng(seed)
    X = rng.integers(256, size=(n, int(np.prod(shape))))
    return X, np.clip(X + rng.integers(-60, 60, size=X.shape), 0, 255)


def written_out(net):
    """torchvision's ``features``, layer by layer."""
    if net == "vgg":
        layers, n_in = [], 3
        for width in [64, 64, 0, 128, 128, 0, *[256] * 3, 0, *[512] * 3, 0, *[512] * 3]:
            if width:
                layers += [nn.Conv2d(n_in, width, 3, padding=1), nn.ReLU()]
                n_in = width
            else:
                layers.append(nn.MaxPool2d(2))
        return nn.Sequential(*layers)
    return nn.Sequential(
        nn.Conv2d(3, 64, kernel_size=11, stride=4, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=3, stride=2),
        nn.Conv2d(64, 192, kernel_size=5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=3, stride=2),
        nn.Conv2d(192, 384, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, kernel_size=3, padding=1),
        nn.ReLU(),
    )


def of_torchvision(net):
    models = pytest.importorskip("torchvision.models")
    return getattr(models, NAMES[net])(weights=None).features


def of_torchmetrics(net, file, features, monkeypatch, resize=None):
    """torchmetrics' LPIPS with its own heads and the weights in a file."""
    weights = {
        key.removeprefix("features."): value for key, value in torch.load(file).items()
    }
    features.load_state_dict(weights)
    monkeypatch.setattr(reference, "_get_tv_model_features", lambda *_: features)
    return reference._NoTrainLpips(net=net, resize=resize)


def unit_images(X, shape):
    return torch.tensor(X / 255).float().reshape(-1, *shape).expand(-1, 3, -1, -1)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("shape", [(1, 40, 57), (3, 32, 33)])
@pytest.mark.parametrize("backbone", [written_out, of_torchvision])
def test_lpips_is_that_of_torchmetrics(net, shape, backbone, files, monkeypatch):
    features = backbone(net)
    X, restored = tables(shape)
    settings = {"input_shape": shape, "data_range": 255, "net": net}
    each = lpips(X, restored, weights=files[net], average=False, **settings)
    theirs = of_torchmetrics(net, files[net], features, monkeypatch)
    expected = theirs(*(unit_images(x, shape) for x in (X, restored)), normalize=True)
    expected = expected.flatten().numpy()
    np.testing.assert_allclose(each, expected, rtol=1e-5, atol=1e-7)
    assert (each.dtype, each.shape) == (float, (3,))
    assert (each > 0.01).all()
    mean = lpips(X, restored, weights=str(files[net]), **settings)
    assert isinstance(mean, float)
    assert mean == pytest.approx(each.mean())


@pytest.mark.parametrize("net", NETS)
def test_small_images_are_enlarged_as_by_torchmetrics(net, files, monkeypatch):
    shape = (1, 28, 28)
    X, restored = tables(shape)
    settings = {"input_shape": (28, 28), "data_range": 255, "net": net}
    each = lpips(X, restored, weights=files[net], average=False, **settings)
    features = written_out(net)
    theirs = of_torchmetrics(net, files[net], features, monkeypatch, resize=64)
    expected = theirs(*(unit_images(x, shape) for x in (X, restored)), normalize=True)
    np.testing.assert_allclose(each, expected.flatten(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("shape", "sides"),
    [
        ((3, 31, 31), (64, 64)),
        ((8, 16), (64, 128)),
        ((3, 90, 30), (192, 64)),
        ((3, 32, 100), (32, 100)),
    ],
)
def test_images_keep_their_proportions(shape, sides):
    images = _lpips.lpips_images(np.prod(shape), input_shape=shape, data_range=1)
    X = np.random.default_rng(0).uniform(size=(2, np.prod(shape)))
    x = images(X)
    assert (x.shape, x.dtype) == ((2, 3, *sides), torch.float32)
    assert -1 <= x.min() < -0.9
    assert 0.9 < x.max() <= 1


def test_a_range_is_brought_to_one_around_zero(files):
    X, restored = tables((3, 32, 32))
    settings = {"input_shape": (3, 32, 32), "weights": files["alex"]}
    expected = lpips(X, restored, data_range=255, **settings)
    assert lpips(X / 255, restored / 255, data_range=1, **settings) == pytest.approx(
        expected, rel=1e-5
    )
    shifted = X / 255 - 0.5, restored / 255 - 0.5
    found = lpips(*shifted, data_range=(-0.5, 0.5), **settings)
    assert found == pytest.approx(expected, rel=1e-5)
    # As in the reference, what lies beyond is not clipped.
    found = lpips(X, restored, data_range=100, **settings)
    assert found != lpips(
        X.clip(0, 100), restored.clip(0, 100), data_range=100, **settings
    )


def test_grey_images_are_repeated(files):
    X, restored = tables((32, 32))
    settings = {"data_range": 255, "weights": files["alex"]}
    grey = lpips(X, restored, input_shape=(32, 32), **settings)
    assert grey == lpips(X, restored, input_shape=(1, 32, 32), **settings)
    three = [np.tile(x, 3) for x in (X, restored)]
    assert grey == lpips(*three, input_shape=(3, 32, 32), **settings)


@pytest.mark.parametrize("net", NETS)
def test_it_is_zero_for_equal_images_and_symmetric(net, files):
    X, restored = tables((3, 32, 32), n=5)
    settings = {"input_shape": (3, 32, 32), "data_range": 255, "net": net}
    settings |= {"weights": files[net], "average": False}
    np.testing.assert_array_equal(lpips(X, X.copy(), **settings), np.zeros(5))
    there, back = lpips(X, restored, **settings), lpips(restored, X, **settings)
    np.testing.assert_array_equal(there, back)


@pytest.mark.parametrize("batch_size", [1, np.int64(4)])
def test_batches_make_no_difference(batch_size, files):
    X, restored = tables((3, 32, 32), n=7)
    settings = {"input_shape": (3, 32, 32), "data_range": 255, "average": False}
    settings |= {"weights": files["alex"]}
    expected = lpips(X, restored, **settings)
    found = lpips(X, restored, batch_size=batch_size, **settings)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(("side", "rows"), [(8, 32), (32, 128), (64, 32), (999, 1)])
def test_pixels_of_a_batch_are_bounded(side, rows):
    images = _lpips.lpips_images(side**2, input_shape=(1, side, side), data_range=1)
    assert images.rows_at_once("auto") == rows
    assert images.rows_at_once(5) == 5


@pytest.mark.usefixtures("several_threads")
def test_nothing_global_is_moved(files):
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    X, restored = tables((32, 32))
    before = X.copy(), restored.copy()
    lpips(X, restored, input_shape=(32, 32), data_range=255, weights=files["alex"])
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()
    np.testing.assert_array_equal((X, restored), before)


@pytest.mark.parametrize(
    ("setting", "error", "said"),
    [
        ({"input_shape": (3072,)}, ValueError, r"LPIPS compares images.*\(3072,\)"),
        ({"input_shape": (3, 1024)}, ValueError, "structural_similarity"),
        ({"input_shape": (3, 1024, 1)}, ValueError, "sides above 1"),
        ({"input_shape": (2, 32, 48)}, ValueError, r"\(2, 32, 48\)"),
        ({"input_shape": (6, 16, 32)}, ValueError, "LPIPS compares images"),
        ({"input_shape": None}, TypeError, "input_shape must be a tuple"),
        ({"net": "squeeze"}, ValueError, r"net must be one of \['alex', 'vgg'\]"),
        ({"net": None}, ValueError, "net must be one of .*None"),
        ({"weights": 3}, TypeError, "weights must be the path of a file.*3"),
        ({"device": 0}, TypeError, "device must be a string"),
        ({"batch_size": 0}, ValueError, "batch_size must be 1 or more"),
        ({"batch_size": 2.0}, TypeError, "batch_size must be an integer"),
        ({"batch_size": True}, TypeError, "True"),
        ({"batch_size": "all"}, TypeError, "'all'"),
    ],
)
def test_what_can_not_be_is_named(setting, error, said):
    X = np.zeros((2, 3072))
    settings = {"input_shape": (3, 32, 32), "data_range": 1} | setting
    with pytest.raises(error, match=said):
        lpips(X, X, **settings)


@pytest.mark.parametrize(
    ("low", "high", "pixel"),
    [(0, 1e-200, 0.5), (0, 5e-324, 1.0), (0, 1, 3e38), (0, 1, 1e200), (-1, 1, -2e7)],
)
def test_pixels_that_float32_cannot_bring_to_the_range_are_named(
    low, high, pixel, files
):
    X = np.full((2, 1024), low, dtype=float)
    far = X.copy()
    far[1, 3] = pixel
    settings = {"input_shape": (32, 32), "weights": files["alex"]}
    settings["data_range"] = (low, high)
    for pair, name in ((X, far), "X_pred"), ((far, X), "X_true"):
        with pytest.raises(ValueError, match=f"{name} contains .*too far from data_ra"):
            lpips(*pair, **settings)


@pytest.mark.parametrize("net", NETS)
def test_it_is_finite_up_to_the_furthest_pixels_and_in_a_wide_range(net, files):
    X, restored = (x / 255 for x in tables((32, 32)))
    settings = {"input_shape": (32, 32), "weights": files[net], "net": net}
    for data_range in (2.0**-22, 1e200):
        found = lpips(X, restored, data_range=data_range, **settings)
        assert 0 <= found < np.inf
    largest = np.finfo(float).max
    found = lpips(largest * X, largest * restored, data_range=largest, **settings)
    assert found == pytest.approx(lpips(X, restored, data_range=1, **settings))
