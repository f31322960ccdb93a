"""The running average of the weights: what is judged and kept."""

from torch import Tensor


class RunningAverage:
    """Average of the weights over the latest tenth or so of the steps.

    ``average += (1 - (1 - 1/t)^10) (vector - average)`` at step t: the weight of step s
    falls as ``(s/t)^9``, so that memory grows with training and the start is forgotten.
    At a high learning rate it is ahead of the weights themselves, and steadier: what a
    mini-batch did to them is averaged out (Polyak and Juditsky, 1992; the profile is
    that of Karras et al., 2024. Analyzing and improving the training dynamics of
    diffusion models. arXiv 2312.02696).

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
        """Take the weights after another step into account."""
        self._n_steps += 1
        share = 1 - (1 - 1 / self._n_steps) ** self.POWER
        self.value.lerp_(vector, share)
