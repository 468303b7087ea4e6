"""Parallel-beam X-ray projections.

    (A x)(theta, t) = integral of x along the line  x cos(theta) + y sin(theta) = t

exactly, for an image that is constant on each pixel: `x` to the right, `y` upwards, the origin in the image's centre
`((H - 1) / 2, (W - 1) / 2)`, lengths in the unit of `pixel_size`. Detector `k` of `n` is at `t = (k - (n - 1) / 2) *
detector_spacing + detector_offset`.

Filtered back-projection inverts it approximately: with the ramp filter `|f|` on `t`,

    x(p) = integral over theta of (|f| * y)(theta, x cos(theta) + y sin(theta))
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ...checks import number
from ...errors import UserError
from ..base import LinearOperator
from ..numerics.constants import Constant
from ..numerics.linalg import conjugate_gradients
from ..shapes import image_shape
from .rays import Rays

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Filter = Literal["ramp", "shepp-logan", "cosine", "hamming", "hann"]

MEMORY = 2 * 1024**3
"""Largest size in bytes of a stored projection matrix."""


class Projection(LinearOperator):
    """Integrals along a list of rays: the base of the geometries of tomography.

    Args:
        in_shape: shape of one image, `(C, H, W)`.
        theta: directions of the rays' normals in radians, `(views, detectors)`.
        t: signed distances from the centre, in the unit of `pixel_size`, `(views, detectors)`.
        pixel_size: side of a pixel.
        memory: largest size in bytes of a stored matrix; a larger one is computed at each use, with the same numbers.

    Example:
        >>> import torch
        >>> A = Projection((1, 2, 2), theta=torch.zeros(1, 2), t=torch.tensor([[-0.5, 0.5]]))
        >>> A(torch.ones(1, 1, 2, 2))
        tensor([[[[2., 2.]]]])
    """

    sinogram = True

    def __init__(
        self,
        in_shape: tuple[int, ...],
        *,
        theta: Tensor,
        t: Tensor,
        pixel_size: float = 1.0,
        memory: int = MEMORY,
    ) -> None:
        owner = type(self).__name__
        self.in_shape = image_shape(owner, in_shape)
        if theta.ndim != 2 or theta.shape != t.shape or theta.numel() == 0:
            raise ValueError(
                f"{owner}: theta, t: expected equal shapes (views, detectors), "
                f"got {tuple(theta.shape)} and {tuple(t.shape)}"
            )
        self.pixel_size = positive(owner, "pixel_size", pixel_size)
        self.out_shape = (self.in_shape[0], *theta.shape)
        numbers = theta.double().flatten().numpy(), t.double().flatten().numpy() / self.pixel_size
        self._rays = Rays(self.in_shape[1:], *numbers, self.pixel_size, memory)
        # A^T A is nearly the filter `gain / |f|` (f in cycles per pixel), for views over the full circle.
        fy = torch.fft.fftfreq(self._padded[0], dtype=torch.float64)
        fx = torch.fft.rfftfreq(self._padded[1], dtype=torch.float64)
        self._frequency = Constant((fy[:, None] ** 2 + fx**2).sqrt() + 0.5 / max(self._padded))
        spread = float((t[:, -1] - t[:, 0]).abs().mean()) / max(t.shape[1] - 1, 1) / self.pixel_size
        self._gain = theta.shape[0] * self.pixel_size**2 / math.pi / (spread or 1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sinograms, `(B, C, views, detectors)`."""
        return self._rays.project(x.reshape(-1, *self.in_shape[1:])).reshape(-1, *self.out_shape)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return the back-projections, `(B, C, H, W)`."""
        flat = y.reshape(-1, self.out_shape[1] * self.out_shape[2])
        return self._rays.backproject(flat).reshape(-1, *self.in_shape)

    def pinv(self, y: Tensor, *, tolerance: float = 1e-3, max_iterations: int = 500) -> Tensor:
        """Return `A^+ y` by conjugate gradients from zero.

        The default stops early, because the many small singular values would amplify the noise.

        Args:
            y: sinograms, `(B, C, views, detectors)`.
            tolerance: relative residual of the normal equations at which an image stops.
            max_iterations: largest number of iterations.

        Returns:
            Images `(B, C, H, W)`.
        """
        self._check(y, self.out_shape, "a measurement", "y")
        return conjugate_gradients(self.normal, self.adjoint(y), tolerance=tolerance, max_iterations=max_iterations).x

    def solve(self, b: Tensor, rho: Tensor | float) -> Tensor:
        """Return `(A^T A + rho I)^{-1} b` by conjugate gradients, preconditioned with `1 / (gain / |f| + rho)`."""
        self._check(b, self.in_shape, "an image", "b")
        r = torch.as_tensor(rho, dtype=b.dtype, device=b.device).reshape(-1, *[1] * (b.ndim - 1))
        if not bool((r > 0).all()):
            return super().solve(b, rho)  # raises
        response = 1 / (self._gain / self._frequency.like(b) + r)

        def precondition(v: Tensor) -> Tensor:
            wide: Tensor = torch.fft.irfft2(torch.fft.rfft2(v, s=self._padded) * response, s=self._padded)
            return wide[..., : v.shape[-2], : v.shape[-1]]

        return conjugate_gradients(lambda v: self.normal(v) + r * v, b, preconditioner=precondition).x

    def _grid(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return the pixels' positions to the right of the centre, `(W,)`, and above it, `(H, 1)`."""
        _, h, w = self.in_shape
        right = torch.arange(w, dtype=torch.float64, device=device) - (w - 1) / 2
        up = (h - 1) / 2 - torch.arange(h, dtype=torch.float64, device=device)
        return right * self.pixel_size, up[:, None] * self.pixel_size

    @property
    def _padded(self) -> tuple[int, int]:
        return 2 * self.in_shape[1], 2 * self.in_shape[2]


