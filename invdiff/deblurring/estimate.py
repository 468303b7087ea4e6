"""A kernel of any shape from blurred pictures, from coarse to fine.

On each scale, from a kernel of 3 x 3 pixels to the full size, pictures are reduced and `variational.infer` starts from
the enlarged kernel of the scale before. Between scales, small values and small parts are removed. With a prior, the
result goes on in `gibbs.sampled_kernel`, in a window of at most `GIBBS_SIDE` pixels. If its own window is larger, this
is done on a coarser scale too, and at the end only for a kernel that lies inside.

The kernel's own uncertainty is the spread of estimates from parts of the data: from each picture alone, or, with a
single picture, from smoothed ones. The covariance of the kernel's least squares in the last sweep is no measure of the
error: on three photographs it was 25 to 40 times too small.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import integer, number
from ..errors import UserError
from ..priors import load_prior
from ..priors.base import Prior
from .gibbs import sampled_kernel
from .shapes import aligned, kernel_similarity, pruned, recentred, resized
from .variational import gradients, infer

RATIO = 1.9
"""Ratio of the sides of the kernel on two scales."""

THRESHOLD, MASS = 0.1, 0.02
"""Values and parts of a kernel that are removed, as shares of its largest value and of its sum."""

GIBBS_SIDE = 31
"""Largest side of a kernel that is sampled: a round takes the eigenvalues of a matrix with a row for each pixel."""

INSIDE = 0.95
"""Share of a larger kernel that must lie in so many pixels in the middle, so that these are sampled alone."""

SMOOTHING = (0.5, 0.8)
"""Standard deviations, in pixels, of the Gaussians for further estimates from a single picture."""


@dataclass(frozen=True, eq=False)
class KernelEstimate:
    """A kernel and its uncertainty.

    Attributes:
        kernel: `(n, n)`, not negative, of sum one, its centre of mass in the middle.
        members: estimates from parts of the data, each shifted to agree with `kernel`, `(M, n, n)`; `kernel` is first.
    """

    kernel: Tensor
    members: Tensor

    @property
    def std(self) -> Tensor:
        """The spread of the members about the kernel, `(n, n)`: the root of the mean square of the other members."""
        return (self._others - self.kernel).square().mean(0).sqrt()

    @property
    def agreement(self) -> float:
        """The mean similarity of the other members to the kernel, at most 1."""
        return sum(kernel_similarity(k, self.kernel) for k in self._others) / len(self._others)

    @property
    def _others(self) -> Tensor:
        return self.members[1:] if len(self.members) > 1 else self.members

    @property
    def concentration(self) -> float:
        """The sum of squares: 1 for a kernel without blur, `1 / m` for `m` equal pixels."""
        return float(self.kernel.square().sum())


def estimate_with_spread(
    y: Tensor, size: int, noise: float, prior: Prior | None = None, *, sweeps: int = 40, seed: int = 0
) -> KernelEstimate:
    """Estimate a kernel and its uncertainty; the arguments are those of `estimate_kernel`."""

    def estimated(part: Tensor, smoothing: float = 0.0) -> Tensor:
        return estimate_kernel(part, size, noise, prior, sweeps=sweeps, smoothing=smoothing, seed=seed)

    kernel = estimated(y)
    others = [estimated(part[None]) for part in y] if len(y) > 1 else [estimated(y, s) for s in SMOOTHING]
    return KernelEstimate(kernel, torch.stack([kernel, *(aligned(k, kernel) for k in others)]))


def estimate_kernel(
    y: Tensor,
    size: int,
    noise: float,
    prior: Prior | None = None,
    *,
    sweeps: int = 40,
    smoothing: float = 0.0,
    seed: int = 0,
) -> Tensor:
    """Estimate the kernel that pictures were blurred with.

    Args:
        y: gray pictures of one blur, `(P, H, W)`, in values proportional to the light; parts of a photograph with much
            texture are enough.
        size: odd side of the kernel, as large as the blur or somewhat larger.
        noise: standard deviation of their noise.
        prior: of gray images, to sample image and kernel in turn, with the embedded prior `kernel`; by default none.
        sweeps: sweeps on each scale.
        smoothing: standard deviation in pixels of a Gaussian that the pictures are smoothed with, on each scale.
        seed: seed of the random numbers.

    Returns:
        The kernel, `(size, size)`, float32, not negative, of sum one, its centre of mass in the middle.

    Raises:
        ValueError: not pictures, an even size, one that is above a third of that of the pictures, or pictures without
            any gradient.

    Example:
        >>> import torch
        >>> from invdiff.operators import Blur, gaussian_kernel
        >>> x = (torch.rand(1, 1, 60, 60, generator=torch.Generator().manual_seed(0)) > 0.9).float()
        >>> y = Blur((1, 60, 60), kernel=gaussian_kernel(1.0, 7), border="valid")(x)
        >>> estimate_kernel(y[0], 7, 0.01, sweeps=5).shape
        torch.Size([7, 7])
    """
    if not isinstance(y, Tensor) or y.ndim != 3:
        got = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
        raise UserError(f"estimate_kernel: y: expected gray pictures (P, H, W), got {got}")
    integer("estimate_kernel: size", size, 3)
    number("estimate_kernel: noise", noise, positive=True, expected="a positive standard deviation")
    if size % 2 == 0:
        raise UserError(f"estimate_kernel: size: expected an odd number of pixels, got {size}; take {size + 1}")
    if min(y.shape[-2:]) < 3 * size:
        raise UserError(
            f"estimate_kernel: size: expected at most a third of the picture's {min(y.shape[-2:])} pixels, got {size}; "
            "choose a smaller kernel, or a larger picture"
        )
    y = y.detach().float().cpu()
    if float(gradients(y).std()) < 0.1 * noise:
        raise UserError("estimate_kernel: y: expected edges that show the blur, got a picture without any")
    kernels = None if prior is None else load_prior("kernel")
    sides = _sides(size)
    sampled = {size, max(s for s in sides if s <= GIBBS_SIDE)}
    kernel = torch.full((3, 3), 1 / 9)
    for side in sides:
        scale = side / size
        reduced = _reduced(y, scale)
        kernel = recentred(pruned(resized(kernel, side), THRESHOLD, MASS))[0] if side > 3 else kernel
        # Averaging reduces the noise; the antialiasing filter's exact gain is 1.14 times that of a mean.
        level = noise if side == size else max(1.14 * noise * scale, 1e-6)
        kernel = infer(reduced, kernel, level, sweeps=sweeps, smoothing=smoothing).kernel
        if side in sampled:
            kernel = recentred(pruned(kernel, THRESHOLD, MASS))[0]
            if prior is not None and kernels is not None:
                kernel = _sampled(reduced, kernel, level, prior, kernels, seed)
    return kernel


def _sampled(y: Tensor, kernel: Tensor, noise: float, prior: Prior, kernels: Prior, seed: int) -> Tensor:
    """Return a sampled kernel, or the same if it is too large."""
    margin = max(kernel.shape[-1] - GIBBS_SIDE + 1, 0) // 2
    middle = kernel[margin : len(kernel) - margin, margin : len(kernel) - margin]
    if float(middle.sum()) < INSIDE:
        return kernel
    found = sampled_kernel(y, middle / middle.sum(), noise, prior, kernels, seed=seed)
    return torch.nn.functional.pad(found, (margin,) * 4)


def _sides(size: int) -> list[int]:
    """Return the sides of the kernel on all scales, odd, the smallest first."""
    sides = [size]
    while sides[-1] > 3:
        side = int(sides[-1] / RATIO)
        sides.append(max(3, min(side - 1 + side % 2, sides[-1] - 2)))
    return sides[::-1]


def _reduced(y: Tensor, scale: float) -> Tensor:
    if scale == 1:
        return y
    size = [round(n * scale) for n in y.shape[-2:]]
    return torch.nn.functional.interpolate(y[:, None], size=size, mode="bilinear", antialias=True, align_corners=False)[
        :, 0
    ]
