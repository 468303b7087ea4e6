"""The result of a solver: samples of the posterior, their mean and standard deviation, and a record of the run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .errors import UserError

LARGE = 2**24
"""Values of all samples above which their spread is found one sample at a time."""


@dataclass(frozen=True)
class Inferred:
    """The posterior of an unknown parameter of the operator or of the noise.

    Attributes:
        samples: one for each sample of the image, `(B, S)`, or `(B, S, ...)` for a parameter that is an array.
        mean: posterior mean, `(B, ...)`.
        std: posterior standard deviation, `(B, ...)`.
        note: what the user should know about it: how little the measurement says, for one; or "".
    """

    samples: Tensor
    mean: Tensor
    std: Tensor
    note: str = ""


@dataclass(frozen=True)
class Reconstruction:
    """The result of a solver: samples of the posterior, and a record of the run.

    Attributes:
        samples: `(B, S, C, H, W)`.
        nfe: evaluations of the prior's network for one sample.
        seconds: wall time.
        status: "ok"; "misfit", if the samples are further from the measurement than its noise explains; or "diverged":
            the samples are then the last finite states.
        message: what happened and what to change, if the status is not "ok"; with "ok", a linear solve that stopped at
            its limit with a relative residual of more than a tenth.
        trace: figures of each step, by name, `(steps,)` each, averaged over the samples; for a step with iterative
            linear solves, `solve_iterations` and `solve_residual`, the largest. `chi_square`, `(1,)`, is the squared
            residual of the samples in units of its expectation, see `invdiff.fit`.
        log_evidence: estimate of `log p(y)` of each image, `(B,)`, where the solver gives one.
        estimate: the posterior mean, `(B, C, H, W)`, where the solver has a better one than the mean over samples.
        vjps: products with the transposed Jacobian of the prior's network, for one sample.
        method: what was run and why, in one line, for a solver that chooses others.
        units: of the images, where they are not the values of the prior.
        parameters: posteriors of the unknown parameters, by name; sample `s` of each belongs to image sample `s`.
    """

    samples: Tensor
    nfe: int = 0
    seconds: float = 0.0
    status: str = "ok"
    message: str = ""
    trace: dict[str, Tensor] = field(default_factory=dict)
    log_evidence: Tensor | None = None
    estimate: Tensor | None = None
    vjps: int = 0
    method: str = ""
    units: str = ""
    parameters: dict[str, Inferred] = field(default_factory=dict)

    @property
    def mean(self) -> Tensor:
        """The estimate of least mean square error, `(B, C, H, W)`: the solver's own, else the mean over the samples."""
        return self.samples.mean(1) if self.estimate is None else self.estimate

    @property
    def std(self) -> Tensor:
        """Standard deviation over the samples, `(B, C, H, W)`; zero for a single sample."""
        if self.samples.shape[1] < 2:
            return torch.zeros_like(self.samples[:, 0])
        return mean_and_variance(self.samples)[1].sqrt()

    def interval(self, level: float = 0.9) -> tuple[Tensor, Tensor]:
        """Return the interval that holds the truth with probability `level`, for each pixel.

        The samples are assumed to be calibrated. With `m` and `s` the mean and standard deviation over S samples, `t`
        the quantile of Student's t distribution with S - 1 degrees of freedom,

            m +- t s sqrt(1 + 1/S).

        An estimate of the solver's own in place of `m` is taken to have the error of a mean over the samples.
        `invdiff.Calibration` makes a guarantee of it.

        Args:
            level: probability, in (0, 1).

        Returns:
            Lower and upper ends, `(B, C, H, W)` each.

        Raises:
            ValueError: a single sample, or a level outside (0, 1).

        Example:
            >>> Reconstruction(torch.tensor([0.0, 1.0]).reshape(1, 2, 1, 1, 1)).interval(0.5)[1].round(decimals=3)
            tensor([[[[1.3660]]]])
        """
        if not 0 < level < 1:
            raise UserError(f"interval: level: expected a probability in (0, 1), got {level}; such as 0.9")
        count = self.samples.shape[1]
        if count < 2:
            raise UserError("interval: expected at least 2 samples, got 1; draw more of them (samples=4)")
        from scipy.stats import t

        half = float(t.ppf((1 + level) / 2, count - 1)) * math.sqrt(1 + 1 / count) * self.std
        return self.mean - half, self.mean + half

    def coverage(self, truth: Tensor, level: float = 0.9) -> Tensor:
        """Return the fraction of pixels whose true value lies in `interval(level)`, `(B,)`, float64.

        Args:
            truth: true images, `(B, C, H, W)`.
            level: probability, in (0, 1).

        Raises:
            ValueError: a single sample, or a level outside (0, 1).
        """
        return share_inside(truth, *self.interval(level))


def share_inside(truth: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Return the fraction of pixels of each image between two bounds, `(B,)`, float64; all are `(B, C, H, W)`."""
    return ((truth >= lower) & (truth <= upper)).flatten(1).double().mean(1)


def mean_and_variance(samples: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the variance over the samples, `(B, C, H, W)` each.

    The samples are `(B, S, C, H, W)` with S at least 2; the variance has S - 1 in its denominator. `Tensor.var` over a
    dimension that is not the last one is some fifty times slower.
    """
    mean = samples.mean(1)
    if samples.numel() > LARGE:  # one sample at a time, without a copy of them all
        total = torch.zeros_like(mean)
        for s in range(samples.shape[1]):
            total += (samples[:, s] - mean).square_()
        return mean, total.div_(samples.shape[1] - 1)
    return mean, (samples - mean[:, None]).square_().sum(1) / (samples.shape[1] - 1)
