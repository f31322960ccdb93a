"""Weights of LPIPS: found, downloaded, loaded."""

import importlib.util
from functools import lru_cache
from pathlib import Path

import torch

from sklearn_ae.metrics._checks import INSTALL
from sklearn_ae.metrics._lpips_net import LPIPS

URL = "https://download.pytorch.org/models/"
# A name ends with the first digits of the file's SHA-256.
BACKBONES = {"alex": "alexnet-owt-7be5be79.pth", "vgg": "vgg16-397923af.pth"}


def lpips_model(net, weights, device):
    """Return the network with its weights, on a device; the last four are cached.

    Parameters
    ----------
    net : {"alex", "vgg"}
    weights : path-like or None
        File of the backbone's weights. None is the file in torch's cache, which is
        downloaded if it is missing.
    device : str

    Raises
    ------
    FileNotFoundError
        If there is no such file and it cannot be downloaded.
    ImportError
        If torchmetrics, which contains the heads, is not installed.
    ValueError
        If a file does not hold the weights.
    """
    heads, backbone = heads_file(net), backbone_file(net, weights)
    # The time of the file's last change is part of the cache's key.
    return _loaded(net, heads, backbone, backbone.stat().st_mtime_ns, device)


@lru_cache(maxsize=4)
def _loaded(net, heads, backbone, modified_ns, device):
    model = LPIPS(net)
    load(model.heads, heads)
    load(model.backbone, backbone)
    return model.eval().requires_grad_(False).to(device)


def heads_file(net):
    """Return the path of the heads' weights in torchmetrics, without importing it."""
    spec = importlib.util.find_spec("torchmetrics")
    file = f"functional/image/lpips_models/{net}.pth"
    if spec is not None:
        path = Path(spec.origin).parent / file
        if path.exists():
            return path
    raise ImportError(f"LPIPS needs torchmetrics with its file {file}: {INSTALL}")


def backbone_file(net, weights):
    """Return the path of the backbone's weights; download them if needed."""
    if weights is not None:
        path = Path(weights).expanduser()
        if not path.is_file():
            raise FileNotFoundError(
                f"weights={str(weights)!r} is no file. Pass the path of "
                f"{BACKBONES[net]} from {URL}, or None to download it."
            )
        return path
    path = Path(torch.hub.get_dir()) / "checkpoints" / BACKBONES[net]
    if not path.exists():
        fetch(URL + BACKBONES[net], path)
    return path


def fetch(url, path):
    """Download a file, and verify the hash at the end of its name."""
    prefix = path.stem.rsplit("-", 1)[1]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=prefix)
    except OSError as error:
        raise FileNotFoundError(
            f"LPIPS needs {path}, and it could not be fetched ({error}). Download "
            f"{url} and put it there, or pass its path as weights."
        ) from error
    except RuntimeError as error:
        raise ValueError(
            f"{url} gave another file than the published one: {error}. Download it by "
            f"another way and put it at {path}, or pass its path as weights."
        ) from error


def load(module, path):
    """Load a module's weights from a file, which may hold others as well.

    Raises
    ------
    ValueError
        If the file can't be read, or weights are missing or of another shape.
    """
    stored = _read(path)
    wrong = [
        f"{key} of shape {tuple(weight.shape)}"
        for key, weight in module.state_dict().items()
        if getattr(stored.get(key), "shape", None) != weight.shape
    ]
    if wrong:
        raise ValueError(
            f"{path} does not hold the weights of {type(module).__name__}: it lacks "
            f"{', '.join(wrong)}. Replace it by the published file, or pass another as "
            "weights."
        )
    weights = {key: stored[key].float() for key in module.state_dict()}
    if not all(weight.isfinite().all() for weight in weights.values()):
        raise ValueError(
            f"{path} holds weights that are NaN or infinite. Replace it by the "
            "published file, or pass another as weights."
        )
    module.load_state_dict(weights, assign=True)


def _read(path):
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    # torch raises many kinds of errors for a corrupt file.
    except Exception as error:
        raise ValueError(
            f"{path} is no file of weights that torch can read. Replace it by the "
            "published file, or pass another as weights."
        ) from error
    return stored if isinstance(stored, dict) else {}
