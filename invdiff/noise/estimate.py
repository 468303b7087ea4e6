"""Estimating the noise of an image: its level in each plane, its spectrum, and whether it is white.

The spectrum `V` comes from the flattest blocks of each plane, see `blocks`. White noise has the same power at all
frequencies, and its level is best seen at the finest ones, where images have least power,

    std^2 = mean of V_ij over i + j >= 9.

Processing that mixes neighbouring pixels (JPEG, demosaicing, enlarging, denoising) leaves little power at the finest
frequencies. Noise counts as correlated if the ratio of the amplitudes at `i + j` of 7 or 8 and of 11 or more exceeds
1.3; up to 2.3 that may be fine texture, too, and is said so. Its level is then the mean over all frequencies,
`std^2 = mean V_ij`. A method that assumes white noise removes noise of low frequencies only if the assumed level is
that of these frequencies, so `recommended` is the mean over `i + j <= 6`.

The spectrum of correlated noise is flat at low frequencies, that of texture grows. If the ratio of the amplitudes at
`i + j` of 2 and 4 exceeds 1.9, the spectrum below 5 is replaced by that at 5, and the noise counts as correlated only
if the first ratio exceeds 2.3, which texture does not reach.

Noise has the same power in all flat blocks. If the finest frequencies of the tenth of the blocks that is flattest have
1.2 times the amplitude of those of the flattest hundredth, texture or a level that differs over the image may be the
cause, and the level is no lower bound of the noise.

Images that are too small for blocks have the level of white noise from their second differences

    [ 1 -2  1]
    [-2  4 -2]
    [ 1 -2  1]

whose response is near zero where the image is smooth, and has 6 times the standard deviation of white noise. Its median
absolute value over 0.6745 estimates that standard deviation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import UserError
from .blocks import FINEST, LEAST, LOW, NEAR, SIDE, SUM, Blocks, clipped_levels, clipped_noise, spectrum

WEIGHTS = ((1.0, -2.0, 1.0), (-2.0, 4.0, -2.0), (1.0, -2.0, 1.0))
ROUNDING = 1 / 255 / math.sqrt(12)
"""Standard deviation of quantisation to 8 bits."""

STEEP, STEEPER = 1.3, 2.3
"""Largest ratio of amplitudes at high frequencies that counts as white, and that texture may explain."""

UNEVEN = 1.2
"""Largest ratio of the levels of many and of the flattest blocks that noise of one level has; texture has more."""

TEXTURE = 1.9
"""Largest ratio of the amplitudes at `i + j` of 2 and 4 that noise has; texture of images has more."""

FLAT, FLATTEST, MANY = 0.03, 0.01, 0.1
"""Shares of the blocks for the whole spectrum, for its finest frequencies, and to compare these with."""


@dataclass(frozen=True, eq=False)
class NoiseEstimate:
    """The noise of an image.

    Attributes:
        std: standard deviation of the noise, the root mean square over the planes, to three digits, in units of the
            measurement.
        planes: the same of each plane: the channels, or the four places of a mosaic's pattern, row by row.
        recommended: standard deviation to give to a method that assumes white noise: `std` for white noise, more for
            correlated noise.
        largest: the level if all that the flattest blocks hold is noise; more than `std` where it may be fine texture.
        correlated: whether the noise of neighbouring pixels is correlated.
        certain: whether the image tells this noise from fine texture.
        finest: the level at the finest frequencies.
        uneven: ratio of the levels of many and of the flattest blocks, 1 for noise of one level.
        spectrum: power of the noise at each frequency of the cosine transform of 8 x 8 pixels, the mean over the
            planes, `(8, 8)`; `None` if the image is too small for it.
    """

    std: float
    planes: tuple[float, ...]
    recommended: float
    largest: float
    correlated: bool
    spectrum: Tensor | None
    certain: bool = True
    finest: float = 0.0
    uneven: float = 1.0

    @property
    def smallest(self) -> float:
        """The level that the noise has at least; 0 if all that was found may be texture."""
        return self.finest if self.uneven <= UNEVEN else 0.0

    def describe(self) -> str:
        """Return a line about what a standard deviation alone does not say; "" for white noise of one level."""
        if self.correlated and not self.certain:
            return (
                f"fine texture and noise that JPEG or another step correlated look alike here. As noise it has std "
                f"{self.std:g}, {self.recommended:g} at low frequencies, which is taken, and after JPEG up to twice as "
                f"much outside flat parts; as texture it leaves noise of at most {self.finest:g}. Give the level if "
                "it is known"
            )
        if self.correlated:
            return (
                "the noise of neighbouring pixels is correlated, as after JPEG, demosaicing, enlarging or denoising: "
                f"std {self.std:g}, but {self.recommended:g} at low frequencies. Recommended: the picture as it was "
                f"before, with the operator of that step; else white noise of {self.recommended:g}"
            )
        if self.largest > 1.5 * self.std:
            return f"fine texture and noise look alike here: the noise's std may be up to {self.largest:g}"
        if not self.certain and self.std > 2 * ROUNDING:
            return (
                f"flat parts differ, by a factor of {self.uneven:.2g}: fine texture may count as noise here, whose std "
                f"is at most {self.std:g}, or the noise differs over the image"
            )
        if max(self.planes) > 1.5 * min(self.planes):
            return f"the noise differs between planes: {', '.join(f'{p:g}' for p in self.planes)}"
        return ""


def estimate_noise(y: Tensor, known: Tensor | None = None, *, mosaic: bool = False) -> float:
    """Return the standard deviation of the noise of an image, `measure_noise(...).std`.

    Args:
        y: a measurement, `(1, C, H, W)`.
        known: the pixels to use, `(H, W)`; by default all.
        mosaic: whether it is a mosaic of 2 x 2 colours, such as a Bayer pattern.

    Raises:
        ValueError: not an image, or too few known pixels.

    Example:
        >>> y = 0.5 + 0.1 * torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
        >>> 0.09 < estimate_noise(y) < 0.11
        True
    """
    return measure_noise(y, known, mosaic=mosaic).std


def measure_noise(y: Tensor, known: Tensor | None = None, *, mosaic: bool = False) -> NoiseEstimate:
    """Estimate the noise of an image: a photograph, blurred or not, a mosaic, or a sinogram.

    docs/noise.md has the accuracy on photographs. Levels near which an image was clipped are left out. Noise that grows
    with the intensity has the level of the flattest parts; see `fit_photons`. The estimate does not apply to
    measurements without neighbouring pixels (spectra, random projections).

    Args:
        y: a measurement, `(1, C, H, W)`.
        known: the pixels to use, `(H, W)`; by default all. Only blocks of 8 x 8 known pixels count; if there are fewer
            than 64, windows of 3 x 3.
        mosaic: whether it is a mosaic of 2 x 2 colours, such as a Bayer pattern, whose four planes are taken apart.

    Returns:
        The estimate; its levels are at least the rounding error of 8 bits.

    Raises:
        ValueError: not an image, or too few windows of 3 x 3 known pixels.

    References:
        An Automatic Approach to Lossy Compression of AVIRIS Images (Ponomarenko et al., 2007),
        https://doi.org/10.1109/IGARSS.2007.4422833; Analysis and Extension of the Ponomarenko et al. Method (Colom,
        Buades, 2013), https://doi.org/10.5201/ipol.2013.45, algorithm 1: blocks that are flat at low frequencies show
        the noise at high ones. Multiscale Image Blind Denoising (Lebrun et al., 2015),
        https://doi.org/10.1109/TIP.2015.2439041: a level for each frequency. Small images: Fast Noise Variance
        Estimation (Immerkaer, 1996), https://doi.org/10.1006/cviu.1996.0060, equation 4.

    Differs:
        Each class of coefficients is measured on blocks that all others choose, so low frequencies are measured too.
        There are no bins of intensity. Blocks near clipped levels are left out, where the authors leave out blocks with
        clipped pixels. For small images the median of the absolute response replaces its mean.

    Example:
        >>> y = 0.5 + 0.1 * torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
        >>> measure_noise(y).correlated
        False
    """
    planes, masks = as_planes(y, known, mosaic=mosaic)
    found = [_plane_spectra(p, None if masks is None else masks[i]) for i, p in enumerate(planes)]
    if any(f is None for f in found):
        return _small(planes, masks)
    whole = torch.stack([f[0] for f in found if f is not None])
    finest = torch.stack([f[1] for f in found if f is not None])
    many = torch.stack([f[2] for f in found if f is not None])
    mean, steep = whole.mean(0), steepness(whole.mean(0))
    largest = _rounded(mean.mean())
    texture = math.sqrt(float(mean[SUM == 2].mean() / mean[SUM == 4].mean().clamp(min=1e-30))) > TEXTURE
    if texture:
        whole[:, SUM < 5] = whole[:, SUM == 5].mean(1, keepdim=True)
        mean = whole.mean(0)
    correlated = steep > (STEEPER if texture else STEEP) and float(mean.mean().sqrt()) > 2 * ROUNDING
    levels = whole.mean((1, 2)) if correlated else finest
    std, fine = _rounded(levels.mean()), _rounded(finest.mean())
    uneven = math.sqrt(float((many / finest.clamp(min=ROUNDING**2)).mean()))
    return NoiseEstimate(
        std=std,
        planes=tuple(_rounded(v) for v in levels),
        recommended=max(std, _rounded(mean[LOW].mean())) if correlated else std,
        largest=largest if texture and steep > STEEP else std,
        correlated=correlated,
        spectrum=mean,
        certain=uneven <= UNEVEN and (steep > STEEPER if correlated else steep <= STEEP),
        finest=fine,
        uneven=float(f"{uneven:.3g}"),
    )


def as_planes(y: Tensor, known: Tensor | None, *, mosaic: bool) -> tuple[Tensor, Tensor | None]:
    """Return the planes of an image, `(n, H, W)` in float64, and the known pixels of each; see `measure_noise`."""
    if y.ndim != 4:
        raise UserError(
            f"estimate_noise: expected a picture (1, C, H, W) as measurement, got shape {tuple(y.shape)}; give the "
            "noise's standard deviation"
        )
    if min(y.shape[-2:]) < 3:
        raise UserError("estimate_noise: expected at least 3 x 3 pixels; give the noise's standard deviation")
    planes = y.detach().double().flatten(0, 1)
    masks = None if known is None else known.bool().to(y.device)[None].expand(planes.shape)
    if mosaic:
        planes, masks = _quarters(planes), None if masks is None else _quarters(masks)
    return planes, masks


def steepness(power: Tensor) -> float:
    """Return the ratio of the amplitudes of a spectrum, `(8, 8)`, at `i + j` of 7 or 8 and of 11 or more."""
    coarser, finest = power[(SUM == SIDE - 1) | (SUM == SIDE)].mean(), power[SUM > SIDE + 2].mean()
    return math.sqrt(float(coarser / finest.clamp(min=1e-30)))


def _rounded(variance: Tensor) -> float:
    return float(f"{max(math.sqrt(float(variance)), ROUNDING):.3g}")


def _quarters(x: Tensor) -> Tensor:
    """Return the four planes of each mosaic of 2 x 2 pixels, `(4 n, H // 2, W // 2)`."""
    h, w = (size // 2 * 2 for size in x.shape[-2:])
    return torch.cat([x[:, i:h:2, j:w:2] for i in (0, 1) for j in (0, 1)])


Spectra = tuple[Tensor, Tensor, Tensor]
"""The spectrum of a plane's noise, `(8, 8)`, its power at the finest frequencies, and that of many blocks there."""


