"""Error-bounded coding of cells as quantised residuals of their predictions."""

import numpy as np

from sklearn_ae.compression._entropy_coding import (
    MAX_SYMBOL,
    SymbolModels,
    decode_bits,
    encode_bits,
    pack_varints,
    unpack_varints,
)

_MAX_STEPS = MAX_SYMBOL // 2  # The difference of two cells is a symbol.
# Predictions may differ by so much between machines: in steps, and relative to the
# prediction (some 10,000 times float64's rounding, for sums of many terms).
_PREDICTION_ERROR_STEPS, _PREDICTION_RELATIVE_ERROR = 1e-6, 2e-12


class ResidualGrid:
    """Quantiser and entropy coder of cells, given predictions of them.

    A cell x becomes the integer k = round(x / step), and k times the step differs from
    it by at most the error bound. The residual k - m is coded, where m is the rounded
    prediction. Where another machine could round the prediction differently, m is
    listed with the code, so that all machines decode the same k.

    The distribution of the residual depends on m: near an end of the range, or a value
    that many cells have, it is narrow. Each column, or all columns together, therefore
    have separate tables for up to 64 ranges of m [1]_.

    Parameters
    ----------
    error_bound : float or array-like of shape (d,)
        Maximum absolute error of a cell, 0 or more; 0 for integers only.
    share_tables : bool, default=False
        True if all columns share their tables. Their steps must be equal.

    References
    ----------
    Liang, X., et al. (2018). Error-controlled lossy compression optimized for high
    compression ratios of scientific datasets. IEEE Big Data.

    .. [1] Wu, X. and Memon, N. (1997). Context-based, adaptive, lossless image coding.
       IEEE Transactions on Communications 45(4).
    """

    def __init__(self, error_bound, *, share_tables=False):
        self.error_bound, self.share_tables = error_bound, share_tables

    def fit(self, X, X_hat, is_integer, weight=None):
        """Choose the steps and estimate the frequencies.

        Parameters
        ----------
        X : ndarray of shape (n, d), float or integers
            Finite. The bound also holds for decoded cells that are cast to its dtype.
        X_hat : ndarray of shape (n, d), float
            Predictions of X.
        is_integer : bool or ndarray of shape (d,), bool
            Columns of integers.
        weight : ndarray of shape (n,), float64, default=None
            Weights of the rows.

        Returns
        -------
        self : ResidualGrid

        Raises
        ------
        ValueError
            For a bound outside [0, 1e300], no rows, or cells as in ``encode``.
        """
        k = self.place(X, is_integer)
        m, _ = self._predicted(np.asarray(X_hat, np.float64))
        self._edges = self._ranges(m, weight)
        self._models = SymbolModels().fit(k - m, weight, self._contexts(m))
        return self

    def place(self, X, is_integer):
        """Choose the steps; return the cells' integers (n, d). Raises as ``fit``."""
        X = np.asarray(X)
        d = X.shape[1]
        self._bound = _bounds(self.error_bound, d)
        is_integer = np.broadcast_to(np.asarray(is_integer, bool), (d,))
        if len(X) == 0:
            raise ValueError("Steps and frequencies need at least one row.")
        largest = np.max(np.abs(_values(X)), axis=0)
        self._step = _steps(self._bound, is_integer, _spacing(largest, X.dtype))
        # A prediction's rounding error grows with the terms that it sums: with the
        # column's root mean square, not its largest cell.
        size = _root_mean_square(_values(X), largest)
        relative = _PREDICTION_RELATIVE_ERROR * _quotient(size, self._step)
        self._margin = np.clip(relative, _PREDICTION_ERROR_STEPS, _MAX_STEPS)
        # Predictions are rounded to multiples of so many steps that about 0.2 % of them
        # at most have to be listed.
        octaves = np.ceil(np.log2(np.clip(1e3 * self._margin, 1, 2.0**52)))
        self._prediction_step = step = 2.0**octaves
        k = self._grid(X)
        # Predictions are clipped to the range of the training cells.
        self._low = np.floor(k.min(axis=0) / step) * step
        self._high = np.ceil(k.max(axis=0) / step) * step
        return k

    def encode(self, X, X_hat):
        """Encode a block of rows as bytes.

        Parameters
        ----------
        X : ndarray of shape (n, d), float or integers
        X_hat : ndarray of shape (n, d), float
            Predictions, computed in float64; 0 stands for those not finite.

        Raises
        ------
        ValueError
            For cells that are not finite, that are more than 2**52 steps from 0, or
            that are not integers at a bound of 0.
        ImportError
            Without constriction.
        """
        X = np.asarray(X)
        k = self._grid(X)
        m, listed = self._predicted(np.asarray(X_hat, np.float64))
        missed = self._missed(X, k)
        return b"".join(
            [
                pack_varints(np.array([listed.sum(), missed.sum()])),
                pack_varints(_gaps(listed)),
                pack_varints(_zigzag(m[listed])),
                pack_varints(_gaps(missed)),
                _values(X)[missed].astype("<f8").tobytes(),
                self._models.encode(k - m, self._contexts(m)),
            ]
        )

    def decode(self, payload, X_hat):
        """Decode cells (n, d), float64, given the predictions of ``encode``.

        They are within the bound, also if cast to the dtype that ``encode`` had. Round
        them and clip them to an integer dtype's range before a cast to it.

        Raises
        ------
        ValueError
            For a payload that is damaged, or predictions of another shape.
        ImportError
            Without constriction.
        """
        X_hat = np.asarray(X_hat, np.float64)
        if X_hat.ndim != 2 or X_hat.shape[1] != len(self._step):
            raise ValueError(f"Predictions must have {len(self._step)} columns.")
        payload = memoryview(payload)
        m, _ = self._predicted(X_hat)
        listed, listed_m, exact, values, start = _unpack_lists(payload, m.size)
        np.put(m, listed, listed_m)
        k = m + self._models.decode(payload[start:], len(m), self._contexts(m))
        if (np.abs(k) > _MAX_STEPS).any():
            raise ValueError("The payload does not belong to these predictions.")
        X = _on_grid(k, self._step)
        np.put(X, exact, values)
        return X

    def has_negative_zeros(self, X):
        """Return True if X has a -0.0 in a column of bound 0, where it is no 0.0."""
        if X.dtype.kind != "f":
            return False
        return bool(np.signbit(X[self._exact_zeros(X)]).any())

    def encode_signs(self, X):
        """Encode the signs of zeros in columns of bound 0 as bytes."""
        return encode_bits(np.signbit(X[self._exact_zeros(X)]))

    def decode_signs(self, payload, X):
        """Give the zeros of X, as decoded, their signs; ValueError if damaged."""
        zeros = self._exact_zeros(X)
        X[zeros] = np.where(decode_bits(payload, int(zeros.sum())), -0.0, 0.0)

    def bits(self, X, X_hat):
        """Return code lengths (n,) of rows in bits, without lists and signs."""
        m, _ = self._predicted(np.asarray(X_hat, np.float64))
        k = self._grid(np.asarray(X))
        return self._models.bits(k - m, self._contexts(m))

    def state(self):
        """Return all that decoding depends on, as bytes."""
        numbers = self._step, self._prediction_step, self._low, self._high
        edges = [np.append(len(e), e).astype("<i8").tobytes() for e in self._edges]
        return (
            np.stack(numbers).astype("<f8").tobytes()
            + b"".join(edges)
            + self._models.state()
        )

    def _exact_zeros(self, X):
        return (X == 0) & (self._bound == 0)

    def _grid(self, X):
        """Return the integers (n, d), int64, of cells."""
        values = _values(X)
        whole = (self._bound > 0) | (values == np.rint(values))
        way = "which is no whole number: give an error_bound above 0 for it"
        _refuse(~whole, X, way)
        steps = _quotient(values, self._step)
        way = "too large for its error_bound: give one of {least:.2g} or more"
        _refuse(np.abs(steps) > _MAX_STEPS, X, way)
        return np.rint(steps).astype(np.int64)

    def _ranges(self, m, weight):
        """Return the upper ends, inclusive, of each table's ranges of predictions."""
        weight = np.ones(len(m)) if weight is None else np.asarray(weight, float)
        if self.share_tables:
            return [_ends(m.ravel(), np.repeat(weight, m.shape[1]))]
        return [_ends(column, weight) for column in m.T]

    def _contexts(self, m):
        """Return the tables (n, d) of cells, given the rounded predictions."""
        if self.share_tables:
            return np.searchsorted(self._edges[0], m)
        contexts, first = np.empty_like(m), 0
        for j, edges in enumerate(self._edges):
            contexts[:, j] = first + np.searchsorted(edges, m[:, j])
            first += len(edges) + 1
        return contexts

    def _predicted(self, X_hat):
        """Round predictions to integers (n, d), int64, and mark those to list."""
        steps = _quotient(X_hat, self._step)
        undefined = np.isnan(steps) | ~np.isfinite(X_hat)
        steps = np.clip(np.where(undefined, 0, steps), self._low, self._high)
        relative = _PREDICTION_RELATIVE_ERROR * np.abs(steps)
        margin = np.maximum(self._margin, relative) / self._prediction_step
        steps = steps / self._prediction_step
        to_boundary = np.abs(steps - np.floor(steps) - 0.5)
        m = (np.rint(steps) * self._prediction_step).astype(np.int64)
        return m, undefined | (to_boundary <= margin)

    def _missed(self, X, k):
        """Mark cells that rounding to float64 or their dtype takes past the bound."""
        values, on_grid = _values(X), _on_grid(k, self._step)
        cells = _rounded(on_grid, X.dtype) if X.dtype.kind == "f" else np.rint(on_grid)
        error = np.maximum(np.abs(on_grid - values), np.abs(cells - values))
        return ~(error <= self._bound)


