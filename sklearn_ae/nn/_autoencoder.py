"""The autoencoder: an encoder and a decoder, each a linear plus a nonlinear path."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sklearn_ae.nn._corruption import Corruption
from sklearn_ae.nn._mlp import MLP, ResidualMLP, empty_linear

# Of the sigmoid in a code that starts at PCA, for a component of unit variance: small
# enough to be nearly straight (0.2 % of the variance is lost), large enough to be used.
GAIN = 0.5


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

    # Of the rows that are trained on; the plain call never corrupts.
    corruption: Corruption | None

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, n_components: int
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.n_components = n_components
        self.corruption = None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reconstruction (n, n_features) and the code (n, n_components)."""
        z = self.encoder(x)
        return self.decoder(z), z

    def corrupt(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Rows (n, n_features) as the encoder gets them in training."""
        return x if self.corruption is None else self.corruption(x, generator)

    @classmethod
    def random(
        cls,
        sizes: Sequence[int],
        activation: str,
        *,
        squash: bool = False,
        generator: torch.Generator,
    ) -> "Autoencoder":
        """The ordinary autoencoder: ``sizes`` there and back, random weights.

        With ``squash`` the code ends in a sigmoid.
        """
        encoder: nn.Module = MLP(sizes, activation, generator=generator)
        if squash:
            encoder = nn.Sequential(encoder, nn.Sigmoid())
        decoder = MLP(sizes[::-1], activation, generator=generator)
        return cls(encoder, decoder, sizes[-1])

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
        squash: bool = False,
        generator: torch.Generator,
    ) -> "Autoencoder":
        """An autoencoder that starts as ``x -> mean + (x - mean) axes.T axes``.

        With ``squash`` it starts near that: component t of the code is
        ``sigmoid(GAIN t / scale)``, of which the decoder takes the tangent at 1/2.

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
        # What the encoder's linear path gives out, and the code that becomes of it.
        gain = GAIN / scales if squash else torch.ones_like(scales)
        slope, rest = (0.25, 0.5) if squash else (1.0, 0.0)
        encoder: nn.Module = CorrectedLinear(
            _linear(gain[:, None] * axes, gain * (axes @ (centre - mean))),
            ResidualMLP(sizes, activation, generator=generator),
            shift_in=centre,
            scale_in=spread,
            scale_out=gain * scales,
        )
        if squash:
            encoder = nn.Sequential(encoder, nn.Sigmoid())
        decoder = CorrectedLinear(
            _linear(axes.T / (slope * gain), mean),
            ResidualMLP(sizes[::-1], activation, generator=generator),
            shift_in=torch.full_like(scales, rest),
            scale_in=slope * gain * scales,
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
