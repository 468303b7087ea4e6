"""The level of white noise in a picture, from second differences.

The response of an image to

    [ 1 -2  1]
    [-2  4 -2]
    [ 1 -2  1]

vanishes where the image is smooth, and has 6 times the standard deviation of white noise. Its median absolute value
over 0.6745 is that standard deviation, and ignores edges and texture as long as they fill less than half of the image.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

WEIGHTS = ((1.0, -2.0, 1.0), (-2.0, 4.0, -2.0), (1.0, -2.0, 1.0))
ROUNDING = 1 / 255 / math.sqrt(12)
"""Standard deviation of rounding to 8 bits."""


def estimate_noise(y: Tensor, known: Tensor | None = None) -> float:
    """Estimate the standard deviation of white noise in a picture: a photograph, blurred or not, or a sinogram.

    On twelve photographs of 400 x 400 pixels it reads, in the median, 1.8, 1.4, 1.17, 1.07, 1.02 times the noise for
    noise of 0.005, 0.01, 0.025, 0.05, 0.1 (fine texture counts as noise; up to 6.6 and 1.7 times for the worst at 0.005
    and 0.025), and on the same photographs blurred with a standard deviation of 2 pixels within 1 per cent at all
    levels. The wavelet estimate of `skimage.restoration.estimate_sigma` reads the same within 0.05, takes no mask and
    needs PyWavelets.

    It holds for white noise only: pictures that were compressed, denoised, resized or demosaiced after their noise came
    in have less of it between neighbours than in all, and it reads low. For noise that grows with the brightness it
    reads a middle value. Measurements that are no pictures (spectra, random projections) have no neighbours to compare.

    Args:
        y: a measurement, `(1, C, H, W)`.
        known: which pixels count, `(H, W)`; all unless given. Windows of 3 x 3 known pixels are looked at.

    Returns:
        The estimate to three digits, at least the rounding error of 8 bits.

    Raises:
        ValueError: no picture, or too few windows of 3 x 3 known pixels.

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
        raise ValueError(
            f"estimate_noise: expected a picture (1, C, H, W) as measurement, got shape {tuple(y.shape)}; give the "
            "noise's standard deviation"
        )
    if min(y.shape[-2:]) < 3:
        raise ValueError("estimate_noise: expected at least 3 x 3 pixels; give the noise's standard deviation")
    weight = torch.tensor(WEIGHTS, dtype=torch.float64, device=y.device)[None, None]
    response = torch.nn.functional.conv2d(y.double().reshape(-1, 1, *y.shape[-2:]), weight).abs()
    if known is not None:
        missing = 1 - known.to(response)[None, None]
        whole = torch.nn.functional.max_pool2d(missing, 3, stride=1) == 0
        response = response[whole.expand_as(response)]
    if response.numel() < 100:
        raise ValueError(
            "estimate_noise: too few windows of 3 x 3 known pixels to estimate the noise from; give its standard "
            "deviation"
        )
    found = max(float(response.median()) / 6 / 0.6745, ROUNDING)
    return float(f"{found:.3g}")
