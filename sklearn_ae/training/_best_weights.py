"""Which weights to keep, judged by the rows that are monitored."""

import math

import torch
from scipy.stats import t
from torch import Tensor

# One standard error of a normal.
CONFIDENCE = 0.84


class BestWeights:
    """The best weights so far, those of the start among them.

    Rows are judged by ``weight * influence * loss``, where the influence of a row whose
    loss at the start was l is ``1 / (l + 4 mean l)``: at the start, no row counts for
    more than five average ones. In tables with heavy tails a single row can hold a
    third of all the squared error; it would decide alone when training is best. The
    plain mean loss may never be above the start's either.

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
    cautious : bool
        Whether to keep the start unless the best is better by more than chance.
    robust : bool
        Whether rows have that influence. Else all have the same: of a classification,
        those that were told wrongly at the start are where the gain is.

    Attributes
    ----------
    curve : list of float
        Mean loss at the start and each time since.
    n_waited : int
        Times without a gain.
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
        self.tol, self.keep_start_unless_significant = (
            tol,
            keep_start_unless_significant,
        )
        self._weight = weight
        self._start = self._best = vector.clone()
        self._start_losses = self._best_losses = losses
        self._judged_by = (
            weight * _influence(losses, weight) if downweight_bad_rows else weight
        )
        self.curve = [self._loss(losses)]
        self.n_waited = 0

    def update(self, vector: Tensor, losses: Tensor) -> bool:
        """Take new weights into account; False if they are not finite."""
        loss = self._loss(losses)
        self.curve.append(loss)
        # The sum is not finite where a number is not, and looked at ten times as fast.
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
        """The best weights seen."""
        return self._best

    def select(self) -> tuple[Tensor, float]:
        """The weights to keep, and their mean loss.

        The best; if cautious, only where its gain over the start is more than chance:
        in a paired test its mean has to exceed one standard error (Student's t,
        one-sided).
        """
        gain = (self._start_losses - self._best_losses) * self._judged_by
        if (
            self.keep_start_unless_significant
            and len(gain) > 0
            and not _more_than_chance(gain)
        ):
            return self._start, self.curve[0]
        return self._best, self._loss(self._best_losses)

    def _loss(self, losses: Tensor) -> float:
        return (losses * self._weight).mean().item()

    def _score(self, losses: Tensor) -> float:
        return (losses * self._judged_by).mean().item()


def _influence(losses: Tensor, weight: Tensor) -> Tensor:
    # A density's logarithm can be of any sign: only differences mean something.
    losses = losses - losses.min().clamp(max=0) if len(losses) else losses
    mean = (losses * weight).mean()
    return 1 / (losses + 4 * mean) if mean > 0 else torch.ones_like(losses)


def _more_than_chance(gain: Tensor) -> bool:
    if len(gain) < 2:
        return False
    standard_error = gain.std().item() / math.sqrt(len(gain))
    return gain.mean().item() > t.ppf(CONFIDENCE, df=len(gain) - 1) * standard_error
