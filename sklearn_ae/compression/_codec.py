"""Encode rows as a stream of bytes, and decode it, by a fitted autoencoder."""

import math
from functools import cached_property
from hashlib import blake2b

import numpy as np

from sklearn_ae.compression._container import MAX_BLOCK_ROWS, Header, pack, unpack
from sklearn_ae.compression._entropy_coding import pack_varints, unpack_varints
from sklearn_ae.compression._quantiser import Quantiser
from sklearn_ae.compression._residuals import ResidualGrid

# A block of float64 cells takes at most 32 MiB, unless a row alone takes more. Streams
# depend on it: a decoder refuses blocks of another size.
MAX_CELLS_PER_BLOCK = 2**22
# Where Pillow refuses to decode a picture: twice its MAX_IMAGE_PIXELS of three bytes.
# A stream of repeated blocks, made without the model, holds as much in some kilobytes.
MAX_TABLE_BYTES = 2**29
# Flag of a stream whose blocks have the signs of zeros; others have no -0.0.
SIGNED_ZEROS = 1


class Codec:
    """Entropy-coded quantised codes and, with an error bound, quantised residuals.

    Parameters
    ----------
    autoencoder : FittedAutoencoder
    step : float
        Quantisation step of the codes.
    error_bound : ndarray of shape () or (d,), or None
        Maximum absolute error of a cell; None stores no residuals.
    is_integer : ndarray of shape (d,), bool, or None
        Columns of integers; needed with an error bound.
    """

    def __init__(self, autoencoder, step, error_bound=None, is_integer=None):
        self.autoencoder, self.quantiser = autoencoder, Quantiser(step)
        self.error_bound, self.is_integer = error_bound, is_integer
        self.residuals = None

    def fit(self, X, weight, Z):
        """Estimate the frequencies of symbols and residuals.

        Parameters
        ----------
        X : ndarray of shape (n, d)
            Rows in input units, of a dtype that a stream may have.
        weight : ndarray of shape (n,)
        Z : ndarray of shape (n, k)
            Codes of the rows, before they are rounded.
        """
        self.quantiser.fit(Z, weight)
        if self.error_bound is not None:
            predicted = self._predicted(self.quantiser.symbols(Z))
            # Columns in one unit with one bound have residuals alike.
            in_one_unit = self.autoencoder.columns.scale is None
            shared = in_one_unit and self.error_bound.ndim == 0
            grid = ResidualGrid(self.error_bound, share_tables=shared)
            self.residuals = grid.fit(X, predicted, self.is_integer, weight)
        return self

    def bits(self, X, Z):
        """Return code lengths (n,) in bits of rows X (n, d) with codes Z (n, k)."""
        symbols = self.quantiser.symbols(Z)
        bits = self.quantiser.models.bits(symbols)
        if self.residuals is not None:
            bits = bits + self.residuals.bits(X, self._predicted(symbols))
        return bits

    def symbols(self, X):
        """Return the quantised codes (n, k), int64, of rows X (n, d)."""
        return self.quantiser.symbols(self.codes(X))

    def codes(self, X):
        """Return codes (n, k) of rows X (n, d), before they are rounded."""
        # float32 would make a row's codes depend on the other rows of its block.
        with np.errstate(all="ignore"):
            return self.autoencoder.encode(np.asarray(X, dtype=np.float64))

    # -- streams -----------------------------------------------------------------

    @property
    def _n_features(self):
        return len(self.autoencoder.columns.shift_)

    @property
    def block_rows(self):
        """Number of rows in a block; fewer for wide rows, to bound its memory."""
        return min(MAX_BLOCK_ROWS, max(1, MAX_CELLS_PER_BLOCK // self._n_features))

    def compress(self, X):
        """Encode rows X (n, d), of a dtype that a stream may have, as bytes."""
        (n, d), n_rows = X.shape, self.block_rows
        blocks = [X[i : i + n_rows] for i in range(0, n, n_rows)]
        signed = self.residuals is not None and any(
            map(self.residuals.has_negative_zeros, blocks)
        )
        flags = SIGNED_ZEROS if signed else 0
        dtype = X.dtype.newbyteorder("<").str
        header = Header(dtype, n, d, n_rows, self.fingerprint, flags)
        return pack(header, [self.encode(block, signed) for block in blocks])

    def decompress(self, stream, max_rows="auto"):
        """Decode a stream to rows in their dtype; ValueError if it is damaged.

        More rows than ``max_rows`` are refused before memory is taken for them. "auto"
        is as many as take ``MAX_TABLE_BYTES``; None is any number.
        """
        header, blocks = unpack(stream)
        self._refuse_others(header)
        _refuse_many(header, max_rows)
        X = _empty(header)
        for i, block in enumerate(blocks):
            rows = X[i * header.block_rows :][: header.block_rows]
            try:
                decoded = self.decode(block, len(rows), header.flags == SIGNED_ZEROS)
            except ValueError as error:
                raise ValueError(
                    f"Block {i} of the stream is damaged: {error}"
                ) from error
            rows[:] = _cast(decoded, X.dtype)
        return X

    def _refuse_others(self, header):
        if header.n_features != self._n_features:
            raise ValueError(
                f"The stream has {header.n_features} columns, the model "
                f"{self._n_features}: it was written by another one."
            )
        flags = (0,) if self.residuals is None else (0, SIGNED_ZEROS)
        if header.flags not in flags or header.block_rows != self.block_rows:
            raise ValueError(
                f"The stream has flags={header.flags} and blocks of "
                f"{header.block_rows} rows; this sklearn-ae writes "
                f"{' or '.join(map(str, flags))} and {self.block_rows}. A later one "
                "may read it."
            )
        if header.fingerprint != self.fingerprint:
            raise ValueError(
                "The stream was written by another model: its fingerprint is "
                f"{header.fingerprint.hex()}, that of this one "
                f"{self.fingerprint.hex()}."
            )

    # -- blocks ------------------------------------------------------------------

    def encode(self, X, signed_zeros=False):
        """Encode a block of rows X (n, d) as bytes."""
        symbols = self.symbols(X)
        sections = [self.quantiser.models.encode(symbols)]
        if signed_zeros:
            sections.append(self.residuals.encode_signs(X))
        payload = b"".join(pack_varints(np.array([len(s)])) + s for s in sections)
        if self.residuals is not None:
            payload += self.residuals.encode(X, self._predicted(symbols))
        return payload

    def decode(self, payload, n, signed_zeros=False):
        """Decode a block to n rows (n, d), float64; ValueError if it is damaged."""
        code, payload = _section(payload)
        if self.residuals is None:
            if len(payload):
                raise ValueError(_WRONG_LENGTH)
            return self.decoded(self.quantiser.models.decode(code, n))
        signs, payload = _section(payload) if signed_zeros else (None, payload)
        symbols = self.quantiser.models.decode(code, n)
        X = self.residuals.decode(payload, self._predicted(symbols))
        if signed_zeros:
            self.residuals.decode_signs(signs, X)
        return X

    def decoded(self, symbols):
        """Return rows (n, d), float64, of symbols, decoded in float32."""
        codes = self.quantiser.values(symbols).astype(np.float32)
        scaled = self.autoencoder.decode_scaled(codes)
        with np.errstate(all="ignore"):
            return self.autoencoder.columns.inverse_transform(scaled.astype(np.float64))

    def _predicted(self, symbols):
        # float64, so that other machines' predictions differ by far less than a step.
        with np.errstate(all="ignore"):
            return self.autoencoder.decode(self.quantiser.values(symbols))

    # -- fingerprint --------------------------------------------------------------

    @cached_property
    def fingerprint(self):
        """Hash (16 bytes) of all that decoding depends on."""
        digest = blake2b(digest_size=16)
        for piece in self._state():
            digest.update(piece)
        return digest.digest()

    def _state(self):
        """Yield all that decoding depends on, as bytes."""
        for name, value in self.autoencoder.module.decoder.state_dict().items():
            yield name.encode()
            yield value.cpu().numpy().tobytes()
        columns = self.autoencoder.columns
        yield columns.shift_.astype("<f8").tobytes()
        yield columns.scale_.astype("<f8").tobytes()
        yield np.float64(self.quantiser.step).tobytes()
        yield self.quantiser.models.state()
        if self.residuals is not None:
            yield self.residuals.state()


_WRONG_LENGTH = "A block of the stream has another length than it states."


def _section(payload):
    """Split a payload into a section, after its length, and the rest."""
    (length,), start = unpack_varints(payload, 1)
    end = start + int(length)
    if end > len(payload):
        raise ValueError(_WRONG_LENGTH)
    return payload[start:end], payload[end:]


def _refuse_many(header, max_rows):
    row_bytes = header.n_features * header.table_dtype.itemsize
    if max_rows == "auto":
        max_rows = MAX_TABLE_BYTES // row_bytes
    if max_rows is not None and header.n_rows > max_rows:
        raise ValueError(
            f"The stream states {header.n_rows} rows, {header.n_rows * row_bytes} bytes"
            f" when decoded, more than max_rows={max_rows}. If you expect so many, "
            f"pass max_rows={header.n_rows}."
        )


def _empty(header):
    try:
        # The operating system provides a page of memory only once it is written to.
        return np.empty((header.n_rows, header.n_features), header.table_dtype)
    except (MemoryError, ValueError) as error:
        raise ValueError(
            f"The stream states {header.n_rows} rows, for which there is no memory."
        ) from error


def _cast(X, dtype):
    """Cast float64 rows to a dtype: rounded if integer, clipped to its range."""
    if dtype.kind == "f":
        limit = float(np.finfo(dtype).max)
        return np.clip(X, -limit, limit).astype(dtype)
    info = np.iinfo(dtype)
    # int64's maximum is no float64: take the float64 below the first too large.
    highest = math.nextafter(float(info.max) + 1, 0)
    X = np.where(np.isnan(X), 0, np.rint(X))
    return np.clip(X, float(info.min), highest).astype(dtype)
