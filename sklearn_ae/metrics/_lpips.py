"""Learned perceptual image patch similarity."""

import math
from dataclasses import dataclass
from numbers import Integral
from os import PathLike

import numpy as np
import torch
from torch.nn.functional import interpolate

from sklearn_ae._input_shape import folded_shape
from sklearn_ae._runtime import limit_threads
from sklearn_ae.metrics._checks import mean_or_each, two_tables, value_range
from sklearn_ae.metrics._lpips_net import NETS
from sklearn_ae.metrics._lpips_weights import lpips_model


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
    """Learned perceptual image patch similarity (LPIPS) of reconstructed rows.

    LPIPS is a distance of two images in the feature space of a network trained on
    ImageNet: the squared differences of channel-normalised activations are weighted, by
    weights fitted to human judgements, and summed over layers. It is 0 for equal
    images, and lower is better.

    The weights of the channels come with torchmetrics. Those of the network are a file
    of 230 MB (AlexNet) or 530 MB (VGG16), which is downloaded from download.pytorch.org
    on the first call and kept in ``torch.hub.get_dir()``.

    Parameters
    ----------
    X_true : array-like of shape (n_samples, n_features)
        Original rows, numeric and finite.
    X_pred : array-like of shape (n_samples, n_features)
        Reconstructed rows.
    input_shape : tuple of int
        (H, W) or (1, H, W) of grey images, which are repeated to three channels, or
        (3, H, W) of RGB images; rows are flattened in C order. If a side is below 32,
        images are enlarged bilinearly until the shorter side is 64, the size of the
        paper's patches, as torchmetrics does square images with ``resize=64``.
    data_range : float or pair of float
        Range of possible values, (low, high) or the width of a range that starts at 0.
        It is mapped to [-1, 1]. It is not inferred from the rows, and values outside it
        are not clipped, as in the reference implementation; those 8 million widths away
        are refused.
    net : {"alex", "vgg"}, default="alex"
        AlexNet, which the authors recommend as a metric, or VGG16.
    weights : str or path-like, default=None
        File of the network's weights, such as a copy of alexnet-owt-7be5be79.pth or
        vgg16-397923af.pth. None is torch's cache or a download.
    average : bool, default=True
        If True, return the mean over rows, else one value per row.
    batch_size : int or "auto", default="auto"
        Rows in a batch. "auto" bounds a batch's pixels, and memory to a few hundred MB.
    device : str, default="cpu"
        Torch device, such as "cuda".

    Returns
    -------
    lpips : float or ndarray of shape (n_samples,), float64
        LPIPS, at least 0, computed in float32.

    Raises
    ------
    FileNotFoundError
        If there is no file of weights and it cannot be downloaded.
    ImportError
        If torchmetrics is not installed.
    TypeError
        If a parameter is of the wrong type.
    ValueError
        If X_true and X_pred are not two finite tables of the same shape, if
        ``data_range`` is not of positive width or far from the values, if
        ``input_shape`` does not multiply to n_features or is not that of a grey or RGB
        image, if ``net`` or ``batch_size`` is invalid, or if a file holds other or
        infinite weights.

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
    tables = {"X_true": X_true, "X_pred": X_pred}
    # The caller's threads; in a forked process one, as waiting for others would hang.
    with limit_threads(math.inf, blas=False), torch.inference_mode():
        values = [
            model(*(images(X[i : i + size], n).to(device) for n, X in tables.items()))
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
    """Validate the parameters; return a function from rows to the network's images."""
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
            f"with sides above 1, got {input_shape!r}. Use structural_similarity for "
            "signals and other numbers of channels."
        )
    return shape


# Neighbours in float32 are further apart than the ends of the range, -1 and 1.
MAX_PIXEL = 2.0**24


@dataclass
class _Images:
    """Rows (n, n_features) in [low, high] to images (n, 3, H, W) in [-1, 1], float32.

    Images with a side below 32 are enlarged.
    """

    shape: tuple
    low: float
    high: float

    def __post_init__(self):
        _, *sides = self.shape
        # AlexNet's last feature maps would be empty below 32; LPIPS was fitted to
        # patches of 64.
        factor = 64 / min(sides) if min(sides) < 32 else 1
        self.sides = tuple(round(factor * side) for side in sides)

    def rows_at_once(self, batch_size):
        if batch_size != "auto":
            return int(batch_size)
        # VGG16 takes about 1 kB per pixel.
        max_pixels = 2**17
        return max(1, max_pixels // (self.sides[0] * self.sides[1]))

    def __call__(self, X, name="X"):
        # A range's width can be so small that a quotient overflows.
        with np.errstate(over="ignore"):
            scaled = 2 * ((X.astype(float) - self.low) / (self.high - self.low)) - 1
        self._refuse_far_values(X, scaled, name)
        images = torch.from_numpy(scaled.astype(np.float32)).reshape(-1, *self.shape)
        if self.sides != self.shape[1:]:
            images = interpolate(images, self.sides, mode="bilinear")
        return images.expand(-1, 3, -1, -1)

    def _refuse_far_values(self, X, scaled, name):
        is_far = np.abs(scaled) > MAX_PIXEL
        if is_far.any():
            raise ValueError(
                f"{name} contains {X[is_far][0]}, too far from data_range="
                f"({self.low}, {self.high}) for LPIPS, which is computed in float32. "
                "Pass the range that pixels have."
            )
