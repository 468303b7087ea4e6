"""How far samples are from the measurement, in terms of the noise's own distribution.

A sample of the posterior explains the data as well as the truth does: the pairs `(x, y)` and `(x_true, y)` have the
same distribution. So the deviance of a sample over the m observed entries,

    D(x) = -2 sum_i log p(y_i | A(x)_i),

is distributed, over images, as it is for data `y' ~ p(. | A(x))`. For Gaussian noise of standard deviation `s` this is

    ||y - A(x)||^2 / s^2  ~  chi^2 with m degrees of freedom.

For other noise the mean and variance of `D` are found from simulated `y'`; noise without a density, such as rounding
alone, counts as the Gaussian noise nearest to it. The figure of a sample is

    1 + sqrt(2 / m) (D - E D) / std D,      ||y - A(x)||^2 / (m s^2) for Gaussian noise,

and its limit the 0.999 quantile of chi^2 over m, but at least 1.1: with many entries the quantile is so close to 1 that
a noise level 2 % too low would be a misfit. Samples do not fit if their mean figure is beyond the limit, or a tenth of
them is: of exact posteriors about two in a thousand, and at most one in a hundred.

A residual that is too small counts as a fit. Point estimates, and methods that replace what was measured, meet the data
more closely than the truth does by design; the figure shows it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy.special import chdtri
from torch import Tensor

from .errors import NotApplicable, UserError
from .noise import Gaussian, Independent, Noise, measure_noise
from .operators.color import Demosaic
from .problem import Problem
from .reconstruction import Reconstruction
from .streams import generator

TAIL = 1e-3  # probability of a larger figure
TOLERANCE = 0.1  # of the figure, for noise levels are rarely known to 5 %
SHARE = 0.1  # of the samples of an image; that many beyond the limit are a misfit
SIMULATED = 4096  # entries of simulated measurements, for noise that is not Gaussian
MOST = 16  # samples of an image for which measurements are simulated
VALUES = 2**22  # pixel values that are worked on at once
ADVICE = (
    "take more steps, a lower last noise level or another solver, or check the noise of the measurement, the operator "
    "and the prior"
)


@dataclass(frozen=True)
class Fit:
    """The figures of samples, see above.

    Attributes:
        figures: `(B, S)`, float64; 1 on average for samples of the posterior.
        limit: the largest figure that is likely.
        entries: number of observed entries m.
    """

    figures: Tensor
    limit: float
    entries: int

    @property
    def mean(self) -> Tensor:
        """Mean figure of each image, `(B,)`."""
        return self.figures.mean(1)

    @property
    def beyond(self) -> Tensor:
        """Share of the samples of each image beyond the limit, `(B,)`."""
        return (self.figures > self.limit).double().mean(1)

    @property
    def misfit(self) -> Tensor:
        """Which images' samples do not fit, `(B,)`."""
        return (self.mean > self.limit) | (self.beyond >= SHARE) | ~self.mean.isfinite()

    def describe(self) -> str:
        """Return a sentence about the image with the largest figure."""
        worst = int(self.mean.nan_to_num(nan=math.inf).argmax())
        figure = float(self.mean[worst])
        which = f", image {worst} of {len(self.figures)}" if len(self.figures) > 1 else ""
        return (
            f"the residual of the samples is {math.sqrt(max(figure, 0.0)):.3g} times the noise: chi-square per entry "
            f"{figure:.4g}, expected 1, at most {self.limit:.4g} likely for {self.entries} entries "
            f"({float(self.beyond[worst]):.0%} of the samples are beyond{which})"
        )


