"""An encoder with a linear head, for classification and regression."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sklearn_ae.nn._levels import WienerEncoder
from sklearn_ae.nn._mlp import CorrectedLinear, EmptyLinear


class Head(nn.Module):
    """``linear(encoder(x))``.

    Parameters
    ----------
    encoder : nn.Module
        Maps (n, n_features) to (n, n_components).
    coef : Tensor of shape (n_outputs, n_components)
    intercept : Tensor of shape (n_outputs,)
    """

    def __init__(self, encoder: nn.Module, coef: Tensor, intercept: Tensor) -> None:
        super().__init__()
        self.encoder = encoder
        self.linear = EmptyLinear(*reversed(coef.shape))
        with torch.no_grad():
            self.linear.weight.copy_(coef)
            self.linear.bias.copy_(intercept)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, n_features) to (n, n_outputs)."""
        return self.linear(self.encoder(x))


def early_layers(encoder: nn.Module, n_last: int | bool) -> list[nn.Module]:
    """Return all layers of an encoder but the last ``n_last``; none if it is True.

    A layer is a submodule that has parameters directly. The linear skip path of an
    encoder belongs to its last layer.
    """
    if n_last is True:
        return []
    paths = [
        part.linear
        for part in encoder.modules()
        if isinstance(part, CorrectedLinear | WienerEncoder)
    ]
    layers: list[nn.Module] = [
        part
        for part in encoder.modules()
        if part not in paths and any(True for _ in part.parameters(recurse=False))
    ]
    early = layers[: max(0, len(layers) - n_last)]
    return early if n_last else [*early, *paths]


def freeze(layers: Sequence[nn.Module]) -> None:
    """Turn parameters into buffers, so that no optimiser changes them."""
    for layer in layers:
        for name, value in list(layer.named_parameters(recurse=False)):
            delattr(layer, name)
            layer.register_buffer(name, value.detach())
            layer._frozen = [*getattr(layer, "_frozen", []), name]  # type: ignore[assignment]


def thaw(module: nn.Module) -> None:
    """Undo ``freeze``: turn the buffers back into parameters."""
    for layer in module.modules():
        for name in vars(layer).pop("_frozen", []):
            value = getattr(layer, name)
            delattr(layer, name)
            layer.register_parameter(name, nn.Parameter(value))
