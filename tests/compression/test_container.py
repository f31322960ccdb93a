import struct
import tracemalloc
import zlib
from dataclasses import replace
from hashlib import blake2b

import numpy as np
import pytest

from sklearn_ae import stream_info
from sklearn_ae.compression import StreamInfo
from sklearn_ae.compression._container import DTYPES, Header, pack, unpack

HEADER = Header("<f4", 5, 3, 2, bytes(range(16)), 7)
BLOCKS = [b"abc", b"", b"defgh" * 9]
FIXED = "<4sBBHQIII16s"
SIZE = struct.calcsize(FIXED)
FIELDS = ["magic", "version", "dtype", "flags", "n_rows", "n_features"]
FIELDS += ["block_rows", "n_blocks", "fingerprint"]


def checked(body):
    return body + blake2b(body, digest_size=8).digest()


def stream():
    return pack(HEADER, BLOCKS)


def with_field(name, value, data=None):
    """The stream with another header field, and the checksum to it."""
    data = stream() if data is None else data
    fields = list(struct.unpack_from(FIXED, data))
    fields[FIELDS.index(name)] = value
    return checked(struct.pack(FIXED, *fields) + data[SIZE:-8])


def test_the_layout_of_version_1():
    body = struct.pack(
        FIXED, b"SKAE", 1, DTYPES.index("<f4"), 7, 5, 3, 2, 3, bytes(range(16))
    )
    for block in BLOCKS:
        body += struct.pack("<II", zlib.crc32(block), len(block))
    assert stream() == checked(body + b"".join(BLOCKS))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("like", [bytes, bytearray, memoryview])
def test_what_is_packed_comes_back(dtype, like):
    header = replace(HEADER, dtype=dtype)
    got, blocks = unpack(like(pack(header, BLOCKS)))
    assert got == header
    assert [bytes(block) for block in blocks] == BLOCKS
    assert np.dtype(dtype).str == dtype


@pytest.mark.parametrize("n_rows", [0, 1, 2, 3, 4])
def test_blocks_are_as_many_as_hold_the_rows(n_rows):
    header = replace(HEADER, n_rows=n_rows)
    blocks = [b"x"] * -(-n_rows // 2)
    got, got_blocks = unpack(pack(header, blocks))
    assert (got, list(got_blocks)) == (header, blocks)
    with pytest.raises(ValueError, match=f"{n_rows} rows in blocks of 2 make"):
        pack(header, [*blocks, b"x"])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("magic", b"SKAF", "does not begin with SKAE"),
        ("version", 2, "version 2; this sklearn-ae reads version 1"),
        ("version", 0, "version 0; this sklearn-ae reads version 1"),
        ("dtype", len(DTYPES), "unknown dtype"),
        ("n_rows", 7, "make 4 blocks, the stream has 3"),
        ("n_rows", 4, "make 2 blocks, the stream has 3"),
        ("n_rows", 2**63, "n_rows must lie"),
        ("n_features", 0, "n_features must lie"),
        ("n_features", 2**24 + 1, "n_features must lie"),
        ("block_rows", 0, "block_rows must lie"),
        ("block_rows", 4_097, "block_rows must lie"),
        ("n_blocks", 4, "make 3 blocks, the stream has 4"),
    ],
)
def test_a_wrong_field_is_named(name, value, message):
    for read in (unpack, stream_info):
        with pytest.raises(ValueError, match=message):
            read(with_field(name, value))
    if name in ("n_rows", "n_features", "block_rows"):
        with pytest.raises(ValueError, match=message):
            pack(replace(HEADER, **{name: value}), BLOCKS)


def test_other_wrong_headers_are_not_packed():
    for wrong in ({"dtype": ">f4"}, {"fingerprint": b"x"}, {"flags": -1}):
        with pytest.raises(ValueError, match="stream"):
            pack(replace(HEADER, **wrong), BLOCKS)


@pytest.mark.parametrize("place", [28, SIZE, SIZE + 24, len(stream()) - 1])
def test_a_changed_byte_is_detected(place):
    """The fingerprint, a checksum of a block, a block and the checksum itself."""
    data = bytearray(stream())
    data[place] ^= 1
    with pytest.raises(ValueError, match="its checksum differs"):
        unpack(data)


def test_each_block_has_a_checksum():
    data = stream()[:-8]
    _, blocks = unpack(checked(data[:-1] + b"!"))
    assert [bytes(next(blocks)) for _ in range(2)] == BLOCKS[:2]
    with pytest.raises(ValueError, match="Block 2 of the stream is damaged"):
        next(blocks)


def test_bytes_too_few_and_too_many_are_refused():
    data = stream()
    for size in range(len(data)):
        with pytest.raises(ValueError, match="too short" if size < 44 else "truncated"):
            unpack(data[:size])
    with pytest.raises(ValueError, match="1 bytes too many"):
        unpack(checked(data[:-8] + b"a"))
    # An end of the table of blocks beyond the data.
    with pytest.raises(ValueError, match="its table of blocks is cut off"):
        unpack(with_field("n_blocks", 2**31, with_field("n_rows", 2**32)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("like", [bytes, bytearray, memoryview])
def test_the_header_is_read_from_the_first_44_bytes_alone(dtype, like):
    header = replace(HEADER, dtype=dtype)
    info = stream_info(like(pack(header, BLOCKS)[:44]))
    expected = StreamInfo(5, 3, np.dtype(dtype), 1, bytes(range(16)).hex())
    assert info == expected
    assert info.dtype.isnative
    assert info._fields == ("n_rows", "n_features", "dtype", "version", "fingerprint")


def test_what_follows_the_header_is_not_read():
    data = with_field("n_rows", 2**32 - 2, with_field("block_rows", 1))
    data = with_field("n_blocks", 2**32 - 2, data)[:44] + b"no table of blocks"
    assert stream_info(data).n_rows == 2**32 - 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "too short: 0 bytes, and a header alone has 44"),
        (stream()[:43], "too short: 43 bytes"),
        (b"PK" * 30, "does not begin with SKAE"),
        ("SKAE", "must be bytes"),
        (None, "must be bytes"),
    ],
)
def test_other_than_a_header_is_refused(data, message):
    with pytest.raises(ValueError, match=message):
        stream_info(data)


def test_blocks_are_views_made_one_after_the_other():
    n = 10_000
    data = pack(replace(HEADER, n_rows=2 * n), [b""] * n)
    tracemalloc.start()
    _, blocks = unpack(data)
    assert sum(map(len, blocks)) == 0
    max_memory = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # A list of them would take 2 MB of a stream of 80 kB.
    assert max_memory < 1e5
