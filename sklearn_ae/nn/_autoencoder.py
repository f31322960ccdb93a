"""The autoencoder: an encoder and a decoder, each a linear plus a nonlinear path."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from sklearn_ae.nn._latent import GaussianEncoder, draw
from sklearn_ae.nn._levels import N_LEVEL_FEATURES, LevelFeatures, WienerEncoder
from sklearn_ae.nn._mlp import EmptyLinear

# Of the sigmoid in a code that starts at PCA, for a component of unit variance: small
# enough to be nearly straight, large enough to be used. Of a normal component half a
# percent of the variance is lost, of one with heavy tails more.
GAIN = 0.5


class Architecture(Protocol):
    """Makes the nonlinear parts of an autoencoder of rows of ``n_features``."""

    n_features: int

    def encoder(
        self,
        n_out: int,
        *,
        at_zero: bool,
        n_noise_features: int = 0,
        components: Tensor | None = None,
    ) -> nn.Module:
        """What maps (n, n_features + n_noise_features) to (n, n_out).

        ``at_zero``: its output is zero at the start. ``components``, of shape
        (n_out, n_features), are the directions of the code, if it has any.
        """

    def decoder(self, n_in: int, *, at_zero: bool) -> nn.Module:
        """What maps (n, n_in) to (n, n_features)."""

    def is_done_by_encoder(self, n_components: int) -> bool:
        """Whether a code of that size leaves nothing for a decoder to correct."""


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

    # Of the likelihood, where the code is a distribution.
    noise_variance: Tensor

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, n_components: int
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.n_components = n_components
        self.register_buffer("noise_variance", torch.tensor(1.0))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reconstruction (n, n_features) and the code (n, n_components)."""
        z = self.encoder(x)
        return self.decoder(z), z

    @property
    def is_noise_conditional(self) -> bool:
        """Whether the encoder takes the level of the noise on each row."""
        return isinstance(self.encoder, WienerEncoder)

    def denoise(self, x: Tensor, levels: Tensor) -> Tensor:
        """Reconstruction (n, n_features) of rows with noise of ``levels`` (n, 1)."""
        z = self.encoder(x, levels) if self.is_noise_conditional else self.encoder(x)
        return self.decoder(z)

    def draw(
        self, x: Tensor, generator: torch.Generator, levels: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return a reconstruction as in training, the code and its log-variance.

        Where the code is a distribution, the reconstruction is from one draw of it and
        the code is its mean; else there is no variance. ``levels``, of shape (n, 1),
        are of the noise on x, for an encoder that is told them.
        """
        if self.is_noise_conditional:
            z = self.encoder(x, levels)
            return self.decoder(z), z, None
        if not isinstance(self.encoder, GaussianEncoder):
            return *self(x), None
        mean, log_variance = self.encoder.moments(x)
        return self.decoder(draw(mean, log_variance, generator)), mean, log_variance

    def draw_code(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """One draw of the code (n, n_components), where it is a distribution."""
        if not isinstance(self.encoder, GaussianEncoder):
            return self.encoder(x)
        return draw(*self.encoder.moments(x), generator)

    @classmethod
    def random(
        cls, architecture: Architecture, n_components: int, *, code: str = "plain"
    ) -> "Autoencoder":
        """The ordinary autoencoder: an encoder and a decoder with random weights.

        ``code`` is "plain", "sigmoid" or "gaussian".
        """
        n_code = _n_outputs(n_components, code)
        encoder = CODES[code](architecture.encoder(n_code, at_zero=False))
        decoder = architecture.decoder(n_components, at_zero=False)
        return cls(encoder, decoder, n_components)

    @classmethod
    def around_linear(
        cls,
        architecture: Architecture,
        *,
        mean: Tensor,
        centre: Tensor,
        spread: Tensor,
        components: Tensor,
        component_std: Tensor,
        noise_variance: float = 0.0,
        code: str = "plain",
    ) -> "Autoencoder":
        """An autoencoder that starts at PCA: ``x -> mean + (x - mean) C.T C``.

        Parameters
        ----------
        architecture : Architecture
            Of the corrections.
        mean : Tensor of shape (n_features,)
            Of the rows that the axes are of.
        centre, spread : Tensor of shape (n_features,)
            Mean and standard deviation of the features in training; the latter
            positive, and infinite for a feature that is constant there.
        axes : Tensor of shape (n_components, n_features)
            Orthonormal rows, or zeros where there is no further direction.
        scales : Tensor of shape (n_components,)
            Standard deviation of each component's code, positive.
        noise_variance : float
            Mean variance along the directions that are left out; of a "gaussian" code
            only.
        code : {"plain", "sigmoid", "gaussian"}
            "sigmoid" starts near PCA: a component t of its code becomes
            ``sigmoid(GAIN t / scale)``, of which the decoder takes the tangent at 1/2.
            "gaussian" starts as probabilistic PCA with its exact posterior (Tipping and
            Bishop, 1999. Journal of the Royal Statistical Society B 61(3)).
        """
        start = _LINEAR_STARTS[code](component_std, noise_variance)
        weight = start.gain[:, None] * components
        bias, scale_out = weight @ (centre - mean), start.scale_out
        if code == "gaussian":
            weight = torch.cat([weight, torch.zeros_like(weight)])
            variance = component_std.square().clamp(min=noise_variance)
            bias = torch.cat([bias, (noise_variance / variance).log()])
            scale_out = torch.cat([scale_out, torch.ones_like(scale_out)])
        correction = architecture.encoder(
            len(weight),
            at_zero=True,
            components=components if code == "plain" else None,
        )
        network = CorrectedLinear(
            _linear(weight, bias),
            correction,
            shift_in=centre,
            scale_in=spread,
            scale_out=scale_out,
        )
        back = _linear(components.T * start.gain_back, mean)
        decoder: nn.Module = back
        if code != "plain" or not architecture.is_done_by_encoder(len(components)):
            decoder = CorrectedLinear(
                back,
                architecture.decoder(len(components), at_zero=True),
                shift_in=start.rest,
                scale_in=start.scale,
                scale_out=torch.where(spread.isfinite(), spread, 1.0),
            )
        module = cls(CODES[code](network), decoder, len(components))
        module.noise_variance.fill_(noise_variance)
        return module

    @classmethod
    def around_wiener(
        cls,
        architecture: Architecture,
        *,
        mean: Tensor,
        centre: Tensor,
        spread: Tensor,
        components: Tensor,
        component_std: Tensor,
        noise: Tensor,
        levels: tuple[float, float],
    ) -> "Autoencoder":
        """An autoencoder that is told the noise's level and starts as Wiener's filter.

        Parameters
        ----------
        architecture, mean, centre, spread, axes, scales
            As of ``around_linear``.
        noise : Tensor of shape (n_features,)
            Standard deviation of noise of level 1.
        levels : (float, float)
            The least and the greatest.
        """
        correction = architecture.encoder(
            len(components),
            at_zero=True,
            n_noise_features=N_LEVEL_FEATURES,
            components=components,
        )
        encoder = WienerEncoder(
            _linear(components, components @ (centre - mean)),
            correction,
            LevelFeatures(*levels),
            shift_in=centre,
            scale_in=spread,
            variance=component_std.square(),
            noise_variance=components.square() @ noise.to(components).square(),
        )
        back = _linear(components.T, mean)
        decoder: nn.Module = back
        # A code of all there is needs no more to be undone.
        if len(components) < architecture.n_features:
            decoder = CorrectedLinear(
                back,
                architecture.decoder(len(components), at_zero=True),
                shift_in=torch.zeros_like(component_std),
                scale_in=component_std,
                scale_out=torch.where(spread.isfinite(), spread, 1.0),
            )
        return cls(encoder, decoder, len(components))


def _n_outputs(n_components: int, code: str) -> int:
    """How many outputs of an encoder the code is made of."""
    return 2 * n_components if code == "gaussian" else n_components


class _LinearStart(NamedTuple):
    """Gains there and back of a linear start; of its code the rest and the scale.

    Each is of shape (n_components,), ``scale_out`` of what becomes the code.
    """

    gain: Tensor
    gain_back: Tensor
    rest: Tensor
    scale: Tensor
    scale_out: Tensor


def _plain_start(component_std: Tensor, noise_variance: float) -> _LinearStart:
    one = torch.ones_like(component_std)
    return _LinearStart(one, one, 0 * one, component_std, component_std)


def _sigmoid_start(component_std: Tensor, noise_variance: float) -> _LinearStart:
    one, slope = torch.ones_like(component_std), 0.25 * GAIN
    back = component_std / slope
    return _LinearStart(GAIN / component_std, back, 0.5 * one, slope * one, GAIN * one)


def _gaussian_start(component_std: Tensor, noise_variance: float) -> _LinearStart:
    one = torch.ones_like(component_std)
    variance = component_std.square().clamp(min=noise_variance)
    root = (variance - noise_variance).sqrt()
    return _LinearStart(root / variance, root, 0 * one, one, one)


_LINEAR_STARTS: dict[str, Callable[[Tensor, float], _LinearStart]] = {
    "plain": _plain_start,
    "sigmoid": _sigmoid_start,
    "gaussian": _gaussian_start,
}
# What the last layer's output becomes.
CODES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "plain": lambda network: network,
    "sigmoid": lambda network: nn.Sequential(network, nn.Sigmoid()),
    "gaussian": GaussianEncoder,
}


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    n_out, n_in = weight.shape
    layer = EmptyLinear(n_in, n_out)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return layer
