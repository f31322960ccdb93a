"""170 tables, by name, drawn from a seed."""

from decimal import Decimal

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

F4, F8 = np.finfo(np.float32), np.finfo(np.float64)
SHAPES = [(2, 1), (2, 3), (3, 2), (5, 50), (10, 200), (30, 1), (1, 5)]
SHAPES += [(2, 100), (100, 2), (300, 3), (50, 50), (12, 12)]
POWERS = [-320, -300, -250, -200, -170, -154, -100, -45, -38, -30, -10]
POWERS += [10, 20, 30, 45, 100, 150, 154, 170, 200, 250, 300, 307]
WHOLE = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]


def hostile_tables(seed=0):
    """Return a dict of 170 tables by name; most have 60 rows of 5 columns."""
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(60, 5)) @ rng.normal(size=(5, 5))
    unit = rng.uniform(-1, 1, size=(60, 5))
    tables = {f"shape {shape}": rng.normal(size=shape) for shape in SHAPES}
    for power in POWERS:
        tables[f"all * 1e{power}"] = base * float(f"1e{power}")
    for power in POWERS[::3]:
        tables[f"one column * 1e{power}"] = base * [float(f"1e{power}"), 1, 1, 1, 1]
    for power in (3, 6, 8, 10, 12, 15, 16, 20, 100, 300):
        tables[f"offset 1e{power}"] = base + float(f"1e{power}")
    for power in (-3, -6, -8, -12, -15, -17):
        tables[f"1 and spread 1e{power}"] = 1 + base * float(f"1e{power}")
    tables |= _of_dtypes(unit, rng) | _repeating(base, rng) | _heavy_tailed(base, rng)
    tables |= _containers(base, rng) | _refused(base)
    return tables


def _of_dtypes(unit, rng):
    tables = {}
    for scale in (1e-45, 1e-40, 1e-38, 1e-20, 1e19, 1e30, 1e37, 1e38, 3e38):
        tables[f"float32 * {scale}"] = (unit * scale).astype("f4")
    tables["float32 largest or smallest"] = np.where(unit > 0, F4.max, -F4.max)
    tables["float32 3e38 and spread"] = (3e38 + unit * 1e37).astype("f4")
    tables["float64 largest or smallest"] = np.where(unit > 0, F8.max, -F8.max)
    tables["float64 largest and spread"] = F8.max * (1 - 0.1 * np.abs(unit))
    for scale in (1, 6e4, 6e-8):
        tables[f"float16 * {scale}"] = (unit * scale).astype("f2")
    tables["float16 and offset"] = (1000 + unit).astype("f2")
    for dtype in WHOLE:
        ends = np.iinfo(dtype)
        draw = rng.integers(ends.min, ends.max, (60, 5), dtype=dtype, endpoint=True)
        tables[f"{dtype} in all its range"] = draw
    tables["bool"] = unit > 0
    tables["bool, constant"] = np.ones((60, 5), dtype=bool)
    tables["timestamps"] = 1_700_000_000_000_000_000 + rng.integers(10**9, size=(60, 5))
    return tables


def _repeating(base, rng):
    one = np.zeros((60, 5))
    one[7, 2] = 1
    flags = rng.integers(0, 2, size=(60, 5)).astype(float)
    rare = np.where(np.arange(300)[:, None] < 295, 1.0, -1.0) * np.ones(3)
    return {
        "zeros": np.zeros((60, 5)),
        "minus zeros": np.copysign(np.zeros((60, 5)), base),
        "ones": np.ones((60, 5)),
        "constant 1e300": np.full((60, 5), 1e300),
        "constant -1e-300": np.full((60, 5), -1e-300),
        "constant columns": base * [1, 0, 1, 0, 0] + [0, 5, 0, 1e8, -3],
        "one cell": one,
        "one cell of 1e200": one * 1e200,
        "equal rows": np.tile(base[:1], (60, 1)),
        "two distinct rows": np.tile(base[:2], (30, 1)),
        "rows ten times": np.repeat(base[:6], 10, axis=0),
        "equal columns": np.tile(base[:, :1], (1, 5)),
        "flags": flags,
        "two values, one rare": rare,
        "three values": rng.integers(0, 3, size=(100, 4)).astype(float),
        "rank 1": base[:, :1] @ base[:1],
        "rank 2": base[:, :2] @ base[:2],
        "a sum column": np.column_stack([base, base.sum(axis=1)]),
        "one-hot": np.eye(5)[rng.integers(0, 5, 60)],
        "identity": np.eye(30),
        "sorted ids": np.arange(300.0).reshape(60, 5),
        "mostly zero": base * (rng.uniform(size=(60, 5)) > 0.97),
        "counts": rng.poisson(0.1, size=(60, 5)),
    }


