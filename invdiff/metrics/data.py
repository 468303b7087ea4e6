"""Agreement of a reconstruction with its measurement, in units of the noise.

    r(x) = sqrt(mean over the observed entries of (y - A(x))^2 / Var(y | A(x)))

is about 1 for the truth, because the residual of the truth is the noise. A draw `x_s` of the exact posterior has the
same joint distribution with `y` as the truth, so its `r` is about 1, too. A larger value means that the sample does not
agree with the measurement, a smaller one that it fits the noise. The value for the posterior mean is below 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import UserError
from ..noise import Independent
from ..problem import Problem


def data_residual(problem: Problem, x: Tensor) -> Tensor:
    """Return the residual of each image over the noise level; about 1 for the truth.

    Args:
        problem: measurements `(B, ...)`, their operator, and noise with a variance.
        x: estimates, `(B, C, H, W)`, or samples, `(B, S, C, H, W)`, whose root mean square is returned.

    Returns:
        `(B,)`, float64.

    Raises:
        ValueError: noise of variance zero, or without a known variance; a different number of images.

    Example:
        >>> from invdiff import Problem, noise, operators
        >>> problem = Problem(operators.Identity((1, 2, 2)), noise.Gaussian(0.1), torch.full((1, 1, 2, 2), 0.3))
        >>> data_residual(problem, torch.zeros(1, 1, 2, 2)).round(decimals=6)
        tensor([3.], dtype=torch.float64)
    """
    samples = x[:, None] if x.ndim == 4 else x
    if samples.ndim != 5 or len(samples) != len(problem):
        raise ValueError(
            f"data_residual: x: expected (B, C, H, W) or (B, S, C, H, W) with B = {len(problem)}, as many images as "
            f"measurements, got {tuple(x.shape)}"
        )
    noise = problem.noise
    if not isinstance(noise, Independent):
        raise UserError(
            f"data_residual: problem: expected noise that tells its variance, got {type(noise).__name__}; derive its "
            "class from invdiff.noise.Independent"
        )
    y, observed = problem.measurement, problem.operator.observed
    keep = torch.ones(y.shape[1:], dtype=torch.bool) if observed is None else observed.expand(y.shape[1:])
    total = torch.zeros(len(problem), dtype=torch.float64, device=y.device)
    with torch.no_grad():
        for s in range(samples.shape[1]):  # one at a time: the operator may need much memory
            clean = problem.operator(samples[:, s].to(y))
            variance = noise.variance(clean.double())[:, keep]
            if not bool((variance > 0).all()):
                raise UserError(
                    f"data_residual: problem: expected noise, got {noise!r}, without any; "
                    "compare A(x) with the measurement itself"
                )
            total += ((y - clean).double()[:, keep].square() / variance).mean(1)
    return (total / samples.shape[1]).sqrt()
