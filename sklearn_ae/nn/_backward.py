"""Gradients by hand: autograd's, for the price of the matrix products.

A rule runs a module forward and returns its output and a function that takes the loss's
gradient by the output, writes the gradients of the module's parameters into their
``grad`` and returns, if asked, the one by the module's input.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sklearn_ae.nn._autoencoder import Autoencoder, CorrectedLinear
from sklearn_ae.nn._levels import LevelFeatures, WienerEncoder
from sklearn_ae.nn._mlp import MLP, EmptyLinear, ResidualMLP

# Of the gradient by the output, and whether the one by the input is asked for.
Back = Callable[[Tensor, bool], Any]

# Gradient by an activation's input, of that by its output, the input and the output.
_ACTIVATIONS: dict[type[nn.Module], Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    nn.Identity: lambda grad, x, y: grad,
    nn.Sigmoid: lambda grad, x, y: torch.ops.aten.sigmoid_backward(grad, y),
    nn.Tanh: lambda grad, x, y: torch.ops.aten.tanh_backward(grad, y),
    nn.ReLU: lambda grad, x, y: torch.ops.aten.threshold_backward(grad, x, 0),
    nn.GELU: lambda grad, x, y: torch.ops.aten.gelu_backward(grad, x),
    nn.SiLU: lambda grad, x, y: torch.ops.aten.silu_backward(grad, x),
}


def has_rules(module: nn.Module) -> bool:
    """Whether ``run_by_hand`` knows an autoencoder and each of its parts.

    By their very types: a subclass may do anything, and is left to autograd. So are
    hooks and frozen parameters, which are not looked for.
    """
    if type(module) is not Autoencoder:
        return False
    known = {*_RULES, *_ACTIVATIONS, Autoencoder, LevelFeatures, nn.ModuleList}
    ends = {type(module.encoder), type(module.decoder)}
    return ends <= set(_RULES) and all(type(m) in known for m in module.modules())


def run_by_hand(
    module: Autoencoder, x: Tensor, levels: Tensor | None
) -> tuple[Tensor, Callable[[Tensor], None]]:
    """Reconstruction (n, n_features) of rows x, and what sets gradients from its own.

    Parameters
    ----------
    module : Autoencoder
        One that ``has_rules``, its parameters with a ``grad`` each, which is written
        over.
    x : Tensor of shape (n, n_features)
    levels : Tensor of shape (n, 1) or None
        Of the noise on x, for an encoder that is told them.
    """
    told = (levels,) if module.is_told_levels else ()
    z, encoder_back = _RULES[type(module.encoder)](module.encoder, x, *told)
    x_hat, decoder_back = _RULES[type(module.decoder)](module.decoder, z)

    def back(grad: Tensor) -> None:
        encoder_back(decoder_back(grad, True), False)

    return x_hat, back


def _linear(layer: Any, x: Tensor) -> tuple[Tensor, Back]:
    def back(grad: Tensor, wants_input: bool) -> Tensor | None:
        torch.mm(grad.t(), x, out=layer.weight.grad)
        torch.sum(grad, 0, out=layer.bias.grad)
        return grad @ layer.weight if wants_input else None

    return torch.addmm(layer.bias, x, layer.weight.t()), back


def _mlp(module: MLP, x: Tensor) -> tuple[Tensor, Back]:
    first, *others = module.layers
    activation, derivative = module.activation, _ACTIVATIONS[type(module.activation)]
    x, back_first = _linear(first, x)
    backs = []
    for layer, adds_x in zip(others, module.adds, strict=True):
        y = activation(x)
        h, back_layer = _linear(layer, y)
        backs.append((back_layer, adds_x, x, y))
        x = h.add_(x) if adds_x else h

    def back(grad: Tensor, wants_input: bool) -> Tensor | None:
        for back_layer, adds_x, x, y in reversed(backs):
            by_x = derivative(back_layer(grad, True), x, y)
            grad = by_x + grad if adds_x else by_x
        return back_first(grad, wants_input)

    return x, back


def _corrected_linear(module: CorrectedLinear, x: Tensor) -> tuple[Tensor, Back]:
    u = x - module.shift_in
    y, linear_back = _linear(module.linear, u)
    correction = _RULES[type(module.correction)]
    c, correction_back = correction(module.correction, u / module.scale_in)

    def back(grad: Tensor, wants_input: bool) -> Tensor | None:
        by_u = linear_back(grad, wants_input)
        by_seen = correction_back(grad * module.scale_out, wants_input)
        return by_u + by_seen / module.scale_in if wants_input else None

    return torch.addcmul(y, module.scale_out, c), back


def _wiener(
    module: WienerEncoder, x: Tensor, level: Tensor | None
) -> tuple[Tensor, Back]:
    u, seen, signal, unit = module.inputs(x, level)
    y, linear_back = _linear(module.linear, u)
    correction = _RULES[type(module.correction)]
    c, correction_back = correction(module.correction, seen)

    def back(grad: Tensor, wants_input: bool) -> None:
        assert not wants_input  # Nothing comes before an encoder.
        linear_back(grad * signal, False)
        correction_back(grad * unit, False)

    return y * signal + unit * c, back


_RULES: dict[type[nn.Module], Callable[..., tuple[Tensor, Back]]] = {
    EmptyLinear: _linear,
    MLP: _mlp,
    ResidualMLP: _mlp,
    CorrectedLinear: _corrected_linear,
    WienerEncoder: _wiener,
}
