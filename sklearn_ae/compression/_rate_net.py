"""Training net with a rate-distortion loss."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sklearn_ae.autoencoder._autoencoder_net import AutoencoderNet
from sklearn_ae.training._batches import Batch


class RateDistortionNet(AutoencoderNet):
    """Training net of an autoencoder whose code is to be rounded and stored.

    The loss of a row is ``nats / d + squared error / (2 distortion)``, the error the
    mean over its d features. Its minimum for independent normal columns, with a step of
    ``sqrt(12 distortion)``, is the rate-distortion optimum: reverse water-filling
    (Cover, T. M. and Thomas, J. A., 2006. Elements of information theory, 10.3.3).

    Parameters
    ----------
    module, criterion, **kwargs
        As ``AutoencoderNet``'s; the module's ``prior`` is a ``LogisticEntropyModel``.
    distortion : float
        Mean squared error of each principal component with a larger
        variance, in squared scaled units.
    """

    def __init__(
        self,
        module: nn.Module | Callable[..., nn.Module],
        criterion: Callable[..., Any],
        *,
        distortion: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(module, criterion, **kwargs)
        self.distortion = distortion

    def _manual_backward(self) -> None:
        """Return None: the entropy model is left to autograd."""

    def _row_losses(
        self, batch: Batch, generator: torch.Generator, kl_warmup: float = 1.0
    ) -> Tensor:
        x, module = batch[0], self.module_
        z = module.prior.noisy(module.encoder(x), generator)
        error = self.criterion_.reconstruction(x, module.decoder(z))
        return module.prior(z) / x.shape[1] + error / (2 * self.distortion)
