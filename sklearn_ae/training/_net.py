"""The training loop, by skorch: the only file that imports it."""

import copy
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from sklearn.exceptions import ConvergenceWarning
from skorch import NeuralNet
from torch import Tensor, nn

from sklearn_ae.training._batches import (
    Batch,
    RowBatches,
    RowLoader,
    WeightedRows,
    row_blocks,
)
from sklearn_ae.training._weights import (
    AdamW,
    BestWeights,
    FlatParameters,
    RunningAverage,
    flat_vector,
    one_cycle,
)

MAX_RECOVERIES = 3


class IterationTask(Protocol):
    """Callbacks around each iteration."""

    def begin(self, net: "Net") -> None:
        """Begin an iteration."""

    def end(self, net: "Net") -> bool:
        """End an iteration; return True to stop training."""


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of one call of ``Net.train``.

    Attributes
    ----------
    n_iterations : int
        Passes over the rows, or parts of ``max_batches`` mini-batches of longer passes.
    max_batches, batch_size : int
    learning_rate : float
        The peak of the schedule, or the constant rate.
    schedule : bool
        The learning rate follows one cycle; else it is constant.
    shuffle : bool
        Each pass over the rows has an order of its own.
    patience : int
        Iterations without a gain on the monitored rows before training stops.
    tol : float
        Smallest gain that counts, as a share of the loss.
    keep_start_unless_significant, downweight_bad_rows : bool
        As of ``BestWeights``.
    verbose : bool
        Print a line for each iteration.
    generator : torch.Generator
        Source of the order of the mini-batches, and of all other random numbers.
    repeat : bool
        An iteration has ``max_batches`` even of few rows, in several passes.
    has_user_code : bool
        A user wrote the network or a penalty, which draw from ``generator``, too.
    """

    n_iterations: int
    max_batches: int
    batch_size: int
    learning_rate: float
    schedule: bool
    shuffle: bool
    patience: int
    tol: float
    keep_start_unless_significant: bool
    verbose: bool
    generator: torch.Generator
    downweight_bad_rows: bool = True
    repeat: bool = False
    has_user_code: bool = False


class Moments(NamedTuple):
    """State of an optimiser of one vector, and what it depends on."""

    optimizer: type
    options: dict[str, Any]
    n_parameters: int
    state: dict[str, Any]


class Net(NeuralNet):
    """skorch's ``NeuralNet`` whose loop keeps the best weights and never loses them.

    A subclass defines ``_loss`` of a mini-batch, which also sets the gradients, and
    ``_losses``, the loss of each monitored row.

    Parameters
    ----------
    module, criterion, **kwargs
        As skorch's.
    max_grad_norm : float
        Longer gradients are scaled down to it.

    Notes
    -----
    The loop is written out, as skorch's steps (a ``.item()`` and a history entry each)
    and default callbacks cost more than a small network's products. ``net_params``
    reaches all other parts.
    """

    def __init__(
        self,
        module: nn.Module | Callable[..., nn.Module],
        criterion: Callable[..., Any],
        *,
        max_grad_norm: float = 1.0,
        **kwargs: Any,
    ) -> None:
        if not max_grad_norm > 0:
            raise ValueError(f"max_grad_norm={max_grad_norm!r} has to be above 0")
        ours = {"optimizer": AdamW, "train_split": None, "verbose": 0}
        super().__init__(module, criterion, **(ours | kwargs))
        self.max_grad_norm = max_grad_norm

    # -- skorch's interface ------------------------------------------------------

    @property
    def _default_callbacks(self) -> list[Any]:
        return []

    def initialize_optimizer(self, *args: Any, **kwargs: Any) -> "Net":
        """Give the optimiser one flat vector."""
        named = [("vector", flat_vector(self.module_))]
        args, kwargs = self.get_params_for_optimizer("optimizer", named)
        self.optimizer_ = self.optimizer(*args, **kwargs)
        return self

    def get_iterator(self, dataset: WeightedRows, training: bool = False) -> RowLoader:
        """Return mini-batches in training, else cache-sized blocks in order."""
        if not training:
            blocks = row_blocks(len(dataset), self._width(dataset), torch.float32)
            return RowLoader(dataset, list(blocks))  # type: ignore[arg-type]
        return RowLoader(dataset, self._batches)

    def notify(self, method_name: str, **kwargs: Any) -> None:
        """Call the callbacks; skorch's stop training by a KeyboardInterrupt."""
        try:
            super().notify(method_name, **kwargs)
        except KeyboardInterrupt:
            if method_name != "on_epoch_end":
                raise
            self._stopped = True

    def run_single_epoch(self, iterator: RowLoader) -> None:
        """Make one step for each mini-batch, and record their mean loss."""
        self._set_training(True)
        total = self._flat.vector.new_zeros(())
        for batch in iterator:
            # Single mini-batches are recorded for a user's callbacks only.
            if self.callbacks:
                self.notify("on_batch_begin", batch=batch, training=True)
            for group in self.optimizer_.param_groups:
                group["lr"] = self._learning_rate()
            loss = self._loss(batch)
            if self.callbacks:
                named = list(self.module_.named_parameters())
                self.notify("on_grad_computed", named_parameters=named, batch=batch)
            self._flat.clip_grad_norm_(self.max_grad_norm)
            self.optimizer_.step()
            if self.monitored is not None:
                self._average.update(self._flat.vector.data)
            self._step += 1
            total += loss
            if self.callbacks:
                self.history.record_batch("train_loss", loss.item())
                self.history.record_batch("train_batch_size", len(batch[0]))
                self.notify("on_batch_end", batch=batch, training=True, loss=loss)
        self.history.record("train_batch_count", len(self._batches))
        self._record("train_loss", total.item() / len(self._batches))

    def _record(self, name: str, loss: float) -> None:
        """Record a loss, and if it is the lowest yet, by skorch's names."""
        self.history.record(name, loss)
        earlier = [row[name] for row in self.history[:-1] if name in row]
        self.history.record(f"{name}_best", loss <= min(earlier, default=loss))

    # -- training ----------------------------------------------------------------

    def train(
        self,
        rows: WeightedRows,
        monitored: WeightedRows | None,
        config: TrainingConfig,
        task: IterationTask | None = None,
    ) -> None:
        """Train in place; the weights end at those with the lowest monitored loss.

        Candidates are the weights at the start and, after each iteration, their running
        average. The weights are finite and the best so far also if ``patience`` or
        Ctrl-C ends the loop.

        Parameters
        ----------
        rows, monitored : WeightedRows
            Rows to train on, and rows to compare the weights on; without the latter the
            last weights are kept.
        config : TrainingConfig
        task : IterationTask, optional
        """
        self._config, self._task = config, task
        self.rows, self.monitored = rows, monitored
        self._batches = RowBatches(
            len(rows),
            config.batch_size,
            max_batches=config.max_batches,
            shuffle=config.shuffle,
            generator=config.generator,
            device=rows.x.device,
            repeat=config.repeat,
        )
        self.history.clear()
        self._step, self._n_steps = 0, config.n_iterations * len(self._batches)
        self._n_recoveries, self._peak = 0, config.learning_rate
        self._stopped = self.was_interrupted = False
        self.n_iter_ = 0
        self.loss_curve_: list[float] = []
        vector = self.optimizer_.param_groups[0]["params"][0]
        with FlatParameters(self.module_, vector) as self._flat:
            self._prepare()
            self._average = RunningAverage(vector.data)
            self._current = vector.data.clone()
            weight = torch.ones(0) if monitored is None else monitored.weight
            self._best_weights = BestWeights(
                vector.data,
                self._losses(),
                weight,
                tol=config.tol,
                keep_start_unless_significant=config.keep_start_unless_significant,
                downweight_bad_rows=config.downweight_bad_rows,
            )
            try:
                self.notify("on_train_begin", X=rows)
                for _ in range(config.n_iterations):
                    self._begin_iteration(rows)
                    self.run_single_epoch(self.get_iterator(rows, training=True))
                    self._end_iteration(rows)
                    if self._stopped:
                        break
            except KeyboardInterrupt:
                self.was_interrupted = True
                if monitored is None:
                    self._best_weights.update(vector.data, self._losses())
                warnings.warn(
                    f"Interrupted after {self.n_iter_} of {config.n_iterations} "
                    "iterations: the best weights so far are kept.",
                    ConvergenceWarning,
                    stacklevel=2,
                )
            finally:
                kept, self.best_loss_ = self._best_weights.select()
                vector.data.copy_(kept)
                self.validation_curve_ = self._best_weights.curve
                self.module_.eval()
                self.notify("on_train_end", X=rows)
        self._release()
        del self._config, self._task, self.rows, self.monitored
        del self._batches, self._flat
        del self._average, self._current, self._best_weights

    def moments(self) -> Moments:
        """Return the optimiser's state: training goes on by it and the weights."""
        vector = self.optimizer_.param_groups[0]["params"][0]
        state = dict(self.optimizer_.state.get(vector, {}))
        return Moments(*self._kind_of_optimizer(), state)

    def _kind_of_optimizer(self) -> tuple[type, dict[str, Any], int]:
        group = self.optimizer_.param_groups[0]
        # Some options decide what the state has; these two do not.
        free = ("params", "lr", "weight_decay")
        options = {name: value for name, value in group.items() if name not in free}
        return type(self.optimizer_), options, len(group["params"][0])

    def resume(self, moments: Moments | None) -> None:
        """Go on from the moments of an earlier net, if its optimiser was as this one.

        Moments of an optimiser of another class or other options, or of other weights
        to train, are left.
        """
        group = self.optimizer_.param_groups[0]
        vector = group["params"][0]
        if moments is None or moments[:3] != self._kind_of_optimizer():
            return
        state = copy.deepcopy(moments.state)
        for name, value in state.items():
            # torch's optimisers count steps on the CPU, unless they are fused.
            follows = name != "step" or group.get("fused") or group.get("capturable")
            if isinstance(value, Tensor) and follows:
                state[name] = value.to(vector.device)
        self.optimizer_.state[vector] = state

    def _begin_iteration(self, rows: WeightedRows) -> None:
        self._flat.vector.data.copy_(self._current)
        self.notify("on_epoch_begin", dataset_train=rows, dataset_valid=None)
        if self._task is not None:
            self._task.begin(self)

    def _end_iteration(self, rows: WeightedRows) -> None:
        """Compare the averaged weights with the best; recover or stop if need be.

        Until the next iteration begins the module holds the average.
        """
        self.n_iter_ += 1
        self.loss_curve_.append(self.history[-1, "train_loss"])
        vector = self._flat.vector.data
        self._current.copy_(vector)
        if self.monitored is not None:
            vector.copy_(self._average.value)
        is_finite = self._best_weights.update(vector, self._losses())
        if self.monitored is not None:
            self._record("valid_loss", self._best_weights.curve[-1])
        if not (is_finite and math.isfinite(self.loss_curve_[-1])):
            self._recover()
        self._report()
        if self._task is not None and self._task.end(self):
            self._stopped = True
        if self._n_waited() >= self._config.patience:
            self._stopped = True
        self.notify("on_epoch_end", dataset_train=rows, dataset_valid=None)

    def _n_waited(self) -> int:
        """Iterations without a gain; 0 if no loss is monitored."""
        return 0 if self.monitored is None else self._best_weights.n_waited

    def _recover(self) -> None:
        self._n_recoveries += 1
        self._peak *= 0.1
        self._flat.vector.data.copy_(self._best_weights.best)
        self._current.copy_(self._best_weights.best)
        self._average.restart(self._best_weights.best)
        self.optimizer_.state.clear()
        last = self._n_recoveries == MAX_RECOVERIES
        warnings.warn(
            f"The loss was not finite in iteration {self.n_iter_}: back to the best "
            f"weights, with {'no further try' if last else 'a tenth of the rate'}. "
            "Lower learning_rate_init, or scale the columns.",
            ConvergenceWarning,
            stacklevel=2,
        )
        self._stopped = last

    def _report(self) -> None:
        if not self._config.verbose:
            return
        losses = [f"loss = {self.loss_curve_[-1]:.6f}"]
        if self.monitored is not None:
            losses.append(f"monitored loss = {self._best_weights.curve[-1]:.6f}")
        print(f"Iteration {self.n_iter_}, {', '.join(losses)}")

    # -- what a subclass defines ---------------------------------------------------

    def _prepare(self) -> None:
        """Get ready to train, once the parameters are views of one vector."""

    def _release(self) -> None:
        """Drop what ``_prepare`` made."""

    def _width(self, rows: WeightedRows) -> int:
        """Numbers in a row's widest layer."""
        raise NotImplementedError

    def _loss(self, batch: Batch) -> Tensor:
        """Mean loss of a mini-batch; sets the parameters' gradients."""
        raise NotImplementedError

    def _losses(self) -> Tensor:
        """Loss of each monitored row (n_monitored,); empty if none is monitored."""
        raise NotImplementedError

    def _learning_rate(self) -> float:
        scheduled = self._config.schedule
        return self._peak * (one_cycle(self._step, self._n_steps) if scheduled else 1.0)
