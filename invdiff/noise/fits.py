"""Fits of noise whose variance is not the same everywhere.

Photons and read noise have a variance that grows linearly with the clean value `z`,

    v(z) = gain z + std^2,          gain = 1 / photons.

Blocks of 8 x 8 pixels are sorted by their mean into groups. In each, the blocks that are flattest at the other
frequencies show the variance at the finest ones, see `blocks`. A robust line through the groups' means and variances
gives `gain` and `std`: relative errors count, and those beyond 2.5 times their median count less and less.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import UserError
from .blocks import FINEST, HIGH, LEAST, NEAR, SUM, Blocks, clipped_levels, spectrum
from .estimate import FLAT, as_planes, measure_noise
from .photons import PoissonGaussian

GROUPS = 16
SHARE = 0.05
"""Fraction of the blocks of a group that are taken as flat, at least `LEAST` blocks."""

SPAN = 0.05
"""Least range of the groups' means, to tell a slope."""


def fit_photons(y: Tensor, known: Tensor | None = None, *, mosaic: bool = False) -> PoissonGaussian:
    """Fit photon and read noise to an image: `variance = value / photons + std^2`, one law for all its planes.

    Blocks near a level where the image was clipped are left out. For correlated noise (see `measure_noise`) the
    variance is that of all frequencies.

    Args:
        y: a measurement, `(1, C, H, W)`; 0 is no light, so a black level is subtracted before.
        known: the pixels to use, `(H, W)`; by default all.
        mosaic: whether it is a mosaic of 2 x 2 colours, such as a Bayer pattern.

    Raises:
        ValueError: not an image, too few blocks, values of one level only, or noise that does not grow with the value.

    References:
        Practical Poissonian-Gaussian Noise Modeling and Fitting for Single-Image Raw-Data (Foi et al., 2008),
        https://doi.org/10.1109/TIP.2008.2001399: the law, and pairs of means and variances. Analysis and Extension of
        the Ponomarenko et al. Method (Colom, Buades, 2013), https://doi.org/10.5201/ipol.2013.45: the variances.

    Differs:
        Foi et al. segment the image into level sets, and correct for clipping; here blocks near clipped levels are left
        out. They maximise a likelihood from a least-squares start; here the line is reweighted.

    Example:
        >>> clean = torch.linspace(0.1, 0.9, 200).expand(1, 1, 200, 200)
        >>> y = PoissonGaussian(500.0, 0.02).sample(clean, torch.Generator().manual_seed(0))
        >>> 400 < fit_photons(y).photons < 600
        True
    """
    correlated = measure_noise(y, known, mosaic=mosaic).correlated
    pairs = zip(*_paired(*as_planes(y, known, mosaic=mosaic)), strict=True)
    planes = [_Plane.of(p, m) for p, m in pairs]
    gain = offset = 0.0
    for _ in range(3 if any(p.clipped for p in planes) else 1):
        points = [p.points(correlated) for p in planes]
        means, variances = (torch.cat(v) for v in zip(*points, strict=True))
        if not len(means):
            raise UserError(
                f"fit_photons: expected at least {4 * LEAST} blocks of 8 x 8 known pixels that were not clipped, got "
                f"{max(int(p.free.sum()) for p in planes)}; give photons and std"
            )
        if float(means.max() - means.min()) < SPAN:
            raise UserError(
                f"fit_photons: expected bright and dark parts, got values of {float(means.min()):.3g} to "
                f"{float(means.max()):.3g} only; take --noise auto, one level for all"
            )
        gain, offset = _line(means, variances)
        planes = [p.away(gain, offset) for p in planes]
    typical = float((gain * means.clamp(min=0) + offset).median())
    if gain * float(means.max()) < 0.1 * typical:
        raise UserError(
            f"fit_photons: expected noise that grows with the value, got {math.sqrt(max(offset, 0.0)):.3g} everywhere; "
            "take --noise auto, one level for all"
        )
    std = math.sqrt(max(offset, 1e-3 * typical))
    return PoissonGaussian(float(f"{1 / gain:.3g}"), float(f"{std:.3g}"))