class Tomography(Projection):
    """Parallel-beam projections at any angles.

    Args:
        in_shape: shape of one image, `(C, H, W)`, any rectangle.
        angles_deg: angles `theta` of the projections in degrees, `(views,)`; 0 integrates along the columns.
        pixel_size: side of a pixel; projections are in its unit times that of the image, so it is in cm for an image of
            attenuation in 1/cm, in mm for one in 1/mm. Distances of detectors are in the same unit.
        detectors: number of detectors in the row; default: enough for the image's diagonal.
        detector_spacing: distance between detectors; default: `pixel_size`.
        detector_offset: shift of the row of detectors along `t`, or one for each angle, `(views,)`.
        memory: largest size in bytes of a stored matrix; a larger one is computed at each use, with the same numbers.

    Raises:
        ValueError: angles that are not finite or not a row, or a size, count or spacing that is not positive.

    References:
        Principles of Computerized Tomographic Imaging (Kak, Slaney, 1988), https://doi.org/10.1137/1.9780898719277,
        chapter 3.

    Example:
        >>> import torch
        >>> A = Tomography((1, 8, 8), angles_deg=[0, 90], detectors=8, pixel_size=0.5)
        >>> A(torch.ones(1, 1, 8, 8))[0, 0, 0]
        tensor([4., 4., 4., 4., 4., 4., 4., 4.])
    """

    name = "tomography"
    summary = "parallel-beam X-ray projections at any angles"

    def __init__(
        self,
        in_shape: tuple[int, ...],
        *,
        angles_deg: ArrayLike | Tensor,
        pixel_size: float = 1.0,
        detectors: int | None = None,
        detector_spacing: float | None = None,
        detector_offset: float | ArrayLike | Tensor = 0.0,
        memory: int = MEMORY,
    ) -> None:
        _, h, w = image_shape("Tomography", in_shape)
        self.angles_deg = row("Tomography", "angles_deg", angles_deg)
        pixel_size = positive("Tomography", "pixel_size", pixel_size)
        spacing = (
            pixel_size if detector_spacing is None else positive("Tomography", "detector_spacing", detector_spacing)
        )
        if detectors is None:
            detectors = math.ceil(math.hypot(h, w) * pixel_size / spacing)
            detectors += (detectors - w) % 2  # so that at 0 degrees rays go through the pixels' centres
        if not isinstance(detectors, int) or detectors < 1:
            raise UserError(f"Tomography: detectors: expected a positive integer, got {detectors!r}")
        self._offsets = _each("Tomography", detector_offset, len(self.angles_deg))
        self.detector_spacing = spacing
        t = (torch.arange(detectors, dtype=torch.float64) - (detectors - 1) / 2) * spacing
        theta = torch.deg2rad(self.angles_deg)
        grid = torch.meshgrid(theta, t, indexing="ij")
        shifted = grid[1] + self._offsets[:, None]
        super().__init__(in_shape, theta=grid[0], t=shifted, pixel_size=pixel_size, memory=memory)

    @property
    def detector_offset(self) -> float | Tensor:
        """The shift of the row of detectors: one number, or one for each angle, `(views,)`."""
        first = float(self._offsets[0])
        return first if bool((self._offsets == first).all()) else self._offsets

    def fbp(self, y: Tensor, *, filter: Filter = "ramp") -> Tensor:
        """Return the filtered back-projection.

        Each angle has the weight of its part of the half circle. If a range of angles is missing (a gap above twice the
        next largest), the gap counts as the next largest.

        Args:
            y: sinograms, `(B, C, views, detectors)`.
            filter: the window on the ramp: "ramp" for none, "shepp-logan", "cosine", "hamming" or "hann".

        Returns:
            Images `(B, C, H, W)`.

        Raises:
            ValueError: an unknown filter.
        """
        self._check(y, self.out_shape, "a measurement", "y")
        filtered = ramp_filtered(y, self.detector_spacing, filter)
        filtered = filtered * angular_weights(self.angles_deg, 180).to(y)[:, None]
        rows = filtered.reshape(-1, *self.out_shape[1:])
        right, up = self._grid(y.device)
        out = y.new_zeros(len(rows), *self.in_shape[1:])
        offsets = self._offsets.tolist()
        for v, angle in enumerate(torch.deg2rad(self.angles_deg).tolist()):
            t = right * math.cos(angle) + up * math.sin(angle)
            out += interpolated(rows[:, v], (t - offsets[v]) / self.detector_spacing)
        return out.reshape(-1, *self.in_shape)

    def _describe(self) -> str:
        return f"{len(self.angles_deg)} angles"


