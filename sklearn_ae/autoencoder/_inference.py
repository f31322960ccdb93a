"""A fitted autoencoder applied: table to code, and back, in cache-sized blocks."""

import copy
import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from torch import nn

from sklearn_ae._runtime import limit_threads
from sklearn_ae._validation import checked_codes
from sklearn_ae.autoencoder._code_prior import StandardNormal
from sklearn_ae.nn import GaussianEncoder, cost, plain_forward
from sklearn_ae.objective import importance_weights
from sklearn_ae.training._batches import row_blocks

N_IMPORTANCE_DRAWS = 64
# Rows that are repeated for several draws at once.
ROWS_PER_DRAW_BLOCK = 256


class CodesMixin(ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """Names, dtypes and widths of codes of estimators with an ``_inference``."""

    def _checked_code(self, Z):
        """Codes as an array; ValueError if they have another width."""
        Z = checked_codes(self, Z)
        if Z.shape[1] != self._n_features_out:
            raise ValueError(
                f"X has {Z.shape[1]} columns, but the code of this "
                f"{type(self).__name__} has n_components_={self._n_features_out}."
            )
        return Z

    @property
    def _n_features_out(self):
        return self._inference.module.n_components

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def inference_of(estimator):
    """Return the ``FittedAutoencoder`` of a fitted estimator."""
    return estimator._inference


class FittedAutoencoder:
    """Maps between table (n, d) and code (n, k), in the dtype of the input.

    float64 is computed in float64: a row's result then does not depend, beyond the last
    bits of a double, on the other rows of the call.

    Parameters
    ----------
    columns : ColumnScaler
        Fitted scaling.
    module : Autoencoder
        In float32; copied.
    objective : Objective
        Gives the reconstruction loss of a row.
    prior : StandardNormal, Mixture or None
        Distribution of the codes. None is the standard normal if the code is a
        distribution, and no distribution otherwise.
    corruption : Corruption, optional
        Of the training rows.
    was_interrupted : bool, default=False
        True if Ctrl-C ended training.
    sampler : RowSampler, optional
        Draws rows; None where there is no prior.
    """

    def __init__(
        self,
        columns,
        module,
        objective,
        prior,
        corruption=None,
        was_interrupted=False,
        sampler=None,
    ):
        self.columns = columns
        self.objective = objective
        self.prior = prior
        self.corruption = corruption
        self.was_interrupted = was_interrupted
        self.sampler = sampler
        self.module = copy.deepcopy(module).eval()
        if prior is None and self.is_random:
            self.prior = StandardNormal(module.n_components)
        self._prepare()

    def _prepare(self):
        self._width = cost(self.module, len(self.columns.shift_)).width
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
        """Table (n, d) to its reconstruction (n, d).

        ``level`` is that of the noise, for a noise-conditional encoder; None is the
        lowest.
        """
        return self._in_blocks(
            functools.partial(_restored, level=level),
            X,
            self.columns.transform,
            self.columns.inverse_transform,
        )

    def row_losses(self, X):
        """Loss (n,) of each row of a table (n, d), in scaled units; finite."""
        losses = self._in_blocks(
            lambda parts, x: self.objective.reconstruction(x, _restored(parts, x)),
            X,
            self.columns.transform,
            refuse=False,
        )
        return np.nan_to_num(losses, nan=np.finfo(losses.dtype).max)

    def denoising_losses(self, X, noise):
        """Denoising losses by cell (n, d) of a table (n, d), in scaled units.

        The mean over ``noise.draws``, (m, d), each added and subtracted.
        """
        return self._in_blocks(
            lambda parts, x: self._cells(parts, x, noise)[0],
            X,
            self.columns.transform,
            refuse=False,
        )

    def denoised(self, X, noise):
        """Denoising losses by cell (n, d), and the mean denoised table (n, d)."""
        both = self._in_blocks(
            lambda parts, x: torch.cat(self._cells(parts, x, noise), 1),
            X,
            self.columns.transform,
            refuse=False,
        )
        losses, scaled = np.hsplit(both, 2)
        return losses, self.columns.inverse_transform(scaled)

    def noise_std(self, level):
        """Standard deviation (d,) of gaussian noise of a level, in scaled units."""
        return self.corruption.noise_std(level).cpu().numpy()

    def with_encoder(self, encoder):
        """Return the same autoencoder with another encoder, and the same decoder."""
        module = copy.copy(self.module)
        module._modules = self.module._modules | {
            "encoder": encoder.to(self._device).eval()
        }
        fitted = copy.copy(self)
        fitted.module = module
        return fitted

    @property
    def is_random(self):
        """True if the code is a distribution."""
        return isinstance(self.module.encoder, GaussianEncoder)

    def log_densities(self, X):
        """Lower bound (n,) of log p(x) of the scaled rows of a table (n, d).

        From ``N_IMPORTANCE_DRAWS`` importance-weighted draws, the same for each row.
        """
        k = self.module.n_components
        generator = torch.Generator().manual_seed(0)
        shape = N_IMPORTANCE_DRAWS, k
        noise = torch.randn(shape, generator=generator, dtype=torch.float64)
        bound = functools.partial(_bound, noise, self.prior)
        with limit_threads():
            bounds = self._in_blocks(bound, X, self.columns.transform, refuse=False)
        return np.nan_to_num(bounds, nan=np.finfo(bounds.dtype).min)

    def sample(self, n, random, *, noise):
        """Table (n, d) drawn from prior and decoder, with ``noise`` by the sampler."""
        # The codes of a mixture, and the margins, take numpy's products.
        with limit_threads():
            if noise:
                return self.sampler.sample(n, random, self.prior, self.decode_scaled)
            X = self.decode(self.prior.sample(n, random))
        constant = self.columns.constant_
        return np.where(np.isnan(constant), X, constant)

    def scaled(self, X):
        """Scaled columns (n, d) of a table, and their reconstruction (n, d)."""
        scaled = self._in_blocks(lambda parts, x: x, X, self.columns.transform)
        return scaled, self._in_blocks(_restored, X, self.columns.transform)

    def _in_blocks(self, function, X, into=np.copy, out_of=None, refuse=True):
        """``out_of(function(parts, into(X)))``, block by block.

        If ``refuse``, ValueError for a row whose result is no finite number.
        """
        parts = self._parts.get(X.dtype) or self._parts_for(X.dtype)
        result, width = None, max(self._width, X.shape[1])
        with limit_threads(blas=False), torch.inference_mode():
            for rows in row_blocks(len(X), width, torch.float64):
                # numpy warns of overflow where torch does not.
                with np.errstate(all="ignore"):
                    x = torch.from_numpy(into(X[rows])).to(self._device)
                    block = function(parts, x).cpu().numpy()
                    if refuse and not math.isfinite(block.sum()):
                        _refuse_overflow(block, X, rows.start, into)
                block = block if out_of is None else out_of(block)
                if len(block) == len(X):
                    return np.ascontiguousarray(block)
                if result is None:
                    result = np.empty((len(X), *block.shape[1:]), block.dtype)
                result[rows] = block
        return result

    @property
    def _device(self):
        return self.module.noise_variance.device

    def _parts_for(self, dtype):
        module = self.module
        with limit_threads(blas=False):
            if dtype == np.float64:
                module = copy.deepcopy(module).double()
            encode, decode = map(plain_forward, (module.encoder, module.decoder))
        # Threads may make them at once: the first one's are kept.
        return self._parts.setdefault(dtype, _Parts(module, encode, decode))

    def _cells(self, parts, x, noise):
        """Mean loss of each cell (n, d) over draws of noise, and mean x_hat (n, d)."""
        level = noise.level if self.module.is_noise_conditional else None
        draws = torch.tensor(noise.draws).to(x)  # copied: they may be mapped
        # Without noise both signs give the same.
        added = torch.cat([draws, -draws]) if noise.level else draws[:1]
        losses, total = torch.zeros_like(x), torch.zeros_like(x)
        for one in added:
            x_hat = _restored(parts, x + one, level)
            losses += self.objective.of_cells(x, x_hat)
            total += x_hat
        return losses / len(added), total / len(added)

    def __getstate__(self):
        made_again = ("_parts", "_width")
        return {k: v for k, v in vars(self).items() if k not in made_again}

    def __setstate__(self, state):
        vars(self).update(state)
        self._prepare()


def _refuse_overflow(block, X, start, into):
    """ValueError if a row of a block that starts at that row of X is not finite."""
    overflows = ~np.isfinite(block).all(axis=1)
    if overflows.any():
        row = start + int(np.argmax(overflows))
        scaled = np.abs(np.nan_to_num(into(X[row : row + 1])))[0]
        column = int(np.argmax(scaled))
        raise ValueError(
            f"Row {row} of X is too far from the rows of fit for {X.dtype}, or the "
            f"network is at fault: what it computes is no finite number. Column "
            f"{column} has {X[row, column]:g}, {scaled[column]:.1e} in scaled units. "
            "Clip the column, or drop the row."
        )


class _Parts(NamedTuple):
    """A module in the precision of the rows, and its two halves as plain functions."""

    module: nn.Module
    encode: Callable
    decode: Callable


def _restored(parts, x, level=None):
    levels = () if level is None else (torch.full_like(x[:, :1], level),)
    return parts.decode(parts.encode(x, *levels))


def _bound(noise, prior, parts, x):
    """Logarithm of the mean importance weight of each row over draws of noise."""
    module = parts.module
    mean, log_variance = module.encoder.moments(x)
    deviation = (0.5 * log_variance).exp()
    total = torch.full_like(mean[:, 0], -math.inf)
    for draws in noise.to(x).split(max(1, ROWS_PER_DRAW_BLOCK // len(x))):
        n = len(draws)
        row = draws.repeat_interleave(len(x), dim=0)
        z = mean.repeat(n, 1) + deviation.repeat(n, 1) * row
        # The log-density of a row far off may be minus infinity.
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
