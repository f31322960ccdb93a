"""Uniform scalar quantisation of codes."""

import numpy as np

from sklearn_ae.compression._entropy_coding import MAX_SYMBOL, SymbolModels


class Quantiser:
    """Uniform scalar quantiser of codes, with a symbol model of each component.

    Parameters
    ----------
    step : float
        Distance of neighbouring quantised values.
    """

    def __init__(self, step):
        self.step = step

    def fit(self, Z, weight):
        """Estimate the symbols' frequencies in codes Z (n, k)."""
        self.models = SymbolModels().fit(self.symbols(Z), weight)
        return self

    def symbols(self, Z):
        """Return the quantised codes (n, k), int64, in steps."""
        # Rows far from the training data may have codes that overflow.
        with np.errstate(over="ignore"):
            symbols = np.rint(np.asarray(Z, np.float64) / self.step)
        symbols = np.nan_to_num(symbols, nan=0.0)
        return np.clip(symbols, -MAX_SYMBOL, MAX_SYMBOL).astype(np.int64)

    def values(self, symbols):
        """Return the codes (n, k), float64, that symbols stand for."""
        return symbols * self.step

    def rounded(self, Z):
        """Return the codes Z (n, k) rounded to multiples of the step."""
        return self.values(self.symbols(Z))
