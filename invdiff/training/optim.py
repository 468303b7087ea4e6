r"""Muon: momentum with its matrices replaced by the nearest orthogonal ones.

For a weight seen as a matrix (a kernel `(O, I, k, k)` as `(O, I k k)`),

    M <- mu M + g,    U = NS(g + mu M) ~ U V^T of its SVD,    W <- (1 - eta lambda) W - eta 0.2 sqrt(max(rows, cols)) U,

where `NS` is a few Newton-Schulz steps. The factor makes the update's root mean square 0.2, that of Adam, so one
learning rate suits both. AdamW updates vectors, the embedding and the first and last layers.

References:
    Muon (Jordan et al., 2024), https://kellerjordan.github.io/posts/muon/
    Muon is Scalable for LLM Training (Liu et al., 2025), https://arxiv.org/abs/2502.16982, section 2.2 (scale).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class Muon(torch.optim.Optimizer):
    """Orthogonalised momentum for kernels.

    Args:
        params: weights of two or more axes.
        lr: learning rate `eta`, in Adam's units.
        momentum: `mu`.
        weight_decay: `lambda`.
        steps: Newton-Schulz steps.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, momentum: float = 0.95, weight_decay: float = 0.0, steps: int = 5
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "steps": steps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step on the present gradients; `closure` is not supported."""
        if closure is not None:
            raise ValueError("Muon: expected no closure; call backward before step")
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                m = state["momentum"].mul_(group["momentum"]).add_(p.grad)
                u = orthogonalise((p.grad + group["momentum"] * m).flatten(1), group["steps"])
                scale = 0.2 * max(u.shape) ** 0.5
                p.mul_(1.0 - group["lr"] * group["weight_decay"])
                p.add_(u.view_as(p), alpha=-group["lr"] * scale)


def orthogonalise(g: Tensor, steps: int) -> Tensor:
    """Return about `U V^T` for `g = U S V^T` by `steps` quintic Newton-Schulz steps, in bfloat16."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.to(torch.bfloat16)
    x = x / (x.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    u: Tensor = (x.T if tall else x).to(g.dtype)
    return u
