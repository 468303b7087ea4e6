"""The evidence of unknown parameters on a grid: quadrature for one, Metropolis' algorithm for several.

    p(theta | y)  ~  p(theta) p(y | theta)

The evidence has a closed form under a Gaussian prior. For a network it is that of the Gaussian of photographs, with the
scale and the slope of the picture's own spectrum; see `common.evidence`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..priors.base import Prior
from ..problem import Problem
from .common.evidence import evidence_of
from .common.inferring import InferringSolver
from .common.parameters import Found, posterior_on_box


@dataclass(frozen=True, kw_only=True)
class Evidence(InferringSolver):
    """Unknown parameters from their evidence under a Gaussian of images, then the image with samples of them.

    Attributes:
        steps: evaluations of the evidence on the first grid, for each unknown.

    References:
        Bayesian interpolation (MacKay, 1992), https://doi.org/10.1162/neco.1992.4.3.415, section 3: the evidence of
        hyper-parameters, and its maximum. Differs: the posterior is integrated, not approximated at its maximum.

    Example:
        >>> import torch
        >>> from invdiff import Unknown, priors, simulate
        >>> from invdiff.noise import Gaussian
        >>> from invdiff.operators import Identity
        >>> prior = priors.GaussianPrior(torch.zeros(1, 4, 4), torch.eye(16))
        >>> x, level = torch.zeros(1, 1, 4, 4), Gaussian(Unknown(0.1, 1))
        >>> problem = simulate(Identity((1, 4, 4)), x, level, parameters={"noise": 0.3})
        >>> Evidence(image_solver="dps:steps=3")(problem, prior, samples=2).parameters["noise"].samples.shape
        torch.Size([1, 2])
    """

    steps: int = 25

    name: ClassVar[str] = "evidence"
    paper: ClassVar[str] = "MacKay 1992"
    summary: ClassVar[str] = "unknown parameters by their evidence under a Gaussian of images, then the image"

    def infer(self, problem: Problem, prior: Prior, draws: int, rng: np.random.Generator) -> Found:
        """Return the posterior under the evidence; the prior of the parameters where there is none."""
        log_density = evidence_of(problem, prior)
        return posterior_on_box(log_density, problem.unknowns, rng, draws=draws, coarse=max(self.steps, 3))
