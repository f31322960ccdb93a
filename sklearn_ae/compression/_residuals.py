"""Cells within a guaranteed error, coded by how far they are from their prediction."""

import numpy as np

from sklearn_ae.compression._entropy_coding import (
    SymbolModels,
    pack_varints,
    unpack_varints,
)

_MOST_STEPS = 2**52
_NEAR = 1e-6  # Of a step: a prediction so near a boundary may round another way.
_MAX_RANGES, _CELLS_A_RANGE = 64, 256  # Of predictions; each has a table.
_EXACT = 2e-12  # What another machine may have computed, of the column's size.


class ResidualGrid:
    """Cells on a grid of integers: what the model predicts is only a help to code them.

    A cell x becomes the integer k = round(x / step), and k times the step is never
    further from it than the error bound. Coded is k - m, where m is the same of the
    prediction. What m is, where a prediction computed on another machine could round
    to another one, is listed with the code, so that decoding gives the same k.

    How far x is from its prediction depends on where that is: near an end of the range,
    or a value that many cells have, it is seldom far. So cells are coded by tables of
    their own for up to 64 ranges of m [1]_, of each column, or of all that have one
    unit.

    Parameters
    ----------
    error_bound : float or array-like of shape (d,)
        Greatest absolute error of a cell, 0 or more; 0 for whole numbers only.
    one_unit : bool, default=False
        Whether the columns share their tables: they need the same steps.

    References
    ----------
    Liang, X., et al. (2018). Error-controlled lossy compression optimized for high
    compression ratios of scientific datasets. IEEE Big Data.

    .. [1] Wu, X. and Memon, N. (1997). Context-based, adaptive, lossless image coding.
       IEEE Transactions on Communications 45(4).
    """

    def __init__(self, error_bound, *, one_unit=False):
        self.error_bound, self.one_unit = error_bound, one_unit

    def fit(self, X, X_hat, is_integer, weight=None):
        """Learn steps and frequencies.

        Parameters
        ----------
        X : ndarray of shape (n, d), float or integers
            Finite. Its dtype is the one that decoded cells may be rounded to.
        X_hat : ndarray of shape (n, d), float
            Predictions of X.
        is_integer : bool or ndarray of shape (d,), bool
            Columns of whole numbers.
        weight : ndarray of shape (n,), float64, default=None
            How much a row counts.

        Returns
        -------
        self : ResidualGrid

        Raises
        ------
        ValueError
            For a bound that is not in [0, 1e300], or no rows; as ``encode``.
        """
        k = self.place(X, is_integer)
        m, _ = self._predicted(np.asarray(X_hat, np.float64))
        self._edges = self._ranges(m, weight)
        self._models = SymbolModels().fit(k - m, weight, self._contexts(m))
        return self

    def place(self, X, is_integer):
        """Lay the grid, and return the integers (n, d) of cells; raises as ``fit``."""
        X = np.asarray(X)
        d = X.shape[1]
        self._bound = _bounds(self.error_bound, d)
        is_integer = np.broadcast_to(np.asarray(is_integer, bool), (d,))
        if len(X) == 0:
            raise ValueError("Steps and frequencies need at least one row.")
        largest = np.max(np.abs(_values(X)), axis=0)
        self._step = _steps(self._bound, is_integer, _spacing(largest, X.dtype))
        # Rounding errors of a prediction are those of sums of terms of this size, or of
        # its own, but not of the column's largest cell.
        size = _root_mean_square(_values(X), largest)
        self._near = np.maximum(_NEAR, _EXACT * _quotient(size, self._step))
        self._near = np.minimum(self._near, _MOST_STEPS)
        # Predictions less exact than a thousandth of a step are rounded to more steps,
        # or nearly all of them would be listed.
        self._coarse = 2.0 ** np.ceil(np.log2(np.clip(1e3 * self._near, 1, 2.0**52)))
        k = self._grid(X)
        # Nothing beyond the cells that there are is predicted.
        self._low = np.floor(k.min(axis=0) / self._coarse) * self._coarse
        self._high = np.ceil(k.max(axis=0) / self._coarse) * self._coarse
        return k

    def encode(self, X, X_hat):
        """Payload, bytes, of a block of rows.

        Parameters
        ----------
        X : ndarray of shape (n, d), float or integers
        X_hat : ndarray of shape (n, d), float
            Predictions, computed in float64; where not finite, 0 is predicted.

        Raises
        ------
        ValueError
            For cells that are not finite, that are more than 2**52 steps from 0, or
            that are no whole numbers at a bound of 0.
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
        """Cells (n, d), float64, of a payload and of the predictions it was made with.

        They are within the bound as they are and rounded to the dtype of floats that
        ``encode`` had. Clip them to a dtype of integers' range before the cast.

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
        place, known, missed, values, start = _unpack_lists(payload, m.size)
        np.put(m, place, known)
        k = m + self._models.decode(payload[start:], len(m), self._contexts(m))
        if (np.abs(k) > _MOST_STEPS).any():
            raise ValueError("The payload does not belong to these predictions.")
        X = _on_grid(k, self._step)
        np.put(X, missed, values)
        return X

    def bits(self, X, X_hat):
        """Ideal code lengths (n,), float64, of rows, without their lists."""
        m, _ = self._predicted(np.asarray(X_hat, np.float64))
        k = self._grid(np.asarray(X))
        return self._models.bits(k - m, self._contexts(m))

    def state(self):
        """Bytes of all that decoding depends on, for a fingerprint."""
        numbers = self._step, self._coarse, self._low, self._high
        edges = [np.append(len(e), e).astype("<i8").tobytes() for e in self._edges]
        return (
            np.stack(numbers).astype("<f8").tobytes()
            + b"".join(edges)
            + self._models.state()
        )

    def _grid(self, X):
        """Integers (n, d), int64, of cells."""
        values = _values(X)
        whole = (self._bound > 0) | (values == np.rint(values))
        way = "which is no whole number: give an error_bound above 0 for it"
        _refuse(~whole, X, way)
        steps = _quotient(values, self._step)
        way = "too large for its error_bound: give one of {least:.2g} or more"
        _refuse(np.abs(steps) > _MOST_STEPS, X, way)
        return np.rint(steps).astype(np.int64)

    def _ranges(self, m, weight):
        """Where ranges of predictions end, the end included; for each column, or once.

        As many predictions in each, where they have that many values.
        """
        weight = np.ones(len(m)) if weight is None else np.asarray(weight, float)
        if self.one_unit:
            return [_ends(m.ravel(), np.repeat(weight, m.shape[1]))]
        return [_ends(column, weight) for column in m.T]

    def _contexts(self, m):
        """Which table codes a cell, (n, d), by its prediction."""
        if self.one_unit:
            return np.searchsorted(self._edges[0], m)
        contexts, first = np.empty_like(m), 0
        for j, edges in enumerate(self._edges):
            contexts[:, j] = first + np.searchsorted(edges, m[:, j])
            first += len(edges) + 1
        return contexts

    def _predicted(self, X_hat):
        """Integers (n, d), int64, of predictions, and which of them to list."""
        steps = _quotient(X_hat, self._step)
        unknown = np.isnan(steps) | ~np.isfinite(X_hat)
        steps = np.clip(np.where(unknown, 0, steps), self._low, self._high)
        near = np.maximum(self._near, _EXACT * np.abs(steps)) / self._coarse
        steps = steps / self._coarse
        boundary = np.abs(steps - np.floor(steps) - 0.5)
        m = (np.rint(steps) * self._coarse).astype(np.int64)
        return m, unknown | (boundary <= near)

    def _missed(self, X, k):
        """Cells that float64's or their own dtype's rounding takes past the bound."""
        values, on_grid = _values(X), _on_grid(k, self._step)
        missed = np.abs(on_grid - values) > self._bound
        if X.dtype.kind == "f":
            rounded = _rounded(on_grid, X.dtype)
            missed |= ~(np.abs(rounded - values) <= self._bound)
        return missed


