"""The multilayer perceptron."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "identity": nn.Identity,
    "logistic": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


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
    zero_output : bool, default=False
        Start with an output layer of zeros, so that the whole network is zero.

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
        self,
        sizes: Sequence[int],
        activation: str,
        *,
        generator: torch.Generator,
        zero_output: bool = False,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.utils.skip_init(nn.Linear, n_in, n_out, dtype=torch.float32)
            for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True)
        )
        self.activation = ACTIVATIONS[activation]()
        for layer in self.layers:
            nn.init.xavier_uniform_(layer.weight, generator=generator)
            nn.init.zeros_(layer.bias)
        if zero_output:
            nn.init.zeros_(self.layers[-1].weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, sizes[0]) to (n, sizes[-1])."""
        *hidden, output = self.layers
        for layer in hidden:
            x = self.activation(layer(x))
        return output(x)
