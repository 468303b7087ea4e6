"""Point-spread functions of optics, each of sum one, in float64, integrated over the pixels.

disk      defocus of a wide aperture       k(r) ~ 1 for r < radius
Moffat    stars through the atmosphere     k(r) ~ (1 + (r / alpha)^2)^-beta,   fwhm = 2 alpha sqrt(2^(1/beta) - 1)
Airy      a circular aperture              k(r) ~ (2 J1(v) / v)^2,  v = 3.8317 r / radius

The radius of an Airy pattern is that of its first dark ring.

A pixel of the kernel is the mean over its area, as a detector measures it: the disk's by its exact area, the others' by
Gauss-Legendre points.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...checks import integer, number
from ...errors import UserError
from ...memory import check_fits

FIRST_ZERO = 3.8317059702075125
"""First zero of the Bessel function J1."""

Array = NDArray[np.float64]


def disk_kernel(radius: float, size: int | None = None) -> Tensor:
    """Return a disk: each pixel has the area that the disk covers, so the edge is antialiased.

    Args:
        radius: in pixels, positive.
        size: side; default: the whole disk, an odd number.

    Returns:
        Kernel `(size, size)` of sum one.

    Raises:
        ValueError: a radius or size that is not positive.

    Example:
        >>> disk_kernel(0.4).shape, float(disk_kernel(2.0)[2, 2] * math.pi * 4)
        (torch.Size([1, 1]), 1.0)
    """
    number("disk_kernel: radius", radius, positive=True, expected="a positive number of pixels")
    n = _side("disk_kernel", "radius", size, math.ceil(radius - 0.5))
    edges = np.arange(n + 1, dtype=np.float64) - n / 2
    corner = _quadrant(edges[:, None], edges[None, :], radius)
    area = corner[1:, 1:] - corner[:-1, 1:] - corner[1:, :-1] + corner[:-1, :-1]
    return _normalised(np.maximum(area, 0))


def moffat_kernel(fwhm: float, beta: float = 4.765, size: int | None = None) -> Tensor:
    """Return a Moffat function, the image of a star through the atmosphere.

    Args:
        fwhm: full width at half maximum in pixels, positive.
        beta: exponent, above 1; small values have wide wings. 4.765 is that of turbulence by Kolmogorov; 2.5 is usual
            for images with instrumental wings.
        size: side; default: where all but 0.5 % of the light falls, at most 16 fwhm each way.

    Returns:
        Kernel `(size, size)` of sum one.

    Raises:
        ValueError: a width or size that is not positive, or an exponent of at most 1.

    References:
        A Theoretical Investigation of Focal Stellar Images in the Photographic Emulsion and Application to Photographic
        Photometry (Moffat, 1969), Astronomy and Astrophysics 3, 455.
        The effects of seeing on Sersic profiles II (Trujillo et al., 2001),
        https://doi.org/10.1046/j.1365-8711.2001.04937.x, section 2.

    Example:
        >>> moffat_kernel(3.0, 2.5, 33).sum().round(decimals=12)
        tensor(1., dtype=torch.float64)
    """
    number("moffat_kernel: fwhm", fwhm, positive=True, expected="a positive number of pixels")
    if not number("moffat_kernel: beta", beta) > 1:
        raise UserError(f"moffat_kernel: beta: expected more than 1, where the light is finite, got {beta:g}")
    alpha = fwhm / (2 * math.sqrt(2 ** (1 / beta) - 1))
    # The light beyond r is (1 + (r / alpha)^2)^(1 - beta).
    reach = min(alpha * math.sqrt(0.005 ** (1 / (1 - beta)) - 1), 16 * fwhm)
    n = _side("moffat_kernel", "fwhm", size, math.ceil(reach))
    return _integrated(lambda r2: (1 + r2 / alpha**2) ** -beta, n, alpha)


def airy_kernel(radius: float, size: int | None = None) -> Tensor:
    """Return an Airy pattern, the diffraction of a circular aperture.

    Args:
        radius: of the first dark ring in pixels, positive: 1.22 wavelength / aperture in radians, over the scale of a
            pixel.
        size: side; default: six dark rings, beyond which 3 % of the light falls.

    Returns:
        Kernel `(size, size)` of sum one.

    Raises:
        ValueError: a radius or size that is not positive.

    References:
        On the Diffraction of an Object-glass with Circular Aperture (Airy, 1835), Transactions of the Cambridge
        Philosophical Society 5, 283.

    Example:
        >>> k = airy_kernel(10.0, 41)[20]
        >>> int(k[20:33].argmin())  # from the middle
        10
    """
    number("airy_kernel: radius", radius, positive=True, expected="a positive number of pixels")
    from scipy.special import j1

    def pattern(r2: Array) -> Array:
        v = FIRST_ZERO * np.sqrt(r2) / radius
        safe = np.where(v > 1e-6, v, 1.0)
        return np.where(v > 1e-6, (2 * j1(safe) / safe) ** 2, 1.0)

    n = _side("airy_kernel", "radius", size, math.ceil(5.25 * radius))  # the sixth is at 19.616 / 3.832 radii
    return _integrated(pattern, n, radius / 2)


def _side(owner: str, option: str, size: int | None, reach: int) -> int:
    n = 2 * reach + 1 if size is None else integer(f"{owner}: size", size, 1, expected="a positive integer")
    check_fits(f"{owner}: {option}", (n, n), "choose a smaller one")
    return n


def _integrated(profile: Callable[[Array], Array], n: int, scale: float) -> Tensor:
    """Return a profile of `r^2` averaged over the pixels; `scale` is the length over which it changes."""
    points, weights = np.polynomial.legendre.leggauss(int(np.clip(math.ceil(8 / scale), 4, 24)))
    middles = np.arange(n, dtype=np.float64) - (n - 1) / 2
    out = np.zeros((n, n))
    for p, wp in zip(points / 2, weights / 2, strict=True):
        for q, wq in zip(points / 2, weights / 2, strict=True):
            out += wp * wq * profile((middles[:, None] + p) ** 2 + (middles[None, :] + q) ** 2)
    return _normalised(out)


def _normalised(k: Array) -> Tensor:
    return torch.from_numpy(k / k.sum())


def _quadrant(x: Array, y: Array, radius: float) -> Array:
    """Return the signed area of the disk between the axes and a corner `(x, y)`, odd in both: its double integral.

    For a corner inside of the disk it is `x y`. Outside, the part of the disk with `0 < u < |x|`, `0 < v < |y|` is

        integral from 0 to min(|x|, R) of min(|y|, sqrt(R^2 - u^2)) du
    """
    a, b = np.minimum(np.abs(x), radius), np.minimum(np.abs(y), radius)
    knee = np.minimum(a, np.sqrt(np.maximum(radius**2 - b**2, 0)))  # up to here the line v = |y| is inside

    def below(u: Array) -> Array:  # integral of sqrt(R^2 - u^2)
        return (u * np.sqrt(np.maximum(radius**2 - u**2, 0)) + radius**2 * np.arcsin(np.clip(u / radius, -1, 1))) / 2

    area: Array = np.sign(x) * np.sign(y) * (b * knee + below(a) - below(knee))
    return area