def _heavy_tailed(base, rng):
    shape = (60, 5)
    tables = {
        "Cauchy": rng.standard_cauchy(shape),
        "Pareto": rng.pareto(0.1, shape),
        "log-normal": rng.lognormal(sigma=10, size=shape),
        "all magnitudes": np.exp(rng.uniform(-700, 700, shape)),
        "all magnitudes, float32": np.exp(rng.uniform(-87, 87, shape)).astype("f4"),
    }
    for size in (1e6, 1e12, 1e200, 1e300):
        tables[f"one cell {size}"] = base + size * (np.arange(300).reshape(shape) == 7)
        tables[f"one row {size}"] = base + size * (np.arange(60) == 7)[:, None]
    return tables


def _containers(base, rng):
    locked = base.copy()
    locked.flags.writeable = False
    whole = rng.integers(0, 9, size=(60, 5))
    frame = pd.DataFrame(base, columns=list("abcde"))
    return {
        "list": base.tolist(),
        "tuple of tuples": tuple(map(tuple, base)),
        "list of arrays": list(base),
        "Fortran": np.asfortranarray(base),
        "read-only": locked,
        "every other cell": np.repeat(np.repeat(base, 2, axis=0), 2, axis=1)[::2, ::2],
        "reversed": base[::-1, ::-1],
        "broadcast": np.broadcast_to(base[0], (60, 5)),
        "big-endian": base.astype(">f8"),
        "big-endian whole": whole.astype(">i4"),
        "unaligned": np.frombuffer(b"x" + base.tobytes(), "u1")[1:]
        .view("f8")
        .reshape(60, 5),
        "longdouble": base.astype(np.longdouble),
        "objects": base.astype(object),
        "decimals": np.vectorize(Decimal)(whole.astype(object)),
        "frame": frame,
        "frame, one dtype each": frame.astype(
            dict(zip("abcd", ["f4", "f2", "f8", "i2"], strict=True))
        ),
        "frame of bools": frame > 0,
        "frame, numbered columns": pd.DataFrame(base),
        "frame, odd index": frame.set_axis(rng.integers(3, size=60), axis=0),
        "Float64": frame.astype("Float64"),
        "Float32": frame.astype("Float32"),
        "Int64": pd.DataFrame(whole).astype("Int64"),
        "UInt8": pd.DataFrame(whole).astype("UInt8"),
        "boolean": (frame > 0).astype("boolean"),
        "frame of objects": frame.astype(object),
        "categorical numbers": pd.DataFrame(whole).astype("category"),
        "array with an empty mask": np.ma.array(base),
    }


def _refused(base):
    holes = np.where(base > 2, np.nan, base)
    return {
        "NaN": holes,
        "infinite": np.where(base > 2, -np.inf, base),
        "None": np.where(base > 2, None, base),
        "pd.NA": pd.DataFrame(holes).astype("Float64"),
        "masked cells": np.ma.array(base, mask=base > 2),
        "sparse": csr_array(base),
        "complex": base + 1j,
        "strings": np.full((60, 5), "a"),
        "numbers as strings": base.astype(str),
        "dates": pd.DataFrame({"a": pd.date_range("2000", periods=60)}),
        "one dimension": base[0],
        "three dimensions": base.reshape(60, 5, 1),
        "no rows": base[:0],
        "no columns": base[:, :0],
        "ragged": [[1.0, 2.0], [3.0]],
        "longdouble 1e4000": base * np.longdouble("1e4000"),
        "a scalar": 3.0,
        "None alone": None,
        "a dict": {"a": [1.0, 2.0]},
        "a matrix": np.asmatrix(base),
    }
