"""Checks that a prior keeps its contract; third parties run them on their own class.

A denoiser of minimum mean square error is unbiased and orthogonal to its own error, so that on `x_sigma = x_0 + sigma
n` with `x_0` from the prior

    E |D(x_sigma) - x_0|^2 <= E |x_sigma - x_0|^2 = d sigma^2         it denoises better than doing nothing.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..priors import Prior
from ..streams import generator
from .report import Check, Report


def check_prior(prior: Prior, images: Tensor, *, seed: int = 0) -> Report:
    """Check attributes, shapes, one level for each image, gradients and that noise is taken away at each level.

    Args:
        prior: the prior.
        images: clean images of the kind that it knows, `(B, C, H, W)`, in [0, 1].
        seed: non-negative integer.

    Example:
        >>> from invdiff import load_prior
        >>> prior = load_prior("gaussian")
        >>> check_prior(prior, prior.sample(2, (1, 16, 16))).ok
        True
    """
    checks = []
    known = {"shape", "std", "sigma_min", "sigma_max"} & set(dir(prior))
    ok = len(known) == 4 and 0 < prior.sigma_min < prior.sigma_max and prior.std > 0
    checks.append(Check("attributes", ok, f"has {sorted(known)}", "set shape, std > 0, 0 < sigma_min < sigma_max"))
    if not ok:
        return Report(repr(prior), tuple(checks))
    g = generator(seed)
    n = torch.randn(images.shape, generator=g, dtype=images.dtype)
    low, high = max(prior.sigma_min, 1e-3 * prior.std), min(prior.sigma_max, 10 * prior.std)
    for sigma in torch.logspace(math.log10(low), math.log10(high), 8, dtype=torch.float64).tolist():
        error = float((prior.denoise(images + sigma * n, sigma) - images).square().mean().sqrt())
        detail = f"sigma {sigma:.3g}: error {error:.3g}"
        # At the lowest levels a network's own error shows: a tenth more than doing nothing is let pass.
        checks.append(
            Check("denoises", error <= 1.1 * sigma, detail, "worse than doing nothing: check range and schedule")
        )
    levels = torch.linspace(low, high, len(images), dtype=images.dtype)
    x = images + levels.reshape(-1, 1, 1, 1) * n
    each = torch.cat([prior.denoise(x[i : i + 1], float(s)) for i, s in enumerate(levels)])
    gap = float((prior.denoise(x, levels) - each).abs().max()) / prior.std
    checks.append(
        Check("levels", gap < 1e-3, f"one for each image: differ by {gap:.1e} std", "broadcast sigma of shape (B,)")
    )
    leaf = x.clone().requires_grad_()
    out = prior.denoise(leaf, levels)
    graph = out.requires_grad
    checks.append(Check("gradient", graph, "differentiable in x", "do not detach inside denoise"))
    kept = out.shape == x.shape and out.dtype == x.dtype
    checks.append(Check("type", kept, f"{tuple(out.shape)}, {out.dtype}", f"expected {tuple(x.shape)}, {x.dtype}"))
    return Report(repr(prior), tuple(checks))
