"""Noise-conditional encoders."""

import math

import torch
from torch import Tensor, nn

from sklearn_ae.nn._mlp import Backward, EmptyLinear, ForwardBackward

N_LEVEL_FEATURES = 4


class LevelFeatures(nn.Module):
    """Smooth functions of a noise level between ``low`` and ``high``.

    Parameters
    ----------
    low, high : float
    """

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, level: Tensor) -> Tensor:
        """Map levels (n, 1) to (n, 4)."""
        level = level.clamp(self.low, self.high)
        t = 2 * (level / self.low).log() / math.log(self.high / self.low) - 1
        angle = math.pi * t
        return torch.cat([t, t.square() - 1 / 3, angle.cos(), angle.sin()], dim=1)


class WienerEncoder(nn.Module):
    """The linear code that undoes noise of a given level best, plus a correction.

    Along a principal axis of variance ``v``, noise of variance ``s^2`` leaves of a
    normal component the posterior mean ``v / (v + s^2)`` times its noisy value, and the
    posterior standard deviation ``s sqrt(v / (v + s^2))``, which is the correction's
    unit. At level 0 this is PCA.

    Parameters
    ----------
    linear : nn.Linear
        From n_features to n_components: PCA's projection.
    correction : nn.Module
        From n_features + 4 to n_components.
    features : LevelFeatures
    shift_in, scale_in : Tensor of shape (n_features,)
        Centre and standard deviation of the features.
    variance : Tensor of shape (n_components,)
        Along each axis, of the rows.
    noise_variance : Tensor of shape (n_components,)
        Along each axis, of noise of level 1.

    References
    ----------
    Wiener, N. (1949). Extrapolation, interpolation, and smoothing of stationary time
    series. MIT Press. Karras, T., et al. (2022). Elucidating the design space of
    diffusion-based generative models. NeurIPS.
    """

    shift_in: Tensor
    scale_in: Tensor
    variance: Tensor
    noise_variance: Tensor

    def __init__(
        self,
        linear: EmptyLinear,
        correction: nn.Module,
        features: LevelFeatures,
        *,
        shift_in: Tensor,
        scale_in: Tensor,
        variance: Tensor,
        noise_variance: Tensor,
    ) -> None:
        super().__init__()
        self.linear = linear
        self.correction = correction
        self.features = features
        self.register_buffer("shift_in", shift_in.to(torch.float32))
        self.register_buffer("scale_in", scale_in.to(torch.float32))
        self.register_buffer("variance", variance.to(torch.float32))
        self.register_buffer("noise_variance", noise_variance.to(torch.float32))

    def forward(self, x: Tensor, level: Tensor | None = None) -> Tensor:
        """Code (n, n_components) of rows (n, n_features) with noise of levels (n, 1).

        Without levels, it is the lowest.
        """
        u, v, signal, unit = self.inputs(x, level)
        return self.linear(u) * signal + unit * self.correction(v)

    def make_forward_backward(self) -> ForwardBackward:
        """Return ``forward`` with its backward pass; no gradient by the rows."""
        linear = self.linear.make_forward_backward()
        correction = self.correction.make_forward_backward()  # type: ignore[operator]

        def forward_backward(
            x: Tensor, level: Tensor | None = None
        ) -> tuple[Tensor, Backward]:
            u, v, signal, unit = self.inputs(x, level)
            y, linear_backward = linear(u)
            c, correction_backward = correction(v)

            def backward(grad: Tensor, wants_input: bool) -> None:
                assert not wants_input  # nothing comes before an encoder
                linear_backward(grad * signal, False)
                correction_backward(grad * unit, False)

            return y * signal + unit * c, backward

        return forward_backward

    def inputs(
        self, x: Tensor, level: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Inputs of the linear path and of the correction, and the factor of each."""
        if level is None:
            level = torch.full_like(x[:, :1], self.features.low)
        u = x - self.shift_in
        noise = level.square() * self.noise_variance
        signal = self.variance / (self.variance + noise).clamp(min=1e-30)
        shrunk = u / self.scale_in / (1 + level.square()).sqrt()
        v = torch.cat([shrunk, self.features(level)], dim=1)
        return u, v, signal, (noise * signal).sqrt()