def _plane_spectra(plane: Tensor, known: Tensor | None) -> Spectra | None:
    """Return the spectra of a plane; `None` if it is too small."""
    every = blocks = Blocks.of(plane, known).without_painted()
    if len(every) < LEAST:
        return None
    clipped = []
    for level, sign in clipped_levels(plane.flatten() if known is None else plane[known]):
        levels = [v for v in (clipped_noise(every, level, sign),) if v is not None]
        clipped += levels
        free = blocks[(blocks.pixels != level).flatten(1).all(1)]
        if len(free) >= LEAST:
            levels.append(_level(_spectra(free)))
        if levels:
            blocks = blocks[sign * (blocks.means - level) >= NEAR * min(levels)]
    found = _spectra(blocks) if len(blocks) >= LEAST else None
    if clipped and (found is None or min(clipped) < _level(found)):
        power = plane.new_tensor(min(clipped) ** 2)
        return power.expand(SIDE, SIDE), power, power
    return found or _spectra(every)


def _spectra(blocks: Blocks) -> Spectra:
    energies = blocks.energies()
    finest, many = (spectrum(energies, share)[FINEST].mean() for share in (FLATTEST, MANY))
    return spectrum(energies, FLAT), finest, many


def _level(spectra: Spectra) -> float:
    whole, finest, _ = spectra
    return math.sqrt(float(whole.mean() if steepness(whole) > STEEP else finest))


