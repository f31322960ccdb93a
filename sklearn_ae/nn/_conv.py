"""Convolutional networks on flat rows: images, and signals as images of height 1.

Along a side of length 1 every kernel has size 1 and every stride is 1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn

from sklearn_ae.nn._mlp import ACTIVATIONS, EmptyLinear

Sides = tuple[int, int]


@dataclass(frozen=True)
class ConvArchitecture:
    """Strided residual convolutions on rows that are images or signals.

    A code as large as a row is made by a U-Net, at the image's resolution.

    Attributes
    ----------
    shape : (int, int, int)
        Channels, height and width; the height of a signal is 1.
    channels : sequence of int
        Channels of each encoder stage; a stage halves the resolution, rounded up. The
        decoder has them in reverse.
    activation : str
        A key of ``ACTIVATIONS``.
    generator : torch.Generator
        Source of the initial weights; the global generator is not used.
    """

    shape: tuple[int, int, int]
    channels: Sequence[int]
    activation: str
    generator: Generator

    @property
    def n_features(self) -> int:
        """Number of values in an image."""
        return math.prod(self.shape)

    @property
    def sides(self) -> list[Sides]:
        """Height and width of the image and after each stage."""
        sides = [self.shape[1:]]
        for _ in self.channels:
            height, width = sides[-1]
            sides.append((-(-height // 2), -(-width // 2)))
        return sides

    @property
    def n_lowest(self) -> int:
        """Number of features at the lowest resolution."""
        return self.channels[-1] * math.prod(self.sides[-1])

    def encoder(
        self,
        n_out: int,
        *,
        at_zero: bool,
        n_noise_features: int = 0,
        components: Tensor | None = None,
    ) -> nn.Module:
        """Build an encoder; a U-Net and a rotation if the code is as large as a row."""
        if components is None or not self.is_done_by_encoder(n_out):
            return ConvEncoder(
                self, n_out, n_noise_features=n_noise_features, at_zero=at_zero
            )
        rotation = EmptyLinear(self.n_features, n_out)
        with torch.no_grad():
            rotation.weight.copy_(components)
            rotation.bias.zero_()
        unet = ConvFilter(self, n_noise_features=n_noise_features, at_zero=at_zero)
        return nn.Sequential(unet, rotation)

    def decoder(self, n_in: int, *, at_zero: bool) -> nn.Module:
        """Build a decoder."""
        return ConvDecoder(self, n_in, at_zero=at_zero)

    def is_done_by_encoder(self, n_components: int) -> bool:
        """True if the code is as large as a row."""
        return n_components == self.n_features


class ConvEncoder(nn.Module):
    """Strided residual convolutions and a linear layer: images to codes.

    Parameters
    ----------
    plan : ConvArchitecture
    n_out : int
        Length of a code.
    n_noise_features : int
        Number of noise features at the end of a row; each becomes a constant channel.
    at_zero : bool
        If True, the last layer's initial weights are zero.
    """

    def __init__(
        self,
        plan: ConvArchitecture,
        n_out: int,
        *,
        n_noise_features: int = 0,
        at_zero: bool,
    ) -> None:
        super().__init__()
        self.down = _Down(plan, n_noise_features)
        self.last = EmptyLinear(plan.n_lowest, n_out)
        _draw(self, plan.generator, zero=self.last if at_zero else None)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, n_features + n_noise_features) to (n, n_out)."""
        h = self.down(x)[-1]
        return self.last(self.down.activation(h).flatten(1))


class ConvDecoder(nn.Module):
    """A linear layer and residual transposed convolutions: codes to images.

    Parameters
    ----------
    plan : ConvArchitecture
    n_in : int
        Length of a code.
    at_zero : bool
        If True, the last layer's initial weights are zero.
    """

    def __init__(self, plan: ConvArchitecture, n_in: int, *, at_zero: bool) -> None:
        super().__init__()
        self.first = EmptyLinear(n_in, plan.n_lowest)
        self.lowest = (plan.channels[-1], *plan.sides[-1])
        self.up = _Up(plan)
        _draw(self, plan.generator, zero=self.up.doubles[-1] if at_zero else None)

    def forward(self, z: Tensor) -> Tensor:
        """Map (n, n_in) to (n, n_features)."""
        h = self.first(z).unflatten(1, self.lowest)
        return self.up(h.contiguous(memory_format=torch.channels_last), ())


