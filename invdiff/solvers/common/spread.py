"""Estimating the spread of `p(x_0 | x_t)` from the state.

A white Gaussian prior of the data's standard deviation `v` has the spread `1 / w_t^2 = 1 / sigma_t^2 + 1 / v^2`; it is
smaller for correlated pixels. `x_t - E[x_0 | x_t]` is orthogonal to the error of the denoiser, hence

    E ||x_0 - E[x_0 | x_t]||^2 = d sigma_t^2 - E ||x_t - E[x_0 | x_t]||^2,      d pixels,

without a further evaluation. This estimate has the variance `2 sigma_t^4 / d`. It is averaged with `w_t^2`, weighted by
the inverse variances, with an assumed variance of `w_t^4 / 64` for `w_t^2`.
"""

from __future__ import annotations

from torch import Tensor

from .singular import squared

LEAST = 0.6  # of the spread of white images; with 0.15 a state with remaining noise departs from the data
CAUTION = 1 / 64  # prior variance of the error around that of white images, in units of its square


def matched_spread(x: Tensor, x0: Tensor, sigma: float, std: float) -> Tensor:
    """Return `r_t` of each image, `(N,)`, float64: at most that of white images, at least `LEAST` of it.

    Args:
        x: `x_t`, `(N, C, H, W)`.
        x0: `E[x_0 | x_t]`, like `x`.
        sigma: level of `x_t`.
        std: standard deviation of the data.
    """
    pixels = x[0].numel()
    white = 1 / (1 / sigma**2 + 1 / std**2)
    error = sigma**2 - squared(x - x0) / pixels
    trust = 1 / (1 + 2 * sigma**4 / (pixels * CAUTION * white**2))
    variance = white + trust * (error - white)
    return variance.clamp(LEAST**2 * white, white).sqrt()
