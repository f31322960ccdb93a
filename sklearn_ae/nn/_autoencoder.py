"""The autoencoder: an encoder and a decoder, each a linear plus a nonlinear path."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from sklearn_ae.nn._generator_mode import GeneratorMode
from sklearn_ae.nn._latent import GaussianEncoder, draw
from sklearn_ae.nn._levels import N_LEVEL_FEATURES, LevelFeatures, WienerEncoder
from sklearn_ae.nn._mlp import (
    DERIVATIVES,
    MLP,
    CorrectedLinear,
    EmptyLinear,
)

# A sigmoid code of a component of unit variance starts with this gain, at which it is
# nearly linear: half a percent of a normal component's variance is lost.
SIGMOID_GAIN = 0.5


class Architecture(Protocol):
    """Builds the nonlinear paths of an autoencoder of rows of ``n_features``."""

    n_features: int

    def encoder(
        self,
        n_out: int,
        *,
        at_zero: bool,
        n_noise_features: int = 0,
        components: Tensor | None = None,
    ) -> nn.Module:
        """Return a module from (n, n_features + n_noise_features) to (n, n_out).

        ``at_zero``: its output is zero at the start. ``components``, of shape
        (n_out, n_features), are the directions of the code, if it has any.
        """

    def decoder(self, n_in: int, *, at_zero: bool) -> nn.Module:
        """Return a module from (n, n_in) to (n, n_features)."""

    def is_done_by_encoder(self, n_components: int) -> bool:
        """True if the decoder of a code of that size needs no nonlinear path."""


class Autoencoder(nn.Module):
    """Encoder E and decoder D: ``forward(x) = D(E(x)), E(x)``.

    Parameters
    ----------
    encoder, decoder : nn.Module
        (n, n_features) to (n, n_components), and back.
    n_components : int
    """

    noise_variance: Tensor  # of the likelihood, if the code is a distribution

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

    def make_forward_backward(
        self,
    ) -> Callable[[Tensor, Tensor | None], tuple[Tensor, Callable[[Tensor], None]]]:
        """Return ``(x, levels) -> (x_hat, backward)``; see ``has_manual_backward``."""
        encoder = self.encoder.make_forward_backward()  # type: ignore[operator]
        decoder = self.decoder.make_forward_backward()  # type: ignore[operator]
        is_noise_conditional = self.is_noise_conditional

        def forward_backward(
            x: Tensor, levels: Tensor | None
        ) -> tuple[Tensor, Callable[[Tensor], None]]:
            z, encoder_backward = (
                encoder(x, levels) if is_noise_conditional else encoder(x)
            )
            x_hat, decoder_backward = decoder(z)
            return x_hat, lambda grad: encoder_backward(
                decoder_backward(grad, True), False
            )

        return forward_backward

    @property
    def has_manual_backward(self) -> bool:
        """True if ``make_forward_backward`` can be used in place of autograd."""
        parts = self.encoder, self.decoder
        return type(self) is Autoencoder and all(map(_has_manual_backward, parts))

    @property
    def is_noise_conditional(self) -> bool:
        """True if the encoder takes the level of the noise on each row."""
        return isinstance(self.encoder, WienerEncoder)

    def denoise(self, x: Tensor, levels: Tensor) -> Tensor:
        """Reconstruction (n, n_features) of rows with noise of ``levels`` (n, 1)."""
        z = self.encoder(x, levels) if self.is_noise_conditional else self.encoder(x)
        return self.decoder(z)

    def draw(
        self, x: Tensor, generator: torch.Generator, levels: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return a reconstruction as in training, the code and its log-variance.

        If the code is a distribution, the reconstruction is of one draw of it and the
        code is its mean; otherwise there is no variance. ``levels``, of shape (n, 1),
        are those of the noise on x, for a noise-conditional encoder.
        """
        if self.is_noise_conditional:
            z = self.encoder(x, levels)
            return self.decoder(z), z, None
        if not isinstance(self.encoder, GaussianEncoder):
            return *self(x), None
        mean, log_variance = self.encoder.moments(x)
        return self.decoder(draw(mean, log_variance, generator)), mean, log_variance

    def draw_code(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Code (n, n_components); one draw of it if it is a distribution."""
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
        pca_mean: Tensor,
        mean: Tensor,
        std: Tensor,
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
        pca_mean : Tensor of shape (n_features,)
            Mean of the rows that PCA was fitted to.
        mean, std : Tensor of shape (n_features,)
            Mean and standard deviation of the features in training; the latter
            positive, and infinite for a feature that is constant there.
        components : Tensor of shape (n_components, n_features)
            Orthonormal rows, or zeros where there is no further direction.
        component_std : Tensor of shape (n_components,)
            Standard deviation of each component's code, positive.
        noise_variance : float
            Mean variance along the directions that are left out; of a "gaussian" code
            only.
        code : {"plain", "sigmoid", "gaussian"}
            "sigmoid" starts near PCA: a component t of its code becomes
            ``sigmoid(SIGMOID_GAIN t / std)``, which the decoder inverts by its tangent.
            "gaussian" starts as probabilistic PCA with its exact posterior (Tipping and
            Bishop, 1999. Journal of the Royal Statistical Society B 61(3)).
        """
        start = _LINEAR_STARTS[code](component_std, noise_variance)
        weight = start.gain[:, None] * components
        bias, scale_out = weight @ (mean - pca_mean), start.scale_out
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
            shift_in=mean,
            scale_in=std,
            scale_out=scale_out,
        )
        back = _linear(components.T * start.gain_back, pca_mean)
        decoder: nn.Module = back
        if code != "plain" or not architecture.is_done_by_encoder(len(components)):
            decoder = CorrectedLinear(
                back,
                architecture.decoder(len(components), at_zero=True),
                shift_in=start.rest,
                scale_in=start.scale,
                scale_out=torch.where(std.isfinite(), std, 1.0),
            )
        module = cls(CODES[code](network), decoder, len(components))
        module.noise_variance.fill_(noise_variance)
        return module

    @classmethod
    def around_wiener(
        cls,
        architecture: Architecture,
        *,
        pca_mean: Tensor,
        mean: Tensor,
        std: Tensor,
        components: Tensor,
        component_std: Tensor,
        noise: Tensor,
        levels: tuple[float, float],
    ) -> "Autoencoder":
        """A noise-conditional autoencoder that starts as Wiener's filter.

        Parameters
        ----------
        architecture, pca_mean, mean, std, components, component_std
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
            _linear(components, components @ (mean - pca_mean)),
            correction,
            LevelFeatures(*levels),
            shift_in=mean,
            scale_in=std,
            variance=component_std.square(),
            noise_variance=components.square() @ noise.to(components).square(),
        )
        back = _linear(components.T, pca_mean)
        decoder: nn.Module = back
        # A code of all components is undone by the linear path.
        if len(components) < architecture.n_features:
            decoder = CorrectedLinear(
                back,
                architecture.decoder(len(components), at_zero=True),
                shift_in=torch.zeros_like(component_std),
                scale_in=component_std,
                scale_out=torch.where(std.isfinite(), std, 1.0),
            )
        return cls(encoder, decoder, len(components))


def _n_outputs(n_components: int, code: str) -> int:
    """Number of outputs of the encoder that make a code."""
    return 2 * n_components if code == "gaussian" else n_components


class _LinearStart(NamedTuple):
    """Constants (n_components,) of a linear start, by the kind of code.

    Gains of encoder and decoder, the code's mean and standard deviation, and the unit
    of the encoder's correction.
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
    one, slope = torch.ones_like(component_std), 0.25 * SIGMOID_GAIN
    back = component_std / slope
    return _LinearStart(
        SIGMOID_GAIN / component_std, back, 0.5 * one, slope * one, SIGMOID_GAIN * one
    )


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
# Codes made from the output of an encoder's last layer.
CODES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "plain": lambda network: network,
    "sigmoid": lambda network: nn.Sequential(network, nn.Sigmoid()),
    "gaussian": GaussianEncoder,
}


