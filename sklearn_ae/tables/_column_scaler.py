"""Table to matrix and back: columns of any unit to numbers of order one."""

import numpy as np
from sklearn.preprocessing import StandardScaler

from sklearn_ae.tables._normal_scores import NormalScores
from sklearn_ae.tables._rows import cell_blocks, systematic_sample

_MAX_ROWS_FOR_QUANTILES = 100_000
# Of columns that have one unit, the shares whose highest value is the highest of all,
# and that have more than two values.
_AT_THE_TOP, _NOT_BINARY = 0.5, 0.9


class ColumnScaler:
    """Scales the columns of a table, and undoes it.

    Parameters
    ----------
    scale : {"standard", "minmax", "quantile"} or None
        Mean 0 and variance 1; range [0, 1]; normal scores by quantile; or None, the
        columns' own units. None still takes off the mean and divides all columns by
        one common number: their shares of the variance stay as they are.
    """

    def __init__(self, scale):
        self.scale = scale

    def fit(self, X, sample_weight):
        """Learn from X (n, d), float or ``RowView``, and its weights (n,)."""
        by_range = self.scale in ("minmax", "quantile")
        scaler, low, high = StandardScaler(), np.inf, -np.inf
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            for rows in cell_blocks(X):
                block = X[rows]
                low = np.minimum(low, block.min(axis=0))
                high = np.maximum(high, block.max(axis=0))
                if not by_range:
                    scaler.partial_fit(block, sample_weight=sample_weight[rows])
            # The value of a column that has one, else NaN.
            self.constant_ = np.where(low == high, low, np.nan)
            if by_range:
                self._set_range(low, high)
            else:
                self._set_moments(scaler)
            if self.scale == "quantile":
                self._fit_quantiles(X, sample_weight)
        return self

    def _set_moments(self, scaler):
        # A constant's mean is a rounding off it: of 1e30 that is no small number.
        varies = np.isnan(self.constant_)
        mean = np.where(varies, scaler.mean_, self.constant_)
        variance = np.where(varies, scaler.var_, 0.0)
        self._refuse_overflow(mean, variance)
        self.shift_, self.scale_ = mean, np.where(varies, scaler.scale_, 1.0)
        if self.scale is None:
            common = np.sqrt(variance.mean())
            self.scale_ = np.full_like(self.scale_, common if common > 0 else 1.0)

    def _set_range(self, low, high):
        # Not MinMaxScaler: it takes a range below 2e-15 for a constant.
        spread = high - low
        self._refuse_overflow(low, spread)
        self.shift_, self.scale_ = low, np.where(spread > 0, spread, 1.0)

    def _fit_quantiles(self, X, sample_weight):
        # To ranges of about one, between which slopes are finite; by a power of two,
        # which rounds nothing and so breaks no ties.
        self.shift_ = np.zeros_like(self.shift_)
        self.scale_ = np.exp2(np.floor(np.log2(self.scale_)))
        rows = systematic_sample(sample_weight, _MAX_ROWS_FOR_QUANTILES)
        self._quantiles = NormalScores().fit(self._shifted(X[rows]))

    def _refuse_overflow(self, location, spread):
        usable = np.isfinite(location) & np.isfinite(spread)
        if not usable.all():
            raise ValueError(
                f"Column {int(np.argmin(usable))} of X holds values too large to "
                f"scale (scale={self.scale!r}): their spread is past float64. Divide "
                "the column by a constant."
            )

    def _shifted(self, X):
        # In float64 even for float32: a large offset leaves few digits to subtract.
        shifted = X - self.shift_
        shifted /= self.scale_
        return shifted

    def transform(self, X):
        """Scaled columns of X (n, d), in X's dtype."""
        scaled = self._shifted(X)
        if self.scale == "quantile":
            scaled = self._quantiles.transform(scaled)
        return scaled.astype(X.dtype, copy=False)

    def inverse_transform(self, X):
        """Columns of X (n, d) in the table's units, in X's dtype."""
        scaled = X
        if self.scale == "quantile":
            scaled = self._quantiles.inverse_transform(X)
        back = scaled * self.scale_
        back += self.shift_
        return back.astype(X.dtype, copy=False)

    def transform_float32(self, X):
        """Scaled columns of X (n, d), an array or a ``RowView``, in float32."""
        matrix = np.empty(X.shape, dtype=np.float32)
        for rows in cell_blocks(X):
            matrix[rows] = self.transform(X[rows])
        return matrix


def columns_look_like_pixels(X):
    """Whether the columns are measured in one unit, as the pixels of a picture are.

    Told by their ranges: all that vary have the same lowest value, half or more the
    same highest, and nine in ten have more than two values.
    """
    low, high = X.min(axis=0), X.max(axis=0)
    varies = low < high
    if varies.sum() < 2:
        return False
    at_the_top = high[varies] == high[varies].max()
    inner = ((low < X) & (high > X)).any(axis=0)[varies]
    same_low = (low[varies] == low[varies][0]).all()
    return bool(
        same_low and at_the_top.mean() >= _AT_THE_TOP and inner.mean() >= _NOT_BINARY
    )
