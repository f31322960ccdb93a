"""The multilayer perceptron."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "identity": nn.Identity,
    "logistic": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


class EmptyLinear(nn.Linear):
    """A float32 ``Linear`` without values yet, and so without random numbers.

    torch's own ``skip_init`` goes by way of the meta device: ten times as long.
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(n_in, n_out, device="cpu", dtype=torch.float32)

    def reset_parameters(self) -> None:
        """Draw nothing."""


class MLP(nn.Module):
    """Linear layers with an activation between them, none after the last.

    Parameters
    ----------
    sizes : sequence of int
        Width of the input, of each hidden layer and of the output.
    activation : str
        A key of ``ACTIVATIONS``.
    generator : torch.Generator
        Source of the initial weights: the global one is never touched.

    Notes
    -----
    Weights start at Glorot's uniform distribution [1]_, biases at zero, as in
    scikit-learn's ``MLPRegressor``. NOTE: float32 whatever torch's default dtype.

    References
    ----------
    .. [1] X. Glorot and Y. Bengio. Understanding the difficulty of training deep
       feedforward neural networks. AISTATS 2010.
    """

    def __init__(
        self, sizes: Sequence[int], activation: str, *, generator: torch.Generator
    ) -> None:
        super().__init__()
        layers = [EmptyLinear(n_in, n_out) for n_in, n_out in pairwise(sizes)]
        for layer in layers:
            nn.init.xavier_uniform_(layer.weight, generator=generator)
            nn.init.zeros_(layer.bias)
        self.layers = nn.ModuleList(layers)
        self.activation = ACTIVATIONS[activation]()
        # Whether each layer after the first is added to what it was given.
        self.adds = [False] * (len(layers) - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, sizes[0]) to (n, sizes[-1])."""
        first, *others = self.layers
        x = first(x)
        for layer, adds in zip(others, self.adds, strict=True):
            h = layer(self.activation(x))
            x = x + h if adds else h
        return x


class ResidualMLP(MLP):
    """An ``MLP`` that starts at zero, each hidden layer added to the one before.

    Where two hidden layers have the same width, the later one is ``h + W act(h) + b``
    (pre-activation, He et al. 2016. Identity mappings in deep residual networks);
    where widths differ there is nothing to add to. The output layer starts at zero.
    """

    def __init__(
        self, sizes: Sequence[int], activation: str, *, generator: torch.Generator
    ) -> None:
        super().__init__(sizes, activation, generator=generator)
        for weight in self.layers[-1].parameters():
            nn.init.zeros_(weight)
        self.adds[:-1] = [a == b for a, b in pairwise(sizes[1:-1])]


@dataclass(frozen=True)
class MLPArchitecture:
    """Multilayer perceptrons.

    Attributes
    ----------
    n_features : int
    hidden : sequence of int
        Widths of the encoder's hidden layers; the decoder has them in reverse.
    activation : str
        A key of ``ACTIVATIONS``.
    generator : torch.Generator
        Source of the initial weights.
    """

    n_features: int
    hidden: Sequence[int]
    activation: str
    generator: Generator

    def encoder(
        self,
        n_out: int,
        *,
        at_zero: bool,
        n_noise_features: int = 0,
        components: Tensor | None = None,
    ) -> MLP:
        """The hidden layers as they come."""
        return self._network(
            [self.n_features + n_noise_features, *self.hidden, n_out], at_zero
        )

    def decoder(self, n_in: int, *, at_zero: bool) -> MLP:
        """The hidden layers in reverse."""
        sizes = [n_in, *self.hidden[::-1], self.n_features]
        return self._network(sizes, at_zero)

    def is_done_by_encoder(self, n_components: int) -> bool:
        """Never."""
        return False

    def _network(self, sizes: Sequence[int], at_zero: bool) -> MLP:
        kind = ResidualMLP if at_zero else MLP
        return kind(sizes, self.activation, generator=self.generator)
