"""Codes rounded to steps, and what they then cost."""

import numpy as np

from sklearn_ae.compression._entropy_coding import LARGEST, SymbolModels


class Quantiser:
    """Uniform quantisation of codes, and a model of each component's symbols.

    Parameters
    ----------
    step : float
        Distance of neighbouring values of a component.
    """

    def __init__(self, step):
        self.step = step

    def fit(self, Z, weight):
        """Learn how often each symbol of codes Z (n, k) occurs."""
        self.models = SymbolModels().fit(self.symbols(Z), weight)
        return self

    def symbols(self, Z):
        """Whole numbers (n, k), int64, of codes Z (n, k)."""
        symbols = np.rint(np.asarray(Z, np.float64) / self.step)
        # A code that is out of all range has a symbol that is in it.
        symbols = np.nan_to_num(symbols, nan=0.0, posinf=LARGEST, neginf=-LARGEST)
        return np.clip(symbols, -LARGEST, LARGEST).astype(np.int64)

    def values(self, symbols):
        """Codes (n, k), float64, in the middle of symbols' cells."""
        return symbols * self.step

    def rounded(self, Z):
        """Codes as they come back."""
        return self.values(self.symbols(Z))
