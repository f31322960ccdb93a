"""Where the weights of LPIPS come from."""

import importlib.util
from functools import lru_cache
from pathlib import Path

import torch

from sklearn_ae.metrics._checks import INSTALL
from sklearn_ae.metrics._lpips_net import LPIPS

URL = "https://download.pytorch.org/models/"
# Each name ends with the first digits of the file's SHA-256.
BACKBONES = {"alex": "alexnet-owt-7be5be79.pth", "vgg": "vgg16-397923af.pth"}


def lpips_model(net, weights, device):
    """The network with its weights, on a device; it is read once.

    Parameters
    ----------
    net : {"alex", "vgg"}
    weights : path-like or None
        File of the backbone. None is the one in torch's cache, where it is put from
        the internet if it is not there.
    device : str

    Raises
    ------
    FileNotFoundError
        If there is no such file and it can't be fetched.
    ImportError
        If torchmetrics, which brings the heads, is not installed.
    ValueError
        If a file is not what it should be.
    """
    heads, backbone = heads_file(net), backbone_file(net, weights)
    # A file that was written anew is read anew.
    return _loaded(net, heads, backbone, backbone.stat().st_mtime_ns, device)


@lru_cache(maxsize=4)
def _loaded(net, heads, backbone, changed, device):
    model = LPIPS(net)
    load(model.heads, heads)
    load(model.backbone, backbone)
    return model.eval().requires_grad_(False).to(device)


def heads_file(net):
    """Path of the heads' weights within torchmetrics, which is not imported."""
    spec = importlib.util.find_spec("torchmetrics")
    file = f"functional/image/lpips_models/{net}.pth"
    if spec is not None:
        path = Path(spec.origin).parent / file
        if path.exists():
            return path
    raise ImportError(f"LPIPS needs torchmetrics with its file {file}: {INSTALL}")


def backbone_file(net, weights):
    """Path of the backbone's weights: as given, from torch's cache or fetched."""
    if weights is not None:
        path = Path(weights).expanduser()
        if not path.is_file():
            raise FileNotFoundError(
                f"weights={str(weights)!r} is no file. Pass the path of "
                f"{BACKBONES[net]} from {URL}, or None to have it fetched."
            )
        return path
    path = Path(torch.hub.get_dir()) / "checkpoints" / BACKBONES[net]
    if not path.exists():
        fetch(URL + BACKBONES[net], path)
    return path


def fetch(url, path):
    """Download a file whose name ends with its hash."""
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
    """Give a module the weights in a file; what else is in it is left.

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
    module.load_state_dict(weights, assign=True)


def _read(path):
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    # Of a file that is spoilt, torch may stumble over anything.
    except Exception as error:
        raise ValueError(
            f"{path} is no file of weights that torch can read. Replace it by the "
            "published file, or pass another as weights."
        ) from error
    return stored if isinstance(stored, dict) else {}
