"""The objective: what a row costs."""

from torch import Tensor

from sklearn_ae.objective._reconstruction import RECONSTRUCTION_LOSSES


class Objective:
    """Loss of each row, shape (n,): the reconstruction's.

    A plain callable and no module: it has no parameters of its own.

    Parameters
    ----------
    loss : str
        A key of ``RECONSTRUCTION_LOSSES``.
    """

    def __init__(self, loss: str) -> None:
        self.reconstruction = RECONSTRUCTION_LOSSES[loss]

    def __call__(self, x: Tensor, x_hat: Tensor) -> Tensor:
        return self.reconstruction(x, x_hat)
