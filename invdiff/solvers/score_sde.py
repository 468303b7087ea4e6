"""Projection on the noised data, inside a predictor and a corrector (Song, Shen 2022).

Before each step of the sampler the measured part of the image moves towards the data, noised to the level of the state:

    x <- x + lambda A^+ (y + sigma_t A n - A x).

The corrector is a Langevin step of a given ratio of signal to noise, the predictor one of the reverse SDE:

    corrector   x <- x + eps s(x) + sqrt(2 eps) n,        eps = 2 (snr |n| / |s(x)|)^2
    predictor   x_{t-1} = x + (sigma_t^2 - sigma_{t-1}^2) s(x) + sqrt(sigma_t^2 - sigma_{t-1}^2) n

and the last predictor is Tweedie's estimate, projected again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..checks import check_count, check_number
from ..priors.base import Prior
from ..problem import Problem
from ..transitions import reverse_sde_step, tweedie_score
from .common.guidance import image_scale, toward_data
from .common.levels import annealed_levels
from .common.run import Run
from .common.search import SHARE, Range, Ranges
from .iterative import IterativeSolver


@dataclass(frozen=True, kw_only=True)
class ScoreSDE(IterativeSolver):
    """Predictor and corrector with projection on the data, for masks, tomography and other linear operators.

    Attributes:
        steps: number of noise levels; two network evaluations each, one at the last. The authors use 1000.
        weight: `lambda` in [0, 1]: 1 for exact data, less for noisy data; 0.841 for the authors' tomography.
        snr: ratio of signal to noise of the corrector; 0.246 for the authors' tomography.

    References:
        Solving Inverse Problems in Medical Imaging with Score-Based Generative Models (Song, Shen et al., 2022),
        https://arxiv.org/abs/2111.08005, algorithm 2 and equation 10.

    Differs:
        The authors work in the Fourier space of the sinogram, where the operator is a mask; `A^+ A` is the equivalent
        for any linear operator, by up to 20 steps of conjugate gradients without a closed form, and Wiener's inverse
        for noisy data (see `guidance.toward_data`). Their last projection has weight 1, after one more denoising at a
        level of 1e-5; here the last predictor is that denoising and has the weight `lambda`. The corrector's step is
        per image, and at most `sigma^2`. It is omitted at the last level.

    Example:
        >>> ScoreSDE(steps=1000).evaluations
        1999
    """

    steps: int = 100
    weight: float = 0.841
    snr: float = 0.246

    name: ClassVar[str] = "score_sde"
    summary: ClassVar[str] = "diffusion by predictor and corrector with projection on the data"
    paper: ClassVar[str] = "Song, Shen et al. 2022"
    needs: ClassVar[frozenset[str]] = frozenset({"linear"})
    approximates: ClassVar[bool] = True
    lower: ClassVar[str] = "snr"
    search: ClassVar[Ranges] = {"weight": SHARE, "snr": Range(0.03, 0.6, log=True)}

    def __post_init__(self) -> None:
        check_count(self, "steps")
        check_number(self, "weight", 0, 1)
        check_number(self, "snr", 0)

    @property
    def evaluations(self) -> int:
        """Two evaluations for each level, one for the last."""
        return 2 * self.steps - 1

    def levels(self, problem: Problem, prior: Prior) -> Tensor:
        """Return levels in geometric progression within the prior's range."""
        return annealed_levels(self.steps, prior, problem)

    def step(self, run: Run, x: Tensor, i: int) -> Tensor:
        """Correct at level `i`, then predict the next one, each after a projection."""
        sigma, sigma_next = run.levels[i], run.levels[i + 1]
        x = toward_data(run, x, sigma, run.randn(x), self.weight)
        if sigma_next == 0:
            return toward_data(run, run.denoise(x, sigma), 0.0, None, self.weight)
        score, n = tweedie_score(x, run.denoise(x, sigma), sigma), run.randn(x)
        ratio = n.square().flatten(1).sum(1) / score.square().flatten(1).sum(1).clamp(min=1e-30)
        # With one pixel the score may vanish by chance, and the step would be unbounded.
        eps = image_scale((2 * self.snr**2 * ratio).clamp(max=sigma**2), x)
        x = x + eps * score + (2 * eps).sqrt() * n
        x = toward_data(run, x, sigma, run.randn(x), self.weight)
        score = tweedie_score(x, run.denoise(x, sigma), sigma)
        return reverse_sde_step(x, score, sigma, sigma_next, run.randn(x))
