"""The weights of a network as one vector: stepped, averaged, and the best ones kept."""

import math
from collections import defaultdict
from types import TracebackType
from typing import Any

import torch
from scipy.stats import t
from torch import Tensor, nn

# -- one vector ------------------------------------------------------------------------


def flat_vector(module: nn.Module) -> nn.Parameter:
    """A vector with the values of all of a module's parameters."""
    # torch's parameters_to_vector refuses parameters that are not contiguous.
    return nn.Parameter(torch.cat([p.detach().flatten() for p in module.parameters()]))


class FlatParameters:
    """Context in which a module's parameters are views of one vector.

    Inside it each parameter and its gradient are views of ``vector`` and of
    ``vector.grad``: a backward pass adds straight into the flat gradient, and an
    optimiser that knows the vector alone moves the whole module. On exit the module has
    ordinary parameters again, which pickle and copy as any module's do.

    Parameters
    ----------
    module : nn.Module
        Its parameters share one dtype and one device.
    vector : nn.Parameter of shape (n_parameters,)
        Takes the module's values on entry; an optimiser's state belongs to it.
    """

    def __init__(self, module: nn.Module, vector: nn.Parameter) -> None:
        self.module = module
        self.vector = vector

    @property
    def grad(self) -> Tensor:
        """The flat gradient."""
        assert self.vector.grad is not None
        return self.vector.grad

    def __enter__(self) -> "FlatParameters":
        self.vector.data = flat_vector(self.module).data
        self.vector.grad = torch.zeros_like(self.vector)
        start = 0
        for p in self.module.parameters():
            part = slice(start, start + p.numel())
            p.data = self.vector.data[part].view_as(p)
            p.grad = self.vector.grad[part].view_as(p)
            start = part.stop
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for p in self.module.parameters():
            p.data = p.data.clone()
            p.grad = None
        self.vector.grad = None

    def clip_grad_norm_(self, max_norm: float) -> None:
        """Scale the gradient down to ``max_norm`` where it is longer."""
        # One call, and the decision stays on the device.
        self.grad[None].renorm_(2, 0, max_norm)


# -- steps -----------------------------------------------------------------------------