def _small(planes: Tensor, masks: Tensor | None) -> NoiseEstimate:
    """Return the estimate from second differences, for which the noise counts as white."""
    each = [second_differences(planes[i : i + 1], None if masks is None else masks[i]) for i in range(len(planes))]
    joined = torch.cat(each)
    if joined.numel() < 100:
        raise UserError(
            "estimate_noise: too few windows of 3 x 3 known pixels to estimate the noise from; give its standard "
            "deviation"
        )
    std = _median(joined)
    planes_std = tuple(_median(r) if r.numel() else std for r in each)
    return NoiseEstimate(std, planes_std, std, largest=std, correlated=False, spectrum=None, finest=std)


def second_differences(planes: Tensor, known: Tensor | None) -> Tensor:
    """Return the absolute responses of planes, `(n, H, W)`, in windows of known pixels, as one row."""
    weight = torch.tensor(WEIGHTS, dtype=torch.float64, device=planes.device)[None, None]
    response = torch.nn.functional.conv2d(planes[:, None], weight).abs()
    if known is None:
        return response.flatten()
    missing = 1 - known.to(response)[None, None]
    whole = torch.nn.functional.max_pool2d(missing, 3, stride=1) == 0
    return response[whole.expand_as(response)]


def _median(responses: Iterable[float] | Tensor) -> float:
    return _rounded((torch.as_tensor(responses).median() / 6 / 0.6745) ** 2)
