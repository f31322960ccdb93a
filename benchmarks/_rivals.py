"""scikit-learn's nonlinear answers, with PCA's fit, transform and inverse."""

import warnings

import numpy as np
from sklearn.decomposition import KernelPCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

KERNEL_ROWS = 1000  # its cost grows with the cube of the rows


class CappedKernelPCA(KernelPCA):
    """RBF KernelPCA on random rows, at the best of twelve settings tried."""

    def fit(self, X, y=None):
        """Fit on the rows drawn."""
        self.set_params(kernel="rbf", gamma=0.1 / X.shape[1], alpha=0.001)
        self.set_params(fit_inverse_transform=True)
        order = np.random.default_rng(self.random_state).permutation(len(X))
        return super().fit(X[order[:KERNEL_ROWS]])


class MLPAutoencoder(MLPRegressor):
    """``MLPRegressor().fit(X, X)``, its code the middle layer's activations."""

    # No early stopping: by the mean of the columns' R2, a rare column decides.

    def fit(self, X, y=None):
        """Learn X from X; ending at max_iter is its default, so no warning."""
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
            return super().fit(X, X if X.shape[1] > 1 else X.ravel())

    def transform(self, X):
        """Go up to the middle layer."""
        for W, b in self._layers()[: len(self.coefs_) // 2]:
            X = np.maximum(X @ W + b, 0)
        return X

    def inverse_transform(self, Z):
        """Go on from the middle layer; the last layer is linear."""
        *hidden, (W, b) = self._layers()[len(self.coefs_) // 2 :]
        for W_hidden, b_hidden in hidden:
            Z = np.maximum(Z @ W_hidden + b_hidden, 0)
        return Z @ W + b

    def reconstruct(self, X):
        """Code and decode."""
        return self.inverse_transform(self.transform(X))

    def _layers(self):
        return list(zip(self.coefs_, self.intercepts_, strict=True))
