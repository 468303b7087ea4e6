"""The most probable image (MAP), by gradient descent along decreasing noise levels.

    x_{k+1} = x_k - step of Adam down   -sigma_k^2 grad log p(y | x) + x - E[x_0 | x_sigma_k = x]

The second part is `-sigma_k^2 grad log p_sigma_k(x)` by Tweedie's formula. At a fixed level the descent ends at a mode
of `p(y | x) p_sigma(x)`, the posterior under the prior smoothed by `sigma`. High levels have one mode; with decreasing
level it moves to a mode of the posterior.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..checks import check_count, check_number
from ..priors.base import Prior
from ..problem import Problem
from ..schedules import geometric_levels
from .common.adam import Descent, cosine_decay
from .common.run import Run
from .common.search import Range, Ranges
from .common.splitting import first_estimate, likelihood_score
from .iterative import IterativeSolver


@dataclass(frozen=True, kw_only=True)
class MAP(IterativeSolver):
    """Maximum a posteriori by gradients, for any differentiable operator and any noise; all samples are equal.

    Attributes:
        steps: number of iterations.
        sigma_max: first noise level, for data on [-1, 1].
        sigma_min: last noise level, for data on [-1, 1].
        rate: Adam's first step size, for data on [-1, 1]; it decreases to zero along half a cosine.

    References:
        On Maximum-a-Posteriori Estimation with Plug & Play Priors and Stochastic Gradient Descent (Laumont et al.,
        2023), https://arxiv.org/abs/2201.06133, algorithm 1.

    Differs:
        The paper keeps one noise level and takes stochastic gradient steps of decreasing size. Here the level
        decreases, too, and Adam scales the steps, without added noise.

    Example:
        >>> MAP(steps=100).evaluations
        101
    """

    steps: int = 200
    sigma_max: float = 1.0
    sigma_min: float = 0.02
    rate: float = 0.05

    name: ClassVar[str] = "map"
    summary: ClassVar[str] = "most probable image by gradients along decreasing noise levels"
    paper: ClassVar[str] = "Laumont et al. 2023"
    needs: ClassVar[frozenset[str]] = frozenset({"vjp"})
    point: ClassVar[bool] = True
    lower: ClassVar[str] = "rate"
    search: ClassVar[Ranges] = {
        "sigma_max": Range(0.1, 3.0, log=True),
        "sigma_min": Range(0.005, 0.1, log=True),
        "rate": Range(0.01, 0.5, log=True),
    }

    def __post_init__(self) -> None:
        check_count(self, "steps")
        for name in ("sigma_max", "sigma_min", "rate"):
            check_number(self, name, 0, positive=True)

    @property
    def evaluations(self) -> int:
        """One evaluation for the first estimate, and one for each iteration."""
        return self.steps + 1

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        """Return levels in geometric progression, and 0."""
        r = prior.std / 0.5
        high = min(self.sigma_max * r, prior.sigma_max)
        return geometric_levels(self.steps, min(max(self.sigma_min * r, prior.sigma_min), high), high)

    def start(self, run: Run) -> Descent:
        """Return the first estimate."""
        return Descent.at(first_estimate(run))

    def step(self, run: Run, x: Descent, i: int) -> Descent:
        """Take one step of Adam."""
        sigma, image = run.levels[i], x.image
        g = image - run.denoise(image, sigma) - sigma**2 * likelihood_score(run, image)
        return x.down(g / run.unit, i + 1, cosine_decay(self.rate, i, self.steps) * run.unit)
