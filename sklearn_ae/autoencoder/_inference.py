"""A fitted model applied: table to code, and back, in cache-sized blocks."""

import copy
import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from sklearn_ae._runtime import limit_threads
from sklearn_ae.autoencoder._code_prior import StandardNormal
from sklearn_ae.nn import GaussianEncoder, cost, fused_affine
from sklearn_ae.objective import importance_weights
from sklearn_ae.training._batches import row_blocks

# Of an importance-weighted bound.
N_DRAWS = 64
# From about this many rows of float32 on, numpy's products save more time than holding
# its BLAS to one thread takes.
MIN_ROWS_FOR_NUMPY = 128
# Rows at once, where few rows are repeated for several draws.
_DRAWN_ROWS = 256


class FittedAutoencoder:
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
        self._width = cost(self.module, len(columns.shift_)).width
        if prior is None and self.is_random:
            self.prior = StandardNormal(module.n_components)
        self._parts = {}

    def encode(self, X):
        """Table (n, d) to code (n, k)."""
        return self._in_blocks(
            lambda parts, x: parts.encode(x), X, self.columns.transform
        )

    def decode(self, Z):
        """Code (n, k) to table (n, d)."""
        return self._in_blocks(
            lambda parts, z: parts.decode(z), Z, out_of=self.columns.inverse_transform
        )

    def decode_scaled(self, Z):
        """Code (n, k) to scaled columns (n, d)."""
        return self._in_blocks(lambda parts, z: parts.decode(z), Z)

    def reconstruct(self, X, level=None):
        """Table (n, d) to its reconstruction (n, d), told the noise's level if any."""
        return self._in_blocks(
            functools.partial(_restored, level=level),
            X,
            self.columns.transform,
            self.columns.inverse_transform,
        )

    def row_losses(self, X):
        """Loss (n,) of each row of a table (n, d), in scaled units."""
        return self._in_blocks(
            lambda parts, x: self.objective.reconstruction(x, _restored(parts, x)),
            X,
            self.columns.transform,
        )

    def denoising_losses(self, X, noise):
        """Loss (n,) of rows of a table (n, d) when restored from noise, scaled.

        It is the mean over each of ``noise.draws``, (m, d), added and taken off.
        """
        return self._in_blocks(
            lambda parts, x: self._cells(parts, x, noise)[0].mean(dim=1),
            X,
            self.columns.transform,
        )

    def denoised(self, X, noise):
        """Parts of those losses by cell (n, d), and the mean restored table (n, d)."""
        both = self._in_blocks(
            lambda parts, x: torch.cat(self._cells(parts, x, noise), 1),
            X,
            self.columns.transform,
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
        bound = functools.partial(_bound, noise, self.prior)
        with limit_threads():
            return self._in_blocks(bound, X, self.columns.transform)

    def sample(self, n, random, *, noise):
        """Table (n, d) drawn from the model: prior, decoder and, if asked, noise."""
        Z = self.prior.sample(n, random)
        scaled = self.decode_scaled(Z)
        if noise:
            deviation = self.module.noise_variance.sqrt().item()
            scaled = scaled + deviation * random.normal(size=scaled.shape)
        X, constant = self.columns.inverse_transform(scaled), self.columns.constant_
        return np.where(np.isnan(constant), X, constant)

    def scaled(self, X):
        """Scaled columns (n, d) of a table, and their reconstruction (n, d)."""
        X = self.columns.transform(X)
        return X, self._in_blocks(_restored, X)

    def _in_blocks(self, function, X, into=np.copy, out_of=None):
        """``out_of(function(parts, into(X)))``, block by block."""
        by_numpy = self._is_for_numpy(X)
        parts, width = self._parts_for(X.dtype, by_numpy), max(self._width, X.shape[1])
        result = None
        with limit_threads(blas=by_numpy), torch.inference_mode():
            for rows in row_blocks(len(X), width, torch.float64):
                x = torch.from_numpy(into(X[rows])).to(self._device)
                # What is out of range is so in silence, as it is in torch.
                with np.errstate(all="ignore"):
                    block = function(parts, x).cpu().numpy()
                block = block if out_of is None else out_of(block)
                if len(block) == len(X):
                    return np.ascontiguousarray(block)
                if result is None:
                    result = np.empty((len(X), *block.shape[1:]), block.dtype)
                result[rows] = block
        return result

    def _is_for_numpy(self, X):
        # Not float64, whose results are ranked and held against thresholds: there even
        # the last bit of a row is not to depend on how many are sent with it.
        many = X.dtype == np.float32 and len(X) >= MIN_ROWS_FOR_NUMPY
        return many and self._device.type == "cpu"

    @property
    def _device(self):
        return self.module.noise_variance.device

    def _parts_for(self, dtype, by_numpy):
        if (dtype, by_numpy) not in self._parts:
            module = self.module
            if dtype == np.float64:
                module = copy.deepcopy(module).double()
            self._parts[dtype, by_numpy] = _Parts(
                module,
                fused_affine(module.encoder, by_numpy=by_numpy),
                fused_affine(module.decoder, by_numpy=by_numpy),
            )
        return self._parts[dtype, by_numpy]

    def _cells(self, parts, x, noise):
        """Mean loss of each cell (n, d) over draws of noise, and mean x_hat (n, d)."""
        level = noise.level if self.module.is_noise_conditional else None
        draws = torch.from_numpy(noise.draws).to(x)
        # Without noise the two would be the same.
        added = torch.cat([draws, -draws]) if noise.level else draws[:1]
        losses, total = torch.zeros_like(x), torch.zeros_like(x)
        for one in added:
            x_hat = _restored(parts, x + one, level)
            losses += self.objective.of_cells(x, x_hat)
            total += x_hat
        return losses / len(added), total / len(added)

    def __getstate__(self):
        # What was trained on a GPU loads anywhere; the parts are made again when asked.
        module = copy.deepcopy(self.module).cpu()
        return vars(self) | {"module": module, "_parts": {}}


class _Parts(NamedTuple):
    """A module in the precision of the rows, and its two halves without overhead."""

    module: nn.Module
    encode: Callable
    decode: Callable


def _restored(parts, x, level=None):
    noise_conditional = () if level is None else (torch.full_like(x[:, :1], level),)
    return parts.decode(parts.encode(x, *noise_conditional))


def _bound(noise, prior, parts, x):
    """Logarithm of the mean importance weight of each row over draws of noise."""
    module = parts.module
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
            parts.decode(z),
            module.noise_variance,
            log_variance.repeat(n, 1),
            log_prior.to(z),
            row,
        )
        total = torch.logaddexp(total, weights.view(n, -1).logsumexp(dim=0))
    return total - math.log(len(noise))