def _ends(values, weight, max_ranges=64, min_cells_per_range=256):
    """Return the upper ends of ranges with equal shares of the values, but the last."""
    used = weight > 0
    values, weight = values[used], weight[used]
    n_ranges = min(max_ranges, max(1, len(values) // min_cells_per_range))
    order = np.argsort(values, kind="stable")
    share = np.cumsum(weight[order]) / weight.sum()
    at = np.searchsorted(share, np.arange(1, n_ranges) / n_ranges)
    ends = np.unique(values[order][at])
    # The last range is unbounded.
    return ends[ends < values.max()]


def _bounds(error_bound, d):
    bound = np.broadcast_to(np.asarray(error_bound, np.float64), (d,))
    wrong = ~((bound >= 0) & (bound <= 1e300))
    if wrong.any():
        column = int(np.argmax(wrong))
        raise ValueError(
            f"error_bound must be in [0, 1e300], got {bound[column]} for column "
            f"{column}."
        )
    return bound


def _steps(bound, integer, spacing):
    """Return the widest steps (d,) that keep to the bound, odd ones for integers.

    Steps of reals leave room for rounding to a dtype with this spacing. A step of the
    spacing itself needs none: the dtype holds that grid exactly.
    """
    roomy = np.maximum(2 * bound - spacing, spacing)
    real = np.where(bound >= spacing / 2, roomy, 2 * bound)
    return np.where(integer | (bound == 0), 2 * np.floor(bound) + 1, real)


def _root_mean_square(values, largest):
    unit = np.where(largest > 0, largest, 1)
    return unit * np.sqrt(np.mean((values / unit) ** 2, axis=0))


def _spacing(largest, dtype):
    """Return the dtype's spacings (d,), float64, at the largest cells."""
    dtype = dtype if dtype.kind == "f" else np.dtype(np.float64)
    return np.spacing(largest.astype(dtype)).astype(np.float64)


def _values(X):
    """Return cells as float64; refuse infinite, missing and too large ones."""
    if X.dtype.kind in "iu" and X.dtype.itemsize == 8:
        way = "an integer beyond 2**53: divide it, or leave it out"
        _refuse((X > 2**53) | (X < -(2**53)), X, way)
    values = X.astype(np.float64)
    _refuse(~np.isfinite(values), X, "which is no finite number: fill it")
    return values


def _refuse(wrong, X, way):
    """Raise ValueError for the first column with a cell that is wrong, if any."""
    if wrong.any():
        column = int(np.flatnonzero(wrong.any(axis=0))[0])
        value = X[np.argmax(wrong[:, column]), column]
        way = way.format(least=1.01 * abs(float(value)) / 2**53)
        raise ValueError(f"Column {column} has a cell of {value}, {way}.")


def _quotient(values, step):
    with np.errstate(over="ignore", invalid="ignore"):
        return values / step


def _on_grid(k, step):
    with np.errstate(over="ignore"):
        return k * step


def _rounded(values, dtype):
    with np.errstate(over="ignore", under="ignore"):
        return values.astype(dtype).astype(np.float64)


def _gaps(mask):
    """Return the distances of a mask's True cells, the first from -1."""
    return np.diff(np.flatnonzero(mask), prepend=-1)


def _zigzag(m):
    """Map 0, -1, 1, -2, ... to 0, 1, 2, 3, ..."""
    return np.where(m < 0, -2 * m - 1, 2 * m)


def _unpack_lists(payload, n_cells):
    """Return places and m of listed cells, places and values of exact ones, the end."""
    (n_listed, n_exact), start = unpack_varints(payload, 2)
    if max(n_listed, n_exact) > n_cells:
        raise ValueError("The payload lists a cell that is not there.")
    count = int(2 * n_listed + n_exact)
    numbers, used = unpack_varints(payload[start:], count)
    start += used
    listed, m, exact = np.split(numbers, [n_listed, 2 * n_listed])
    end = start + 8 * int(n_exact)
    if end > len(payload):
        raise ValueError("The payload is cut off.")
    values = np.frombuffer(payload[start:end], "<f8").astype(np.float64)
    m = np.where(m & 1, -(m + 1) // 2, m // 2)
    if not np.isfinite(values).all() or (np.abs(m) > _MAX_STEPS).any():
        raise ValueError("The payload lists cells out of all range.")
    return _places(listed, n_cells), m, _places(exact, n_cells), values, end


def _places(gaps, n_cells):
    """Return the places of cells from their distances; refuse those out of range."""
    if (gaps < 1).any() or (gaps > n_cells).any():
        raise ValueError("The payload lists a cell that is not there.")
    places = np.cumsum(gaps) - 1
    if len(places) and places[-1] >= n_cells:
        raise ValueError("The payload lists a cell that is not there.")
    return places
