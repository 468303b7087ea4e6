"""Adam's step, as a map from values to values.

    m' = b_1 m + (1 - b_1) g,    v' = b_2 v + (1 - b_2) g^2
    x' = x - rate (m' / (1 - b_1^k)) / (sqrt(v' / (1 - b_2^k)) + eps)

Each entry has its own step, so no image of a batch depends on another.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Moments(NamedTuple):
    """Running moments of the gradient, each in the shape of the variable."""

    first: Tensor
    second: Tensor

    @classmethod
    def zeros(cls, like: Tensor) -> Moments:
        """Return the moments before the first step."""
        return cls(torch.zeros_like(like), torch.zeros_like(like))


def adam_step(
    x: Tensor,
    gradient: Tensor,
    moments: Moments,
    k: int,
    rate: float,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> tuple[Tensor, Moments]:
    """Return the variable and the moments after descent step `k` (from 1).

    Args:
        x: the variable.
        gradient: of the loss, like `x`.
        moments: after the last step.
        k: index of this step, from 1.
        rate: step size, in units of `x`.
        betas: `b_1` and `b_2`.
        eps: in units of the gradient.

    References:
        Adam: A Method for Stochastic Optimization (Kingma, Ba, 2015), https://arxiv.org/abs/1412.6980, algorithm 1.
    """
    first = torch.lerp(moments.first, gradient, 1 - betas[0])
    second = torch.addcmul(betas[1] * moments.second, gradient, gradient, value=1 - betas[1])
    size = second.sqrt().mul_((1 - betas[1] ** k) ** -0.5).add_(eps)
    return torch.addcdiv(x, first, size, value=-rate / (1 - betas[0] ** k)), Moments(first, second)


class Descent(NamedTuple):
    """The state of a descent: an image, `(N, C, H, W)`, and Adam's moments."""

    image: Tensor
    first: Tensor
    second: Tensor

    @classmethod
    def at(cls, image: Tensor) -> Descent:
        """Return the state before the first step."""
        return cls(image, *Moments.zeros(image))

    def down(self, gradient: Tensor, k: int, rate: float) -> Descent:
        """Return the state after step `k`, from 1; see `adam_step`. The second moment has a memory of 100 steps."""
        image, moments = adam_step(self.image, gradient, Moments(self.first, self.second), k, rate, betas=(0.9, 0.99))
        return Descent(image, *moments)


def cosine_decay(rate: float, i: int, steps: int) -> float:
    """Return a step size that decreases from `rate` towards zero along half a cosine."""
    return rate * (1 + math.cos(math.pi * i / steps)) / 2
