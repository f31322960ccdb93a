"""The autoencoder: an encoder and a decoder, each a linear plus a nonlinear path."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sklearn_ae.nn._mlp import MLP, ResidualMLP, empty_linear


class CorrectedLinear(nn.Module):
    """``linear(u) + scale_out * correction(u / scale_in)`` with ``u = x - shift_in``.

    Parameters
    ----------
    linear : nn.Linear
        From n_in to n_out.
    correction : nn.Module
        From n_in to n_out.
    shift_in : Tensor of shape (n_in,)
        Centre of the inputs. NOTE: a column that is always at its centre in training
        has no gradient; off it, even by little, Adam would move its weights as fast as
        any other's, and the first row with another value would fly off.
    scale_in, scale_out : Tensor of shape (n_in,) and (n_out,)
        Standard deviations of inputs and outputs: the correction sees and gives numbers
        of order one. It does not see an input of infinite scale.
    """

    shift_in: Tensor
    scale_in: Tensor
    scale_out: Tensor

    def __init__(
        self,
        linear: nn.Linear,
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
            MLP(sizes, activation, generator=generator),
            MLP(sizes[::-1], activation, generator=generator),
            sizes[-1],
        )

    @classmethod
    def around_linear(
        cls,
        sizes: Sequence[int],
        activation: str,
        *,
        mean: Tensor,
        centre: Tensor,
        spread: Tensor,
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
            Of the rows that the axes are of.
        centre, spread : Tensor of shape (n_features,)
            Mean and standard deviation of the features in training; the latter
            positive, and infinite for a feature that is constant there.
        axes : Tensor of shape (n_components, n_features)
            Orthonormal rows, or zeros where there is no further direction.
        scales : Tensor of shape (n_components,)
            Standard deviation of each component's code, positive.
        generator : torch.Generator
            Source of the corrections' weights.
        """
        encoder = CorrectedLinear(
            _linear(axes, axes @ (centre - mean)),
            ResidualMLP(sizes, activation, generator=generator),
            shift_in=centre,
            scale_in=spread,
            scale_out=scales,
        )
        decoder = CorrectedLinear(
            _linear(axes.T, mean),
            ResidualMLP(sizes[::-1], activation, generator=generator),
            shift_in=torch.zeros_like(scales),
            scale_in=scales,
            scale_out=torch.where(spread.isfinite(), spread, 1.0),
        )
        return cls(encoder, decoder, sizes[-1])


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    n_out, n_in = weight.shape
    layer = empty_linear(n_in, n_out)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return layer
