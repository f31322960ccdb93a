"""All parameters of a module in one buffer: one optimiser call a step, not twenty."""

from types import TracebackType

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector


def flat_vector(module: nn.Module) -> nn.Parameter:
    """A vector with the values of all of a module's parameters."""
    return nn.Parameter(parameters_to_vector(module.parameters()).detach())


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
