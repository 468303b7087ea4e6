"""Choosing the images that fit a prior best.

A fault is detected by its repair (`prior_faults`). Only on images of the kind of its training is the repaired denoiser
certainly better: a network of chest sections denoises photographs *better* if a wrong range halves their contrast. So
kind and repair are chosen together. With the mean squared errors `E_r` of the denoiser under repair `r`, and `E_ref` of
the embedded network of photographs on the same noisy images,

    advantage(kind) = max_r mean_sigma 10 log10 E_ref(kind, sigma) / E_r(kind, sigma).

The reference accounts for images that are easier than others. Its own advantage is 0 on every kind. The advantage of a
network of photographs is about the same on all kinds; that of a network of another kind is largest on that kind.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..priors import Prior
from ..priors.gray import photo_gray
from ..streams import generator
from .prior_faults import OUTPUTS, RANGES, SIGMAS, Fault
from .prior_levels import Denoise, squared_error

LEAST = 0.4
"""Decibels by which the advantage on another kind must exceed that on photographs.

On crops of 64 pixels a side `ct` has 1.2 for synthetic sections, `gaussian` -1.2; on 28 `ct` has 0.4, `fashion` 0.15.
"""
LEVELS = (0.2, 0.8, 2.4)
"""Noise levels, in standard deviations of the images, at which the kind of image matters."""

_AS_IT_IS = Fault("nothing is wrong", "", lambda denoise: denoise)


@torch.no_grad()
def fits_better(prior: Prior, other: Tensor, photographs: Tensor) -> bool:
    """Return whether a prior of one channel, wrapped correctly or not, fits other images better than photographs.

    Args:
        prior: the prior; one that cannot denoise fits neither.
        other: images of another kind, `(B, 1, H, W)`, in [0, 1], on the prior's device.
        photographs: photographs, likewise.
    """
    try:
        gain = advantage(prior, other) - advantage(prior, photographs)
    except Exception:  # the checks of the contract report the error
        return False
    return gain > LEAST


def advantage(prior: Prior, images: Tensor) -> float:
    """Return the decibels by which a prior, after the best repair, is better on images than our network of photographs.

    Args:
        prior: the prior.
        images: `(B, 1, H, W)`, in [0, 1].
    """
    g = generator(0, 78)
    reference = photo_gray().to(images.device)
    spread = float(images.std())
    sigmas = [min(max(v * spread, prior.sigma_min), prior.sigma_max) for v in LEVELS]
    faults = (_AS_IT_IS, *RANGES, *SIGMAS, *OUTPUTS)
    gains = torch.zeros(len(faults), len(sigmas), dtype=torch.float64)
    for j, sigma in enumerate(sigmas):
        noise = torch.randn(images.shape, generator=g, dtype=images.dtype).to(images.device)
        x = images + sigma * noise
        least = _error(reference.denoise, x, sigma, images)
        for i, fault in enumerate(faults):
            gains[i, j] = 10 * math.log10(least / _error(fault.repair(prior.denoise), x, sigma, images))
    return float(gains.mean(1).max())


def _error(denoise: Denoise, x: Tensor, sigma: float, images: Tensor) -> float:
    """Return the mean squared error; a repair may produce values beyond any image."""
    error = float(squared_error(denoise(x, sigma), images).mean())
    return max(error, 1e-30) if math.isfinite(error) else 1e30