class AdamW(torch.optim.AdamW):
    """``torch.optim.AdamW(fused=True)`` without importing torch's compiler.

    Any ``torch.optim.Optimizer`` imports the compiler when it is first made and when it
    first steps: 2.6 s of the first fit in each process; this one takes 4 ms. It is made
    as if unpickled, and its step calls torch's kernel without what is wrapped around
    it, hooks on steps among it: half of the time of a step on few parameters.

    Parameters
    ----------
    groups : list of dict
        Groups of parameters: "params", a list of Tensor, and their own settings.
    lr, betas, eps, weight_decay, amsgrad
        As torch's.
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
    ) -> None:
        for name, value in {"lr": lr, "eps": eps, "weight_decay": weight_decay}.items():
            if not value >= 0:
                raise ValueError(f"{name}={value!r} has to be 0 or above")
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas={betas!r} have to be two numbers in [0, 1)")
        defaults: dict[str, Any] = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "fused": True,
        }
        state: dict[str, Any] = {
            "defaults": defaults,
            "state": defaultdict(dict),
            "param_groups": [defaults | group for group in groups],
        }
        self.__setstate__(state)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Move each parameter that has a gradient."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._move(p, p.grad, group)

    # Or torch wraps it in a profiler, at twice the cost of the step itself.
    step.hooked = True  # type: ignore[attr-defined]

    def _move(self, p: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        state, keeps_largest = self.state[p], group["amsgrad"]
        if not state:
            state["step"] = torch.zeros((), device=p.device, dtype=torch.float32)
            state["exp_avg"] = torch.zeros_like(p)
            state["exp_avg_sq"] = torch.zeros_like(p)
            if keeps_largest:
                state["max_exp_avg_sq"] = torch.zeros_like(p)
        state["step"] += 1
        beta1, beta2 = group["betas"]
        torch._fused_adamw_(
            [p],
            [grad],
            [state["exp_avg"]],
            [state["exp_avg_sq"]],
            [state["max_exp_avg_sq"]] if keeps_largest else [],
            [state["step"]],
            lr=group["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=keeps_largest,
            maximize=False,
        )


def one_cycle(step: int, n_steps: int, warm_up: float = 0.1) -> float:
    """Share of the peak learning rate at ``step`` of ``n_steps``.

    A linear rise over the first ``warm_up`` of the steps, then half a cosine down to
    zero (Smith and Topin, 2019. Super-convergence. arXiv 1708.07120).
    """
    done = (step + 0.5) / max(n_steps, 1)
    if done < warm_up:
        return done / warm_up
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (done - warm_up) / (1 - warm_up))))


# -- average and best ------------------------------------------------------------------


class RunningAverage:
    """Average of the weights over the latest tenth or so of the steps.

    ``average += (1 - (1 - 1/t)^10) (vector - average)`` at step t: the weight of step s
    falls as ``(s/t)^9``, so that the memory grows with training and the start is
    forgotten. At a high learning rate the average is ahead of the weights themselves,
    and steadier: it cancels the noise of the mini-batches (Polyak and Juditsky, 1992;
    the power-function profile is that of Karras et al., 2024. Analyzing and improving
    the training dynamics of diffusion models. CVPR).

    Attributes
    ----------
    value : Tensor of shape (n_parameters,)
    """

    POWER = 10

    def __init__(self, vector: Tensor) -> None:
        self.restart(vector)

    def restart(self, vector: Tensor) -> None:
        """Forget all earlier weights."""
        self.value = vector.clone()
        self._n_steps = 0

    def update(self, vector: Tensor) -> None:
        """Add the weights after another step."""
        self._n_steps += 1
        share = 1 - (1 - 1 / self._n_steps) ** self.POWER
        self.value.lerp_(vector, share)


class BestWeights:
    """The weights with the lowest loss on the monitored rows, the start among them.

    The score is the mean of ``weight * influence * loss``, where the influence of a row
    whose loss at the start was l is ``1 / (l + 4 mean l)``: at the start, no row counts
    for more than five average ones. In tables with heavy tails a single row can hold a
    third of all the squared error, and would decide alone when training is best. The
    plain mean loss may never exceed the start's either.

    Parameters
    ----------
    vector : Tensor of shape (n_parameters,)
        Weights at the start.
    losses : Tensor of shape (n_monitored,)
        Loss of each monitored row at the start; of size 0 if none is monitored: the
        latest finite weights are then the best.
    weight : Tensor of shape (n_monitored,)
        Sample weights, with a mean of one.
    tol : float
        Smallest gain that counts, as a share of the loss.
    keep_start_unless_significant : bool
        Keep the start unless the best is better by more than one standard error.
    downweight_bad_rows : bool
        Use the influence. Without it all rows count the same, as they should in a
        classification: the rows that the start gets wrong are where the gain is.

    Attributes
    ----------
    curve : list of float
        Mean loss at the start and after each update.
    n_waited : int
        Updates since the last gain.
    """

    def __init__(
        self,
        vector: Tensor,
        losses: Tensor,
        weight: Tensor,
        *,
        tol: float,
        keep_start_unless_significant: bool,
        downweight_bad_rows: bool = True,
    ) -> None:
        self.tol = tol
        self.keep_start_unless_significant = keep_start_unless_significant
        self._weight = weight
        self._start = self._best = vector.clone()
        self._start_losses = self._best_losses = losses
        influence = _influence(losses, weight) if downweight_bad_rows else 1.0
        self._score_weight = weight * influence
        self.curve = [self._loss(losses)]
        self.n_waited = 0

    def update(self, vector: Tensor, losses: Tensor) -> bool:
        """Compare new weights with the best; return False if they are not finite."""
        loss = self._loss(losses)
        self.curve.append(loss)
        # A sum is not finite if a number is not, and takes a tenth of the time.
        if not (vector.sum().isfinite() and losses.sum().isfinite()):
            return False
        score, best = self._score(losses), self._score(self._best_losses)
        gains = score < best - self.tol * abs(best)
        self.n_waited = 0 if gains else self.n_waited + 1
        if len(losses) == 0 or (score < best and loss <= self.curve[0]):
            self._best, self._best_losses = vector.clone(), losses
        return True

    @property
    def best(self) -> Tensor:
        """The best weights so far."""
        return self._best

    def select(self) -> tuple[Tensor, float]:
        """Return the weights to keep, and their mean loss.

        These are the best ones or, with ``keep_start_unless_significant``, the start if
        the best's mean gain over it is within one standard error (a paired, one-sided
        t-test at the 84 % level).
        """
        gain = (self._start_losses - self._best_losses) * self._score_weight
        tests = self.keep_start_unless_significant and len(gain) > 0
        if tests and not _exceeds_standard_error(gain):
            return self._start, self.curve[0]
        return self._best, self._loss(self._best_losses)

    def _loss(self, losses: Tensor) -> float:
        return (losses * self._weight).mean().item()

    def _score(self, losses: Tensor) -> float:
        return (losses * self._score_weight).mean().item()


def _influence(losses: Tensor, weight: Tensor) -> Tensor:
    # A log-density can have any sign: only differences have a meaning.
    losses = losses - losses.min().clamp(max=0) if len(losses) else losses
    mean = (losses * weight).mean()
    return 1 / (losses + 4 * mean) if mean > 0 else torch.ones_like(losses)


def _exceeds_standard_error(gain: Tensor) -> bool:
    if len(gain) < 2:
        return False
    standard_error = gain.std().item() / math.sqrt(len(gain))
    # 0.84 of a normal distribution lies below one standard error.
    return gain.mean().item() > t.ppf(0.84, df=len(gain) - 1) * standard_error
