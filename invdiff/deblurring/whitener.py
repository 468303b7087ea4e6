"""A filter that makes a residual white, from the power of the residual itself."""

from __future__ import annotations

import torch
from torch import Tensor

RINGS = 24
TAPS = 15


def whitener(residual: Tensor) -> Tensor:
    """Return a filter `(TAPS, TAPS)`, symmetric, that makes residuals white and of variance one, nearly.

    Its response is `1 / sqrt(P)`, where `P` is the power of the residuals, averaged over directions in rings of the
    frequency and interpolated between them.

    Args:
        residual: `(P, h, w)`.
    """
    _, h, w = residual.shape
    window = torch.outer(torch.hann_window(h, periodic=False), torch.hann_window(w, periodic=False))
    power = torch.fft.fft2((residual - residual.mean((-2, -1), keepdim=True)) * window).abs().square().mean(0)
    frequency = (torch.fft.fftfreq(h)[:, None].square() + torch.fft.fftfreq(w).square()).sqrt()
    place = frequency / 0.71 * RINGS  # the highest frequency is sqrt(0.5)
    ring = place.long().clamp(max=RINGS - 1).flatten()
    count = torch.zeros(RINGS).index_add(0, ring, torch.ones_like(place).flatten())
    mean = torch.zeros(RINGS).index_add(0, ring, power.flatten()) / count.clamp(min=1) / window.square().sum()
    log = mean.clamp(min=1e-12).log()
    between = (place - 0.5).clamp(0, RINGS - 1.001)
    low = between.long()
    smooth = torch.lerp(log[low], log[low + 1], between - low)
    taps = torch.fft.ifft2((-smooth / 2).exp()).real
    half = TAPS // 2
    taper = torch.hann_window(TAPS + 2, periodic=False)[1:-1]
    return torch.roll(taps, (half, half), (0, 1))[:TAPS, :TAPS] * torch.outer(taper, taper)


def filtered(z: Tensor, taps: Tensor) -> Tensor:
    """Return images `(P, H, W)` filtered, only pixels that need no extension: `TAPS - 1` rows and columns less."""
    return torch.nn.functional.conv2d(z[:, None], taps[None, None])[:, 0]
