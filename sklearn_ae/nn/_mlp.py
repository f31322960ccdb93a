"""The multilayer perceptron, forward and backward.

``make_forward_backward`` of a module returns a function that runs it without autograd,
whose own work costs more than the matrix products of a small network. The function
returns the output and ``backward(grad, wants_input)``: that takes the gradient by the
output, writes the parameters' gradients into their ``grad`` and returns, if wanted, the
gradient by the input. It may be called as long as parameters and their ``grad`` stay
where they are in memory: their views are taken once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Generator, Tensor, nn

Backward = Callable[[Tensor, bool], Any]
ForwardBackward = Callable[..., tuple[Tensor, Backward]]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "identity": nn.Identity,
    "logistic": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}
# Gradient by an activation's input, from that by its output, its input and its output.
DERIVATIVES: dict[type[nn.Module], Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    nn.Identity: lambda grad, x, y: grad,
    nn.Sigmoid: lambda grad, x, y: torch.ops.aten.sigmoid_backward(grad, y),
    nn.Tanh: lambda grad, x, y: torch.ops.aten.tanh_backward(grad, y),
    nn.ReLU: lambda grad, x, y: torch.ops.aten.threshold_backward(grad, x, 0),
    nn.GELU: lambda grad, x, y: torch.ops.aten.gelu_backward(grad, x),
    nn.SiLU: lambda grad, x, y: torch.ops.aten.silu_backward(grad, x),
}


class EmptyLinear(nn.Linear):
    """A float32 ``Linear`` without values yet, and so without random numbers.

    torch's own ``skip_init`` goes by way of the meta device: ten times as long.
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(n_in, n_out, device="cpu", dtype=torch.float32)

    def reset_parameters(self) -> None:
        """Draw nothing."""

    def make_forward_backward(self) -> ForwardBackward:
        """Return ``forward`` with its backward pass."""
        weight, bias = self.weight.detach(), self.bias.detach()
        weight_t, weight_array = weight.t(), weight.numpy()
        weight_grad, bias_grad = self.weight.grad, self.bias.grad
        weight_grad_array = None if weight_grad is None else weight_grad.numpy()

        def forward_backward(x: Tensor) -> tuple[Tensor, Backward]:
            def backward(grad: Tensor, wants_input: bool) -> Tensor | None:
                # numpy's products: with few rows they take half of torch's time.
                rows = grad.numpy()
                rows.T.dot(x.numpy(), out=weight_grad_array)
                torch.sum(grad, 0, out=bias_grad)
                return torch.from_numpy(rows.dot(weight_array)) if wants_input else None

            return torch.addmm(bias, x, weight_t), backward

        return forward_backward


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

    def make_forward_backward(self) -> ForwardBackward:
        """Return ``forward`` with its backward pass."""
        first, *others = (layer.make_forward_backward() for layer in self.layers)  # type: ignore[operator]
        layers = list(zip(others, self.adds, strict=True))
        activation = self.activation.forward
        derivative = DERIVATIVES[type(self.activation)]

        def forward_backward(x: Tensor) -> tuple[Tensor, Backward]:
            x, first_backward = first(x)
            backwards = []
            for layer, adds in layers:
                y = activation(x)
                h, layer_backward = layer(y)
                backwards.append((layer_backward, adds, x, y))
                x = h.add_(x) if adds else h

            def backward(grad: Tensor, wants_input: bool) -> Tensor | None:
                for layer_backward, adds, x, y in reversed(backwards):
                    by_x = derivative(layer_backward(grad, True), x, y)
                    grad = by_x.add_(grad) if adds else by_x
                return first_backward(grad, wants_input)

            return x, backward

        return forward_backward


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


class CorrectedLinear(nn.Module):
    """``linear(u) + scale_out * correction(u / scale_in)`` with ``u = x - shift_in``.

    Parameters
    ----------
    linear : nn.Linear
        From n_in to n_out.
    correction : nn.Module
        From n_in to n_out.
    shift_in : Tensor of shape (n_in,)
        Mean of the inputs. NOTE: an input that is constant in training has to be zero
        after the shift, and so without a gradient. Otherwise Adam would move its
        weights as fast as any other's, and a new value would have a huge effect.
    scale_in, scale_out : Tensor of shape (n_in,) and (n_out,)
        Standard deviations of inputs and outputs: the correction maps numbers of order
        one to numbers of order one. An input of infinite scale does not reach it.
    """

    shift_in: Tensor
    scale_in: Tensor
    scale_out: Tensor

    def __init__(
        self,
        linear: EmptyLinear,
        correction: nn.Module,
        *,
        shift_in: Tensor,
        scale_in: Tensor,
        scale_out: Tensor,
    ) -> None:
        super().__init__()
        self.linear = linear
        self.correction = correction
        self.register_buffer("shift_in", shift_in.to(torch.float32))
        self.register_buffer("scale_in", scale_in.to(torch.float32))
        self.register_buffer("scale_out", scale_out.to(torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, n_in) to (n, n_out)."""
        u = x - self.shift_in
        correction = self.correction(u / self.scale_in)
        return torch.addcmul(self.linear(u), self.scale_out, correction)

    def make_forward_backward(self) -> ForwardBackward:
        """Return ``forward`` with its backward pass."""
        linear = self.linear.make_forward_backward()
        correction = self.correction.make_forward_backward()  # type: ignore[operator]
        shift_in, scale_in, scale_out = self.shift_in, self.scale_in, self.scale_out

        def forward_backward(x: Tensor) -> tuple[Tensor, Backward]:
            u = x - shift_in
            y, linear_backward = linear(u)
            c, correction_backward = correction(u / scale_in)

            def backward(grad: Tensor, wants_input: bool) -> Tensor | None:
                by_linear = linear_backward(grad, wants_input)
                by_correction = correction_backward(grad * scale_out, wants_input)
                return by_linear + by_correction / scale_in if wants_input else None

            return torch.addcmul(y, scale_out, c), backward

        return forward_backward


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
