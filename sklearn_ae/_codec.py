"""A fitted model applied: table to code, and back, in cache-sized blocks."""

import copy
import functools
import math

import numpy as np
import torch

from sklearn_ae._data import row_blocks
from sklearn_ae._prior import StandardNormal
from sklearn_ae._torch_state import few_threads
from sklearn_ae.nn import GaussianEncoder
from sklearn_ae.objective import importance_weights

# Of an importance-weighted bound.
N_DRAWS = 64
# Rows at once, where few rows are repeated for several draws.
_DRAWN_ROWS = 256


class Codec:
    """Maps between table (n, d) and code (n, k), in the dtype of what is given.

    float64 is computed in float64: a row's result then does not depend, beyond the last
    bits of a double, on the rows that it is sent with.

    Parameters
    ----------
    columns : Columns
        Fitted scaling.
    module : Autoencoder
        In float32; copied.
    objective : Objective
        Its reconstruction loss is a row's.
    prior : StandardNormal, Mixture or None
        The distribution of codes; None is the standard normal of a random code, and
        that there is none of another.
    """

    def __init__(self, columns, module, objective, prior):
        self.columns = columns
        self.objective = objective
        self.prior = prior
        self.module = copy.deepcopy(module).eval()
        self._width = max(p.shape[0] for p in module.parameters())
        if prior is None and self.is_random:
            self.prior = StandardNormal(module.n_components)
        self._double = None

    def encode(self, X):
        """Table (n, d) to code (n, k)."""
        return self._in_blocks(
            lambda module, x: module.encoder(x), X, into=self.columns.transform
        )

    def decode(self, Z):
        """Code (n, k) to table (n, d)."""
        return self._in_blocks(
            lambda module, z: module.decoder(z),
            Z,
            out_of=self.columns.inverse_transform,
        )

    def reconstruct(self, X):
        """Table (n, d) to its reconstruction (n, d)."""
        return self._in_blocks(
            lambda module, x: module(x)[0],
            X,
            into=self.columns.transform,
            out_of=self.columns.inverse_transform,
        )

    def row_losses(self, X):
        """Loss (n,) of each row of a table (n, d), in scaled units."""
        return self._in_blocks(
            lambda module, x: self.objective.reconstruction(x, module(x)[0]),
            X,
            into=self.columns.transform,
        )

    def denoising_losses(self, X, noise):
        """Loss (n,) of rows of a table (n, d) when restored from noise, scaled.

        It is the mean over each of ``noise.draws``, (m, d), added and taken off.
        """
        return self._in_blocks(
            lambda module, x: _cells(module, x, self.objective, noise)[0].mean(dim=1),
            X,
            into=self.columns.transform,
        )

    def denoised(self, X, noise):
        """Parts of those losses by cell (n, d), and the mean restored table (n, d)."""
        both = self._in_blocks(
            lambda module, x: torch.cat(_cells(module, x, self.objective, noise), 1),
            X,
            into=self.columns.transform,
        )
        losses, scaled = np.hsplit(both, 2)
        return losses, self.columns.inverse_transform(scaled)

    @property
    def is_random(self):
        """Whether the code is a distribution."""
        return isinstance(self.module.encoder, GaussianEncoder)

    def log_densities(self, X):
        """Lower bound (n,) of log p(x) for each row of a table (n, d), scaled.

        Of ``N_DRAWS`` importance-weighted draws, the same for each row.
        """
        k = self.module.n_components
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(N_DRAWS, k, generator=generator, dtype=torch.float64)
        return self._in_blocks(
            functools.partial(_bound, noise, self.prior), X, into=self.columns.transform
        )

    def sample(self, n, random, *, noise):
        """Table (n, d) drawn from the model: prior, decoder and, if asked, noise."""
        Z = self.prior.sample(n, random)
        scaled = self._in_blocks(lambda module, z: module.decoder(z), Z)
        if noise:
            deviation = self.module.noise_variance.sqrt().item()
            scaled = scaled + deviation * random.normal(size=scaled.shape)
        X, constant = self.columns.inverse_transform(scaled), self.columns.constant_
        return np.where(np.isnan(constant), X, constant)

    def scaled(self, X):
        """Scaled columns (n, d) of a table, and their reconstruction (n, d)."""
        X = self.columns.transform(X)
        return X, self._in_blocks(lambda module, x: module(x)[0], X)

    def _in_blocks(self, function, X, into=None, out_of=None):
        """``out_of(function(module, into(X)))``, block by block."""
        module, width = self._module_for(X.dtype), max(self._width, X.shape[1])
        device = module.noise_variance.device
        parts = []
        with few_threads(), torch.inference_mode():
            for rows in row_blocks(len(X), width, torch.float64):
                block = X[rows].copy() if into is None else into(X[rows])
                part = function(module, torch.from_numpy(block).to(device))
                part = part.cpu().numpy()
                parts.append(part if out_of is None else out_of(part))
        return np.concatenate(parts)

    def _module_for(self, dtype):
        if dtype != np.float64:
            return self.module
        if self._double is None:
            self._double = copy.deepcopy(self.module).double()
        return self._double

    def __getstate__(self):
        # What was trained on a GPU loads anywhere; the double is made again when asked.
        module = copy.deepcopy(self.module).cpu()
        return vars(self) | {"module": module, "_double": None}


def _cells(module, x, objective, noise):
    """Mean loss of each cell (n, d) over the draws of noise, and mean x_hat (n, d)."""
    levels = torch.full_like(x[:, :1], noise.level)
    draws = torch.from_numpy(noise.draws).to(x)
    # Without noise the two would be the same.
    added = torch.cat([draws, -draws]) if noise.level else draws[:1]
    losses, total = torch.zeros_like(x), torch.zeros_like(x)
    for one in added:
        x_hat = module.denoise(x + one, levels)
        cells = objective.reconstruction(x.reshape(-1, 1), x_hat.reshape(-1, 1))
        losses += cells.reshape(x.shape)
        total += x_hat
    return losses / len(added), total / len(added)


def _bound(noise, prior, module, x):
    """Logarithm of the mean importance weight of each row over draws of noise."""
    mean, log_variance = module.encoder.moments(x)
    deviation = (0.5 * log_variance).exp()
    total = torch.full_like(mean[:, 0], -math.inf)
    for draws in noise.to(x).split(max(1, _DRAWN_ROWS // len(x))):
        n = len(draws)
        row = draws.repeat_interleave(len(x), dim=0)
        z = mean.repeat(n, 1) + deviation.repeat(n, 1) * row
        # Of a row far off it may be minus infinity.
        with np.errstate(over="ignore"):
            log_prior = torch.from_numpy(prior.log_density(z.double().cpu().numpy()))
        weights = importance_weights(
            x.repeat(n, 1),
            module.decoder(z),
            module.noise_variance,
            log_variance.repeat(n, 1),
            log_prior.to(z),
            row,
        )
        total = torch.logaddexp(total, weights.view(n, -1).logsumexp(dim=0))
    return total - math.log(len(noise))
