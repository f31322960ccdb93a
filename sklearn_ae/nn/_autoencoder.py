"""The autoencoder: an encoder and a decoder, each a linear plus a nonlinear path."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sklearn_ae.nn._mlp import MLP, ResidualMLP, empty_linear


class Path(nn.Module):
    """``linear(x) + scale_out * nonlinear(x / scale_in)``: a map and its correction.

    Parameters
    ----------
    linear : nn.Linear or None
        The linear path; None leaves the nonlinear one alone.
    nonlinear : nn.Module
        The nonlinear path, from the same inputs to the same outputs.
    scale_in, scale_out : Tensor of shape (n_in,) and (n_out,), or float
        Fixed units of the nonlinear path, so that it sees and gives numbers of
        order one although a code's leading components are far larger than its last.
    """

    def __init__(
        self,
        linear: nn.Linear | None,
        nonlinear: nn.Module,
        *,
        scale_in: Tensor | None = None,
        scale_out: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.scale_in: Tensor | None
        self.scale_out: Tensor | None
        self.linear = linear
        self.nonlinear = nonlinear
        self.register_buffer("scale_in", scale_in)
        self.register_buffer("scale_out", scale_out)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, n_in) to (n, n_out)."""
        y = self.nonlinear(x if self.scale_in is None else x / self.scale_in)
        if self.scale_out is not None:
            y = y * self.scale_out
        return y if self.linear is None else y + self.linear(x)


class Autoencoder(nn.Module):
    """Encoder E and decoder D: ``forward(x) = D(E(x)), E(x)``.

    Parameters
    ----------
    encoder, decoder : nn.Module
        (n, n_features) to (n, n_components), and back.
    n_components : int
    """

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, n_components: int
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.n_components = n_components

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reconstruction (n, n_features) and the code (n, n_components)."""
        z = self.encoder(x)
        return self.decoder(z), z

    @classmethod
    def random(
        cls,
        sizes: Sequence[int],
        activation: str,
        *,
        generator: torch.Generator,
    ) -> "Autoencoder":
        """The ordinary autoencoder: ``sizes`` there and back, random weights."""
        return cls(
            Path(None, MLP(sizes, activation, generator=generator)),
            Path(None, MLP(sizes[::-1], activation, generator=generator)),
            sizes[-1],
        )

    @classmethod
    def around_linear(
        cls,
        sizes: Sequence[int],
        activation: str,
        *,
        mean: Tensor,
        axes: Tensor,
        scales: Tensor,
        generator: torch.Generator,
    ) -> "Autoencoder":
        """An autoencoder that starts as ``x -> mean + (x - mean) axes.T axes``.

        Parameters
        ----------
        sizes : sequence of int
            n_features, the encoder's hidden widths, n_components.
        activation : str
            A key of ``ACTIVATIONS``.
        mean : Tensor of shape (n_features,)
            Centre of the rows.
        axes : Tensor of shape (n_components, n_features)
            Orthonormal rows, or zeros where there is no further direction.
        scales : Tensor of shape (n_components,)
            Standard deviation of each component's code, positive.
        generator : torch.Generator
            Source of the nonlinear path's weights.
        """
        encode = _linear(axes, -axes @ mean)
        decode = _linear(axes.T, mean)
        scales = scales.to(torch.float32)

        there = ResidualMLP(sizes, activation, generator=generator)
        back = ResidualMLP(sizes[::-1], activation, generator=generator)
        return cls(
            Path(encode, there, scale_out=scales),
            Path(decode, back, scale_in=scales.clone()),
            sizes[-1],
        )


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    n_out, n_in = weight.shape
    layer = empty_linear(n_in, n_out)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return layer
