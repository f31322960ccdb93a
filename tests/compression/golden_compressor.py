"""A model with constant numbers, and streams of it in version 1 of the format.

``python -m tests.compression.golden_compressor`` writes golden_compressor.npz. It is to
be run for a new version of the format only, with another file name: streams of version
1 have to stay readable.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from sklearn_ae import AutoencoderCompressor
from sklearn_ae.autoencoder._inference import FittedAutoencoder
from sklearn_ae.compression._codec import Codec
from sklearn_ae.compression._entropy_coding import SymbolModels, _Table
from sklearn_ae.compression._residuals import ResidualGrid
from sklearn_ae.nn import Autoencoder
from sklearn_ae.tables._column_scaler import ColumnScaler

PATH = Path(__file__).with_suffix(".npz")
TOTAL = 2**24
# Numbers of few bits, whose sums are exact on every machine.
DECODER = np.array([[1.0, 0.5], [-0.25, 2.0], [0.5, -1.0], [0.0, 0.25]])
OFFSET = np.array([8.0, 16.0, -4.0, 0.5])
SCALE = np.array([1.0, 2.0, 0.5, 4.0])
STEP = 0.5


def table(low, shift, weights):
    """Return a table of frequencies in proportion to weights, the escape last."""
    weights = np.asarray(weights, dtype=np.int64)
    frequencies = TOTAL * weights // weights.sum()
    frequencies[0] += TOTAL - frequencies.sum()
    return _Table(low, shift, frequencies)


def models(width, *tables):
    fitted = SymbolModels()
    fitted._tables, fitted._width = list(tables), width
    return fitted


def golden_model(*, lossless):
    """A compressor of four columns and two components."""
    decoder, encoder = nn.Linear(2, 4), nn.Linear(4, 2)
    with torch.no_grad():
        decoder.weight.copy_(torch.from_numpy(DECODER))
        decoder.bias.zero_()
        encoder.weight.copy_(torch.from_numpy(DECODER.T))
        encoder.bias.zero_()
    columns = ColumnScaler("minmax")
    columns.shift_, columns.scale_ = OFFSET, SCALE
    columns.constant_ = np.full(4, np.nan)
    autoencoder = FittedAutoencoder(
        columns, Autoencoder(encoder, decoder, 2), None, None
    )
    codec = Codec(autoencoder, STEP)
    # Bins of one integer in one table, of four in the other; both need escapes.
    codec.quantiser.models = models(
        2, table(-3, 0, [1, 5, 9, 30, 9, 5, 1, 1]), table(-2, 2, [1, 8, 8, 1, 1])
    )
    if lossless:
        codec.residuals = grid = ResidualGrid(0.0)
        grid._bound, grid._step = np.zeros(4), np.ones(4)
        grid._margin = np.full(4, 1e-6)
        grid._prediction_step = np.ones(4)
        grid._low, grid._high = np.full(4, -128.0), np.full(4, 127.0)
        grid._edges = [
            np.array([8]),
            np.array([10, 20]),
            np.array([-5]),
            np.array([], int),
        ]
        grid._models = models(
            4, *(table(-4, 0, [1, 2, 4, n, 16, 8, 4, 2, 1, 1]) for n in range(5, 13))
        )
    model = AutoencoderCompressor(error_bound=0 if lossless else None)
    model._codec, model.n_features_in_ = codec, 4
    return model


def rows():
    """Return integers, some of them far from the others."""
    X = np.rint(np.random.default_rng(0).normal(size=(50, 4)) * 3 + OFFSET)
    X[7], X[9, 2] = 1_000, -70
    return X.astype(np.int16)


def main():
    X, written = rows(), {}
    for name, lossless in (("lossy", False), ("lossless", True)):
        model = golden_model(lossless=lossless)
        stream = model.compress(X)
        written[f"{name}_stream"] = np.frombuffer(stream, np.uint8)
        written[f"{name}_rows"] = model.decompress(stream)
    np.savez(PATH, **written)


if __name__ == "__main__":
    main()
