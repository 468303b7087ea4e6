"""Nonlinear measurements.

PhaseRetrieval      y = |F(pad(x))|                              the magnitude of frequencies
HighDynamicRange    y = clip(a (x - 1/2) + 1/2, 0, 1)            over- and underexposure
GammaCurve          y = ((|x| + e)^g - e^g) / ((1 + e)^g - e^g), with the sign of x: tone, 0 -> 0, 1 -> 1
NonlinearBlur       y = g^-1(k * g(x)), g a gamma curve          blur in linear light, then a tone curve
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ..checks import number
from ..unknowns import Unknown, Unknowns
from .base import Operator
from .blurs.blur import Blur
from .blurs.borders import Border
from .shapes import image_shape

TOE = 1e-3
"""Offset that keeps the slope of a gamma curve finite at black."""


class PhaseRetrieval(Operator):
    """Magnitude of the orthonormal Fourier transform of the zero-padded image, frequency zero in the centre.

    Args:
        in_shape: shape of one image, `(C, H, W)`.
        oversampling: `int(oversampling / 8 * H)` zeros are added on each side, and likewise for `W`; 2 is usual and
            makes 256 pixels 384.

    Raises:
        ValueError: a negative oversampling.

    References:
        Diffusion posterior sampling for general noisy inverse problems (Chung et al., 2023),
        https://arxiv.org/abs/2209.14687, its experiments; the padding is that of its code. Differs: images lie in [0,
        1].

    Example:
        >>> PhaseRetrieval((3, 256, 256)).out_shape
        (3, 384, 384)
    """

    name = "phase_retrieval"
    summary = "magnitude of the oversampled Fourier transform"

    def __init__(self, in_shape: tuple[int, ...], *, oversampling: float = 2.0) -> None:
        self.in_shape = image_shape("PhaseRetrieval", in_shape)
        number("PhaseRetrieval: oversampling", oversampling, 0)
        c, h, w = self.in_shape
        self._pad = int(oversampling / 8 * h), int(oversampling / 8 * w)
        self.out_shape = (c, h + 2 * self._pad[0], w + 2 * self._pad[1])

    def forward(self, x: Tensor) -> Tensor:
        """Return the magnitudes, `(B, C, H', W')`."""
        top, left = self._pad
        z: Tensor = torch.fft.fft2(torch.nn.functional.pad(x, (left, left, top, top)), norm="ortho")
        magnitude: Tensor = torch.fft.fftshift(z.abs(), (-2, -1))
        return magnitude


class HighDynamicRange(Operator):
    """Contrast beyond the range of the sensor: `y = clip(a (x - 1/2) + 1/2, 0, 1)`.

    Args:
        in_shape: shape of one image, `(C, H, W)`.
        gain: `a`, positive; 2 is the published `clip(2 x, -1, 1)` on images in [-1, 1].

    Raises:
        ValueError: a gain that is not positive.

    References:
        Improving Diffusion Inverse Problem Solving with Decoupled Noise Annealing (Zhang et al., 2025),
        https://arxiv.org/abs/2407.01521, its experiments.

    Example:
        >>> import torch
        >>> HighDynamicRange((1, 1, 3))(torch.tensor([[[[0.0, 0.5, 0.6]]]]))
        tensor([[[[0.0000, 0.5000, 0.7000]]]])
    """

    name = "high_dynamic_range"
    summary = "contrast clipped to [0, 1]"
    photographic = True

    def __init__(self, in_shape: tuple[int, ...], *, gain: float = 2.0) -> None:
        self.in_shape = self.out_shape = image_shape("HighDynamicRange", in_shape)
        self.gain = number("HighDynamicRange: gain", gain, positive=True, expected="a positive number")

    def forward(self, x: Tensor) -> Tensor:
        """Return the clipped image, `(B, C, H, W)`."""
        return (self.gain * (x - 0.5) + 0.5).clamp(0, 1)

    def _describe(self) -> str:
        return f"gain {self.gain:g}"


class GammaCurve(Operator):
    """A tone curve, `y = x^g` with a finite slope at black; an odd function.

    Args:
        in_shape: shape of one image, `(C, H, W)`.
        gamma: `g`, positive; above 1 darkens.

    Raises:
        ValueError: a gamma that is not positive.

    Example:
        >>> import torch
        >>> GammaCurve((1, 1, 2), gamma=2.0)(torch.tensor([[[[0.5, 1.0]]]])).round(decimals=3)
        tensor([[[[0.2500, 1.0000]]]])
    """

    name = "gamma_curve"
    summary = "a tone curve"
    photographic = True
    ranges: ClassVar[Unknowns] = {"gamma": Unknown(0.4, 3.0, "log_uniform")}

    def __init__(self, in_shape: tuple[int, ...], *, gamma: float = 2.2) -> None:
        self.in_shape = self.out_shape = image_shape("GammaCurve", in_shape)
        self.gamma = number("GammaCurve: gamma", gamma, positive=True, expected="a positive number")

    def forward(self, x: Tensor) -> Tensor:
        """Return the curve of `x`, `(B, C, H, W)`."""
        low, high = TOE**self.gamma, (1 + TOE) ** self.gamma
        # The sign is a constant factor, because |x| has no derivative at zero.
        magnitude = torch.where(x < 0, -x, x)
        y = ((magnitude + TOE) ** self.gamma - low) / (high - low)
        return torch.where(x < 0, -y, y)

    def inverse(self, y: Tensor) -> Tensor:
        """Return the inverse of the curve."""
        low, high = TOE**self.gamma, (1 + TOE) ** self.gamma
        magnitude = torch.where(y < 0, -y, y)
        x = (magnitude * (high - low) + low) ** (1 / self.gamma) - TOE
        return torch.where(y < 0, -x, x)

    def _describe(self) -> str:
        return f"gamma {self.gamma:g}"


class NonlinearBlur(Operator):
    """Blur in linear light, then a camera's tone curve: `y = g^-1(k * g(x))`.

    Args:
        in_shape: shape of one image, `(C, H, W)`.
        kernel: point-spread function, as for `Blur`.
        gamma: exponent of the curve `g` from pixel values to light, positive.
        border: extension of the image, as for `Blur`.

    Raises:
        ValueError: a gamma that is not positive, or an argument that `Blur` refuses.

    Example:
        >>> import torch
        >>> A = NonlinearBlur((1, 4, 4), kernel=torch.ones(3, 3) / 9)
        >>> A(torch.full((1, 1, 4, 4), 0.3)).mean().round(decimals=4)
        tensor(0.3000)
    """

    name = "nonlinear_blur"
    summary = "blur in linear light behind a camera's tone curve"
    photographic = True

    def __init__(
        self, in_shape: tuple[int, ...], *, kernel: Tensor, gamma: float = 2.2, border: Border = "reflect"
    ) -> None:
        self._blur = Blur(in_shape, kernel=kernel, border=border)
        self._curve = GammaCurve(in_shape, gamma=gamma)
        self.in_shape, self.out_shape = self._blur.in_shape, self._blur.out_shape

    def forward(self, x: Tensor) -> Tensor:
        """Return the blurred image, `(B, *out_shape)`."""
        return self._curve.inverse(self._blur.forward(self._curve.forward(x)))

    def _describe(self) -> str:
        return f"gamma {self._curve.gamma:g}, {self._blur.border}"
