"""An encoder or a decoder applied: as few products as it takes, and nothing around."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sklearn_ae.nn._autoencoder import CorrectedLinear
from sklearn_ae.nn._backward import has_rule
from sklearn_ae.nn._levels import WienerEncoder
from sklearn_ae.nn._mlp import MLP, EmptyLinear, ResidualMLP

# From this many rows on, products are numpy's, in four fifths of the time of torch's.
# Its BLAS is to be held to one thread then; for fewer, that takes longer than it saves.
MIN_ROWS_FOR_NUMPY = 16
# Weight (n_out, n_in) and bias (n_out,).
Layer = tuple[Tensor, Tensor]


def folded(part: nn.Module) -> Callable[..., Tensor]:
    """What maps as ``part`` does, a single row in half of the time.

    Shifts and scales become part of the weights beside them, and nothing is called of
    what torch wraps around layers, hooks among it. The weights are copies: what changes
    in the part later is not noticed. A part without a rule is returned as it is.
    """
    return _FOLDED[type(part)](part) if has_rule(part) else part


def _linear(module: Any) -> Callable[[Tensor], Tensor]:
    return _product(*_layer(module))


def _mlp(module: Any) -> Callable[[Tensor], Tensor]:
    return _network(module, [_layer(layer) for layer in module.layers])


def _corrected_linear(module: CorrectedLinear) -> Callable[[Tensor], Tensor]:
    correction: Any = module.correction
    layers = [_layer(layer) for layer in correction.layers]
    weight, bias = layers[0]
    layers[0] = _shifted(weight / module.scale_in, bias, module.shift_in)
    weight, bias = layers[-1]
    layers[-1] = module.scale_out[:, None] * weight, module.scale_out * bias
    linear = _product(*_shifted(*_layer(module.linear), module.shift_in))
    network = _network(correction, layers)
    return lambda x: linear(x).add_(network(x))


def _wiener(module: WienerEncoder) -> Callable[..., Tensor]:
    linear, correction = _linear(module.linear), _mlp(module.correction)

    def apply(x: Tensor, level: Tensor | None = None) -> Tensor:
        u, seen, signal, unit = module.inputs(x, level)
        return linear(u) * signal + unit * correction(seen)

    return apply


def _layer(module: nn.Linear) -> Layer:
    return module.weight.detach(), module.bias.detach()


def _shifted(weight: Tensor, bias: Tensor, shift: Tensor) -> Layer:
    """The layer of x that a layer of ``x - shift`` is."""
    return weight, bias - weight @ shift


def _product(weight: Tensor, bias: Tensor) -> Callable[[Tensor], Tensor]:
    turned, bias = weight.t().contiguous(), bias.clone()
    least = MIN_ROWS_FOR_NUMPY if weight.device.type == "cpu" else math.inf

    def apply(x: Tensor) -> Tensor:
        if len(x) < least:
            return torch.addmm(bias, x, turned)
        return torch.from_numpy(x.numpy().dot(turned.numpy())).add_(bias)

    return apply


def _network(module: MLP, layers: list[Layer]) -> Callable[[Tensor], Tensor]:
    """An MLP's pass by other layers than its own."""
    first, *products = [_product(*layer) for layer in layers]
    others = list(zip(products, module.adds, strict=True))
    activation = module.activation.forward

    def apply(x: Tensor) -> Tensor:
        x = first(x)
        for product, adds_x in others:
            h = product(activation(x))
            x = h.add_(x) if adds_x else h
        return x

    return apply


_FOLDED: dict[type[nn.Module], Callable[[Any], Callable[..., Tensor]]] = {
    EmptyLinear: _linear,
    MLP: _mlp,
    ResidualMLP: _mlp,
    CorrectedLinear: _corrected_linear,
    WienerEncoder: _wiener,
}
