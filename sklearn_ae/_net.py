"""The training loop, by skorch. The only file that imports it."""

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch
from scipy.stats import t
from sklearn.exceptions import ConvergenceWarning
from skorch import NeuralNet
from torch import Tensor, nn

from sklearn_ae._data import Batch, RowBatches, RowLoader, Rows, row_blocks
from sklearn_ae.optim import FlatParameters, flat_vector, one_cycle

MAX_RECOVERIES = 3
# One standard error of a normal.
CONFIDENCE = 0.84


class Task(Protocol):
    """Who is told of each iteration."""

    def begin(self, net: "AutoencoderNet") -> None:
        """Start of an iteration."""

    def end(self, net: "AutoencoderNet") -> bool:
        """End of an iteration; True asks to stop."""


class _Candidate(NamedTuple):
    """Weights, and their loss on each monitored row."""

    vector: Tensor
    losses: Tensor
    influence: Tensor

    @property
    def loss(self) -> float:
        return self.losses.mean().item()

    @property
    def score(self) -> float:
        """The loss as training is judged by: no row counts far more than another."""
        return (self.losses * self.influence).mean().item()

    @property
    def is_finite(self) -> bool:
        return bool(self.losses.isfinite().all() and self.vector.isfinite().all())


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
    verbose: bool
    generator: torch.Generator


