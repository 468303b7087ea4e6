"""The spectrum of noise from the flattest blocks of an image.

Each block of 8 x 8 pixels has an orthonormal cosine transform `D`, with `E[D_ij^2] = V_ij` for noise of spectrum `V`,

    std^2 = mean_ij V_ij,          V_ij = std^2 for white noise

The blocks whose content is weakest are found by some of the coefficients, and `V` is measured on the others. The
coefficients of noise are nearly uncorrelated, so this choice does not select blocks of little noise. Four classes of
coefficients choose for each other: those of low and high, even and odd frequency `i + j`.

Pixels at a level where the image was clipped have too little noise. Blocks near that level are left out. If too few
remain, the noise is found from the share `f` of clipped pixels and the mean `m` above the level. For a flat block with
the value `t std` above the level,

    f = Phi(-t),      m = std (t Phi(t) + phi(t))

Blocks of noise give nearly the same `std`: their quartiles have a ratio of 1.2 to 1.5. Edges of clipped objects give
ratios from 1.7 on, mostly above 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

SIDE = 8
LEAST = 64
"""Fewest blocks to measure on."""

BLOCKS = 20_000
"""Most blocks of one plane."""

SPREAD = 1.6
"""Largest ratio of the quartiles of the levels that blocks with clipped pixels give, if it is noise that they show."""

NEAR = 3.0
"""Blocks with a mean nearer to a clipped level, in standard deviations, are left out."""

SUM = torch.arange(SIDE)[:, None] + torch.arange(SIDE)
LOW, HIGH, EVEN = (SUM > 0) & (SUM < SIDE - 1), SUM >= SIDE - 1, SUM % 2 == 0
FINEST = SUM >= SIDE + 1
COARSEST = (SUM > 1) & (SUM < 5)


def cosines() -> Tensor:
    """Return the orthonormal cosine transform of 8 values, `(8, 8)`."""
    k = torch.arange(SIDE, dtype=torch.float64)
    rows = torch.cos(math.pi / SIDE * k[:, None] * (k + 0.5)) * math.sqrt(2 / SIDE)
    rows[0] /= math.sqrt(2)
    return rows


@dataclass(frozen=True, eq=False)
class Blocks:
    """Blocks of one plane.

    Attributes:
        pixels: `(n, 8, 8)`, float64.
    """

    pixels: Tensor

    @classmethod
    def of(cls, plane: Tensor, known: Tensor | None = None) -> Blocks:
        """Return the blocks of a plane, `(H, W)`, without an unknown pixel; an even grid of them if there are many."""

        def windows(x: Tensor, stride: int = 1) -> Tensor:
            return x.unfold(0, SIDE, stride).unfold(1, SIDE, stride)

        if min(plane.shape) < SIDE:
            return cls(plane.new_zeros((0, SIDE, SIDE)))
        stride = 1
        while math.prod(windows(plane, stride).shape[:2]) > BLOCKS:
            stride += 2  # odd, so that it does not follow the blocks of JPEG
        pixels = windows(plane, stride).reshape(-1, SIDE, SIDE)
        if known is not None:
            pixels = pixels[windows(known, stride).reshape(-1, SIDE * SIDE).all(1)]
        return cls(pixels)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, chosen: Tensor) -> Blocks:
        return Blocks(self.pixels[chosen])

    @property
    def means(self) -> Tensor:
        """Means, `(n,)`."""
        return self.pixels.mean((1, 2))

    def without_painted(self) -> Blocks:
        """Return the blocks without those of constant areas, such as frames, unless too few remain."""
        equal = (self.pixels.diff(dim=2) == 0).double().mean((1, 2))
        rest = self[equal < 0.75]
        return rest if len(rest) >= LEAST else self

    def energies(self) -> Tensor:
        """Return the squares of the cosine coefficients, `(n, 8, 8)`."""
        c = cosines().to(self.pixels.device)
        return (c @ self.pixels @ c.T).square()


def spectrum(energies: Tensor, share: float) -> Tensor:
    """Return the spectrum of the noise, `(8, 8)`.

    Args:
        energies: squares of the cosine coefficients of at least `LEAST` blocks, `(n, 8, 8)`.
        share: fraction of the blocks that are taken as flat, at least `LEAST` blocks.
    """
    count = min(max(LEAST, int(share * len(energies))), len(energies))
    out = torch.empty((SIDE, SIDE), dtype=energies.dtype, device=energies.device)
    for measured in (LOW & EVEN, LOW & ~EVEN, HIGH & EVEN, HIGH & ~EVEN):
        others = (SUM > 0) & ~measured & (LOW if bool((measured & HIGH).any()) else SUM > 0)
        others = others | (HIGH & ~measured)
        flattest = energies[:, others].sum(1).topk(count, largest=False, sorted=False).indices
        out[measured] = energies[flattest][:, measured].mean(0)
    out[SUM < 2] = out[SUM == 2].mean()  # slopes of the image itself
    return out


def clipped_levels(plane: Tensor) -> list[tuple[float, float]]:
    """Return the clipped levels of values, `(n,)`, each with the sign of the direction in which others lie."""
    few = max(16.0, 1e-3 * len(plane))
    ends = ((float(plane.min()), 1.0), (float(plane.max()), -1.0)) if len(plane) else ()
    return [(level, sign) for level, sign in ends if float((plane == level).sum()) > few and plane.min() < plane.max()]


def clipped_noise(blocks: Blocks, level: float, sign: float) -> float | None:
    """Return the noise's standard deviation from blocks with clipped pixels; `None` if they are too few, or no noise.

    Args:
        blocks: of one plane.
        level: where values are clipped.
        sign: 1 if they are clipped below, -1 if above.
    """
    above = sign * (blocks.pixels.flatten(1) - level)
    f = (above <= 0).double().mean(1)
    part = (f > 0.1) & (f < 0.9)
    if int(part.sum()) < LEAST:
        return None
    t = -math.sqrt(2) * torch.erfinv(2 * f[part] - 1)
    phi = torch.exp(-0.5 * t**2) / math.sqrt(2 * math.pi)
    std = above[part].mean(1) / (t * (1 - f[part]) + phi)
    low, middle, high = (float(q) for q in std.quantile(std.new_tensor([0.25, 0.5, 0.75])))
    return middle if high <= SPREAD * low else None
