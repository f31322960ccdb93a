"""An architecture given as a function: the user's encoder and decoder."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sklearn_ae.nn._generator_mode import GeneratorMode

# (n_features, n_components) -> (encoder, decoder)
Build = Callable[[int, int], tuple[nn.Module, nn.Module]]


@dataclass(frozen=True)
class CallableArchitecture:
    """Encoder and decoder that a user's function builds.

    Attributes
    ----------
    build : callable
        ``(n_features, n_components) -> (encoder, decoder)``.
    n_features : int
    generator : torch.Generator
        Random initial weights are drawn from it.
    """

    build: Build
    n_features: int
    generator: Generator

    def encoder(
        self,
        n_out: int,
        *,
        at_zero: bool,
        n_noise_features: int = 0,
        components: Tensor | None = None,
    ) -> nn.Module:
        """Build the encoder; it cannot be conditional on the noise level."""
        assert n_noise_features == 0
        return self._network(n_out, 0, at_zero)

    def decoder(self, n_in: int, *, at_zero: bool) -> nn.Module:
        """Build the decoder."""
        return self._network(n_in, 1, at_zero)

    def is_done_by_encoder(self, n_components: int) -> bool:
        """Return False: the encoder alone never makes the reconstruction."""
        return False

    def _network(self, n_code: int, which: int, at_zero: bool) -> nn.Module:
        n_out = (n_code, self.n_features)[which]
        # The function may return the same module at each call: train a copy.
        network = copy.deepcopy(self._built(n_code)[which]).float()
        _refuse(network, (self.n_features, n_code)[which], n_out, which)
        return Gated(network, n_out) if at_zero else network

    def _built(self, n_code: int) -> tuple[nn.Module, nn.Module]:
        if isinstance(self.build, nn.Module):
            raise ValueError(
                "architecture must be a function of n_features and n_components that "
                f"returns an encoder and a decoder, got the module {self.build!r}."
            )
        with GeneratorMode(self.generator):
            built = self.build(self.n_features, n_code)
        pair = isinstance(built, tuple | list) and len(built) == 2
        if not pair or not all(isinstance(part, nn.Module) for part in built):
            raise ValueError(
                "architecture must return an encoder and a decoder, two torch modules, "
                f"got {built!r}."
            )
        return built[0], built[1]


class Gated(nn.Module):
    """A network whose outputs are multiplied by learned gates that start at zero.

    References
    ----------
    Bachlechner, T., et al. (2021). ReZero is all you need. UAI.
    """

    def __init__(self, network: nn.Module, n_out: int) -> None:
        super().__init__()
        self.network = network
        self.gate = nn.Parameter(torch.zeros(n_out, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, n_in) to (n, n_out)."""
        return self.gate * self.network(x)


def _refuse(network: nn.Module, n_in: int, n_out: int, which: int) -> None:
    """Raise ValueError for a network with batch statistics or a wrong output shape."""
    name = f"The {('encoder', 'decoder')[which]} that architecture returned"
    for part in network.modules():
        if isinstance(part, _BatchNorm) or getattr(part, "track_running_stats", False):
            raise ValueError(
                f"{name} has a {type(part).__name__}: a row's code would depend on the "
                "rows beside it, or on running statistics, which are not those of the "
                "best weights. Use LayerNorm or GroupNorm."
            )
    try:
        with torch.no_grad(), GeneratorMode(Generator()):
            out = network(torch.zeros(3, n_in, dtype=torch.float32))
        got = tuple(getattr(out, "shape", [type(out).__name__]))
    except Exception as error:
        raise ValueError(
            f"{name} fails on rows of shape (3, {n_in}): {error}"
        ) from error
    if got != (3, n_out):
        raise ValueError(
            f"{name} maps rows of shape (3, {n_in}) to {got}, which has to be "
            f"(3, {n_out}). With latent='gaussian' the encoder returns two numbers per "
            "component, mean and log-variance."
        )
