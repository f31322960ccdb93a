"""The training loop, by skorch. The only file that imports it."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from sklearn.exceptions import ConvergenceWarning
from skorch import NeuralNet
from torch import Tensor, nn

from sklearn_ae.optim import (
    AdamW,
    FlatParameters,
    RunningAverage,
    flat_vector,
    one_cycle,
)
from sklearn_ae.training._batches import (
    Batch,
    RowBatches,
    RowLoader,
    WeightedRows,
    row_blocks,
)
from sklearn_ae.training._best_weights import BestWeights

MAX_RECOVERIES = 3


class Task(Protocol):
    """Who is told of each iteration."""

    def begin(self, net: "Net") -> None:
        """Start of an iteration."""

    def end(self, net: "Net") -> bool:
        """End of an iteration; True asks to stop."""


class _Stop(Exception):
    """Ends the loop before its last iteration."""


@dataclass(frozen=True)
class TrainingConfig:
    """One stretch of training.

    Attributes
    ----------
    n_iterations : int
        Passes over the rows, or parts of ``max_batches`` mini-batches of longer passes.
    max_batches, batch_size : int
    learning_rate : float
        The peak, where there is a schedule.
    schedule : bool
        Whether the learning rate follows one cycle; else it stays.
    shuffle : bool
        Whether each pass over the rows has an order of its own.
    patience : int
        Iterations without a gain on the monitored rows before it stops.
    tol : float
        Smallest gain that counts, as a share of the loss.
    cautious : bool
        Whether to keep the start unless the best is better by more than chance.
    verbose : bool
        Whether to print a line for each iteration.
    generator : torch.Generator
        Order of the mini-batches.
    robust : bool
        Whether rows that the start is bad at count for little in judging.
    repeat : bool
        Whether an iteration has ``max_batches`` even of few rows, in several passes.
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