class AutoencoderNet(NeuralNet):
    """skorch's ``NeuralNet`` whose loop keeps the best weights and never loses them.

    Parameters
    ----------
    module, criterion, **kwargs
        As skorch's; ``module()`` gives an ``Autoencoder`` and ``criterion()`` a
        callable ``(x, x_hat) -> loss of each row``.
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
        module: Callable[..., nn.Module],
        criterion: Callable[..., Any],
        *,
        max_grad_norm: float = 1.0,
        **kwargs: Any,
    ) -> None:
        ours = {
            "optimizer": partial(torch.optim.AdamW, fused=True, betas=(0.9, 0.99)),
            "train_split": None,
            "verbose": 0,
        }
        super().__init__(module, criterion, **(ours | kwargs))
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
            blocks = row_blocks(len(dataset), 128, torch.float32)
            return RowLoader(dataset, list(blocks))  # type: ignore[arg-type]
        return RowLoader(dataset, self._batches)

    def on_batch_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        """Keep no history of single mini-batches."""

    def train_step(self, batch: Batch, **fit_params: Any) -> Tensor:
        """One step down the gradient; returns the mini-batch's loss."""
        for group in self.optimizer_.param_groups:
            group["lr"] = self._learning_rate()
        self._flat.grad.zero_()
        loss = self._row_losses(batch).mean()
        loss.backward()
        self.notify("on_grad_computed", named_parameters=self._named_parameters())
        self._flat.clip_grad_norm_(self.max_grad_norm)
        self.optimizer_.step()
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
        total = torch.zeros((), device=self._flat.vector.device)
        n_batches = 0
        for batch in iterator:
            self.notify("on_batch_begin", batch=batch, training=training)
            total += step_fn(batch, **fit_params)
            n_batches += 1
            self.notify("on_batch_end", batch=batch, training=training)
        self.history.record(f"{prefix}_loss", total.item() / n_batches)

    # -- training ----------------------------------------------------------------

    def train(
        self, rows: Rows, monitored: Rows | None, run: Run, task: Task | None = None
    ) -> None:
        """Train in place; the weights end at the best that the monitored rows saw.

        The weights at the start are among the candidates, and they stay where the gain
        over them is below its own standard error. Whether the budget, ``patience`` or
        Ctrl-C ends the loop, the weights are finite and the best so far.

        Parameters
        ----------
        rows, monitored : Rows
            Trained on, and judged by; without the latter the last weights are kept.
        run : Run
        task : Task, optional
        """
        self._run, self._monitored, self._task = run, monitored, task
        self._batches = RowBatches(
            len(rows),
            run.batch_size,
            max_batches=run.max_batches,
            shuffle=run.shuffle,
            generator=run.generator,
        )
        self._step, self._n_steps = 0, run.n_iterations * len(self._batches)
        self._n_recoveries, self._n_waited, self._peak = 0, 0, run.learning_rate
        self.n_iter_ = 0
        self.loss_curve_: list[float] = []
        vector = self.optimizer_.param_groups[0]["params"][0]
        with FlatParameters(self.module_, vector) as self._flat:
            self._influence = torch.ones(())
            self._influence = _influence(self._candidate().losses)
            self._start = self._best = self._candidate()
            self.validation_curve_ = [] if monitored is None else [self._best.loss]
            try:
                self.notify("on_train_begin", X=rows)
                self.fit_loop(rows, epochs=run.n_iterations)
            except _Stop:
                pass
            except KeyboardInterrupt:
                self._keep_current_if_unmonitored()
                warnings.warn(
                    f"Interrupted after {self.n_iter_} of {run.n_iterations} "
                    "iterations: the best weights so far are kept.",
                    ConvergenceWarning,
                    stacklevel=2,
                )
            finally:
                kept = self._best_or_start()
                self._restore(kept)
                self.best_loss_ = kept.loss
                self.module_.eval()
                self.notify("on_train_end", X=rows)
                del self._run, self._monitored, self._task, self._batches
                del self._start, self._best, self._influence
        del self._flat

    def on_epoch_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        """Start an iteration."""
        super().on_epoch_begin(net, **kwargs)
        if self._task is not None:
            self._task.begin(self)

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Judge the iteration: a new best, a wait, a recovery, or the end."""
        self.n_iter_ += 1
        self.loss_curve_.append(self.history[-1, "train_loss"])
        candidate = self._candidate()
        if self._monitored is not None:
            self.validation_curve_.append(candidate.loss)
            self.history.record("valid_loss", candidate.loss)
        if candidate.is_finite and math.isfinite(self.loss_curve_[-1]):
            self._compare(candidate)
        else:
            self._recover()
        self._report()
        if self._task is not None and self._task.end(self):
            raise _Stop
        if self._n_waited >= self._run.patience:
            raise _Stop

    def _compare(self, candidate: _Candidate) -> None:
        if self._monitored is None:
            self._best = candidate
            return
        score, best = candidate.score, self._best.score
        self._n_waited = 0 if score < best * (1 - self._run.tol) else self._n_waited + 1
        if score < best and candidate.loss <= self._start.loss:
            self._best = candidate

    def _recover(self) -> None:
        self._n_recoveries += 1
        self._peak *= 0.1
        self._restore(self._best)
        self.optimizer_.state.clear()
        last = self._n_recoveries == MAX_RECOVERIES
        warnings.warn(
            f"The loss was not finite in iteration {self.n_iter_}: back to the best "
            f"weights, with {'no further try' if last else 'a tenth of the rate'}. "
            "Lower learning_rate_init, or scale the columns.",
            ConvergenceWarning,
            stacklevel=2,
        )
        if last:
            raise _Stop

    def _report(self) -> None:
        if not self._run.verbose:
            return
        losses = [f"loss = {self.loss_curve_[-1]:.6f}"]
        if self._monitored is not None:
            losses.append(f"monitored loss = {self.validation_curve_[-1]:.6f}")
        print(f"Iteration {self.n_iter_}, {', '.join(losses)}")

    # -- pieces ------------------------------------------------------------------

    def _row_losses(self, batch: Batch) -> Tensor:
        x, weight = batch
        x_hat, _ = self.module_(x)
        return self.criterion_(x, x_hat) * weight

    def _candidate(self) -> _Candidate:
        if self._monitored is None:
            nothing = torch.zeros(0)
            return _Candidate(self._flat.vector.data.clone(), nothing, nothing)
        self._set_training(False)
        with torch.no_grad():
            blocks = self.get_iterator(self._monitored)
            losses = torch.cat([self._row_losses(block) for block in blocks])
        return _Candidate(self._flat.vector.data.clone(), losses, self._influence)

    def _keep_current_if_unmonitored(self) -> None:
        if self._monitored is None and (current := self._candidate()).is_finite:
            self._best = current

    def _best_or_start(self) -> _Candidate:
        """The best weights, if their gain over the start is more than chance.

        A paired test on the monitored rows: the mean gain has to exceed one standard
        error (Student's t, one-sided at ``CONFIDENCE``).
        """
        if self._monitored is None:
            return self._best
        gain = (self._start.losses - self._best.losses) * self._influence
        if len(gain) < 2:
            return self._start
        standard_error = gain.std().item() / math.sqrt(len(gain))
        needed = t.ppf(CONFIDENCE, df=len(gain) - 1) * standard_error
        return self._best if gain.mean().item() > needed else self._start

    def _restore(self, candidate: _Candidate) -> None:
        self._flat.vector.data.copy_(candidate.vector)

    def _learning_rate(self) -> float:
        if not self._run.schedule:
            return self._peak
        return self._peak * one_cycle(self._step, self._n_steps)

    def _named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        return self.module_.named_parameters()


def _influence(losses: Tensor) -> Tensor:
    """What a unit of each row's loss counts for, from the losses at the start.

    ``1 / (loss + median)``, scaled: in tables with heavy tails a single row can hold a
    third of all the squared error, and would decide alone when training is best.
    """
    floor = losses.median() if losses.numel() else losses.sum()
    if not floor > 0:
        return torch.ones_like(losses)
    influence = 1 / (losses + floor)
    return influence / influence.mean()
