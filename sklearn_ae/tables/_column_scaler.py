"""Scaling of columns to numbers of order one, and its inverse."""

import numpy as np
from sklearn.preprocessing import StandardScaler

from sklearn_ae.tables._normal_scores import NormalScores
from sklearn_ae.tables._rows import cell_blocks, systematic_sample

MAX_QUANTILE_ROWS = 100_000  # as of scikit-learn's QuantileTransformer, times ten
# Squares of numbers between its inverse and itself, and their sums, are in the range of
# float64; so are those of numbers 2**-53 times as far apart.
LARGEST_SQUARED = 2.0**256
HALF_OF_THE_DIGITS = 2.0**26  # of float64's 53 binary ones


class ColumnScaler:
    """Scaling of the columns of a table, and its inverse.

    Parameters
    ----------
    scale : {"standard", "minmax", "quantile"} or None
        Mean 0 and variance 1; range [0, 1]; normal scores of the ranks. None centres
        the columns and divides all by one number: their shares of the variance stay.
    """

    def __init__(self, scale):
        self.scale = scale

    def fit(self, X, sample_weight):
        """Fit to X (n, d), an array or a ``RowView``, and its weights (n,).

        The ranges of its columns are finite.
        """
        low, high = np.inf, -np.inf
        with np.errstate(all="ignore"):
            for rows in cell_blocks(X):
                block = X[rows]
                low = np.minimum(low, block.min(axis=0))
                high = np.maximum(high, block.max(axis=0))
            # In float32 the difference of two of its numbers may be infinite.
            low, high = low.astype(np.float64), high.astype(np.float64)
            # The value of a constant column, else NaN.
            self.constant_ = np.where(low == high, low, np.nan)
            if self.scale in ("minmax", "quantile"):
                self._set_range(low, high)
            else:
                self._set_moments(X, sample_weight, low, high)
            if self.scale == "quantile":
                self._fit_quantiles(X, sample_weight)
        return self

    def _set_moments(self, X, sample_weight, low, high):
        largest = np.maximum(np.abs(low), np.abs(high))
        # A common offset takes digits from the squares.
        has_offset = largest > HALF_OF_THE_DIGITS * (high - low)
        origin = np.where(has_offset & (low < high), low, 0.0)
        unit = self._unit(np.where(has_offset, high - low, largest))
        scaler = StandardScaler()
        for rows in cell_blocks(X):
            block = X[rows]
            if (origin != 0).any() or (unit != 1).any():
                block = (block - origin) / unit
            scaler.partial_fit(block, sample_weight=sample_weight[rows])
        # The mean of a constant 1e30 is off it by a rounding error, no small number.
        varies = np.isnan(self.constant_)
        mean, std = origin + unit * scaler.mean_, np.sqrt(scaler.var_)
        self.shift_ = np.where(varies, mean, self.constant_)
        if self.scale is None:
            common = unit[0] * np.sqrt(np.mean(np.where(varies, scaler.var_, 0.0)))
            self.scale_ = np.full_like(mean, common if common > 0 else 1.0)
            return
        # Numbers that differ in their last digit alone differ by a rounding error.
        is_rounded = unit * std < np.spacing(largest)
        self.scale_ = np.where(is_rounded, largest, unit * std)
        self.scale_[~varies] = 1.0

    def _unit(self, size):
        """Powers of two, which round nothing, by which squares of X are in range."""
        if self.scale is None:
            size = np.full_like(size, size.max())
        is_extreme = (size > LARGEST_SQUARED) | (size < 1 / LARGEST_SQUARED)
        power = np.ldexp(0.5, np.frexp(size)[1])
        return np.where(is_extreme & (size > 0), power, 1.0)

    def _set_range(self, low, high):
        # Not MinMaxScaler: it takes a range below 2e-15 for a constant.
        spread = high - low
        self.shift_, self.scale_ = low, np.where(spread > 0, spread, 1.0)

    def _fit_quantiles(self, X, sample_weight):
        # To ranges of about one, between which slopes are finite; by a power of two,
        # which rounds nothing and so breaks no ties. Neither does taking an offset from
        # numbers near it (Sterbenz, 1974. Floating-point computation): beyond 1,000
        # ranges, where float32 has three digits fewer.
        has_offset = np.abs(self.shift_) / 1_000 > self.scale_
        self.shift_ = np.where(has_offset, self.shift_, 0.0)
        self.scale_ = np.exp2(np.floor(np.log2(self.scale_)))
        rows = systematic_sample(sample_weight, MAX_QUANTILE_ROWS)
        self._quantiles = NormalScores().fit(self._shifted(X[rows]))

    def _shifted(self, X):
        # In float64 even for float32: a large offset leaves few digits to subtract.
        shifted = X - self.shift_
        shifted /= self.scale_
        return shifted

    def transform(self, X):
        """Scaled columns of X (n, d), in X's dtype."""
        # Rows far from those of fit may be past the range of the dtype.
        with np.errstate(all="ignore"):
            scaled = self._shifted(X)
            if self.scale == "quantile":
                scaled = self._quantiles.transform(scaled)
            return scaled.astype(X.dtype, copy=False)

    def inverse_transform(self, X):
        """Columns of X (n, d) in the table's units, in X's dtype, within its range."""
        scaled = X
        if self.scale == "quantile":
            scaled = self._quantiles.inverse_transform(X)
        with np.errstate(over="ignore", invalid="ignore"):
            back = scaled * self.scale_
            back += self.shift_
            back = back.astype(X.dtype, copy=False)
            is_finite = np.isfinite(back.sum())
        if not is_finite:
            limit = np.finfo(back.dtype).max
            np.clip(back, -limit, limit, out=back)
        return back

    def transform_float32(self, X):
        """Scaled columns of X (n, d), an array or a ``RowView``, in float32."""
        matrix = np.empty(X.shape, dtype=np.float32)
        for rows in cell_blocks(X):
            with np.errstate(over="ignore"):
                matrix[rows] = self.transform(X[rows])
        return matrix


def columns_look_like_pixels(X):
    """Guess from their ranges if columns have one unit, as pixels have.

    Return True if all columns that vary have the same minimum, at least half have the
    largest maximum, and nine in ten have more than two values: 0/1 columns do not count
    as pixels.
    """
    low, high = X.min(axis=0), X.max(axis=0)
    varies = low < high
    if varies.sum() < 2:
        return False
    at_the_top = high[varies] == high[varies].max()
    inner = ((low < X) & (high > X)).any(axis=0)[varies]
    same_low = (low[varies] == low[varies][0]).all()
    return bool(same_low and at_the_top.mean() >= 0.5 and inner.mean() >= 0.9)
