"""The training loop, by skorch. The only file that imports it."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from skorch import NeuralNet
from torch import Tensor, nn

from sklearn_ae._data import Batch, RowBatches, RowLoader, Rows, row_blocks
from sklearn_ae._monitor import Monitor
from sklearn_ae.nn import Corruption, by_hand, cost, has_rules
from sklearn_ae.objective import noise_variance
from sklearn_ae.optim import (
    AdamW,
    FlatParameters,
    RunningAverage,
    flat_vector,
    one_cycle,
)

MAX_RECOVERIES = 3
# Smallest variance of a component in use.
MIN_ACTIVITY = 0.01


class Task(Protocol):
    """Who is told of each iteration."""

    def begin(self, net: "AutoencoderNet") -> None:
        """Start of an iteration."""

    def end(self, net: "AutoencoderNet") -> bool:
        """End of an iteration; True asks to stop."""


class _Stop(Exception):
    """Ends the loop before its last iteration."""


@dataclass(frozen=True)
class Run:
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
    """

    n_iterations: int
    max_batches: int
    batch_size: int
    learning_rate: float
    schedule: bool
    shuffle: bool
    patience: int
    tol: float
    cautious: bool
    verbose: bool
    generator: torch.Generator


class AutoencoderNet(NeuralNet):
    """skorch's ``NeuralNet`` whose loop keeps the best weights and never loses them.

    Parameters
    ----------
    module, criterion, **kwargs
        As skorch's; the module is an ``Autoencoder`` and ``criterion()`` an
        ``Objective``.
    corruption : Corruption, optional
        Of the rows as the encoder gets them.
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
        corruption: Corruption | None = None,
        max_grad_norm: float = 1.0,
        **kwargs: Any,
    ) -> None:
        if not max_grad_norm > 0:
            raise ValueError(f"max_grad_norm={max_grad_norm!r} has to be above 0")
        ours = {"optimizer": AdamW, "train_split": None, "verbose": 0}
        super().__init__(module, criterion, **(ours | kwargs))
        self.corruption = corruption
        self.max_grad_norm = max_grad_norm

    # -- what skorch asks for ----------------------------------------------------

    @property
    def _default_callbacks(self) -> list[Any]:
        return []

    def initialize_optimizer(self, *args: Any, **kwargs: Any) -> "AutoencoderNet":
        """One flat vector is all that the optimiser sees."""
        named = [("vector", flat_vector(self.module_))]
        args, kwargs = self.get_params_for_optimizer("optimizer", named)
        self.optimizer_ = self.optimizer(*args, **kwargs)
        return self

    def get_iterator(self, dataset: Rows, training: bool = False) -> RowLoader:
        """Mini-batches in training; else cache-sized blocks in order."""
        if not training:
            width = cost(self.module_, dataset.x.shape[1]).width
            blocks = row_blocks(len(dataset), width, torch.float32)
            return RowLoader(dataset, list(blocks))  # type: ignore[arg-type]
        return RowLoader(dataset, self._batches)

    def _set_training(self, training: bool = True) -> None:
        """Switch modes where a network or callbacks of a user's may have some."""
        if self.callbacks or self._by_hand is None:
            super()._set_training(training)

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
        self, rows: Rows, monitored: Rows | None, run: Run, task: Task | None = None
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
        )
        self.history.clear()
        self._step, self._n_steps = 0, run.n_iterations * len(self._batches)
        self._n_recoveries, self._peak = 0, run.learning_rate
        self._stopped = self.was_interrupted = False
        self.n_iter_ = 0
        self.loss_curve_: list[float] = []
        vector = self.optimizer_.param_groups[0]["params"][0]
        with FlatParameters(self.module_, vector) as self._flat:
            self._by_hand = self._rules()
            self._average = RunningAverage(vector.data)
            self._current = vector.data.clone()
            weight = torch.ones(0) if monitored is None else monitored.weight
            self._monitor = Monitor(
                vector.data,
                self._losses(),
                weight,
                tol=run.tol,
                cautious=run.cautious,
            )
            try:
                self.notify("on_train_begin", X=rows)
                self.fit_loop(rows, epochs=run.n_iterations)
            except _Stop:
                pass
            except KeyboardInterrupt:
                self.was_interrupted = True
                if monitored is None:
                    self._monitor.see(vector.data, self._losses())
                warnings.warn(
                    f"Interrupted after {self.n_iter_} of {run.n_iterations} "
                    "iterations: the best weights so far are kept.",
                    ConvergenceWarning,
                    stacklevel=2,
                )
            finally:
                kept, self.best_loss_ = self._monitor.choose()
                vector.data.copy_(kept)
                self.validation_curve_ = self._monitor.curve
                self.module_.eval()
                self.notify("on_train_end", X=rows)
        del self._run, self.monitored, self._task
        del self._batches, self._flat, self._by_hand
        del self._average, self._current, self._monitor

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
        seen = self._monitor.see(vector, self._losses())
        if self.monitored is not None:
            self._record("valid_loss", self._monitor.curve[-1])
        if not (seen and math.isfinite(self.loss_curve_[-1])):
            self._recover()
        self._report()
        if self._task is not None and self._task.end(self):
            self._stopped = True
        if self._monitor.n_waited >= self._run.patience:
            self._stopped = True

    def _recover(self) -> None:
        self._n_recoveries += 1
        self._peak *= 0.1
        self._flat.vector.data.copy_(self._monitor.best)
        self._current.copy_(self._monitor.best)
        self._average.restart(self._monitor.best)
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
            losses.append(f"monitored loss = {self._monitor.curve[-1]:.6f}")
        print(f"Iteration {self.n_iter_}, {', '.join(losses)}")

    def measure(self, rows: Rows) -> None:
        """Set the likelihood's variance, and count the components in use.

        A component is in use if its mean varies by more than 0.01 (Burda, Grosse and
        Salakhutdinov, 2016. Importance weighted autoencoders. ICLR).

        Parameters
        ----------
        rows : Rows
            What was trained on.
        """
        generator = torch.Generator().manual_seed(0)
        total = torch.zeros((), dtype=torch.float64)
        first = torch.zeros(self.module_.n_components, dtype=torch.float64)
        second = first.clone()
        with torch.no_grad():
            for x, weight in self.get_iterator(rows):
                x_hat, mean, _ = self.module_.draw(x, generator)
                total += (noise_variance(x, x_hat, weight) * weight.sum()).cpu()
                mean, weight = mean.double().cpu(), weight.double().cpu()
                first += weight @ mean
                second += weight @ mean.square()
        n = rows.weight.double().sum().cpu()
        self.module_.noise_variance.copy_(total / n)
        activity = second / n - (first / n).square()
        self.n_active_ = int((activity > MIN_ACTIVITY).sum())

    # -- pieces ------------------------------------------------------------------

    def _rules(self) -> Callable[..., Any] | None:
        """What runs the module and sets its gradients, where autograd is not needed."""
        # A user's callbacks may freeze parameters, or hook into autograd.
        plain = self.criterion_.has_no_penalties and not self.callbacks
        # They take one thread; large steps may have more.
        if plain and torch.get_num_threads() == 1 and has_rules(self.module_):
            return by_hand(self.module_)
        return None

    def _loss(self, batch: Batch) -> Tensor:
        """Mean loss of a mini-batch; its gradient is then the parameters'."""
        if self._by_hand is not None:
            return self._loss_by_hand(self._by_hand, batch)
        self._flat.grad.zero_()
        losses = self._row_losses(batch, self._run.generator, self._warmth())
        loss = (losses * batch[1]).mean()
        loss.backward()
        return loss.detach()

    def _loss_by_hand(self, run: Callable[..., Any], batch: Batch) -> Tensor:
        x, weight = batch
        x_in, levels = self._corrupted(x, self._run.generator)
        with torch.inference_mode():
            if levels is not None:
                weight = weight * self._importance(levels)
            x_hat, back = run(x_in, levels)
            loss, gradient = self.criterion_.with_gradient(x, x_hat, weight)
            # What diverges is told of by its loss.
            with np.errstate(all="ignore"):
                back(gradient)
            return loss

    def _corrupted(
        self, x: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """Rows as the encoder gets them, and the noise's levels if it is told them."""
        if self.corruption is None:
            return x, None
        x_in, levels = self.corruption(x, generator)
        return x_in, levels if self.module_.is_told_levels else None

    def _importance(self, levels: Tensor) -> Tensor:
        assert self.corruption is not None
        return self.corruption.importance(levels)

    def _row_losses(
        self, batch: Batch, generator: torch.Generator, warmth: float = 1.0
    ) -> Tensor:
        x, weight = batch
        x_in, levels = self._corrupted(x, generator)
        if self.criterion_.contracts:
            x_in = x_in.detach().requires_grad_()
        if self._by_hand is not None:
            losses = self.criterion_.reconstruction(x, self._by_hand(x_in, levels)[0])
        else:
            x_hat, z, log_variance = self.module_.draw(x_in, generator, levels)
            losses = self.criterion_(
                x, x_hat, x_in, z, log_variance, weight, generator, warmth=warmth
            )
        if levels is not None:
            losses = losses * self._importance(levels)
        return losses

    def _losses(self) -> Tensor:
        """Loss of each monitored row."""
        if self.monitored is None:
            return torch.zeros(0)
        self._set_training(False)
        # The same noise each time: what changes is the weights.
        generator = torch.Generator().manual_seed(self._run.generator.initial_seed())
        with torch.set_grad_enabled(self.criterion_.contracts):
            blocks = self.get_iterator(self.monitored)
            losses = [self._row_losses(b, generator).detach() for b in blocks]
        return torch.cat(losses)

    def _warmth(self) -> float:
        """Share of the divergence from the prior that counts at this step.

        It rises over the first quarter of a random start, where a code that is held to
        the prior before it says anything would collapse onto it (Bowman et al., 2016.
        Generating sentences from a continuous space. CoNLL). From PCA it need not.
        """
        if self._run.cautious or not self._run.schedule:
            return 1.0
        return min(1.0, 4 * self._step / self._n_steps)

    def _learning_rate(self) -> float:
        scheduled = self._run.schedule
        return self._peak * (one_cycle(self._step, self._n_steps) if scheduled else 1.0)
