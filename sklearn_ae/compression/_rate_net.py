"""The loop of a compressor: what is lost, and the bits that are spent."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sklearn_ae.autoencoder._autoencoder_net import AutoencoderNet
from sklearn_ae.training._batches import Batch


class RateDistortionNet(AutoencoderNet):
    """The loop of an autoencoder whose code is to be rounded and stored.

    A row costs ``nats / d + squared error / (2 level)``, the error the mean over its d
    features: where columns are normal and independent, and the step is
    ``sqrt(12 level)``, as many nats are spent on each as is best for the errors that
    remain (Cover, T. M. and Thomas, J. A., 2006. Elements of information theory, 10.3).

    Parameters
    ----------
    module, criterion, **kwargs
        As ``AutoencoderNet``'s; the module's ``prior`` is a ``LogisticEntropyModel``.
    level : float
        Squared error up to which a direction is not worth a nat, in scaled units.
    """

    def __init__(
        self,
        module: nn.Module | Callable[..., nn.Module],
        criterion: Callable[..., Any],
        *,
        level: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(module, criterion, **kwargs)
        self.level = level

    def _rules(self) -> None:
        return None

    def _row_losses(
        self, batch: Batch, generator: torch.Generator, kl_warmup: float = 1.0
    ) -> Tensor:
        x, module = batch[0], self.module_
        z = module.prior.noisy(module.encoder(x), generator)
        error = self.criterion_.reconstruction(x, module.decoder(z))
        return module.prior(z) / x.shape[1] + error / (2 * self.level)
