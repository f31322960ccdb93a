"""The training loop of an autoencoder: its loss and gradients."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sklearn_ae.nn import Corruption, GeneratorMode, cost
from sklearn_ae.objective import noise_variance
from sklearn_ae.training._batches import Batch, WeightedRows
from sklearn_ae.training._net import Net


class AutoencoderNet(Net):
    """The training loop of an autoencoder.

    Parameters
    ----------
    module, criterion, **kwargs
        As ``Net``'s; the module is an ``Autoencoder`` and ``criterion()`` an
        ``Objective``.
    corruption : Corruption, optional
        Corruption of the encoder's input.
    """

    def __init__(
        self,
        module: nn.Module | Callable[..., nn.Module],
        criterion: Callable[..., Any],
        *,
        corruption: Corruption | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(module, criterion, **kwargs)
        self.corruption = corruption
        self._widest: int | None = None
        self._forward_backward: Callable[..., Any] | None = None

    def _set_training(self, training: bool = True) -> None:
        """Switch modes if a user's network or callbacks may depend on them."""
        if self.callbacks or self._forward_backward is None:
            super()._set_training(training)

    def _prepare(self) -> None:
        self._forward_backward = self._manual_backward()

    def _release(self) -> None:
        # It has views of the parameters as they were in training.
        self._forward_backward = None

    def _width(self, rows: WeightedRows) -> int:
        # For convolutions the cost takes a trial pass.
        if self._widest is None:
            self._widest = cost(self.module_, rows.x.shape[1]).width
        return self._widest

    def _manual_backward(self) -> Callable[..., Any] | None:
        """The module with its backward pass, where autograd is not needed."""
        # A user's callbacks may freeze parameters, or hook into autograd.
        simple = self.criterion_.has_no_penalties and not self.callbacks
        # numpy's products take one thread; large steps may have more.
        if simple and torch.get_num_threads() == 1 and self.module_.has_manual_backward:
            return self.module_.make_forward_backward()
        return None

    def _loss(self, batch: Batch) -> Tensor:
        if self._forward_backward is None:
            self._flat.grad.zero_()
            losses = self._row_losses(batch, self._config.generator, self._kl_warmup())
            loss = (losses * batch[1]).mean()
            loss.backward()
            return loss.detach()
        x, weight = batch
        x_in, levels = self._corrupted(x, self._config.generator)
        with torch.inference_mode():
            if levels is not None:
                weight = weight * self._importance(levels)
            x_hat, backward = self._forward_backward(x_in, levels)
            loss, gradient = self.criterion_.with_gradient(x, x_hat, weight)
            # A diverging loss is reported by the loop, not by numpy.
            with np.errstate(all="ignore"):
                backward(gradient)
            return loss

    def _corrupted(
        self, x: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """Corrupted rows, and their noise levels for a conditional encoder."""
        if self.corruption is None:
            return x, None
        x_in, levels = self.corruption(x, generator)
        return x_in, levels if self.module_.is_noise_conditional else None

    def _importance(self, levels: Tensor) -> Tensor:
        assert self.corruption is not None
        return self.corruption.importance(levels)

    def _row_losses(
        self, batch: Batch, generator: torch.Generator, kl_warmup: float = 1.0
    ) -> Tensor:
        x, weight = batch
        x_in, levels = self._corrupted(x, generator)
        if self.criterion_.contracts:
            x_in = x_in.detach().requires_grad_()
        if self._forward_backward is not None:
            losses = self.criterion_.reconstruction(
                x, self._forward_backward(x_in, levels)[0]
            )
        else:
            custom = self._config.has_user_code
            with GeneratorMode(generator) if custom else nullcontext():
                x_hat, z, log_variance = self.module_.draw(x_in, generator, levels)
                losses = self.criterion_(
                    x,
                    x_hat,
                    x_in,
                    z,
                    log_variance,
                    weight,
                    generator,
                    kl_warmup=kl_warmup,
                )
        if levels is not None:
            losses = losses * self._importance(levels)
        return losses

    def _losses(self) -> Tensor:
        if self.monitored is None:
            return torch.zeros(0)
        self._set_training(False)
        # The same noise each time: losses of different weights are compared.
        generator = torch.Generator().manual_seed(self._config.generator.initial_seed())
        with torch.set_grad_enabled(self.criterion_.contracts):
            losses = []
            for batch in self.get_iterator(self.monitored):
                losses.append(self._row_losses(batch, generator).detach())
        return torch.cat(losses)

    def _kl_warmup(self) -> float:
        """Share of the divergence from the prior that counts at this step.

        KL annealing: it rises over the first quarter of a random start, whose posterior
        would collapse onto the prior otherwise (Bowman et al., 2016. Generating
        sentences from a continuous space. CoNLL). A start at PCA does not need it.
        """
        if self._config.keep_start_unless_significant or not self._config.schedule:
            return 1.0
        return min(1.0, 4 * self._step / self._n_steps)

    def measure(self, rows: WeightedRows) -> None:
        """Set the likelihood's variance and the residuals', count components in use.

        A component is in use if its mean varies by more than 0.01 (Burda, Grosse and
        Salakhutdinov, 2016. Importance weighted autoencoders. ICLR).

        Parameters
        ----------
        rows : WeightedRows
            Training rows.
        """
        generator = torch.Generator().manual_seed(0)
        total = torch.zeros((), dtype=torch.float64)
        squares = torch.zeros(rows.x.shape[1], dtype=torch.float64)
        first = torch.zeros(self.module_.n_components, dtype=torch.float64)
        second = first.clone()
        with torch.no_grad():
            for x, weight in self.get_iterator(rows):
                x_hat, mean, _ = self.module_.draw(x, generator)
                total += (noise_variance(x, x_hat, weight) * weight.sum()).cpu()
                squares += (weight @ (x_hat - x).square()).cpu()
                mean, weight = mean.double().cpu(), weight.double().cpu()
                first += weight @ mean
                second += weight @ mean.square()
        n = rows.weight.double().sum().cpu()
        self.module_.noise_variance.copy_(total / n)
        self.residual_std_ = (squares / n).sqrt().numpy()
        activity = second / n - (first / n).square()
        self.n_active_ = int((activity > 0.01).sum())