class Net(NeuralNet):
    """skorch's ``NeuralNet`` whose loop keeps the best weights and never loses them.

    A subclass says what is learnt: ``_loss`` of a mini-batch, its gradient with it, and
    ``_losses``, one for each monitored row.

    Parameters
    ----------
    module, criterion, **kwargs
        As skorch's.
    max_grad_norm : float
        Longer gradients are scaled down to it.

    Notes
    -----
    Written again rather than called, each because of its cost in small networks:
    skorch's step (a ``.item()`` and a history entry for each mini-batch) and its
    default callbacks. ``net_params`` reaches all other parts of skorch.
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

    # -- what skorch asks for ----------------------------------------------------

    @property
    def _default_callbacks(self) -> list[Any]:
        return []

    def initialize_optimizer(self, *args: Any, **kwargs: Any) -> "Net":
        """One flat vector is all that the optimiser sees."""
        named = [("vector", flat_vector(self.module_))]
        args, kwargs = self.get_params_for_optimizer("optimizer", named)
        self.optimizer_ = self.optimizer(*args, **kwargs)
        return self

    def get_iterator(self, dataset: WeightedRows, training: bool = False) -> RowLoader:
        """Mini-batches in training; else cache-sized blocks in order."""
        if not training:
            blocks = row_blocks(len(dataset), self._width(dataset), torch.float32)
            return RowLoader(dataset, list(blocks))  # type: ignore[arg-type]
        return RowLoader(dataset, self._batches)

    def notify(self, method_name: str, **kwargs: Any) -> None:
        """Tell the callbacks; skorch's stop training by a KeyboardInterrupt."""
        try:
            super().notify(method_name, **kwargs)
        except KeyboardInterrupt:
            if method_name != "on_epoch_end":
                raise
            self._stopped = True

    def train_step(self, batch: Batch, **fit_params: Any) -> Tensor:
        """One step down the gradient; returns the mini-batch's loss."""
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
        return loss.detach()

    def run_single_epoch(
        self,
        iterator: RowLoader | None,
        training: bool,
        prefix: str,
        step_fn: Callable[..., Tensor],
        **fit_params: Any,
    ) -> None:
        """One iteration over ``iterator``, recorded as one mean loss."""
        if iterator is None:
            return
        self._set_training(training)
        total = self._flat.vector.new_zeros(())
        n_batches = 0
        for batch in iterator:
            # Single mini-batches are told of, and recorded, for a user's callbacks.
            if self.callbacks:
                self.notify("on_batch_begin", batch=batch, training=training)
            loss = step_fn(batch, **fit_params)
            total += loss
            n_batches += 1
            if self.callbacks:
                self.history.record_batch(f"{prefix}_loss", loss.item())
                self.history.record_batch(f"{prefix}_batch_size", len(batch[0]))
                self.notify("on_batch_end", batch=batch, training=training, loss=loss)
        self.history.record(f"{prefix}_batch_count", n_batches)
        self._record(f"{prefix}_loss", total.item() / n_batches)

    def _record(self, name: str, loss: float) -> None:
        """A loss, and whether it is the lowest yet, by skorch's names."""
        self.history.record(name, loss)
        earlier = [row[name] for row in self.history[:-1] if name in row]
        self.history.record(f"{name}_best", loss <= min(earlier, default=loss))

    # -- training ----------------------------------------------------------------

    def train(
        self,
        rows: WeightedRows,
        monitored: WeightedRows | None,
        run: TrainingConfig,
        task: Task | None = None,
    ) -> None:
        """Train in place; the weights end at the best that the monitored rows saw.

        Candidates are the weights at the start, which stay where the gain over them is
        below its own standard error, and after each iteration their running average.
        Whether the budget, ``patience`` or Ctrl-C ends the loop, the weights are finite
        and the best so far.

        Parameters
        ----------
        rows, monitored : Rows
            Trained on, and judged by; without the latter the last weights are kept.
        run : Run
        task : Task, optional
        """
        self._run, self.monitored, self._task = run, monitored, task
        self._batches = RowBatches(
            len(rows),
            run.batch_size,
            max_batches=run.max_batches,
            shuffle=run.shuffle,
            generator=run.generator,
            device=rows.x.device,
            repeat=run.repeat,
        )
        self.history.clear()
        self._step, self._n_steps = 0, run.n_iterations * len(self._batches)
        self._n_recoveries, self._peak = 0, run.learning_rate
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
                tol=run.tol,
                keep_start_unless_significant=run.keep_start_unless_significant,
                downweight_bad_rows=run.downweight_bad_rows,
            )
            try:
                self.notify("on_train_begin", X=rows)
                self.fit_loop(rows, epochs=run.n_iterations)
            except _Stop:
                pass
            except KeyboardInterrupt:
                self.was_interrupted = True
                if monitored is None:
                    self._best_weights.update(vector.data, self._losses())
                warnings.warn(
                    f"Interrupted after {self.n_iter_} of {run.n_iterations} "
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
        del self._run, self.monitored, self._task
        del self._batches, self._flat
        del self._average, self._current, self._best_weights

    def on_epoch_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        """Start an iteration, unless the last one was to be the last."""
        if self._stopped:
            raise _Stop
        self._flat.vector.data.copy_(self._current)
        super().on_epoch_begin(net, **kwargs)
        if self._task is not None:
            self._task.begin(self)

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Judge the iteration: a new best, a wait, a recovery, or the end.

        Until the next one begins the module holds what was judged: the average.
        """
        self.n_iter_ += 1
        self.loss_curve_.append(self.history[-1, "train_loss"])
        vector = self._flat.vector.data
        self._current.copy_(vector)
        if self.monitored is not None:
            vector.copy_(self._average.value)
        seen = self._best_weights.update(vector, self._losses())
        if self.monitored is not None:
            self._record("valid_loss", self._best_weights.curve[-1])
        if not (seen and math.isfinite(self.loss_curve_[-1])):
            self._recover()
        self._report()
        if self._task is not None and self._task.end(self):
            self._stopped = True
        if self._n_waited() >= self._run.patience:
            self._stopped = True

    def _n_waited(self) -> int:
        """Iterations without a gain."""
        return self._best_weights.n_waited

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
        if not self._run.verbose:
            return
        losses = [f"loss = {self.loss_curve_[-1]:.6f}"]
        if self.monitored is not None:
            losses.append(f"monitored loss = {self._best_weights.curve[-1]:.6f}")
        print(f"Iteration {self.n_iter_}, {', '.join(losses)}")

    # -- what a subclass says ------------------------------------------------------

    def _prepare(self) -> None:
        """Get ready to train, once the parameters are views of one vector."""

    def _width(self, rows: WeightedRows) -> int:
        """Numbers in the widest output of a part, for a row."""
        raise NotImplementedError

    def _loss(self, batch: Batch) -> Tensor:
        """Mean loss of a mini-batch; its gradient is then the parameters'."""
        raise NotImplementedError

    def _losses(self) -> Tensor:
        """Loss of each monitored row; of none, where none is monitored."""
        raise NotImplementedError

    def _learning_rate(self) -> float:
        scheduled = self._run.schedule
        return self._peak * (one_cycle(self._step, self._n_steps) if scheduled else 1.0)