def _paired(planes: Tensor, masks: Tensor | None) -> tuple[Tensor, Sequence[Tensor | None]]:
    return planes, [None] * len(planes) if masks is None else list(masks)


@dataclass(frozen=True, eq=False)
class _Plane:
    """Blocks of one plane, those that are away from its clipped levels, and these levels."""

    blocks: Blocks
    free: Tensor
    clipped: list[tuple[float, float]]

    @classmethod
    def of(cls, plane: Tensor, known: Tensor | None) -> _Plane:
        blocks = Blocks.of(plane, known).without_painted()
        clipped = clipped_levels(plane.flatten() if known is None else plane[known])
        free = torch.ones(len(blocks), dtype=torch.bool, device=plane.device)
        for level, _ in clipped:
            free &= (blocks.pixels != level).flatten(1).all(1)
        return cls(blocks, free, clipped)

    def away(self, gain: float, offset: float) -> _Plane:
        """Return the plane with the blocks that are away from clipped levels, in terms of that noise."""
        if not self.clipped:
            return self
        near = NEAR * (gain * self.blocks.means.clamp(min=0) + offset).sqrt()
        beyond = [sign * (self.blocks.means - level) >= near for level, sign in self.clipped]
        return _Plane(self.blocks, torch.stack(beyond).all(0), self.clipped)

    def points(self, correlated: bool) -> tuple[Tensor, Tensor]:
        """Return means and variances of groups of blocks; none if there are too few blocks."""
        blocks = self.blocks[self.free]
        if len(blocks) < 4 * LEAST:
            return self.blocks.pixels.new_zeros(0), self.blocks.pixels.new_zeros(0)
        means, variances = _groups(blocks)
        if correlated:
            power = spectrum(blocks.energies(), FLAT)
            variances = variances * power.mean() / power[FINEST].mean()
        return means, variances


def _groups(blocks: Blocks) -> tuple[Tensor, Tensor]:
    """Return means and noise variances of groups of blocks of similar mean, `(k,)`."""
    count = max(2, min(GROUPS, len(blocks) // (4 * LEAST)))
    energies, order = blocks.energies(), blocks.means.argsort()
    means, variances = [], []
    for members in order.tensor_split(count):
        e = energies[members]
        flat = min(max(LEAST, int(SHARE * len(members))), len(members))
        power = e.new_zeros(e.shape[1:])
        for measured in (FINEST & (SUM % 2 == 0), FINEST & (SUM % 2 == 1)):
            others = (SUM > 0) & ~measured & (HIGH | (SUM < 7))
            chosen = e[:, others].sum(1).topk(flat, largest=False, sorted=False).indices
            power[measured] = e[chosen][:, measured].mean(0)
        means.append(blocks.means[members].median())
        variances.append(power[FINEST].mean())
    return torch.stack(means), torch.stack(variances)


def _line(means: Tensor, variances: Tensor) -> tuple[float, float]:
    """Return slope and offset, not negative, of a robust line."""
    floor = 1e-12
    weight = 1 / variances.clamp(min=floor) ** 2
    slope, offset = 0.0, float(variances.median())
    for _ in range(50):
        slope, offset = _least_squares(means, variances, weight)
        line = (slope * means + offset).clamp(min=floor)
        error = (variances / line - 1).abs()
        scale = error.median().clamp(min=1e-3) * 2.5
        weight = (1 / (1 + (error / scale) ** 2)) ** 2 / line**2
    return slope, offset


def _least_squares(x: Tensor, y: Tensor, w: Tensor) -> tuple[float, float]:
    total, mx, my = w.sum(), (w * x).sum() / w.sum(), (w * y).sum() / w.sum()
    slope = float((w * (x - mx) * (y - my)).sum() / (w * (x - mx) ** 2).sum().clamp(min=1e-30 * float(total)))
    offset = float(my) - slope * float(mx)
    if slope < 0:
        return 0.0, float(my)
    if offset < 0:
        return float((w * x * y).sum() / (w * x * x).sum()), 0.0
    return slope, offset
