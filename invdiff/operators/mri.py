"""Magnetic resonance imaging: a subset of the image's frequencies, measured with one coil or several.

    y_k = m * F(S_k x),      m in {0, 1} for each frequency

with the orthonormal Fourier transform, frequency zero in the centre of k-space, and sensitivities `S_k`. Complex
numbers are two channels, real and imaginary part. An image of one channel is real.

With one coil, `A` selects rows of a unitary map, so `A A^T` is a projection. For real images `A^T A` is a filter with
the response `(m(f) + m(-f)) / 2`, diagonal in the Hartley basis `V c = Re F c - Im F c`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import UserError
from .base import LinearOperator, Spectrum
from .numerics.constants import Constant, linear
from .shapes import image_shape


class MRI(LinearOperator):
    """Frequencies of an image under a mask, for one coil or several.

    Args:
        in_shape: shape of one image: `(2, H, W)`, real and imaginary part, or `(1, H, W)` for a real image.
        mask: the measured frequencies, 1 or True, with frequency zero in the centre, `(H, W)`, or `(W,)` for columns.
        sensitivities: complex sensitivities of the coils, `(K, H, W)`; default: one coil with uniform sensitivity.

    Raises:
        ValueError: a wrong number of channels, a wrong size of the mask or the sensitivities, or values of the mask
            other than 0 and 1.

    References:
        SENSE: Sensitivity encoding for fast MRI (Pruessmann et al., 1999),
        https://doi.org/10.1002/(SICI)1522-2594(199911)42:5<952::AID-MRM16>3.0.CO;2-S.

    Example:
        >>> import torch
        >>> A = MRI((2, 8, 8), mask=cartesian_mask((8, 8), acceleration=4))
        >>> A(torch.ones(1, 2, 8, 8)).shape, int(A.observed.sum())
        (torch.Size([1, 2, 8, 8]), 16)
    """

    name = "mri"
    summary = "frequencies under a mask, one coil; real or complex images"
    complex_valued = True

    def __init__(self, in_shape: tuple[int, ...], *, mask: Tensor, sensitivities: Tensor | None = None) -> None:
        self.in_shape = image_shape("MRI", in_shape)
        channels, h, w = self.in_shape
        if channels not in (1, 2):
            raise UserError(
                f"MRI: in_shape: expected (2, H, W), real and imaginary part, or (1, H, W), real, got {self.in_shape}"
            )
        if not isinstance(mask, Tensor) or tuple(mask.shape) not in ((h, w), (w,)):
            got = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
            raise UserError(f"MRI: mask: expected a tensor of shape {(h, w)} or {(w,)}, got {got}")
        known = mask.detach() == 1
        if not bool((known | (mask == 0)).all()):
            raise UserError("MRI: mask: expected values 0 and 1, got others; threshold it, mask > 0.5")
        known = known.expand(h, w)
        self._mask = Constant(known.contiguous())
        self._unshifted = Constant(torch.fft.ifftshift(known))  # for the unshifted FFT, frequency zero first
        self._coils: Constant | None = None
        self.out_shape = (2, h, w)
        if sensitivities is not None:
            if not isinstance(sensitivities, Tensor) or sensitivities.ndim != 3 or sensitivities.shape[1:] != (h, w):
                got = tuple(sensitivities.shape) if isinstance(sensitivities, Tensor) else type(sensitivities).__name__
                raise UserError(f"MRI: sensitivities: expected a complex tensor (K, {h}, {w}), got {got}")
            if not bool(torch.isfinite(torch.view_as_real(sensitivities + 0j)).all()):
                raise UserError("MRI: sensitivities: expected finite values, got NaN or infinite ones")
            self._coils = Constant(sensitivities.detach().to(torch.complex128))
            self.out_shape = (2, len(sensitivities), h, w)

    @property
    def observed(self) -> Tensor:
        """The mask."""
        return self._mask.value

    def forward(self, x: Tensor) -> Tensor:
        """Return the frequencies, `(B, 2, H, W)`, or `(B, 2, K, H, W)` with coils."""
        return linear(x, self._apply, self._apply_transposed)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return `sum_k conj(S_k) F^H (m y_k)`, `(B, C, H, W)`."""
        return linear(y, self._apply_transposed, self._apply)

    def _apply(self, x: Tensor) -> Tensor:
        z = torch.complex(x[:, 0], x[:, 1]) if self.in_shape[0] == 2 else x[:, 0].to(x.dtype.to_complex())
        if self._coils is not None:
            z = z[:, None] * self._coils.like(x)
        k = torch.fft.fft2(torch.fft.ifftshift(z, (-2, -1)), norm="ortho") * self._unshifted.like(x)
        k = torch.fft.fftshift(k, (-2, -1))
        return torch.stack([k.real, k.imag], 1)

    def _apply_transposed(self, y: Tensor) -> Tensor:
        k = torch.fft.ifftshift(torch.complex(y[:, 0], y[:, 1]), (-2, -1)) * self._unshifted.like(y)
        z = torch.fft.fftshift(torch.fft.ifft2(k, norm="ortho"), (-2, -1))
        if self._coils is not None:
            z = (z * self._coils.like(y).conj()).sum(1)
        return torch.stack([z.real, z.imag], 1) if self.in_shape[0] == 2 else z.real[:, None].contiguous()

    @property
    def svd(self) -> Spectrum | None:
        """The Fourier transform for one coil, `None` for several.

        The singular values are ones on the mask, or, for real images, roots of its symmetric part.
        """
        if self._coils is not None:
            return None
        if self.in_shape[0] == 2:
            index = self._mask.value.expand(2, -1, -1).flatten().nonzero().squeeze(1)

            def gather(y: Tensor) -> Tensor:
                return y.flatten(1)[:, index.to(y.device)]

            def scatter(c: Tensor) -> Tensor:
                flat = c.new_zeros((len(c), 2 * self._mask.value.numel()))
                return flat.index_copy(1, index.to(c.device), c).reshape(len(c), *self.out_shape)

            return Spectrum(
                s=torch.ones(len(index), dtype=torch.float64, device=index.device),
                V=lambda c: self.adjoint(scatter(c)),
                Vt=lambda x: gather(self.forward(x)),
                U=scatter,
                Ut=gather,
            )
        mask = self._unshifted.value.double()
        s = ((mask + mask.flip((0, 1)).roll((1, 1), (0, 1))) / 2).sqrt()[None]
        inverse = Constant(torch.where(s > 0, 1 / torch.where(s > 0, s, 1), 0))
        return Spectrum(
            s=s,
            V=_hartley,
            Vt=_hartley,
            U=lambda c: self.forward(_hartley(c * inverse.like(c))),
            Ut=lambda y: _hartley(self.adjoint(y)) * inverse.like(y),
        )

    def _describe(self) -> str:
        coils = f", {self.out_shape[1]} coils" if self._coils is not None else ""
        return f"{float(self._mask.value.double().mean()):.0%} of the frequencies{coils}"


