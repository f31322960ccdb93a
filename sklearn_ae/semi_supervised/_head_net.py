"""Training loop of an encoder with a head on labelled and unlabelled rows."""

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from sklearn_ae.nn import GeneratorMode
from sklearn_ae.objective import virtual_adversarial
from sklearn_ae.training._batches import Batch, RowBatches, RowLoader, WeightedRows
from sklearn_ae.training._net import IterationTask, Net, TrainingConfig
from sklearn_ae.training._weights import flat_vector


class HeadNet(Net):
    """Training loop of fine-tuning.

    Parameters
    ----------
    module, criterion, **kwargs
        As in ``Net``; the module is a ``Head`` and ``criterion()`` a
        ``ClassificationObjective`` or a ``RegressionObjective``.
    radius : float
        Norm of the adversarial perturbations, in scaled units.
    consistency_weight : float
        Weight of the loss on all rows, relative to that on labelled rows.
    width : int
        Size of the widest layer's output for one row.
    """

    def __init__(
        self,
        module: nn.Module | Callable[..., nn.Module],
        criterion: Callable[..., Any],
        *,
        radius: float,
        consistency_weight: float,
        width: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(module, criterion, **kwargs)
        self.radius = radius
        self.consistency_weight = consistency_weight
        self.width = width

    def train(
        self,
        rows: WeightedRows,
        monitored: WeightedRows | None,
        config: TrainingConfig,
        task: IterationTask | None = None,
        all_rows: WeightedRows | None = None,
    ) -> None:
        """Train in place, as ``Net`` does.

        Each step takes two mini-batches, one of labelled ``rows`` and one of
        ``all_rows``, whose target is 1 if a row is unlabelled and else 0.
        """
        self._all_batches = None if all_rows is None else _batches_of(all_rows, config)
        start = flat_vector(self.module_)
        super().train(rows, monitored, config, task)
        self.has_moved = not torch.equal(start, flat_vector(self.module_))
        del self._all_batches

    def outputs(self, rows: WeightedRows) -> Tensor:
        """Return the outputs (n, n_outputs) of rows in evaluation mode."""
        self._set_training(False)
        with torch.no_grad():
            return torch.cat([self.module_(b[0]) for b in self.get_iterator(rows)])

    def _width(self, rows: WeightedRows) -> int:
        return self.width

    def _losses(self) -> Tensor:
        if self.monitored is None:
            return torch.zeros(0)
        _, weight, target = self.monitored.__getitems__(slice(None))
        return self.criterion_.validation_loss(
            self.outputs(self.monitored), target, weight
        )

    def _n_waited(self) -> int:
        """Iterations without a gain, in the training loss if no rows are held out."""
        if self.monitored is not None:
            return super()._n_waited()
        best, since = math.inf, 0
        for loss in self.loss_curve_:
            gains = loss < best - self._config.tol * abs(loss)
            best, since = (loss, 0) if gains else (best, since + 1)
        return since

    def _loss(self, batch: Batch) -> Tensor:
        self._flat.grad.zero_()
        custom = self._config.has_user_code
        with GeneratorMode(self._config.generator) if custom else nullcontext():
            loss = self._mean_loss(*batch)
        loss.backward()
        return loss.detach()

    def _mean_loss(self, x: Tensor, weight: Tensor, target: Tensor) -> Tensor:
        loss = (self.criterion_.losses(self.module_(x), target) * weight).mean()
        if self._all_batches is not None:
            consistency = self._consistency_loss(*next(self._all_batches))
            loss = loss + self.consistency_weight * consistency
        return loss

    def _consistency_loss(
        self, x: Tensor, weight: Tensor, unlabelled: Tensor
    ) -> Tensor:
        """Virtual adversarial loss, and mutual information of unlabelled rows."""
        outputs, criterion = self.module_(x), self.criterion_
        adversarial = virtual_adversarial(
            self.module_,
            criterion.divergence,
            x,
            outputs,
            self.radius,
            self._config.generator,
        )
        entropy = criterion.negative_mutual_information(outputs, weight * unlabelled)
        return ((adversarial + unlabelled * entropy) * weight).mean()


def _batches_of(rows: WeightedRows, config: TrainingConfig) -> Iterator[Batch]:
    """Yield one mini-batch per training step, in passes that repeat."""
    batches = RowBatches(
        len(rows),
        config.batch_size,
        max_batches=config.n_iterations * config.max_batches,
        shuffle=config.shuffle,
        generator=config.generator,
        device=rows.x.device,
        repeat=True,
    )
    return iter(RowLoader(rows, batches))
