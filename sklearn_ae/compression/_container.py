"""Container format of a compressed table: a header, blocks and checksums."""

import struct
import zlib
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

MAX_BLOCK_ROWS = 4_096
DTYPES = ("<f4", "<f8", "<f2", *(f"|{s}1" for s in "iu"))
DTYPES += tuple(f"<{sign}{size}" for sign in "iu" for size in (2, 4, 8))
_MAGIC, _VERSION = b"SKAE", 1
_HEADER = struct.Struct("<4sBBHQIII16s")
_BLOCK_ENTRY = np.dtype([("crc", "<u4"), ("length", "<u4")])
_CHECKSUM_BYTES = 8


@dataclass(frozen=True)
class Header:
    """Header of a stream.

    Parameters
    ----------
    dtype : str
        Dtype of the table, one of ``DTYPES``.
    n_rows : int
        In [0, 2**63).
    n_features : int
        In [1, 2**24].
    block_rows : int
        Number of rows in every block but the last, in [1, 4096].
    fingerprint : bytes
        Hash (16 bytes) of the model that wrote the stream.
    flags : int, default=0
        In [0, 2**16): 1 if the blocks have the signs of zeros, else 0.
    """

    dtype: str
    n_rows: int
    n_features: int
    block_rows: int
    fingerprint: bytes
    flags: int = 0

    @property
    def n_blocks(self):
        """Number of blocks that hold the rows."""
        return -(-self.n_rows // self.block_rows)

    @property
    def table_dtype(self):
        """The dtype in native byte order."""
        return np.dtype(self.dtype).newbyteorder("=")


class StreamInfo(NamedTuple):
    """Header of a stream of ``AutoencoderCompressor.compress``.

    Attributes
    ----------
    n_rows, n_features : int
        Shape of the table.
    dtype : numpy.dtype
        Dtype of the table.
    version : int
        Version of the format.
    fingerprint : str
        Hash of the fitted compressor that wrote the stream, 32 hexadecimal digits.
        Only that one decodes it.
    """

    n_rows: int
    n_features: int
    dtype: np.dtype
    version: int
    fingerprint: str


def stream_info(stream):
    """Read the header of a compressed table, without decoding it.

    No fitted compressor is needed, and only the first 44 bytes are read: the start of a
    file is enough. What follows is not checked, and the header is not signed, so a
    stream may hold less than it states, but ``decompress`` makes no more of it.

    Parameters
    ----------
    stream : bytes-like
        A stream of ``AutoencoderCompressor.compress``, or its start.

    Returns
    -------
    info : StreamInfo
        Named tuple of ``n_rows``, ``n_features``, ``dtype``, ``version`` and
        ``fingerprint``.

    Raises
    ------
    ValueError
        For anything that does not begin with the header of a stream that this version
        reads.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ae import AutoencoderCompressor, stream_info
    >>> X = np.arange(120, dtype="float32").reshape(40, 3)
    >>> stream = AutoencoderCompressor(20, random_state=0).fit(X).compress(X)
    >>> info = stream_info(stream[:44])
    >>> info.n_rows, info.n_features, info.dtype, info.version
    (40, 3, dtype('float32'), 1)
    >>> info.n_rows * info.n_features * info.dtype.itemsize  # bytes, decoded
    480
    """
    header = _header(_bytes(stream))
    return StreamInfo(
        header.n_rows,
        header.n_features,
        header.table_dtype,
        _VERSION,
        header.fingerprint.hex(),
    )


def pack(header, blocks):
    """Return the stream, bytes, of a header and its blocks.

    The header is followed by the CRC-32 and length of each block, the blocks, and a
    BLAKE2b checksum of all that precedes it. Numbers are little-endian.

    Parameters
    ----------
    header : Header
    blocks : list of bytes
        ``header.n_blocks`` of them, each below 4 GiB.

    Raises
    ------
    ValueError
        For a header out of its ranges, or blocks of another number or size.
    """
    _check(header, len(blocks))
    if any(len(block) >= 2**32 for block in blocks):
        raise ValueError("A block of the stream is 4 GiB or more; take fewer rows.")
    fixed = _HEADER.pack(
        _MAGIC,
        _VERSION,
        DTYPES.index(header.dtype),
        header.flags,
        header.n_rows,
        header.n_features,
        header.block_rows,
        len(blocks),
        header.fingerprint,
    )
    table = [(zlib.crc32(block), len(block)) for block in blocks]
    body = b"".join([fixed, np.array(table, _BLOCK_ENTRY).tobytes(), *blocks])
    return body + _checksum(body)


def unpack(data):
    """Return the header and blocks of a stream that ``pack`` made.

    No memory is taken for what the header states: blocks are views of the data, made
    one after the other.

    Parameters
    ----------
    data : bytes-like

    Returns
    -------
    header : Header
    blocks : iterator of memoryview
        ``header.n_blocks`` views of the data.

    Raises
    ------
    ValueError
        For anything that ``pack`` does not write; the message names the fault. A block
        whose own checksum differs is refused when it is reached.
    """
    data = _bytes(data)
    header = _header(data)
    start = _HEADER.size + header.n_blocks * _BLOCK_ENTRY.itemsize
    if start + _CHECKSUM_BYTES > len(data):
        raise ValueError("The stream is truncated: its table of blocks is cut off.")
    table = np.frombuffer(data[_HEADER.size : start], _BLOCK_ENTRY)
    stated = start + int(table["length"].sum(dtype=np.uint64)) + _CHECKSUM_BYTES
    _check_size(len(data), stated)
    if _checksum(data[:-_CHECKSUM_BYTES]) != data[-_CHECKSUM_BYTES:]:
        raise ValueError("The stream is damaged: its checksum differs.")
    return header, _blocks(data[start:], table)


def _blocks(data, table):
    """Yield the blocks at the start of data."""
    for i, (crc, length) in enumerate(table):
        block, data = data[:length], data[length:]
        if zlib.crc32(block) != crc:
            raise ValueError(f"Block {i} of the stream is damaged.")
        yield block


def storable(X):
    """Return X in a dtype that a stream holds, in native byte order.

    Booleans become uint8, long doubles float64; ValueError for numbers beyond it.
    """
    if X.dtype == bool:
        return X.astype(np.uint8)
    if X.dtype.newbyteorder("<").str in DTYPES:
        return X.astype(X.dtype.newbyteorder("="), copy=False)
    limit = np.finfo(np.float64).max
    beyond = (np.abs(X) > limit).any(axis=0)
    if beyond.any():
        raise ValueError(
            f"Column {int(np.argmax(beyond))} of X has cells beyond float64, {limit:g}:"
            " divide it by a constant."
        )
    return X.astype(np.float64)


def _bytes(data):
    try:
        return memoryview(data).cast("B")
    except TypeError as error:
        raise ValueError(
            f"A stream must be bytes, bytearray or a memoryview of one piece, got "
            f"{type(data).__name__}."
        ) from error


def _header(data):
    """Read the header; refuse fields out of range or at odds with each other."""
    if len(data) < _HEADER.size:
        raise ValueError(
            f"The stream is too short: {len(data)} bytes, and a header alone has "
            f"{_HEADER.size}."
        )
    magic, version, dtype, flags, *sizes, fingerprint = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise ValueError("This is no compressed table: it does not begin with SKAE.")
    if version != _VERSION:
        raise ValueError(
            f"The stream has version {version}; this sklearn-ae reads version "
            f"{_VERSION}. A later one may read it."
        )
    if dtype >= len(DTYPES):
        raise ValueError(f"The stream has an unknown dtype, number {dtype}.")
    n_rows, n_features, block_rows, n_blocks = sizes
    header = Header(DTYPES[dtype], n_rows, n_features, block_rows, fingerprint, flags)
    _check(header, n_blocks)
    return header


def _check(header, n_blocks):
    """Refuse fields out of range, or another number of blocks than the rows need."""
    if header.dtype not in DTYPES:
        raise ValueError(f"A stream holds {', '.join(DTYPES)}, not {header.dtype}.")
    ranges = {
        "block_rows": (1, MAX_BLOCK_ROWS),
        "n_features": (1, 2**24),
        "n_rows": (0, 2**63 - 1),
        "flags": (0, 2**16 - 1),
    }
    for name, (low, high) in ranges.items():
        if not low <= getattr(header, name) <= high:
            raise ValueError(
                f"A stream's {name} must lie in [{low}, {high}], got "
                f"{getattr(header, name)}."
            )
    if len(header.fingerprint) != 16:
        raise ValueError("A stream's fingerprint must have 16 bytes.")
    if n_blocks != header.n_blocks:
        raise ValueError(
            f"{header.n_rows} rows in blocks of {header.block_rows} make "
            f"{header.n_blocks} blocks, the stream has {n_blocks}."
        )


def _check_size(size, stated):
    if size < stated:
        raise ValueError(
            f"The stream is truncated: {size} bytes of the {stated} that its blocks' "
            "lengths add up to."
        )
    if size > stated:
        raise ValueError(
            f"The stream has {size - stated} bytes too many: its blocks' lengths add "
            f"up to {stated}."
        )


def _checksum(body):
    return blake2b(body, digest_size=_CHECKSUM_BYTES).digest()
