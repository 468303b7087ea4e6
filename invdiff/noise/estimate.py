"""Estimating the level of white noise in an image from second differences.

The response of an image to

    [ 1 -2  1]
    [-2  4 -2]
    [ 1 -2  1]

is near zero where the image is smooth, and has 6 times the standard deviation of white noise. Its median absolute value
over 0.6745 estimates that standard deviation. The median ignores edges and texture that fill less than half of the
image.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..errors import UserError

WEIGHTS = ((1.0, -2.0, 1.0), (-2.0, 4.0, -2.0), (1.0, -2.0, 1.0))
ROUNDING = 1 / 255 / math.sqrt(12)
"""Standard deviation of quantisation to 8 bits."""


def estimate_noise(y: Tensor, known: Tensor | None = None) -> float:
    """Estimate the standard deviation of white noise in an image: a photograph, blurred or not, or a sinogram.

    On twelve photographs of 400 x 400 pixels the median of the estimate is 1.8, 1.4, 1.17, 1.07, 1.02 times the true
    level for levels of 0.005, 0.01, 0.025, 0.05, 0.1, because fine texture counts as noise (at worst 6.6 times at 0.005
    and 1.7 times at 0.025). On the same photographs blurred with a standard deviation of 2 pixels it is within 1 per
    cent at all levels. The wavelet estimate of `skimage.restoration.estimate_sigma` agrees within 0.05, accepts no mask
    and needs PyWavelets.

    The estimate is valid for white noise only. It is too low for images that were compressed, denoised, resized or
    demosaiced after the noise was added, because neighbouring pixels then differ by less than the noise. For noise that
    grows with the intensity it gives an average. It does not apply to measurements without neighbouring pixels
    (spectra, random projections).

    Args:
        y: a measurement, `(1, C, H, W)`.
        known: the pixels to use, `(H, W)`; by default all. Only windows of 3 x 3 known pixels count.

    Returns:
        The estimate to three digits, at least the rounding error of 8 bits.

    Raises:
        ValueError: not an image, or too few windows of 3 x 3 known pixels.

    References:
        Fast Noise Variance Estimation (Immerkaer, 1996), https://doi.org/10.1006/cviu.1996.0060, equation 4.

    Differs:
        The median of the absolute response instead of its mean.

    Example:
        >>> y = 0.5 + 0.1 * torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
        >>> 0.09 < estimate_noise(y) < 0.11
        True
    """
    if y.ndim != 4:
        raise UserError(
            f"estimate_noise: expected a picture (1, C, H, W) as measurement, got shape {tuple(y.shape)}; give the "
            "noise's standard deviation"
        )
    if min(y.shape[-2:]) < 3:
        raise UserError("estimate_noise: expected at least 3 x 3 pixels; give the noise's standard deviation")
    weight = torch.tensor(WEIGHTS, dtype=torch.float64, device=y.device)[None, None]
    response = torch.nn.functional.conv2d(y.double().reshape(-1, 1, *y.shape[-2:]), weight).abs()
    if known is not None:
        missing = 1 - known.to(response)[None, None]
        whole = torch.nn.functional.max_pool2d(missing, 3, stride=1) == 0
        response = response[whole.expand_as(response)]
    if response.numel() < 100:
        raise UserError(
            "estimate_noise: too few windows of 3 x 3 known pixels to estimate the noise from; give its standard "
            "deviation"
        )
    found = max(float(response.median()) / 6 / 0.6745, ROUNDING)
    return float(f"{found:.3g}")
