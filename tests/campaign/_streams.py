"""Mutated and forged streams: only a ValueError, or rows; and memory is bounded."""

import tracemalloc
from dataclasses import replace
from hashlib import blake2b

import numpy as np

from sklearn_ae.compression._container import pack, unpack
from tests.campaign._common import attempt, make

# Bytes that decoding may take: 512 MiB of rows, the default bound, and a block's work.
PEAK = 2**29 + 2**26


def run(quick, seed):
    """Yield (name, faults) of 10,000 mutated and 1,000 forged streams."""
    rng = np.random.default_rng(seed)
    written = list(_written(rng))
    for change, n in (mutated, 10_000), (forged, 1_000):
        for i in range(n // 10 if quick else n):
            name, compressor, stream = written[i % len(written)]
            faults = decoding_faults(compressor, change(stream, rng))
            yield f"{change.__name__} {i}, {name}", faults
    name, compressor, stream = written[2]
    # 790 MB of rows in a stream of 17 MB, made without the model.
    yield f"4,000 times {name}", decoding_faults(compressor, repeated(stream, 4_000))


def _written(rng):
    rows = rng.normal(size=(200, 6)).cumsum(axis=1)
    for name, table, params in (
        ("lossy", rows, {"target_psnr": 30}),
        ("bounded", rows.astype("f4"), {"error_bound": 0.1}),
        ("lossless", (10 * rows).astype("i2"), {"error_bound": 0}),
        ("lossless float16", rows.round().astype("f2"), {"error_bound": 0}),
    ):
        compressor = make("compressor", **params).fit(table)
        yield name, compressor, compressor.compress(table)
        yield f"one row, {name}", compressor, compressor.compress(table[:1])
        equal = np.tile(table[:1], (4_096, 1))
        yield f"equal rows, {name}", compressor, compressor.compress(equal)


def decoding_faults(compressor, stream):
    """Decode a stream; return a list of faults."""
    tracemalloc.start()
    rows, fault = attempt(compressor.decompress, stream)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    faults = [fault] if fault else []
    if rows is not None and rows.shape != (len(rows), compressor.n_features_in_):
        faults.append(f"an array of shape {rows.shape}")
    if peak > PEAK:
        faults.append(f"{len(stream):,} bytes take {peak:,} bytes of memory")
    return faults


def mutated(stream, rng):
    """Change a stream in one of six ways; its checksum is not mended."""
    data = bytearray(stream)
    i, j = np.sort(rng.integers(0, len(data) + 1, 2))
    how = rng.integers(6)
    if how == 0:
        data[min(i, len(data) - 1)] ^= 1 << rng.integers(8)
    elif how == 5:
        data[i:] = rng.bytes(rng.integers(200))
    else:
        data[i:j] = [rng.bytes(j - i), b"", 2 * data[i:j], bytes(j - i)][how - 1]
    return bytes(data)


def repeated(stream, n):
    """Return the stream of n times the first block, which it takes to be whole."""
    header, blocks = unpack(stream)
    header = replace(header, n_rows=header.block_rows * int(n))
    return pack(header, [bytes(next(iter(blocks)))] * int(n))


def forged(stream, rng):
    """Change a stream in one of five ways and give it the checksums of its content."""
    header, blocks = unpack(stream)
    blocks, how = [bytes(block) for block in blocks], rng.integers(5)
    if how == 0:
        return pack(header, [mutated(block or b"x", rng) for block in blocks])
    if how == 1:
        return repeated(stream, rng.integers(1, 16))
    if how == 2:
        header = replace(header, n_rows=int(rng.integers(1, header.block_rows + 1)))
        return pack(header, blocks[:1])
    data = bytearray(stream[:-8])
    for _ in range(rng.integers(1, 4)):  # the header's bytes behind the magic number
        data[rng.integers(4, 28)] = rng.choice([0, 1, 127, 128, 255, rng.integers(256)])
    return bytes(data) + blake2b(bytes(data), digest_size=8).digest()
