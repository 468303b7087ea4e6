"""Whitening of Gaussian noise with unequal levels.

With a standard deviation `s_i` for each entry, a reference level `s` and weights `w = s / s_i`,

    y = A(x) + s_i n      is      w y = w A(x) + s n,      p(y | x) = p(w y | x) prod_i w_i

so solvers and the exact posterior for white noise apply. The reference is `1 / s^2 = mean(1 / s_i^2)`: the weights then
have mean square 1, and equal levels are left unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .noise import Gaussian
from .operators import Chain, Composition, Gain, Identity, Inpainting, LinearOperator, Operator
from .problem import Problem


@dataclass(frozen=True)
class White:
    """A problem rescaled so that its noise is white.

    Attributes:
        problem: the problem, with `Gaussian` noise.
        log_volume: `sum_i log w_i` over the observed entries: `log p(y) = log p(w y) + log_volume`.
    """

    problem: Problem
    log_volume: float = 0.0


def whitened(problem: Problem) -> White:
    """Return the problem rescaled so that its Gaussian noise is white.

    Args:
        problem: with Gaussian noise: `Gaussian`, `GaussianMap`, or a stack of these.

    Raises:
        ValueError: noise that is not Gaussian; `problem.gaussian()` approximates it.

    Example:
        >>> from invdiff.noise import GaussianMap
        >>> from invdiff.operators import Identity
        >>> noise = GaussianMap(torch.tensor([0.1, 0.2]))
        >>> white = whitened(Problem(Identity((1, 1, 2)), noise, torch.ones(1, 1, 1, 2))).problem
        >>> white.noise.std, white.measurement.flatten()
        (0.12649110..., tensor([1.2649, 0.6325]))
    """
    if isinstance(problem.noise, Gaussian):
        return White(problem)
    if not problem.noise.is_gaussian:
        raise ValueError(f"whitened: noise: expected Gaussian, got {problem.noise!r}; take problem.gaussian() first")
    noise = problem.noise.gaussian(problem.measurement)
    operator, y = problem.operator, problem.measurement
    std = noise.std.double().expand(operator.out_shape)
    seen = torch.ones_like(std, dtype=torch.bool)
    if operator.observed is not None:
        seen = operator.observed.to(std.device).expand(operator.out_shape)
    if not bool(seen.any()) or float(std[seen].min()) == float(std[seen].max()):
        level = float(std[seen].min()) if bool(seen.any()) else 1.0
        return White(Problem(operator, Gaussian(level), y, problem.image_index))
    level = float((std[seen] ** -2).mean() ** -0.5)
    weights = torch.where(seen, level / std, 0)
    law = Gaussian(level)
    white = Problem(weighted(operator, weights), law, y * weights.to(y), problem.image_index)
    return White(white, float(weights[seen].log().sum()))


def weighted(operator: Operator, weights: torch.Tensor) -> Operator:
    """Return `x -> w * A(x)`, with the closed forms that remain valid.

    Args:
        operator: the operator `A`.
        weights: `w`, `(*out_shape)`, 0 where nothing is observed.
    """
    gain = Gain(tuple(operator.out_shape), gain=weights)
    if isinstance(operator, Inpainting | Identity):
        return gain  # which is 0 wherever the mask is 0
    return Composition(gain, operator) if isinstance(operator, LinearOperator) else Chain(gain, operator)
