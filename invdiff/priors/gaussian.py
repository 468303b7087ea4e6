"""Gaussian priors, with all quantities in closed form.

For `x_0 ~ N(m, C)` with `C = Q diag(v) Q^T` and `Q` orthonormal,

    denoise(x, sigma) = m + Q diag(v / (v + sigma^2)) Q^T (x - m)
    x_sigma ~ N(m, Q diag(v + sigma^2) Q^T).

`Q` is a matrix of eigenvectors for a dense covariance, and a cosine transform (with a rotation of the colours) for a
stationary one.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..dct import dct2, idct2
from ..errors import UserError
from .base import Prior, expand_sigma


class _DiagonalisedGaussian(Prior):
    """A Gaussian given by an orthonormal transform that makes its coefficients independent."""

    analytic = True

    @abc.abstractmethod
    def moments(self, shape: Sequence[int], like: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean image and the variances of the coefficients, for images of this shape `(C, H, W)`."""

    @abc.abstractmethod
    def analyse(self, x: Tensor) -> Tensor:
        """Return the coefficients `Q^T x`, `(B, C, H, W)`."""

    @abc.abstractmethod
    def synthesise(self, c: Tensor) -> Tensor:
        """Return the images `Q c`, `(B, C, H, W)`."""

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Return `m + C (C + sigma^2 I)^{-1} (x - m)`."""
        mean, variance = self.moments(x.shape[1:], x)
        noise = expand_sigma(sigma, x) ** 2
        gain = torch.where(variance > 0, variance / (variance + noise), 0)
        return mean + self.synthesise(gain * self.analyse(x - mean))

    def log_prob(self, x: Tensor, sigma: Tensor | float = 0.0) -> Tensor:
        """Return `log p_sigma(x)` of each image in nats, `(B,)`."""
        mean, variance = self.moments(x.shape[1:], x)
        total = (variance + expand_sigma(sigma, x) ** 2).expand_as(x).double()
        c = self.analyse(x - mean).double()
        return -0.5 * (c**2 / total + total.log() + math.log(2 * math.pi)).flatten(1).sum(1)

    def covariance_product(self, x: Tensor) -> Tensor:
        """Return `C x`, `(B, C, H, W)`."""
        _, variance = self.moments(x.shape[1:], x)
        return self.synthesise(variance * self.analyse(x))

    def _draw(self, n: int, shape: Sequence[int], generator: torch.Generator | None, dtype: torch.dtype) -> Tensor:
        z = torch.randn((n, *shape), generator=generator, dtype=dtype)
        mean, variance = self.moments(shape, z)
        return mean + self.synthesise(variance.sqrt() * z)


class GaussianPrior(_DiagonalisedGaussian):
    """The Gaussian `N(mean, covariance)` over small images, with any covariance.

    Args:
        mean: `(C, H, W)`.
        covariance: `(d, d)` with `d = C H W`, symmetric and positive semi-definite, pixels in row-major order.

    Raises:
        ValueError: shapes that do not fit, or a covariance that is not symmetric and positive semi-definite.

    Example:
        >>> import torch
        >>> prior = GaussianPrior(torch.zeros(1, 1, 2), torch.eye(2))
        >>> prior.denoise(torch.ones(1, 1, 1, 2), 1.0)
        tensor([[[[0.5000, 0.5000]]]])
    """

    def __init__(self, mean: Tensor, covariance: Tensor) -> None:
        if mean.ndim != 3:
            raise UserError(f"GaussianPrior: mean: expected shape (C, H, W), got {tuple(mean.shape)}")
        d = mean.numel()
        if tuple(covariance.shape) != (d, d):
            raise UserError(
                f"GaussianPrior: covariance: expected shape ({d}, {d}) for a mean of {d} pixels, "
                f"got {tuple(covariance.shape)}"
            )
        c = covariance.double()
        if not torch.allclose(c, c.T, rtol=1e-6, atol=1e-6 * float(c.abs().max())):
            raise UserError("GaussianPrior: covariance: expected a symmetric matrix; pass (C + C.T) / 2")
        variance, q = torch.linalg.eigh((c + c.T) / 2)
        if float(variance[0]) < -1e-6 * float(variance[-1].abs()):
            raise UserError(f"GaussianPrior: covariance: expected no negative eigenvalue, got {float(variance[0]):.3g}")
        self.mean = mean.double()
        self.covariance = c
        self._variance, self._q = variance.clamp(min=0), q
        self.shape = tuple(mean.shape)
        self.std = math.sqrt(float(self._variance.mean()))
        self.sigma_min, self.sigma_max = 1e-4 * self.std, 1e3 * self.std
        self._cast: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    @classmethod
    def stationary(cls, *spectra: ColourSpectrum) -> StationaryGaussianPrior:
        """Return the Gaussian of any size with these power spectra; see `StationaryGaussianPrior`."""
        return StationaryGaussianPrior(*spectra)

    def moments(self, shape: Sequence[int], like: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and the eigenvalues."""
        if tuple(shape) != self.shape:
            raise ValueError(f"GaussianPrior: x: expected images of shape {self.shape}, got {tuple(shape)}")
        return self.mean.to(like), self._variance.to(like).reshape(self.mean.shape)

    def _basis(self, x: Tensor) -> Tensor:
        key = (x.dtype, x.device)
        if key not in self._cast:
            self._cast[key] = self._q.to(x)
        return self._cast[key]

    def analyse(self, x: Tensor) -> Tensor:
        """Return the coefficients in the basis of eigenvectors."""
        return (x.flatten(1) @ self._basis(x)).reshape(x.shape)

    def synthesise(self, c: Tensor) -> Tensor:
        """Return the images with these coefficients."""
        return (c.flatten(1) @ self._basis(c).T).reshape(c.shape)

    def sample(self, n: int, generator: torch.Generator | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return `n` images, `(n, C, H, W)`."""
        return self._draw(n, self.mean.shape, generator, dtype)


@dataclass(frozen=True)
class PowerLaw:
    """The spectral density `amplitude / (f^2 + corner^2)^(exponent / 2)`, with `f` in cycles per pixel.

    Attributes:
        amplitude: scale, positive.
        corner: frequency below which the spectrum is flat, positive.
        exponent: decay; about 2.2 for photographs.
    """

    amplitude: float
    corner: float
    exponent: float

    def __call__(self, f2: Tensor) -> Tensor:
        """Return the density at squared frequencies, like `f2`."""
        return self.amplitude / (f2 + self.corner**2) ** (self.exponent / 2)


@dataclass(frozen=True)
class ColourSpectrum:
    """Mean and power spectra of images of some number of channels.

    Attributes:
        mean: mean of each channel, `(C,)`.
        basis: orthonormal rows, `(C, C)`, that transform channels to independent components.
        powers: spectral density of each component, `(C,)`.
        side: shortest side in pixels for which the densities hold; shorter images are crops of images of that side.
    """

    mean: tuple[float, ...]
    basis: tuple[tuple[float, ...], ...]
    powers: tuple[PowerLaw, ...]
    side: int = 1

    def __post_init__(self) -> None:
        b = torch.tensor(self.basis, dtype=torch.float64)
        c = len(self.mean)
        if tuple(b.shape) != (c, c) or len(self.powers) != c:
            raise UserError(
                f"ColourSpectrum: expected {c} channels throughout, "
                f"got basis {tuple(b.shape)} and {len(self.powers)} powers"
            )
        if not torch.allclose(b @ b.T, torch.eye(c, dtype=b.dtype), atol=1e-6):
            raise UserError("ColourSpectrum: basis: expected orthonormal rows")


class StationaryGaussianPrior(_DiagonalisedGaussian):
    """A Gaussian over images of any size, stationary under reflecting borders, diagonal in the cosine transform.

    A density that was fitted to images of `side` pixels is uncertain for longer waves, and it is large at low
    frequencies. Applied directly to a picture of `n < side` pixels, it would give the picture's mean a variance in
    proportion to `1 / n^2`. Such a picture therefore counts as a crop at a random place, and each of its cosine
    coefficients has the variance that it has in crops:

        v_n[k, l] = sum_{K, L} T[k, K] v_side[K, L] T[l, L],      T[k, K] = mean over places of <phi_k, crop of Phi_K>^2

    with the cosines `phi` of `n` and `Phi` of `side` pixels. So the variance of a pixel hardly depends on the size.

    Attributes:
        shape: `(C, None, None)` or `(None, None, None)`; that of the images, from `at`.
        std: standard deviation of a pixel; of a large image (256 x 256) of the first spectrum while the size is open.

    Args:
        *spectra: one `ColourSpectrum` for each number of channels that the prior shall serve.

    Example:
        >>> import torch
        >>> prior = GaussianPrior.stationary(ColourSpectrum((0.5,), ((1.0,),), (PowerLaw(0.001, 0.01, 2.0),)))
        >>> prior.sample(2, (1, 16, 24), torch.Generator().manual_seed(0)).shape
        torch.Size([2, 1, 16, 24])
    """

    def __init__(self, *spectra: ColourSpectrum) -> None:
        if not spectra:
            raise UserError("StationaryGaussianPrior: spectra: expected at least one ColourSpectrum, got none")
        self.spectra = {len(s.mean): s for s in spectra}
        self.shape = (len(spectra[0].mean) if len(spectra) == 1 else None, None, None)
        self._cache: dict[tuple[object, ...], tuple[Tensor, Tensor]] = {}
        self._set_std((len(spectra[0].mean), 256, 256))

    def _set_std(self, shape: tuple[int, int, int]) -> None:
        self.std = math.sqrt(float(_coefficient_variances(self._spectrum(shape[0]), *shape[1:]).mean()))
        self.sigma_min, self.sigma_max = 1e-4 * self.std, 1e3 * self.std

    def at(self, shape: Sequence[int]) -> StationaryGaussianPrior:
        """Return this prior for images of one shape, `(C, H, W)`, with the `std` that they have.

        Args:
            shape: sizes of the images.

        Raises:
            ValueError: no such shape, or channels without a spectrum.

        Example:
            >>> from invdiff.priors import photograph_gaussian
            >>> photograph_gaussian().at((1, 8, 8)).shape
            (1, 8, 8)
        """
        sizes = tuple(int(n) for n in shape)
        if len(sizes) != 3 or min(sizes) < 1:
            raise UserError(
                f"StationaryGaussianPrior.at: shape: expected (C, H, W), each at least 1, got {tuple(shape)}"
            )
        fixed = StationaryGaussianPrior(*self.spectra.values())
        fixed._set_std(sizes)
        fixed.shape = sizes
        return fixed

    def _spectrum(self, channels: int) -> ColourSpectrum:
        if channels not in self.spectra:
            have = " or ".join(map(str, sorted(self.spectra)))
            raise ValueError(f"StationaryGaussianPrior: x: expected images of {have} channels, got {channels}")
        return self.spectra[channels]

    def moments(self, shape: Sequence[int], like: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean colour and the variances of the cosine coefficients."""
        key = (*shape, like.dtype, like.device)
        if key not in self._cache:
            c, h, w = shape
            if None not in self.shape and tuple(shape) != self.shape:
                raise ValueError(
                    f"StationaryGaussianPrior: x: expected images of shape {self.shape}, got {tuple(shape)}; "
                    "call at(shape) for another"
                )
            spectrum = self._spectrum(c)
            variance = _coefficient_variances(spectrum, h, w)
            mean = torch.tensor(spectrum.mean, dtype=torch.float64).reshape(-1, 1, 1)
            self._cache = {key: (mean.to(like), variance.to(like))}  # one size at a time: photographs are large
        return self._cache[key]

    def _basis(self, x: Tensor) -> Tensor:
        return torch.tensor(self._spectrum(x.shape[1]).basis, dtype=x.dtype, device=x.device)

    def analyse(self, x: Tensor) -> Tensor:
        """Return the cosine coefficients of the colour components."""
        return dct2(torch.einsum("kc,bchw->bkhw", self._basis(x), x))

    def synthesise(self, c: Tensor) -> Tensor:
        """Return the images with these coefficients."""
        return torch.einsum("kc,bkhw->bchw", self._basis(c), idct2(c))

    def sample(
        self,
        n: int,
        shape: tuple[int, int, int],
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Return `n` images of shape `(C, H, W)`."""
        return self._draw(n, shape, generator, dtype)


def _squared_frequencies(h: int, w: int) -> Tensor:
    """Return the squared frequency of each cosine coefficient, in cycles per pixel, `(H, W)`, float64."""
    fy = torch.arange(h, dtype=torch.float64) / (2 * h)
    fx = torch.arange(w, dtype=torch.float64) / (2 * w)
    return fy[:, None] ** 2 + fx[None, :] ** 2


def _coefficient_variances(spectrum: ColourSpectrum, h: int, w: int) -> Tensor:
    """Return the variance of each cosine coefficient of images and of crops, `(C, H, W)`, float64."""
    f2 = _squared_frequencies(max(h, spectrum.side), max(w, spectrum.side))
    variance = torch.stack([p(f2) for p in spectrum.powers])
    if h < spectrum.side:
        variance = torch.einsum("kK,cKw->ckw", _seen_in_crops(h, spectrum.side), variance)
    if w < spectrum.side:
        variance = torch.einsum("lL,chL->chl", _seen_in_crops(w, spectrum.side), variance)
    return variance


def _seen_in_crops(n: int, side: int) -> Tensor:
    """Return the mean over places of the squares of `<phi_k, crop of Phi_K>`, `(n, side)`, float64."""
    short, long = (idct2(torch.eye(m, dtype=torch.float64)[:, None])[:, 0] for m in (n, side))  # rows: the cosines
    crops = long.unfold(1, n, 1)  # (side, places, n)
    return torch.einsum("kj,Kpj->kKp", short, crops).square().mean(2)
