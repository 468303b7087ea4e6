"""RePaint: replacement of the known pixels, with walks back up the noise levels.

    x_unknown ~ q(x_{t-1} | x_t, x0_hat)
    x_known   = y + sigma_{t-1} n
    x_{t-1}   = m x_known + (1 - m) x_unknown

and every `length` levels `x_{t+l} ~ q(x_{t+l} | x_t)`, `repeats - 1` times, so that the unknown part comes to fit the
known one. For a linear operator `m z` stands for `A^+ A z`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..priors.base import Prior
from ..problem import Problem
from ..transitions import ddim_step, raise_noise
from .common.checks import check_count
from .common.guidance import toward_data
from .common.levels import ddpm_levels
from .common.run import Run
from .common.time_travel import descents, travel, walk_levels
from .iterative import IterativeSolver


@dataclass(frozen=True, kw_only=True)
class RePaint(IterativeSolver):
    """Inpainting by replacement and resampling; takes the data for noiseless.

    Attributes:
        steps: number of noise levels; the authors use 250.
        length: how many levels the walk climbs back; 10.
        repeats: how often each stretch is walked; 10.

    References:
        RePaint: Inpainting using Denoising Diffusion Probabilistic Models (Lugmayr et al., 2022),
        https://arxiv.org/abs/2201.09865, algorithm 1.

    Differs:
        The authors' values cost 2410 network evaluations; the default walks 50 levels, each stretch of 5 four times.
        Their code noises the known pixels to the level of the state just before it calls the network, the same thing;
        so the last estimate keeps the network's known pixels there, and the data's here. Noisy
        data are taken by Wiener's inverse, see `guidance.toward_data`.

    Example:
        >>> RePaint(steps=250, length=10, repeats=10).evaluations
        2410
    """

    steps: int = 50
    length: int = 5
    repeats: int = 4

    name: ClassVar[str] = "repaint"
    summary: ClassVar[str] = "diffusion with replacement and resampling, for inpainting"
    paper: ClassVar[str] = "Lugmayr et al. 2022"
    needs: ClassVar[frozenset[str]] = frozenset({"linear"})
    approximates: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_count(self, "steps")
        check_count(self, "length")
        check_count(self, "repeats")

    @property
    def evaluations(self) -> int:
        """One for each step down in noise."""
        return descents(travel(self.steps, self.length, self.repeats))

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        """Return the levels of the walk, which is uniform in the time of the variance-preserving SDE."""
        return walk_levels(ddpm_levels(self.steps, prior), travel(self.steps, self.length, self.repeats))

    def step(self, run: Run, x: Tensor, i: int) -> Tensor:
        """Take one step down and replace what is known, or one step up."""
        sigma, sigma_next = run.levels[i], run.levels[i + 1]
        if sigma_next > sigma:
            return raise_noise(x, sigma, sigma_next, run.randn(x))
        x = ddim_step(x, run.denoise(x, sigma), sigma, sigma_next, 1.0, run.randn(x))
        return toward_data(run, x, sigma_next, run.randn(x))
