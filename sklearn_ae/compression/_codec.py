"""What a compressor has learnt: rows to streams, and streams to rows."""

import math
from functools import cached_property
from hashlib import blake2b

import numpy as np

from sklearn_ae.compression._container import MAX_BLOCK_ROWS, Header, pack, unpack
from sklearn_ae.compression._entropy_coding import pack_varints, unpack_varints
from sklearn_ae.compression._quantiser import Quantiser
from sklearn_ae.compression._residuals import ResidualGrid

# Cells of a block, at the most, unless a row has more.
MAX_CELLS = 2**22


class Codec:
    """Rows as rounded codes and, where an error is bounded, what these miss.

    Parameters
    ----------
    codec : Codec
        Of a fitted autoencoder.
    step : float
        Distance of neighbouring values of a component.
    error_bound : ndarray of shape () or (d,), or None
        Greatest error of a cell.
    is_integer : ndarray of shape (d,), bool
        Columns of whole numbers, where an error is bounded.
    """

    def __init__(self, model, step, error_bound=None, is_integer=None):
        self.model, self.quantiser = model, Quantiser(step)
        self.error_bound, self.is_integer = error_bound, is_integer
        self.residuals = None

    def fit(self, X, weight, Z):
        """Learn how often each symbol occurs.

        Parameters
        ----------
        X : ndarray of shape (n, d)
            Rows of any dtype.
        weight : ndarray of shape (n,)
        Z : ndarray of shape (n, k)
            Their codes.
        """
        self.quantiser.fit(Z, weight)
        if self.error_bound is not None:
            predicted = self._predicted(self.quantiser.symbols(Z))
            # Of one unit are columns whose cells count as much, by one bound.
            one_unit = self.model.columns.scale is None and self.error_bound.ndim == 0
            grid = ResidualGrid(self.error_bound, one_unit=one_unit)
            self.residuals = grid.fit(X, predicted, self.is_integer, weight)
        return self

    def bits(self, X, Z):
        """Code lengths (n,) of rows X (n, d) with codes Z (n, k)."""
        symbols = self.quantiser.symbols(Z)
        bits = self.quantiser.models.bits(symbols)
        if self.residuals is not None:
            bits = bits + self.residuals.bits(X, self._predicted(symbols))
        return bits

    def symbols(self, X):
        """Whole numbers (n, k), int64: what is stored of rows X (n, d)."""
        return self.quantiser.symbols(self.codes(X))

    def codes(self, X):
        """Codes (n, k) of rows X (n, d), before they are rounded."""
        # In float64, so that a row's do not depend on those that it is sent with.
        with np.errstate(all="ignore"):
            return self.model.encode(np.asarray(X, dtype=np.float64))

    # -- streams -----------------------------------------------------------------

    @property
    def block_rows(self):
        """Rows of a block: fewer of wide ones, which bounds what one takes."""
        return min(MAX_BLOCK_ROWS, max(1, MAX_CELLS // len(self.model.columns.shift_)))

    def compress(self, X):
        """The stream of rows X (n, d) of a dtype that it may have."""
        (n, d), n_rows = X.shape, self.block_rows
        header = Header(X.dtype.newbyteorder("<").str, n, d, n_rows, self.fingerprint)
        starts = range(0, n, n_rows)
        return pack(header, [self.encode(X[i : i + n_rows]) for i in starts])

    def decompress(self, stream):
        """The rows of a stream, in the dtype that they had; ValueError if it is not."""
        header, blocks = unpack(stream)
        self._refuse_others(header)
        X = _empty(header)
        for i, block in enumerate(blocks):
            rows = X[i * header.block_rows :][: header.block_rows]
            rows[:] = _cast(self.decode(block, len(rows)), X.dtype)
        return X

    def _refuse_others(self, header):
        d = len(self.model.columns.shift_)
        if header.n_features != d:
            raise ValueError(
                f"The stream has {header.n_features} columns, the model {d}: it was "
                "written by another one."
            )
        if header.flags or header.block_rows != self.block_rows:
            raise ValueError(
                f"The stream has flags={header.flags} and blocks of "
                f"{header.block_rows} rows; this sklearn-ae writes 0 and "
                f"{self.block_rows}. A later one may read it."
            )
        if header.fingerprint != self.fingerprint:
            raise ValueError(
                "The stream was written by another model: its fingerprint is "
                f"{header.fingerprint.hex()}, that of this one "
                f"{self.fingerprint.hex()}."
            )

    # -- blocks ------------------------------------------------------------------

    def encode(self, X):
        """Payload of a block of rows X (n, d)."""
        symbols = self.symbols(X)
        code = self.quantiser.models.encode(symbols)
        payload = pack_varints(np.array([len(code)])) + code
        if self.residuals is not None:
            payload += self.residuals.encode(X, self._predicted(symbols))
        return payload

    def decode(self, payload, n):
        """Rows (n, d), float64, of a payload; ValueError if it is not that of any."""
        (length,), start = unpack_varints(payload, 1)
        end = start + int(length)
        if end > len(payload) or (self.residuals is None and end < len(payload)):
            raise ValueError("A block of the stream has another length than it states.")
        symbols = self.quantiser.models.decode(payload[start:end], n)
        if self.residuals is None:
            return self.decoded(symbols)
        return self.residuals.decode(payload[end:], self._predicted(symbols))

    def decoded(self, symbols):
        """Rows (n, d), float64, of symbols: by the network in float32."""
        codes = self.quantiser.values(symbols).astype(np.float32)
        scaled = self.model.decode_scaled(codes)
        with np.errstate(all="ignore"):
            return self.model.columns.inverse_transform(scaled.astype(np.float64))

    def _predicted(self, symbols):
        # Told apart on another machine by less than float32's rounding.
        with np.errstate(all="ignore"):
            return self.model.decode(self.quantiser.values(symbols))

    # -- what it is ---------------------------------------------------------------

    @cached_property
    def fingerprint(self):
        """16 bytes that tell it from other models."""
        digest = blake2b(digest_size=16)
        for piece in self._state():
            digest.update(piece)
        return digest.digest()

    def _state(self):
        """Pieces of bytes on which decoding depends."""
        for name, value in self.model.module.decoder.state_dict().items():
            yield name.encode()
            yield value.cpu().numpy().tobytes()
        columns = self.model.columns
        yield columns.shift_.astype("<f8").tobytes()
        yield columns.scale_.astype("<f8").tobytes()
        yield np.float64(self.quantiser.step).tobytes()
        yield self.quantiser.models.state()
        if self.residuals is not None:
            yield self.residuals.state()


def _empty(header):
    dtype = np.dtype(header.dtype).newbyteorder("=")
    try:
        # Of pages that nothing is written to, none is taken.
        return np.empty((header.n_rows, header.n_features), dtype)
    except (MemoryError, ValueError) as error:
        raise ValueError(
            f"The stream states {header.n_rows} rows, for which there is no memory."
        ) from error


def _cast(X, dtype):
    """Rows of float64 in another dtype, the nearest that it has."""
    if dtype.kind == "f":
        limit = float(np.finfo(dtype).max)
        return np.clip(X, -limit, limit).astype(dtype)
    info = np.iinfo(dtype)
    # The greatest number below the first that is too large.
    highest = math.nextafter(float(info.max) + 1, 0)
    X = np.where(np.isnan(X), 0, np.rint(X))
    return np.clip(X, float(info.min), highest).astype(dtype)