def measure_fit(problem: Problem, samples: Tensor) -> Fit | None:
    """Return how far samples are from the measurement; `None` for noiseless data, no entries, or no samples.

    Args:
        problem: operator, noise and measurements, `(B, ...)`.
        samples: `(B, S, C, H, W)`.
    """
    m, noise = problem.observations, problem.noise
    images, count = samples.shape[:2]
    if m == 0 or images * count == 0 or (isinstance(noise, Gaussian) and noise.std == 0):
        return None
    samples = samples.to(problem.measurement)
    numbers = max(1, math.prod(problem.operator.in_shape), math.prod(problem.operator.out_shape))
    with torch.no_grad():
        if noise.is_gaussian:
            figures = _in_chunks(problem, samples, _gaussian, max(1, VALUES // numbers))
        else:
            try:
                figures = _in_chunks(problem, samples[:, :MOST], _simulated, 1)
            except NotApplicable:  # noise without a density, such as rounding alone
                one = [
                    _in_chunks(problem[b].gaussian(), samples[b : b + 1, :MOST], _gaussian, 1) for b in range(images)
                ]
                figures = torch.cat(one)
    return Fit(figures, max(float(chdtri(m, TAIL)) / m, 1 + TOLERANCE), m)


def _in_chunks(problem: Problem, samples: Tensor, figure: Callable[[Problem, Tensor], Tensor], size: int) -> Tensor:
    """Return the figures `(B, S)` of samples `(B, S, C, H, W)`, `size` of them at a time."""
    images, count = samples.shape[:2]
    rows = torch.arange(images).repeat_interleave(count)
    chunks = zip(torch.split(rows, size), torch.split(samples.flatten(0, 1), size), strict=True)
    return torch.cat([figure(problem[i.tolist()], x) for i, x in chunks]).cpu().reshape(images, count)


def checked(problem: Problem, result: Reconstruction, name: str) -> Reconstruction:
    """Return a result with the figure in its trace, and the status "misfit" where it is too large.

    Args:
        problem: as it was given to the solver.
        result: what the solver found; any status but "ok" stays.
        name: of the solver, for the message.
    """
    if result.status != "ok" or (fit := measure_fit(problem, result.samples)) is None:
        return result
    result = dataclasses.replace(result, trace={**result.trace, "chi_square": fit.mean.mean()[None]})
    if not bool(fit.misfit.any()):
        return result
    message = "; ".join([f"{name}: {fit.describe()}", ADVICE, *likely_causes(problem, result.samples)])
    return dataclasses.replace(result, status="misfit", message="; ".join(filter(None, [message, result.message])))


def likely_causes(problem: Problem, samples: Tensor) -> list[str]:
    """Return what a misfit often comes from with this operator, most certain first.

    The scale that the measurement has against `A(x)`, by least squares over the mean of the samples, is measured; the
    other causes are those of the kind of operator.

    Args:
        problem: as it was given to the solver.
        samples: `(B, S, C, H, W)`.
    """
    operator, causes = problem.operator, []
    with torch.no_grad():
        clean = operator(samples.mean(1).to(problem.measurement))
    if operator.observed is not None:
        clean = clean * operator.observed.to(clean)
    power = float(clean.square().sum(dtype=torch.float64))
    scale = float((clean * problem.measurement).sum(dtype=torch.float64)) / power if power > 0 else 1.0
    if not 0.8 <= scale <= 1.25:
        causes.append(
            f"the measurement is {scale:.3g} times what the operator makes of the samples: check units, the prior's "
            "range, pixel_size and the sum of the kernel"
        )
    kernel = getattr(operator, "kernel", None)
    if isinstance(kernel, Tensor) and kernel.ndim == 3:
        total = float(kernel.sum()) / len(kernel)
        if abs(total - 1) > 0.01:
            causes.append(f"the kernel's sum is {total:.4g}, not 1")
    if not causes:
        causes += _value_causes(problem, clean)
    if operator.sinogram:
        causes.append("likely here: angles in radians, a transposed sinogram, or another centre of rotation")
    if operator.takes_mask:
        causes.append("likely here: an inverted mask")
    return causes


def level_causes(problem: Problem, *, too_small: float = 3.0, too_large: float = 3.0) -> list[str]:
    """Return a sentence if the stated noise level is far from that of the measurement, a picture or a sinogram.

    Args:
        problem: as it was given to the solver; noise of one stated level.
        too_small: ratio of the measured to the stated level from which it counts as too small.
        too_large: ratio of the stated to the measured level from which it counts as too large.
    """
    operator, noise, y = problem.operator, problem.noise, problem.measurement
    if not (operator.photographic or operator.sinogram) or not isinstance(noise, Gaussian) or y.ndim != 4:
        return []
    known = operator.observed
    if known is not None:
        known = known.expand(y.shape[1:]).all(0).cpu()
    mosaic = isinstance(operator, Demosaic)
    try:
        found = [measure_noise(row[None].cpu(), known, mosaic=mosaic) for row in y]
    except UserError:
        return []
    low = min(f.std if f.certain else f.smallest for f in found)  # texture is no noise
    high = max(f.std for f in found)
    if low > too_small * noise.std:
        how = f"about {low:.2g}, and {noise.std:.2g} is stated"
        return [f"the noise level is likely too small: the measurement has {how}; noise that is not stated is kept"]
    if noise.std > too_large * max(f.largest for f in found):
        how = f"about {high:.2g}, and {noise.std:.2g} is stated"
        return [f"the noise level is likely too large: the measurement has {how}; detail below it is invented anew"]
    return []


def _value_causes(problem: Problem, clean: Tensor) -> list[str]:
    """Return what the values of a picture say about its units, and its channels about the order of the colours."""
    operator, y = problem.operator, problem.measurement
    if not operator.photographic or y.ndim != 4 or not isinstance(problem.noise, Gaussian):
        return []
    low, high, slack = float(y.min()), float(y.max()), 5 * problem.noise.std
    if low < -0.2 - slack or high > 1.5 + slack or high < 0.1 - slack:
        return [
            f"the measurement has values from {low:.3g} to {high:.3g}, and pictures of priors are in [0, 1]: state "
            "--white-level and --black-level, or divide"
        ]
    if y.shape[1] != 3:
        return []
    power = clean.square().sum((0, 2, 3), dtype=torch.float64)
    scales = ((clean * y).sum((0, 2, 3), dtype=torch.float64) / power.clamp(min=1e-12)).tolist()
    if max(scales) <= 1.25 * max(min(scales), 1e-12):
        return []
    named = ", ".join(f"{s:.3g}" for s in scales)
    return [f"the channels are {named} times what the operator makes of the samples: check the order of the colours"]


def _gaussian(problem: Problem, x: Tensor) -> Tensor:
    """Return the figures of Gaussian noise, `(N,)`; rounding counts as noise."""
    y, noise = problem.measurement, problem.noise
    rounding = 4 * torch.finfo(y.dtype).eps * float(y.abs().max())
    std = noise.std if isinstance(noise, Gaussian) else noise.gaussian(y[:1]).std.to(y.device).double()
    variance = torch.as_tensor(std**2 + rounding**2, dtype=torch.float64, device=y.device)
    residual, deviation = problem.residual(x).flatten(1), variance.sqrt().expand(y.shape[1:]).reshape(-1)
    parts = zip(residual.split(VALUES, 1), deviation.split(VALUES), strict=True)
    return torch.stack([(r.double() / d).square().sum(1) for r, d in parts]).sum(0) / problem.observations


def _simulated(problem: Problem, x: Tensor) -> Tensor:
    """Return the figure of one sample under other noise, `(1,)`, by simulation."""
    m, clean = problem.observations, problem.operator(x)
    repeats = min(max(4, -(-SIMULATED // m)), 256) if isinstance(problem.noise, Independent) else 64
    drawn = _drawn(problem.noise, clean.expand(repeats, *clean.shape[1:]), generator(0))
    terms = _deviance(problem, drawn, clean.expand_as(drawn))
    excess = _deviance(problem, problem.measurement, clean).sum(1) - terms.mean(0).sum()
    variance = terms.var(0).sum() * (1 + 1 / repeats)
    return 1 + excess / variance.clamp(min=1e-300).sqrt() * math.sqrt(2 / m)


def _deviance(problem: Problem, y: Tensor, clean: Tensor) -> Tensor:
    """Return the terms of `D`, `(N, entries)`, or their sum, `(N, 1)`, where the noise has no terms."""
    observed, noise = problem.operator.observed, problem.noise
    if isinstance(noise, Independent):
        terms = -2 * noise.log_density(y, clean).double()
        return (terms if observed is None else torch.where(observed.to(y.device), terms, 0.0)).flatten(1)
    if observed is not None:
        keep = observed.to(y.device).expand(y.shape[1:])
        y, clean = y[:, keep], clean[:, keep]
    return -2 * noise.log_likelihood(y, clean).double()[:, None]


def _drawn(noise: Noise, clean: Tensor, g: torch.Generator) -> Tensor:
    """Return measurements of clean values; rates below zero, which noise models of photons refuse, count as zero."""
    try:
        return noise.sample(clean, g)
    except UserError:
        return noise.sample(clean.clamp(min=0), g)