def interpolated(rows: Tensor, position: Tensor) -> Tensor:
    """Return rows `(N, n)`, linearly interpolated at positions `(H, W)` from their middle, zero outside."""
    n = rows.shape[-1]
    place = (position + (n + 1) / 2).flatten().clamp(0, n + 1 - 1e-9)
    low = place.floor()
    index = low.long()
    padded = torch.nn.functional.pad(rows, (1, 1))
    one, two = padded.index_select(1, index), padded.index_select(1, index + 1)
    return torch.lerp(one, two, (place - low).to(rows)).reshape(-1, *position.shape)


def ramp_filtered(y: Tensor, spacing: float, filter: Filter) -> Tensor:
    """Return projections under the ramp filter, band-limited, along the last axis.

    References:
        Principles of Computerized Tomographic Imaging (Kak, Slaney, 1988), https://doi.org/10.1137/1.9780898719277,
        chapter 3, equation 61.
    """
    if filter not in get_args(Filter):
        raise UserError(f"Tomography.fbp: filter: expected one of {', '.join(get_args(Filter))}, got {filter!r}")
    n = y.shape[-1]
    size = 1 << (2 * n - 1).bit_length()
    k = torch.fft.fftfreq(size, 1 / size, dtype=torch.float64, device=y.device)
    odd = k.long() % 2 != 0
    kernel = torch.where(odd, -1 / (math.pi * torch.where(odd, k, 1)) ** 2, 0.0)
    kernel[0] = 0.25
    ramp: Tensor = torch.fft.rfft(kernel).real / spacing
    f = torch.fft.rfftfreq(size, dtype=torch.float64, device=y.device)
    window = {
        "ramp": torch.ones_like(f),
        "shepp-logan": torch.sinc(f),
        "cosine": torch.cos(math.pi * f),
        "hamming": 0.54 + 0.46 * torch.cos(2 * math.pi * f),
        "hann": 0.5 + 0.5 * torch.cos(2 * math.pi * f),
    }[filter]
    out: Tensor = torch.fft.irfft(torch.fft.rfft(y, n=size) * (ramp * window).to(y), n=size)
    return out[..., :n]


def angular_weights(angles_deg: Tensor, period: float) -> Tensor:
    """Return the weight of each angle in an integral over a period, in radians, `(views,)`."""
    turned = angles_deg % period
    order = turned.argsort()
    s = turned[order]
    gaps = torch.cat([s[1:] - s[:-1], s[:1] + period - s[-1:]])
    if len(s) > 1:
        next_largest, largest = gaps.sort().values[-2:]
        if largest > 2 * next_largest:
            gaps = torch.where(gaps == largest, next_largest, gaps)
    weights = torch.empty_like(s)
    weights[order] = (gaps + gaps.roll(1)) / 2
    return torch.deg2rad(weights)


def _each(owner: str, offset: float | ArrayLike | Tensor, views: int) -> Tensor:
    """Return the offset of each angle, `(views,)`, float64, or raise a ValueError."""
    if isinstance(offset, int | float):
        if not math.isfinite(offset):
            raise UserError(f"{owner}: detector_offset: expected a finite length, got {offset}")
        return torch.full((views,), float(offset), dtype=torch.float64)
    values = row(owner, "detector_offset", offset)
    if len(values) != views:
        raise UserError(f"{owner}: detector_offset: expected one, or {views}, one for each angle, got {len(values)}")
    return values


def positive(owner: str, name: str, value: float) -> float:
    """Return a positive, finite number, or raise a ValueError."""
    return number(f"{owner}: {name}", value, positive=True, expected="a positive length")


def row(owner: str, name: str, values: ArrayLike | Tensor) -> Tensor:
    """Return finite numbers in a row, `(n,)`, float64, or raise a ValueError."""
    out = torch.as_tensor(np.asarray(values, dtype=np.float64)).detach().cpu()
    if out.ndim != 1 or out.numel() == 0 or not bool(torch.isfinite(out).all()):
        raise UserError(f"{owner}: {name}: expected a row of finite numbers, got shape {tuple(out.shape)}")
    return out
