"""Gradients by hand: autograd's, for the price of the matrix products.

A rule takes a module apart once. What it returns runs the module forward: to its output
and a function that takes the loss's gradient by the output, writes the gradients of the
module's parameters into their ``grad`` and returns, if asked, the one by the module's
input.
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
Forward = Callable[..., tuple[Tensor, Back]]

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
    """Whether ``manual_backward`` knows an autoencoder and each of its parts.

    A subclass may do anything, and is left to autograd. Hooks and frozen parameters are
    not looked for.
    """
    if type(module) is not Autoencoder:
        return False
    known = has_rule(module.encoder) and has_rule(module.decoder)
    return known and all(p.device.type == "cpu" for p in module.parameters())


def has_rule(part: nn.Module) -> bool:
    """Whether an encoder or a decoder is known, each of its parts by its very type."""
    known = {*_RULES, *_ACTIVATIONS, LevelFeatures, nn.ModuleList}
    if not isinstance(getattr(part, "correction", None), MLP | None):
        return False
    return type(part) in _RULES and all(type(m) in known for m in part.modules())


def manual_backward(
    module: Autoencoder,
) -> Callable[[Tensor, Tensor | None], tuple[Tensor, Callable[[Tensor], None]]]:
    """What runs a module that ``has_rules`` and sets its parameters' gradients.

    It may be called for as long as the parameters and their ``grad``, which is written
    over, stay where they are in memory.

    Returns
    -------
    run : callable
        Of rows (n, n_features) and the levels (n, 1) of the noise on them, for an
        encoder that is told them. It returns the reconstruction (n, n_features), and
        what sets the gradients from the loss's by the reconstruction.
    """
    encoder = _RULES[type(module.encoder)](module.encoder)
    decoder = _RULES[type(module.decoder)](module.decoder)
    is_told = module.is_noise_conditional

    def run(
        x: Tensor, levels: Tensor | None
    ) -> tuple[Tensor, Callable[[Tensor], None]]:
        z, encoder_back = encoder(x, levels) if is_told else encoder(x)
        x_hat, decoder_back = decoder(z)
        return x_hat, lambda grad: encoder_back(decoder_back(grad, True), False)

    return run


def _linear(layer: Any) -> Forward:
    weight, bias = layer.weight.detach(), layer.bias.detach()
    turned, array = weight.t(), weight.numpy()
    by_weight, by_bias = layer.weight.grad.numpy(), layer.bias.grad

    def forward(x: Tensor) -> tuple[Tensor, Back]:
        def back(grad: Tensor, wants_input: bool) -> Tensor | None:
            # numpy's products: with few rows they take half of the time of torch's.
            rows = grad.numpy()
            rows.T.dot(x.numpy(), out=by_weight)
            torch.sum(grad, 0, out=by_bias)
            if not wants_input:
                return None
            return torch.from_numpy(rows.dot(array))

        return torch.addmm(bias, x, turned), back

    return forward


def _mlp(module: MLP) -> Forward:
    first, *others = map(_linear, module.layers)
    layers = list(zip(others, module.adds, strict=True))
    activation = module.activation.forward
    derivative = _ACTIVATIONS[type(module.activation)]

    def forward(x: Tensor) -> tuple[Tensor, Back]:
        x, back_first = first(x)
        backs = []
        for layer, adds_x in layers:
            y = activation(x)
            h, back_layer = layer(y)
            backs.append((back_layer, adds_x, x, y))
            x = h.add_(x) if adds_x else h

        def back(grad: Tensor, wants_input: bool) -> Tensor | None:
            for back_layer, adds_x, x, y in reversed(backs):
                by_x = derivative(back_layer(grad, True), x, y)
                grad = by_x.add_(grad) if adds_x else by_x
            return back_first(grad, wants_input)

        return x, back

    return forward


def _corrected_linear(module: CorrectedLinear) -> Forward:
    linear, correction = _linear(module.linear), _correction(module)
    shift_in, scale_in = module.shift_in, module.scale_in
    scale_out = module.scale_out

    def forward(x: Tensor) -> tuple[Tensor, Back]:
        u = x - shift_in
        y, linear_back = linear(u)
        c, correction_back = correction(u / scale_in)

        def back(grad: Tensor, wants_input: bool) -> Tensor | None:
            by_u = linear_back(grad, wants_input)
            by_seen = correction_back(grad * scale_out, wants_input)
            return by_u + by_seen / scale_in if wants_input else None

        return torch.addcmul(y, scale_out, c), back

    return forward


def _wiener(module: WienerEncoder) -> Forward:
    linear, correction = _linear(module.linear), _correction(module)

    def forward(x: Tensor, level: Tensor | None = None) -> tuple[Tensor, Back]:
        u, seen, signal, unit = module.inputs(x, level)
        y, linear_back = linear(u)
        c, correction_back = correction(seen)

        def back(grad: Tensor, wants_input: bool) -> None:
            assert not wants_input  # Nothing comes before an encoder.
            linear_back(grad * signal, False)
            correction_back(grad * unit, False)

        return y * signal + unit * c, back

    return forward


def _correction(module: Any) -> Forward:
    return _RULES[type(module.correction)](module.correction)


_RULES: dict[type[nn.Module], Callable[[Any], Forward]] = {
    EmptyLinear: _linear,
    MLP: _mlp,
    ResidualMLP: _mlp,
    CorrectedLinear: _corrected_linear,
    WienerEncoder: _wiener,
}
