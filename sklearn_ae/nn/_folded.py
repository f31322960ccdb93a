"""An encoder or a decoder applied: as few products as it takes, and nothing around."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sklearn_ae.nn._autoencoder import CorrectedLinear
from sklearn_ae.nn._backward import has_rule
from sklearn_ae.nn._levels import WienerEncoder
from sklearn_ae.nn._mlp import MLP, EmptyLinear, ResidualMLP

# Weight (n_out, n_in) and bias (n_out,).
Layer = tuple[Tensor, Tensor]
# Of a layer, what maps (n, n_in) to (n, n_out).
Product = Callable[[Tensor, Tensor], Callable[[Tensor], Tensor]]


def fused_affine(part: nn.Module, *, by_numpy: bool = False) -> Callable[..., Tensor]:
    """What maps as ``part`` does, a single row in half of the time.

    Shifts and scales become part of the weights beside them (of a Wiener encoder they
    stay, as they go by the level), and nothing is called of what torch wraps around
    layers, hooks among it. Weights and biases are copies: a later change of the part's
    is not noticed. A part without a rule is returned as it is.

    Parameters
    ----------
    part : nn.Module
        An encoder or a decoder.
    by_numpy : bool
        Whether products are numpy's, on the CPU only. Of many rows they take less time
        than torch's, if BLAS is held to one thread.
    """
    if not has_rule(part):
        return part
    return _FOLDED[type(part)](part, _by_numpy if by_numpy else _by_torch)


def _by_torch(weight: Tensor, bias: Tensor) -> Callable[[Tensor], Tensor]:
    turned, bias = _turned(weight), bias.clone()
    return lambda x: torch.addmm(bias, x, turned)


def _by_numpy(weight: Tensor, bias: Tensor) -> Callable[[Tensor], Tensor]:
    turned, bias = _turned(weight).numpy(), bias.clone()
    return lambda x: torch.from_numpy(x.numpy().dot(turned)).add_(bias)


def _turned(weight: Tensor) -> Tensor:
    # A contiguous() of a layer of width 1 would be no copy.
    return weight.t().clone(memory_format=torch.contiguous_format)


def _linear(module: Any, product: Product) -> Callable[[Tensor], Tensor]:
    return product(*_layer(module))


def _mlp(module: Any, product: Product) -> Callable[[Tensor], Tensor]:
    return _network(module, [product(*_layer(layer)) for layer in module.layers])


def _corrected_linear(
    module: CorrectedLinear, product: Product
) -> Callable[[Tensor], Tensor]:
    correction: Any = module.correction
    layers = [_layer(layer) for layer in correction.layers]
    weight, bias = layers[0]
    layers[0] = _shifted(weight / module.scale_in, bias, module.shift_in)
    weight, bias = layers[-1]
    layers[-1] = module.scale_out[:, None] * weight, module.scale_out * bias
    linear = product(*_shifted(*_layer(module.linear), module.shift_in))
    network = _network(correction, [product(*layer) for layer in layers])
    return lambda x: linear(x).add_(network(x))


def _wiener(module: WienerEncoder, product: Product) -> Callable[..., Tensor]:
    linear = _linear(module.linear, product)
    correction = _mlp(module.correction, product)

    def apply(x: Tensor, level: Tensor | None = None) -> Tensor:
        u, seen, signal, unit = module.inputs(x, level)
        return linear(u) * signal + unit * correction(seen)

    return apply


def _layer(module: nn.Linear) -> Layer:
    return module.weight.detach(), module.bias.detach()


def _shifted(weight: Tensor, bias: Tensor, shift: Tensor) -> Layer:
    """The layer of x that a layer of ``x - shift`` is."""
    return weight, bias - weight @ shift


def _network(
    module: MLP, products: list[Callable[[Tensor], Tensor]]
) -> Callable[[Tensor], Tensor]:
    """An MLP's pass by other layers than its own."""
    first, *others = products
    layers = list(zip(others, module.adds, strict=True))
    activation = module.activation.forward

    def apply(x: Tensor) -> Tensor:
        x = first(x)
        for layer, adds_x in layers:
            h = layer(activation(x))
            x = h.add_(x) if adds_x else h
        return x

    return apply


_FOLDED: dict[type[nn.Module], Callable[[Any, Product], Callable[..., Tensor]]] = {
    EmptyLinear: _linear,
    MLP: _mlp,
    ResidualMLP: _mlp,
    CorrectedLinear: _corrected_linear,
    WienerEncoder: _wiener,
}
