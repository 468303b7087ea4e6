"""The sharp image from a blurred one and an estimate of its kernel.

The border of the image is unknown: the measurement has only the pixels that need no extension, the image has `n - 1`
more rows and columns, and the result is cropped. Sample `s` has the kernel of member `s` of the estimate, so the spread
of the samples includes the uncertainty of the kernel, and their mean is that over kernels.

A wrong kernel leaves ghosts in an image that fits the data to their noise. So the image of an estimated kernel is
solved with `TOLERANCE` times that noise.

The prior is one of values, so the blur acts on values here, where that of a camera acts on light. They differ at edges
of strong contrast.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from ..noise import Gaussian
from ..operators import Blur
from ..problem import Problem
from ..reconstruction import Reconstruction
from .estimate import KernelEstimate

TOLERANCE = 2.0
"""The noise that an estimated kernel's image is solved with, as a multiple of the noise of the data."""


def blur_problem(y: Tensor, kernel: Tensor, noise: float) -> Problem:
    """Return the problem of images `(B, C, H, W)` that a kernel `(n, n)` blurred."""
    n = kernel.shape[-1]
    shape = (y.shape[1], y.shape[2] + n - 1, y.shape[3] + n - 1)
    return Problem(Blur(shape, kernel=kernel, border="valid"), Gaussian(noise), y)


def deblurred(
    y: Tensor,
    estimate: KernelEstimate,
    noise: float,
    solve: Callable[[Problem, int, int], Reconstruction],
    *,
    samples: int = 4,
) -> Reconstruction:
    """Return samples of the sharp image.

    Args:
        y: blurred images, `(B, C, H, W)`.
        estimate: kernel and uncertainty.
        noise: standard deviation of their noise; the problems have `TOLERANCE` times as much.
        solve: from a problem, a number of samples and the index of the kernel to its reconstruction.
        samples: number of samples.

    Returns:
        The reconstruction, of the size of `y`. Evaluations are those for one sample; `trace` is that of the first
        kernel.
    """
    kernels = estimate.members[:samples]
    counts = [len(range(m, samples, len(kernels))) for m in range(len(kernels))]
    results = [
        solve(blur_problem(y, kernel, TOLERANCE * noise), count, m)
        for m, (kernel, count) in enumerate(zip(kernels, counts, strict=True))
    ]
    n = estimate.kernel.shape[-1]
    inside = (..., slice(n // 2, n // 2 + y.shape[2]), slice(n // 2, n // 2 + y.shape[3]))
    mean = sum(r.mean * c for r, c in zip(results, counts, strict=True)) / samples
    worst = next((r for s in ("diverged", "misfit") for r in results if r.status == s), results[0])
    return dataclasses.replace(
        results[0],
        samples=torch.cat([r.samples for r in results], 1)[inside],
        estimate=torch.as_tensor(mean)[inside],
        seconds=sum(r.seconds for r in results),
        status=worst.status,
        message=worst.message,
    )
