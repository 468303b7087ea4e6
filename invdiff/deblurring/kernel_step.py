"""The kernel, if the image is known: least squares under positivity.

    k = argmin_{k >= 0}  sum_g ||y_g - k * x_g||^2 + sum_j Z_j k_j^2

by accelerated projected gradient steps with restarts.

References:
    A Fast Iterative Shrinkage-Thresholding Algorithm (Beck, Teboulle, 2009), https://doi.org/10.1137/080716542;
    Adaptive Restart for Accelerated Gradient Schemes (O'Donoghue, Candes, 2015), https://arxiv.org/abs/1204.3982.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .valid import ValidConvolution


def fitted_kernel(
    conv: ValidConvolution, y: Tensor, x: Tensor, penalty: Tensor, start: Tensor, steps: int = 30
) -> Tensor:
    """Return the kernel, `(n, n)`.

    Args:
        conv: the convolution.
        y: measurements, `(G, h, w)`.
        x: spectra of the images.
        penalty: `Z`, `(n, n)`.
        start: first kernel.
        steps: number of gradient steps.
    """
    b = conv.to_kernel(y, x)

    def normal(k: Tensor) -> Tensor:
        return conv.to_kernel(conv.forward(x, conv.spectrum(k)), x) + penalty * k

    probe = torch.ones_like(start) + 0.1 * torch.arange(start.numel(), dtype=start.dtype).view_as(start).cos()
    largest = probe.norm()
    for _ in range(8):
        probe = normal(probe / largest)
        largest = probe.norm()
    step = 1 / (1.1 * largest)
    k = u = start
    t = 1.0
    for _ in range(steps):
        new = (u - step * (normal(u) - b)).clamp(min=0)
        after = (1 + math.sqrt(1 + 4 * t * t)) / 2
        if float(((u - new) * (new - k)).sum()) > 0:
            after, u = 1.0, new
        else:
            u = new + (t - 1) / after * (new - k)
        k, t = new, after
    return k
