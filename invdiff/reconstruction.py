"""What a solver gives back: samples of the posterior, their mean and standard deviation, and how they were made."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Reconstruction:
    """What a solver gives back: samples of the posterior, and how they were made.

    Attributes:
        samples: `(B, S, C, H, W)`.
        nfe: evaluations of the prior's network for one sample.
        seconds: wall time.
        status: "ok", or "diverged": the samples are then the last finite states.
        message: what happened and what to change, for a status other than "ok".
        trace: figures of each step, by name, `(steps,)` each, averaged over the samples.
        log_evidence: estimate of `log p(y)` of each image, `(B,)`, where the solver gives one.
    """

    samples: Tensor
    nfe: int = 0
    seconds: float = 0.0
    status: str = "ok"
    message: str = ""
    trace: dict[str, Tensor] = field(default_factory=dict)
    log_evidence: Tensor | None = None

    @property
    def mean(self) -> Tensor:
        """Mean over the samples, `(B, C, H, W)`: the estimate of least mean square error."""
        return self.samples.mean(1)

    @property
    def std(self) -> Tensor:
        """Standard deviation over the samples, `(B, C, H, W)`; zero for a single sample."""
        if self.samples.shape[1] < 2:
            return torch.zeros_like(self.samples[:, 0])
        return mean_and_variance(self.samples)[1].sqrt()


def mean_and_variance(samples: Tensor) -> tuple[Tensor, Tensor]:
    """Return both over the samples `(B, S, C, H, W)`, S at least 2, with S - 1 in the denominator, `(B, C, H, W)` each.

    `Tensor.var` over a dimension that is not the last one is some fifty times slower.
    """
    mean = samples.mean(1)
    return mean, (samples - mean[:, None]).square_().sum(1) / (samples.shape[1] - 1)
