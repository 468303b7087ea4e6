"""RePaint: replacement of the known pixels, with returns to higher noise levels.

    x_unknown ~ q(x_{t-1} | x_t, x0_hat)
    x_known   = y + sigma_{t-1} n
    x_{t-1}   = m x_known + (1 - m) x_unknown

and every `length` levels `x_{t+l} ~ q(x_{t+l} | x_t)`, `repeats - 1` times, so that the unknown part becomes consistent
with the known one. For a linear operator `m z` is `A^+ A z`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..checks import check_count
from ..priors.base import Prior
from ..problem import Problem
from ..transitions import ddim_step, raise_noise
from .common.guidance import toward_data
from .common.levels import ddpm_levels
from .common.run import Run
from .common.time_travel import count_descents, levels_at, time_travel_positions
from .iterative import IterativeSolver


@dataclass(frozen=True, kw_only=True)
class RePaint(IterativeSolver):
    """Inpainting by replacement and resampling; the data are treated as noiseless.

    Attributes:
        steps: number of noise levels; the authors use 250.
        length: number of levels of a return; 10.
        repeats: number of passes over each interval; 10.

    References:
        RePaint: Inpainting using Denoising Diffusion Probabilistic Models (Lugmayr et al., 2022),
        https://arxiv.org/abs/2201.09865, algorithm 1.

    Differs:
        The authors' values cost 2410 network evaluations; the default has 50 levels, with four passes over each
        interval of 5. Their code adds noise to the known pixels just before it calls the network, which is equivalent,
        except that the last estimate has the network's known pixels there, and the data's here. Noisy data enter by
        Wiener's inverse, see `guidance.toward_data`.

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
        """One evaluation for each step to a lower level."""
        return count_descents(time_travel_positions(self.steps, self.length, self.repeats))

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        """Return the levels of all steps, uniform in the time of the variance-preserving SDE."""
        return levels_at(
            ddpm_levels(self.steps, prior, problem), time_travel_positions(self.steps, self.length, self.repeats)
        )

    def step(self, run: Run, x: Tensor, i: int) -> Tensor:
        """Take one step to a lower level and replace the known part, or one step to a higher level."""
        sigma, sigma_next = run.levels[i], run.levels[i + 1]
        if sigma_next > sigma:
            return raise_noise(x, sigma, sigma_next, run.randn(x))
        x = ddim_step(x, run.denoise(x, sigma), sigma, sigma_next, 1.0, run.randn(x))
        return toward_data(run, x, sigma_next, run.randn(x))