class ConvFilter(nn.Module):
    """A U-Net, images to images.

    Parameters
    ----------
    plan : ConvArchitecture
    n_noise_features : int
        As in ``ConvEncoder``.
    at_zero : bool
        If True, the last layer's initial weights are zero.

    References
    ----------
    Ronneberger, O., Fischer, P. and Brox, T. (2015). U-Net: convolutional networks for
    biomedical image segmentation. MICCAI. NOTE: features are added, not concatenated.
    """

    def __init__(
        self, plan: ConvArchitecture, *, n_noise_features: int = 0, at_zero: bool
    ) -> None:
        super().__init__()
        self.down = _Down(plan, n_noise_features)
        self.up = _Up(plan)
        _draw(self, plan.generator, zero=self.up.doubles[-1] if at_zero else None)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, n_features + n_noise_features) to (n, n_features)."""
        *features, lowest = self.down(x)
        return self.up(lowest, features[::-1])


class _Down(nn.Module):
    """The contracting path: an image to features at each resolution."""

    def __init__(self, plan: ConvArchitecture, n_noise_features: int) -> None:
        super().__init__()
        self.shape = plan.shape
        self.activation = ACTIVATIONS[plan.activation]()
        widths = [plan.shape[0] + n_noise_features, *plan.channels]
        # The first convolution sees few channels: a larger kernel costs little there.
        kernels = [5, *[3] * (len(plan.channels) - 1)]
        self.halves = nn.ModuleList(
            _EmptyConv(*ends, _along(sides, kernel), _along(sides, 2))
            for ends, sides, kernel in zip(
                pairwise(widths), plan.sides[:-1], kernels, strict=True
            )
        )
        self.residuals = nn.ModuleList(
            _Residual(n, sides, self.activation)
            for n, sides in zip(plan.channels, plan.sides[1:], strict=True)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map (n, n_features + n_noise_features) to features of each stage."""
        h = self._image(x)
        features: list[Tensor] = []
        for half, residual in zip(self.halves, self.residuals, strict=True):
            h = half(self.activation(h) if features else h)
            # Convolutions are faster in the channels-last layout.
            h = residual(h.contiguous(memory_format=torch.channels_last))
            features.append(h)
        return features

    def _image(self, x: Tensor) -> Tensor:
        n_features = math.prod(self.shape)
        image = x[:, :n_features].unflatten(1, self.shape)
        if x.shape[1] == n_features:
            return image
        # A noise level map: one constant channel per feature (Zhang, K., Zuo, W. and
        # Zhang, L., 2018. FFDNet. IEEE Transactions on Image Processing 27(9)).
        noise_map = x[:, n_features:, None, None].expand(-1, -1, *self.shape[1:])
        return torch.cat([image, noise_map], dim=1)


class _Up(nn.Module):
    """The expanding path: features at the lowest resolution to an image."""

    def __init__(self, plan: ConvArchitecture) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[plan.activation]()
        self.sides = plan.sides[-2::-1]
        widths = [*plan.channels[::-1], plan.shape[0]]
        self.residuals = nn.ModuleList(
            _Residual(n, sides, self.activation)
            for n, sides in zip(widths[:-1], plan.sides[:0:-1], strict=True)
        )
        self.doubles = nn.ModuleList(
            _EmptyConvTranspose(*ends, sides)
            for ends, sides in zip(pairwise(widths), self.sides, strict=True)
        )

    def forward(self, h: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Map (n, c, h, w) to (n, n_features).

        ``features`` are the skip connections, lowest resolution first, or empty.
        """
        for i, (residual, double) in enumerate(
            zip(self.residuals, self.doubles, strict=True)
        ):
            height, width = self.sides[i]
            h = double(self.activation(residual(h)))[..., :height, :width]
            if i < len(features):
                h = h + features[i]
        return h.flatten(1)


class _Residual(nn.Module):
    """``h + W2 act(W1 act(h))``: pre-activation, without normalisation.

    References
    ----------
    He, K., et al. (2016). Identity mappings in deep residual networks. ECCV.
    """

    def __init__(self, n_channels: int, sides: Sides, activation: nn.Module) -> None:
        super().__init__()
        kernel = _along(sides, 3)
        self.first = _EmptyConv(n_channels, n_channels, kernel, (1, 1))
        self.second = _EmptyConv(n_channels, n_channels, kernel, (1, 1))
        self.activation = activation

    def forward(self, h: Tensor) -> Tensor:
        """Map (n, c, h, w) to the same shape."""
        act = self.activation
        return h + self.second(act(self.first(act(h))))


class _EmptyConv(nn.Conv2d):
    """A float32 ``Conv2d`` with uninitialised weights, which draws nothing."""

    def __init__(self, n_in: int, n_out: int, kernel: Sides, stride: Sides) -> None:
        padding = kernel[0] // 2, kernel[1] // 2
        super().__init__(
            n_in, n_out, kernel, stride, padding, device="cpu", dtype=torch.float32
        )

    def reset_parameters(self) -> None:
        """Draw nothing."""


class _EmptyConvTranspose(nn.ConvTranspose2d):
    """A transposed convolution up to ``sides``, with uninitialised weights."""

    def __init__(self, n_in: int, n_out: int, sides: Sides) -> None:
        # A kernel that is a multiple of the stride leaves no checkerboard: each output
        # gets as many taps (Odena, A., et al., 2016. Deconvolution and checkerboard
        # artifacts. Distill).
        kernel, stride = _along(sides, 4), _along(sides, 2)
        padding = (kernel[0] - stride[0]) // 2, (kernel[1] - stride[1]) // 2
        super().__init__(
            n_in, n_out, kernel, stride, padding, device="cpu", dtype=torch.float32
        )

    def reset_parameters(self) -> None:
        """Draw nothing."""


def _along(sides: Sides, n: int) -> Sides:
    """Return ``n`` for each side above 1, and 1 for the others."""
    return (n if sides[0] > 1 else 1), (n if sides[1] > 1 else 1)


def _draw(module: nn.Module, generator: Generator, *, zero: nn.Module | None) -> None:
    """Draw weights as torch's layers do, except for ``zero``; biases are zero."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            if part is zero:
                nn.init.zeros_(part.weight)
            else:
                nn.init.kaiming_uniform_(
                    part.weight, a=math.sqrt(5), generator=generator
                )
            assert part.bias is not None
            nn.init.zeros_(part.bias)