def _hartley(x: Tensor) -> Tensor:
    z: Tensor = torch.fft.fft2(x, norm="ortho")
    return z.real - z.imag


def cartesian_mask(
    size_hw: tuple[int, int], *, acceleration: float, center_fraction: float = 0.08, seed: int = 0
) -> Tensor:
    """Return a mask of whole columns: those in the centre, and random others.

    Args:
        size_hw: height and width of the image, `(H, W)`.
        acceleration: ratio of all columns to the measured ones, at least 1.
        center_fraction: fraction of all columns, in the centre, that are always measured.
        seed: seed of the random numbers.

    Returns:
        A boolean mask `(H, W)`, frequency zero in the centre, with `round(W / acceleration)` columns, or those of the
        centre if these are more.

    Raises:
        ValueError: an acceleration below 1, or a share outside [0, 1].

    References:
        fastMRI: An Open Dataset and Benchmarks for Accelerated MRI (Zbontar et al., 2018),
        https://arxiv.org/abs/1811.08839. Differs: the number of columns is exact.

    Example:
        >>> int(cartesian_mask((4, 64), acceleration=4)[0].sum())
        16
    """
    h, w = size_hw
    if not acceleration >= 1:
        raise UserError(f"cartesian_mask: acceleration: expected 1 or more, got {acceleration}")
    if not 0 <= center_fraction <= 1:
        raise UserError(f"cartesian_mask: center_fraction: expected a share in [0, 1], got {center_fraction}")
    count, middle = max(1, round(w / acceleration)), round(w * center_fraction)
    columns = torch.zeros(w, dtype=torch.bool)
    start = w // 2 - middle // 2
    columns[start : start + middle] = True
    free = (~columns).nonzero().squeeze(1)
    order = torch.randperm(len(free), generator=torch.Generator().manual_seed(seed))
    columns[free[order[: max(0, count - middle)]]] = True
    return columns.expand(h, w).contiguous()