MANUAL = {EmptyLinear, MLP, CorrectedLinear, WienerEncoder}


def _has_manual_backward(part: nn.Module) -> bool:
    """True if an encoder or a decoder is on the CPU and each of its parts is known.

    A subclass may do anything, and is left to autograd. Hooks and frozen parameters are
    not looked for.
    """
    types = {type(module) for module in part.modules()}
    return (
        type(part) in MANUAL
        and types <= {*MANUAL, *DERIVATIVES, LevelFeatures, nn.ModuleList}
        and all(p.device.type == "cpu" for p in part.parameters())
    )


def plain_forward(part: nn.Module) -> Callable[..., Tensor]:
    """Return an encoder or a decoder without what torch wraps around its layers.

    Hooks are among it. A single row takes half of the time (50 microseconds in place of
    100 for a default encoder). A part without a manual backward pass is returned as is.
    """
    if not _has_manual_backward(part):
        return part
    forward_backward = part.make_forward_backward()  # type: ignore[operator]
    return lambda *args: forward_backward(*args)[0]


def _linear(weight: Tensor, bias: Tensor) -> EmptyLinear:
    n_out, n_in = weight.shape
    layer = EmptyLinear(n_in, n_out)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return layer


class Cost(NamedTuple):
    """Cost of a row's pass through encoder and decoder.

    Attributes
    ----------
    width : int
        Numbers in the widest layer.
    n_multiplications : int
    """

    width: int
    n_multiplications: int


def cost(module: Autoencoder, n_features: int) -> Cost:
    """Cost of an autoencoder, from its weights and, for convolutions, a trial pass."""
    width = max(p.shape[0] for p in module.parameters() if p.dim())
    n_multiplications = sum(p.numel() for p in module.parameters())
    for part, x, y in _convolved(module, n_features):
        width = max(width, y.numel())
        places = math.prod((x if isinstance(part, _ConvTransposeNd) else y).shape[2:])
        n_multiplications += part.weight.numel() * (places - 1)
    return Cost(width, n_multiplications)


def _convolved(
    module: Autoencoder, n_features: int
) -> list[tuple[_ConvNd, Tensor, Tensor]]:
    """Convolutions of an autoencoder, with their input and output for a row."""
    passes: list[tuple[_ConvNd, Tensor, Tensor]] = []

    def record(part: Any, args: tuple[Tensor, ...], y: Tensor) -> None:
        passes.append((part, args[0], y))

    parts = [part for part in module.modules() if isinstance(part, _ConvNd)]
    if not parts:
        return passes
    hooks = [part.register_forward_hook(record) for part in parts]
    try:
        # A user's network may have dropout.
        with torch.no_grad(), GeneratorMode(torch.Generator()):
            device = module.noise_variance.device
            module(torch.zeros(1, n_features, dtype=torch.float32, device=device))
    finally:
        for hook in hooks:
            hook.remove()
    return passes
