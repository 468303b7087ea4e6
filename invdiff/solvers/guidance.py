"""The gradient that guidance by Tweedie's estimate rests on.

With `D(x) = E[x_0 | x_sigma = x]` and a loss `l(x_0)`, one vector-Jacobian product of the network gives

    x0_hat = D(x),        g = grad_x l(D(x)) = J_D(x)^T grad l(x0_hat).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .base import Run


def tweedie_gradient(
    run: Run, x: Tensor, sigma: float, loss: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return Tweedie's estimate, the loss there, and the gradient of the loss in the noisy image.

    Args:
        run: the batch.
        x: noisy images, `(N, C, H, W)`.
        sigma: their noise level.
        loss: from clean images `(N, C, H, W)` to one number for each, `(N,)`.

    Returns:
        `x0_hat`, `(N, C, H, W)`; the loss, `(N,)`; its gradient, `(N, C, H, W)`.
    """
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        x0 = run.denoise(leaf, sigma)
        value = loss(x0)
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
    return x0.detach(), value.detach(), gradient
