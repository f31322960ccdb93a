"""Table to matrix and back: columns of any unit to numbers of order one."""

import numpy as np
from sklearn.preprocessing import MinMaxScaler, QuantileTransformer, StandardScaler
from sklearn.utils import gen_batches

_BLOCK = 8_192
_MAX_QUANTILES = 1_000
_MAX_ROWS_FOR_QUANTILES = 100_000


class Columns:
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
        """Learn from X (n, d), float, and its weights (n,)."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            if self.scale == "quantile":
                self._fit_quantiles(X, sample_weight)
            elif self.scale == "minmax":
                self._fit_minmax(X)
            else:
                self._fit_standard(X, sample_weight)
        self._refuse_overflow()
        return self

    def _fit_standard(self, X, sample_weight):
        scaler = StandardScaler()
        for rows in gen_batches(len(X), _BLOCK):
            scaler.partial_fit(X[rows], sample_weight=sample_weight[rows])
        self.shift_, self.scale_ = scaler.mean_, scaler.scale_
        if self.scale is None:
            largest = np.sqrt(scaler.var_.max())
            # Divided first: the square of a large unit may be past float64.
            common = largest * np.sqrt(np.mean(scaler.var_ / max(largest, 1e-300) ** 2))
            self.scale_ = np.full_like(self.scale_, 1.0 if common == 0 else common)

    def _fit_minmax(self, X):
        scaler = MinMaxScaler()
        for rows in gen_batches(len(X), _BLOCK):
            scaler.partial_fit(X[rows])
        self.shift_, self.scale_ = scaler.data_min_, 1 / scaler.scale_

    def _fit_quantiles(self, X, sample_weight):
        rows = _systematic_sample(sample_weight, _MAX_ROWS_FOR_QUANTILES)
        self.shift_, self.scale_ = np.zeros(X.shape[1]), np.ones(X.shape[1])
        self.quantiles_ = QuantileTransformer(
            n_quantiles=min(_MAX_QUANTILES, len(rows)),
            output_distribution="normal",
            subsample=None,
        ).fit(X[rows].astype(np.float64))

    def _refuse_overflow(self):
        usable = np.isfinite(self.shift_) & np.isfinite(self.scale_)
        if not usable.all():
            raise ValueError(
                f"Column {int(np.argmin(usable))} of X holds values too large to "
                f"scale (scale={self.scale!r}): their variance is past float64. "
                "Divide the column by a constant, or use scale='quantile'."
            )

    def transform(self, X):
        """Scaled columns of X (n, d), in X's dtype."""
        if self.scale == "quantile":
            return self.quantiles_.transform(X.astype(np.float64)).astype(X.dtype)
        # In float64 even for float32: a large offset leaves few digits to subtract.
        return ((X - self.shift_) / self.scale_).astype(X.dtype, copy=False)

    def matrix(self, X):
        """Scaled columns of X (n, d) in float32, whatever X's dtype."""
        matrix = np.empty(X.shape, dtype=np.float32)
        for rows in gen_batches(len(X), _BLOCK):
            matrix[rows] = self.transform(X[rows])
        return matrix

    def inverse_transform(self, X):
        """Columns of X (n, d) in the table's units, in X's dtype."""
        if self.scale == "quantile":
            return self.quantiles_.inverse_transform(X.astype(np.float64)).astype(
                X.dtype
            )
        return (X * self.scale_ + self.shift_).astype(X.dtype, copy=False)


def _systematic_sample(weight, max_rows):
    """Indices in proportion to weight, evenly spaced: each row once if all are one."""
    total = np.cumsum(weight)
    n_rows = min(max(len(weight), round(total[-1])), max_rows)
    targets = (np.arange(n_rows) + 0.5) / n_rows * total[-1]
    return np.searchsorted(total, targets)
