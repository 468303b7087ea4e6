r"""The evidence of a photograph's blur and noise, from the power spectrum of the measurement.

A photograph counts as a stationary Gaussian with the spectrum `a |f|^-e`, so a measurement `y = h * x + s n` has the
spectrum

    S(f) = a |f|^-e |h(f)|^2 + s^2

and, with the periodogram `P(f)` of the tapered measurement, the likelihood of Whittle,

    log p(y | theta) = -c/2 sum_f log S(f) + P(f) / S(f)

The scale `a` and the exponent `e` of a picture are unknown too: they are integrated out by Laplace's method, with a
normal prior on the exponent as photographs have it. The factor `c` below 1 accounts for the taper, which correlates
neighbouring frequencies, and for what photographs are besides a stationary Gaussian: it makes the posterior as wide as
the errors are. The periodogram of a large picture is the mean over its tiles, with as many times that factor.

References:
    Estimation and information in stationary time series (Whittle, 1953), https://doi.org/10.1007/BF02590998.
    Origins of scaling in natural images (Ruderman, 1997), https://doi.org/10.1016/S0042-6989(97)00008-4: the spectrum.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...operators.base import LinearOperator, Operator

EXPONENT = (2.5, 0.4)  # mean and standard deviation over photographs of the exponent of the power spectrum
TAPER = 0.26  # independent share of the frequencies under a Hann window on both axes: (18 / 35)^2
PHOTOGRAPH = 0.05  # further share, so that errors are as large as the posterior says, measured on photographs
TILE = 128  # side in pixels of the tiles
LEAST = 24  # sides in pixels of the smallest picture with a spectrum


class SpectralEvidence:
    """The evidence of convolutions of one picture.

    Args:
        y: the measurement, `(C, H, W)`.

    Attributes:
        share: `c` above.
    """

    def __init__(self, y: Tensor) -> None:
        plane = y.double().mean(0)
        self.channels = len(y)
        side = self._side = min(TILE, *plane.shape)
        window = torch.outer(_hann(side), _hann(side))
        window = window / window.square().mean().sqrt()
        rows, columns = (_places(n, side) for n in plane.shape)
        cut = torch.stack([plane[i : i + side, j : j + side] for i in rows for j in columns])
        cut = (cut - cut.mean((1, 2), keepdim=True)) * window
        self.share: float = TAPER * PHOTOGRAPH * plane.numel() / side**2
        f = torch.fft.fftfreq(side, dtype=torch.float64)
        f2 = f[:, None] ** 2 + f**2
        half = (f > 0) | ((f == 0) & (f[:, None] > 0))  # one of each pair f, -f
        self._keep = (f2 > (1.6 / side) ** 2) & half
        self._power = (torch.fft.fft2(cut).abs() ** 2 / side**2).mean(0)[self._keep]
        self._log_f2 = f2[self._keep].log()
        self._start = self._guess()

    @staticmethod
    def suits(operator: Operator) -> bool:
        """Return whether an operator is a convolution of pictures, the same for all channels, up to the borders."""
        c, h, w = operator.in_shape if len(operator.in_shape) == 3 else (0, 0, 0)
        if not isinstance(operator, LinearOperator) or not operator.photographic or operator.observed is not None:
            return False
        if min(operator.out_shape[1:]) < LEAST or operator.out_shape[0] != c:
            return False
        places = torch.zeros(2, c, h, w, dtype=torch.float64)
        places[0, :, h // 2, w // 2] = places[1, :, h // 2 - 1, w // 2 - 2] = 1
        a, b = operator(places)
        moved = b.roll((1, 2), (-2, -1))
        near = float((a - moved).abs().max()) <= 1e-6 * float(a.abs().max())
        return near and float((a - a[:1]).abs().max()) <= 1e-6 * float(a.abs().max())

    def transfer(self, operator: Operator) -> Tensor:
        """Return `|h(f)|^2` of an operator at the frequencies in use."""
        c, h, w = operator.in_shape
        place = torch.zeros(1, c, h, w, dtype=torch.float64)
        place[..., h // 2, w // 2] = 1
        out = operator(place)[0, 0]
        (top, left), n = ((size - self._side) // 2 for size in out.shape), self._side
        response: Tensor = torch.fft.fft2(out[top : top + n, left : left + n]).abs() ** 2
        return response[self._keep]

    def log_density(self, operator: Operator, std: float) -> float:
        """Return the log evidence of an operator and a noise level, up to a constant.

        Args:
            operator: the convolution.
            std: standard deviation of the noise in each channel.
        """
        transfer = self.transfer(operator)
        level = torch.as_tensor(max(std, 1e-9) ** 2 / self.channels, dtype=torch.float64)
        value, curvature = self._fitted(transfer, level)
        return -value - 0.5 * float(torch.logdet(curvature))

    def _guess(self) -> Tensor:
        """Return a first `(log a, e)`, from the lowest frequencies, which no blur reaches."""
        low = self._log_f2 < self._log_f2.quantile(0.1)
        scale = (self._power[low].log() + EXPONENT[0] / 2 * self._log_f2[low]).mean() + 0.58
        return torch.stack([scale, torch.tensor(EXPONENT[0], dtype=torch.float64)])

    def _fitted(self, transfer: Tensor, noise: Tensor) -> tuple[float, Tensor]:
        """Return the least negative log density over `(log a, e)`, by Fisher scoring, and its curvature there."""
        at, value = self._start, self._objective(self._start, transfer, noise)
        prior = torch.diag(torch.tensor([1e-9, EXPONENT[1] ** -2], dtype=torch.float64))
        curvature = prior
        for _ in range(40):
            signal = torch.exp(at[0] - at[1] / 2 * self._log_f2) * transfer
            total = signal + noise
            jacobian = torch.stack([signal / total, -signal * self._log_f2 / 2 / total])
            gradient = self.share * (jacobian * (1 - self._power / total)).sum(1)
            gradient = gradient + prior[1] * (at[1] - EXPONENT[0])
            curvature = self.share * jacobian @ jacobian.T + prior
            move, step, before = torch.linalg.solve(curvature, gradient).clamp(-2, 2), 1.0, value
            while step > 1e-3:
                to = at - step * move
                if (new := self._objective(to, transfer, noise)) <= value:
                    at, value = to, new
                    break
                step /= 2
            if before - value < 1e-5:
                break
        return value, curvature

    def _objective(self, at: Tensor, transfer: Tensor, noise: Tensor) -> float:
        total = torch.exp(at[0] - at[1] / 2 * self._log_f2) * transfer + noise
        misfit = self.share * float((total.log() + self._power / total).sum())
        unusual = (float(at[1]) - EXPONENT[0]) / EXPONENT[1]
        return misfit + 0.5 * unusual * unusual


def _hann(n: int) -> Tensor:
    return torch.hann_window(n, periodic=True, dtype=torch.float64)


def _places(n: int, side: int) -> list[int]:
    """Return the first pixels of tiles that overlap by half or more, and reach both ends."""
    count = 1 + -(-2 * (n - side) // side)
    return [round(i * (n - side) / max(count - 1, 1)) for i in range(count)]
