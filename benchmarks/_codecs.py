"""What a compressor is beside: PCA with the same coder, JPEG, WebP and zstd."""

import io
from bisect import bisect_right
from functools import lru_cache
from math import ceil, sqrt

import numpy as np
from PIL import Image
from scipy.interpolate import PchipInterpolator
from sklearn.decomposition import PCA

from sklearn_ae.compression._container import Header, pack
from sklearn_ae.compression._quantiser import Quantiser

STEPS = np.geomspace(1e-4, 8, 400)  # of PCA's codes, in units of the range
QUALITIES = (0, *range(1, 10), *range(10, 50, 2), *range(50, 101, 5))  # JPEG, WebP
FORMATS = {  # of Pillow: how many bytes are left out is up to each
    "JPEG": {"format": "JPEG", "optimize": True},
    "WebP": {"format": "WEBP", "method": 6},
}


def psnr(rows, decoded, data_range):
    """In dB, of all cells together; ranges are one number or one a column."""
    error = np.mean(np.square((rows.astype(float) - decoded) / data_range))
    return 10 * np.log10(1 / error) if error > 0 else np.inf


class LinearCodec:
    """All of PCA's components, rounded to one step, in streams like ours.

    Columns are scaled to the unit that the error is measured in.
    """

    def __init__(self, train, data_range):
        self.data_range, self.dtype = data_range, train.dtype
        self.pca = PCA().fit(train / data_range)
        self.codes = self.pca.transform(train / data_range)

    def at(self, test, target):
        """Bytes of the test rows and their PSNR, by the coarsest step that has it.

        By the test rows themselves: it need not guess.
        """
        codes = self.pca.transform(test / self.data_range)
        found = bisect_right(
            STEPS, -target, key=lambda step: -self._psnr(test, codes, step)
        )
        step = STEPS[max(found - 1, 0)]
        quantiser = Quantiser(step).fit(self.codes, None)
        payload = quantiser.models.encode(quantiser.symbols(codes))
        header = Header("<f8", *test.shape, 4096, bytes(16))
        n_bytes = len(pack(header, [payload] * header.n_blocks))
        n_bytes -= (header.n_blocks - 1) * len(payload)
        return n_bytes, self._psnr(test, codes, step)

    def _psnr(self, test, codes, step):
        decoded = self.pca.inverse_transform(Quantiser(step).rounded(codes))
        decoded = decoded * self.data_range
        if self.dtype.kind in "iu":
            decoded = np.clip(np.rint(decoded), 0, self.data_range)
        return psnr(test, decoded, self.data_range)


@lru_cache(maxsize=1)  # the points of a table share it
def linear(problem):
    """PCA of a problem's training rows."""
    return LinearCodec(problem.train, problem.data_range)


def mosaic(rows, shape):
    """Rows side by side as one picture, black where there are no more."""
    n = ceil(sqrt(len(rows)))
    full = np.zeros((n * n, *shape), np.uint8)
    full[: len(rows)] = rows.reshape(-1, *shape)
    return full.reshape(n, n, *shape).swapaxes(1, 2).reshape(n * shape[0], -1)


def unmosaic(picture, n, shape):
    """The first n rows of a mosaic."""
    side = len(picture) // shape[0]
    tiles = picture.reshape(side, shape[0], side, shape[1]).swapaxes(1, 2)
    return tiles.reshape(-1, shape[0] * shape[1])[:n]


def _stored(picture, options, quality):
    """Bytes and the grey picture that they are decoded to."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, quality=quality, **options)
    n_bytes = file.tell()
    return n_bytes, np.asarray(Image.open(file).convert("L"))


@lru_cache(maxsize=8)  # the points of a table share it
def picture_curve(problem, name, is_mosaic):
    """Bytes and PSNR by quality, a list of pairs, of rows as pictures of 0 to 255."""
    scale, shape, test = 255 / problem.data_range, problem.shape, problem.test
    bright = np.rint(test * scale).astype(np.uint8)
    curve = []
    for quality in QUALITIES:
        if is_mosaic:
            n_bytes, back = _stored(mosaic(bright, shape), FORMATS[name], quality)
            back = unmosaic(back, len(test), shape)
        else:
            both = [_stored(r.reshape(shape), FORMATS[name], quality) for r in bright]
            n_bytes = sum(b for b, _ in both)
            back = np.stack([b.ravel() for _, b in both])
        back = np.rint(back / scale)
        curve.append((n_bytes, psnr(test, back, problem.data_range)))
    return curve


def bd_rate(ours, theirs):
    """Bjontegaard's difference: bits of ours over theirs at one PSNR, less one.

    The mean of the logarithm over the PSNRs that both have, by curves (n, 2) of PSNR
    and bits, interpolated by PCHIP.

    References
    ----------
    Bjontegaard, G. (2001). Calculation of average PSNR differences between RD-curves.
    VCEG-M33. NOTE: there the interpolation is cubic.
    """
    curves = [np.array(sorted(set(map(tuple, c)))) for c in (ours, theirs)]
    low = max(c[0, 0] for c in curves)
    high = min(c[-1, 0] for c in curves)
    if low >= high:
        return np.nan
    areas = [
        PchipInterpolator(c[:, 0], np.log(c[:, 1])).integrate(low, high) for c in curves
    ]
    return float(np.exp((areas[0] - areas[1]) / (high - low)) - 1)
