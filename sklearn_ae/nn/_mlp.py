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
from functools import partial
from itertools import pairwise, starmap
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
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


class LinearViews(NamedTuple):
    """Views of a linear layer's parameters, and of their gradients if it has some."""

    bias: Tensor
    weight_t: Tensor
    weight: NDArray[Any]
    weight_grad: NDArray[Any] | None
    bias_grad: Tensor | None

    def backward(self, x: Tensor, grad: Tensor, wants_input: bool) -> Tensor | None:
        """Write the gradients; return that by the input x, if wanted."""
        # numpy's products: with few rows they take half of torch's time.
        rows = grad.numpy()
        rows.T.dot(x.numpy(), out=self.weight_grad)
        torch.sum(grad, 0, out=self.bias_grad)
        return torch.from_numpy(rows.dot(self.weight)) if wants_input else None


class EmptyLinear(nn.Linear):
    """A float32 ``Linear`` whose values are not initialized: no random numbers."""

    def __init__(self, n_in: int, n_out: int) -> None:
        # Linear's own draws values; torch's ``skip_init`` takes ten times as long.
        nn.Module.__init__(self)
        self.in_features, self.out_features = n_in, n_out
        empty = torch.empty((n_out, n_in), device="cpu", dtype=torch.float32)
        self.weight = nn.Parameter(empty)
        empty = torch.empty(n_out, device="cpu", dtype=torch.float32)
        self.bias = nn.Parameter(empty)

    def views(self) -> LinearViews:
        """Return views of the parameters as they are in memory now."""
        weight, weight_grad = self.weight.detach(), self.weight.grad
        return LinearViews(
            self.bias.detach(),
            weight.t(),
            weight.numpy(),
            None if weight_grad is None else weight_grad.numpy(),
            self.bias.grad,
        )

    def make_forward_backward(self) -> ForwardBackward:
        """Return ``forward`` with its backward pass."""
        views = self.views()

        def forward_backward(x: Tensor) -> tuple[Tensor, Backward]:
            y = torch.addmm(views.bias, x, views.weight_t)
            return y, partial(views.backward, x)

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
    residual : bool
        The output layer starts at zero; a hidden layer of the same width as the one
        before is ``h + W act(h) + b`` (pre-activation; He et al., 2016. Identity
        mappings in deep residual networks).

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
        residual: bool = False,
    ) -> None:
        super().__init__()
        layers = list(starmap(EmptyLinear, pairwise(sizes)))
        for layer in layers:
            nn.init.xavier_uniform_(layer.weight, generator=generator)
            nn.init.zeros_(layer.bias)
        self.layers = nn.ModuleList(layers)
        self.activation = ACTIVATIONS[activation]()
        # Each layer after the first: if its input is added to its output.
        self.adds = [False] * (len(layers) - 1)
        if residual:
            nn.init.zeros_(layers[-1].weight)
            self.adds[:-1] = [a == b for a, b in pairwise(sizes[1:-1])]

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, sizes[0]) to (n, sizes[-1]), as ``make_forward_backward`` does."""
        first, *others = self.layers
        x = first(x)
        for layer, adds in zip(others, self.adds, strict=True):
            h = layer(self.activation(x))
            x = x + h if adds else h
        return x

    def make_forward_backward(self) -> ForwardBackward:
        """Return ``forward`` with its backward pass."""
        first, *others = map(EmptyLinear.views, self.layers)  # type: ignore[arg-type]
        layers = list(zip(others, self.adds, strict=True))
        activation = self.activation.forward
        derivative = DERIVATIVES[type(self.activation)]

        def forward_backward(x: Tensor) -> tuple[Tensor, Backward]:
            x_in, hidden = x, []
            x = torch.addmm(first.bias, x, first.weight_t)
            for layer, adds in layers:
                y = activation(x)
                hidden.append((layer, adds, x, y))
                h = torch.addmm(layer.bias, y, layer.weight_t)
                x = h.add_(x) if adds else h

            def backward(grad: Tensor, wants_input: bool) -> Tensor | None:
                for layer, adds, x, y in reversed(hidden):
                    by_x = derivative(layer.backward(y, grad, True), x, y)
                    grad = by_x.add_(grad) if adds else by_x
                return first.backward(x_in, grad, wants_input)

            return x, backward

        return forward_backward


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
        """Return an MLP with the hidden layers in order."""
        sizes = [self.n_features + n_noise_features, *self.hidden, n_out]
        return MLP(sizes, self.activation, generator=self.generator, residual=at_zero)

    def decoder(self, n_in: int, *, at_zero: bool) -> MLP:
        """Return an MLP with the hidden layers in reverse."""
        sizes = [n_in, *self.hidden[::-1], self.n_features]
        return MLP(sizes, self.activation, generator=self.generator, residual=at_zero)

    def is_done_by_encoder(self, n_components: int) -> bool:
        """Return False: decoders always have a nonlinear path."""
        return False
