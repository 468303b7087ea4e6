"""Distortion of a reconstruction with respect to the truth, by pixels and by windows.

    PSNR = 10 log10(R^2 / MSE)
    SSIM = mean over windows and channels of
           (2 mu_x mu_y + c1) (2 s_xy + c2) / ((mu_x^2 + mu_y^2 + c1) (s_x^2 + s_y^2 + c2))

with the data range R = 1, c1 = (0.01 R)^2 and c2 = (0.03 R)^2. Two windows are in use, and their figures differ by
several hundredths: always say which.

    ssim            uniform windows of 7 x 7, sample covariances (divided by 48, not 49): scikit-image's default
    ssim_gaussian   Gaussian windows of 11 x 11, standard deviation 1.5: the paper's, and what papers report

They and `psnr` equal scikit-image's `peak_signal_noise_ratio` and `structural_similarity` with `data_range=1`. Windows
lie inside the image. All is computed in float64, image by image.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .shapes import check_pair


def psnr(x: Tensor, ref: Tensor, *, data_range: float = 1.0) -> Tensor:
    """Return the peak signal-to-noise ratio of each image in dB; infinite for equal images.

    Args:
        x: estimates, `(B, C, H, W)`, in [0, 1]; nothing is clipped.
        ref: true images, like `x`.
        data_range: R, from black to white.

    Returns:
        `(B,)`, float64.

    Raises:
        ValueError: the shapes differ.

    Example:
        >>> psnr(torch.full((1, 1, 8, 8), 0.6), torch.full((1, 1, 8, 8), 0.5)).round(decimals=3)
        tensor([20.], dtype=torch.float64)
    """
    check_pair("psnr", x, ref)
    mse = (x.double() - ref.double()).square().flatten(1).mean(1)
    return 10 * torch.log10(data_range**2 / mse)


def ssim(x: Tensor, ref: Tensor, *, data_range: float = 1.0) -> Tensor:
    """Return the structural similarity of each image, at most 1.

    Args:
        x: estimates, `(B, C, H, W)`, in [0, 1].
        ref: true images, like `x`.
        data_range: R, from black to white.

    Returns:
        `(B,)`, float64.

    Raises:
        ValueError: the shapes differ, or an image is smaller than 7 x 7.

    References:
        Image Quality Assessment: From Error Visibility to Structural Similarity (Wang et al., 2004),
        https://doi.org/10.1109/TIP.2003.819861, equation 13.

    Differs:
        The paper weights windows of 11 x 11 with a Gaussian, as `ssim_gaussian` does; this is scikit-image's default,
        uniform ones of 7 x 7.

    Example:
        >>> ssim(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8))
        tensor([1.], dtype=torch.float64)
    """
    check_pair("ssim", x, ref)
    return _similarity("ssim", x, ref, _UNIFORM, sample=True, data_range=data_range)


def ssim_gaussian(x: Tensor, ref: Tensor, *, data_range: float = 1.0) -> Tensor:
    """Return the structural similarity of each image with the paper's Gaussian windows, at most 1.

    It is scikit-image's with `gaussian_weights=True, sigma=1.5, use_sample_covariance=False`. An image in colour counts
    as the mean of its channels.

    Args:
        x: estimates, `(B, C, H, W)`, in [0, 1].
        ref: true images, like `x`.
        data_range: R, from black to white.

    Returns:
        `(B,)`, float64.

    Raises:
        ValueError: the shapes differ, or an image is smaller than 11 x 11.

    References:
        Image Quality Assessment: From Error Visibility to Structural Similarity (Wang et al., 2004),
        https://doi.org/10.1109/TIP.2003.819861, equations 13 to 17.

    Example:
        >>> ssim_gaussian(torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 16))
        tensor([1.], dtype=torch.float64)
    """
    check_pair("ssim_gaussian", x, ref)
    return _similarity("ssim_gaussian", x, ref, _GAUSSIAN, sample=False, data_range=data_range)


_UNIFORM = [1.0] * 7
_GAUSSIAN = [math.exp(-(i**2) / (2 * 1.5**2)) for i in range(-5, 6)]


def _similarity(name: str, x: Tensor, ref: Tensor, window: list[float], *, sample: bool, data_range: float) -> Tensor:
    """Return the mean over windows and channels, with sample covariances or those of the window's weights."""
    side = len(window)
    if min(x.shape[-2:]) < side:
        raise ValueError(f"{name}: x: expected at least {side} x {side} pixels, got {x.shape[-2]} x {x.shape[-1]}")
    a, b = x.double(), ref.double()
    unbiased = side**2 / (side**2 - 1) if sample else 1.0
    mu_a, mu_b = _window_mean(a, window), _window_mean(b, window)
    var_a = unbiased * (_window_mean(a * a, window) - mu_a**2)
    var_b = unbiased * (_window_mean(b * b, window) - mu_b**2)
    cov = unbiased * (_window_mean(a * b, window) - mu_a * mu_b)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    local = (2 * mu_a * mu_b + c1) * (2 * cov + c2) / ((mu_a**2 + mu_b**2 + c1) * (var_a + var_b + c2))
    return local.flatten(1).mean(1)


def _window_mean(t: Tensor, window: list[float]) -> Tensor:
    """Return the weighted mean over each window inside the image, by sums of shifted images: columns, then rows."""
    for dim in (-1, -2):
        size = t.shape[dim] - len(window) + 1
        total = window[0] * t.narrow(dim, 0, size)
        for shift, weight in enumerate(window[1:], 1):
            total += weight * t.narrow(dim, shift, size)
        t = total
    return t / sum(window) ** 2
