"""Learned perceptual image patch similarity."""

from dataclasses import dataclass
from numbers import Integral
from os import PathLike

import numpy as np
import torch
from torch.nn.functional import interpolate

from sklearn_ae._input_shape import folded_shape
from sklearn_ae.metrics._checks import mean_or_each, two_tables, value_range
from sklearn_ae.metrics._lpips_net import NETS
from sklearn_ae.metrics._lpips_weights import lpips_model

# AlexNet's last maps are empty for smaller images.
MIN_SIDE = 32
# Side of the patches that the heads were fitted to.
PATCH = 64
# Of each half of a batch: VGG16 needs about 1 kB a pixel.
PIXELS = 2**17


def learned_perceptual_image_patch_similarity(
    X_true,
    X_pred,
    *,
    input_shape,
    data_range,
    net="alex",
    weights=None,
    average=True,
    batch_size="auto",
    device="cpu",
):
    """Learned perceptual image patch similarity (LPIPS) of rows and reconstruction.

    The distance of two images within a network that was trained on ImageNet: its
    activations, scaled to unit length over channels, are compared layer by layer, with
    weights that were fitted to what people see. 0 is equal, lower is better.

    The weights of the layers' channels come with torchmetrics. Those of the network
    are a file of 230 MB (AlexNet) or 530 MB (VGG16), which is fetched from
    download.pytorch.org on the first call and kept in ``torch.hub.get_dir()``.

    Parameters
    ----------
    X_true : array-like of shape (n_samples, n_features)
        Rows, numeric and finite.
    X_pred : array-like of shape (n_samples, n_features)
        Their reconstruction.
    input_shape : tuple of int
        (H, W) or (1, H, W) of grey images, which are repeated to three channels, or
        (3, H, W) of RGB; rows are flattened in C order. Where a side is below 32,
        images are enlarged (bilinear) until the shorter side is 64, the size of the
        paper's patches: as torchmetrics does with ``resize=64`` for square ones.
    data_range : float or pair of float
        Range of values that there can be, which is brought to [-1, 1]: (low, high), or
        the width of one that starts at 0. It is not guessed from the rows, and values
        beyond it are not clipped, as in the reference.
    net : {"alex", "vgg"}, default="alex"
        AlexNet, the authors' choice to judge images by, or VGG16.
    weights : str or path-like, default=None
        File of the network's weights, such as a copy of alexnet-owt-7be5be79.pth or
        vgg16-397923af.pth. None takes it from torch's cache or the internet.
    average : bool, default=True
        Whether to return the mean over rows or one number for each.
    batch_size : int or "auto", default="auto"
        Rows that are compared at once. "auto" bounds their pixels: a few hundred MB.
    device : str, default="cpu"
        Where torch computes, such as "cuda".

    Returns
    -------
    lpips : float or ndarray of shape (n_samples,), float64
        At least 0; computed in float32.

    Raises
    ------
    FileNotFoundError
        If there is no file of weights and it can't be fetched.
    ImportError
        If torchmetrics is not installed.
    TypeError
        If a parameter is of the wrong type.
    ValueError
        If X_true and X_pred are not two finite tables of the same shape, if
        ``data_range`` is no range, if ``input_shape`` does not fit or is no grey or RGB
        image, if ``net`` or ``batch_size`` is none, or if a file holds other weights.

    References
    ----------
    Zhang, R., Isola, P., Efros, A. A., Shechtman, E. and Wang, O. (2018). The
    unreasonable effectiveness of deep features as a perceptual metric. CVPR.

    Examples
    --------
    >>> from sklearn_ae.metrics import learned_perceptual_image_patch_similarity
    >>> learned_perceptual_image_patch_similarity(
    ...     X, restored, input_shape=(3, 64, 64), data_range=255
    ... )  # doctest: +SKIP
    0.12
    """
    X_true, X_pred = two_tables(X_true, X_pred)
    images = lpips_images(
        X_true.shape[1],
        input_shape=input_shape,
        data_range=data_range,
        net=net,
        weights=weights,
        batch_size=batch_size,
        device=device,
    )
    model = lpips_model(net, weights, device)
    size = images.rows_at_once(batch_size)
    starts = range(0, len(X_true), size)
    with torch.inference_mode():
        values = [
            model(*(images(X[i : i + size]).to(device) for X in (X_true, X_pred)))
            for i in starts
        ]
    return mean_or_each(torch.cat(values).cpu().numpy().astype(float), average)


def lpips_images(
    n_features,
    *,
    input_shape,
    data_range,
    net="alex",
    weights=None,
    batch_size="auto",
    device="cpu",
):
    """What turns rows into the network's images; all parameters are checked."""
    if not isinstance(net, str) or net not in NETS:
        raise ValueError(f"net must be one of {list(NETS)}, got {net!r}.")
    if weights is not None and not isinstance(weights, str | PathLike):
        raise TypeError(f"weights must be the path of a file or None, got {weights!r}.")
    if not isinstance(device, str):
        raise TypeError(f'device must be a string such as "cpu", got {device!r}.')
    _check_batch_size(batch_size)
    shape = _image_shape(input_shape, n_features)
    return _Images(shape, *value_range(data_range))


def _check_batch_size(batch_size):
    if isinstance(batch_size, str) and batch_size == "auto":
        return
    if not isinstance(batch_size, Integral) or isinstance(batch_size, bool):
        raise TypeError(f'batch_size must be an integer or "auto", got {batch_size!r}.')
    if batch_size < 1:
        raise ValueError(f'batch_size must be 1 or more, or "auto", got {batch_size}.')


def _image_shape(input_shape, n_features):
    shape = folded_shape(input_shape, n_features)
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise ValueError(
            "LPIPS compares images: input_shape must be (H, W), (1, H, W) or (3, H, W) "
            f"with sides above 1, got {input_shape!r}. For signals and other channels "
            "there is structural_similarity."
        )
    return shape


@dataclass
class _Images:
    """Rows (n, n_features) in [low, high] to images (n, 3, H, W) in [-1, 1], float32.

    Small ones are enlarged.
    """

    shape: tuple
    low: float
    high: float

    def __post_init__(self):
        _, *sides = self.shape
        enlarged = PATCH / min(sides) if min(sides) < MIN_SIDE else 1
        self.sides = tuple(round(enlarged * side) for side in sides)

    def rows_at_once(self, batch_size):
        if batch_size != "auto":
            return int(batch_size)
        return max(1, PIXELS // (self.sides[0] * self.sides[1]))

    def __call__(self, X):
        scaled = 2 * (X.astype(float) - self.low) / (self.high - self.low) - 1
        images = torch.from_numpy(scaled.astype(np.float32)).reshape(-1, *self.shape)
        if self.sides != self.shape[1:]:
            images = interpolate(images, self.sides, mode="bilinear")
        return images.expand(-1, 3, -1, -1)