def _ends(values, weight):
    known = weight > 0
    values, weight = values[known], weight[known]
    n_ranges = min(_MAX_RANGES, max(1, len(values) // _CELLS_A_RANGE))
    order = np.argsort(values, kind="stable")
    share = np.cumsum(weight[order]) / weight.sum()
    at = np.searchsorted(share, np.arange(1, n_ranges) / n_ranges)
    ends = np.unique(values[order][at])
    # The last range ends nowhere.
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
    """Steps (d,) of the grids, odd for integers, whose cells are as far as the bound.

    Those of reals leave room for the rounding of a cell, spaced so in its dtype. A step
    of the spacing itself needs none: nothing is rounded on that grid.
    """
    roomy = np.maximum(2 * bound - spacing, spacing)
    real = np.where(bound >= spacing / 2, roomy, 2 * bound)
    return np.where(integer | (bound == 0), 2 * np.floor(bound) + 1, real)


def _root_mean_square(values, largest):
    unit = np.where(largest > 0, largest, 1)
    return unit * np.sqrt(np.mean((values / unit) ** 2, axis=0))


def _spacing(largest, dtype):
    """Distances (d,), float64, of the dtype's numbers where its largest cells are."""
    dtype = dtype if dtype.kind == "f" else np.dtype(np.float64)
    return np.spacing(largest.astype(dtype)).astype(np.float64)


def _values(X):
    """Cells as float64, refused if they are infinite, missing or have more digits."""
    if X.dtype.kind in "iu" and X.dtype.itemsize == 8:
        way = "an integer beyond 2**53: divide it, or leave it out"
        _refuse((X > 2**53) | (X < -(2**53)), X, way)
    values = X.astype(np.float64)
    _refuse(~np.isfinite(values), X, "which is no finite number: fill it")
    return values


def _refuse(wrong, X, way):
    """Refuse a table (n, d) where some cells of a column are wrong, with a way out."""
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
    """Distances of the cells of a mask from the one before, the first from -1."""
    return np.diff(np.flatnonzero(mask), prepend=-1)


def _zigzag(m):
    """Integers as ones of 0 or more: 0, -1, 1, -2, ..."""
    return np.where(m < 0, -2 * m - 1, 2 * m)


def _unpack_lists(payload, n_cells):
    """Places and m of what is listed, places and values of what is given, the end."""
    (n_listed, n_given), start = unpack_varints(payload, 2)
    count = int(2 * n_listed + n_given)
    numbers, used = unpack_varints(payload[start:], count)
    start += used
    listed, m, given = np.split(numbers, [n_listed, 2 * n_listed])
    end = start + 8 * int(n_given)
    if end > len(payload):
        raise ValueError("The payload is cut off.")
    values = np.frombuffer(payload[start:end], "<f8").astype(np.float64)
    m = np.where(m & 1, -(m + 1) // 2, m // 2)
    if not np.isfinite(values).all() or (np.abs(m) > _MOST_STEPS).any():
        raise ValueError("The payload lists cells out of all range.")
    return _places(listed, n_cells), m, _places(given, n_cells), values, end


def _places(gaps, n_cells):
    """Places of cells by their distances, ascending, each there."""
    if (gaps < 1).any() or (gaps > n_cells).any():
        raise ValueError("The payload lists a cell that is not there.")
    places = np.cumsum(gaps) - 1
    if len(places) and places[-1] >= n_cells:
        raise ValueError("The payload lists a cell that is not there.")
    return places
