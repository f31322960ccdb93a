"""The loop of a prediction: an encoder with a head, rows with and without a label."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from sklearn_ae.objective import virtual_adversarial
from sklearn_ae.training._batches import Batch, RowBatches, RowLoader, WeightedRows
from sklearn_ae.training._net import IterationTask, Net, TrainingConfig
from sklearn_ae.training._weights import flat_vector


class HeadNet(Net):
    """The loop of a prediction.

    Parameters
    ----------
    module, criterion, **kwargs
        As ``Net``'s; the module is a ``Head`` and ``criterion()`` a
        ``ClassificationObjective`` or a ``RegressionObjective``.
    radius : float
        How far around a row outputs should be the same, in scaled units.
    consistency_weight : float
        Of what is asked of all rows, beside the loss of the labelled.
    width : int
        Numbers in the widest output of a part, for a row.
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
        run: TrainingConfig,
        task: IterationTask | None = None,
        everything: WeightedRows | None = None,
    ) -> None:
        """Train in place, as any net.

        Each step sees two mini-batches: of ``rows``, which have a target, and of
        ``everything``, whose target is whether a row has none.
        """
        self._all = None if everything is None else _beside(everything, run)
        start = flat_vector(self.module_)
        if len(start) != len(self.optimizer_.param_groups[0]["params"][0]):
            # Other layers are frozen than were before.
            self.initialize_optimizer()
        super().train(rows, monitored, run, task)
        self.has_moved = not torch.equal(start, flat_vector(self.module_))
        del self._all

    def outputs(self, rows: WeightedRows) -> Tensor:
        """Outputs (n, n_outputs) of the rows as they are."""
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
        """Iterations without a gain; in training where no rows are judged by."""
        if self.monitored is not None:
            return super()._n_waited()
        best, since = math.inf, 0
        for loss in self.loss_curve_:
            gains = loss < best - self._config.tol * abs(loss)
            best, since = (loss, 0) if gains else (best, since + 1)
        return since

    def _loss(self, batch: Batch) -> Tensor:
        self._flat.grad.zero_()
        x, weight, target = batch
        loss = (self.criterion_.losses(self.module_(x), target) * weight).mean()
        if self._all is not None and self.consistency_weight > 0:
            loss = loss + self.consistency_weight * self._asked_of(*next(self._all))
        loss.backward()
        return loss.detach()

    def _asked_of(self, x: Tensor, weight: Tensor, unlabelled: Tensor) -> Tensor:
        """The same answers nearby and, without a label, clear ones."""
        outputs, criterion = self.module_(x), self.criterion_
        terms = virtual_adversarial(
            self.module_,
            criterion.divergence,
            x,
            outputs,
            self.radius,
            self._config.generator,
        )
        clear = criterion.negative_mutual_information(outputs, weight * unlabelled)
        return ((terms + unlabelled * clear) * weight).mean()


def _beside(rows: WeightedRows, run: TrainingConfig) -> Iterator[Batch]:
    """As many mini-batches as there are steps."""
    batches = RowBatches(
        len(rows),
        run.batch_size,
        max_batches=run.n_iterations * run.max_batches,
        shuffle=run.shuffle,
        generator=run.generator,
        device=rows.x.device,
        repeat=True,
    )
    return iter(RowLoader(rows, batches))
