"""What the tests of published formats share: weights made as a forward pass first asks for them."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor


class Weights(dict[str, Tensor]):
    """Random weights by name, float32 values; the first forward pass makes them, later ones find them."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def make(self, name: str, *shape: int, around: float = 0.0) -> Tensor:
        """Return the tensor of that name in float64, drawn if there is none yet."""
        if name not in self:
            scale = 1 / math.sqrt(math.prod(shape[1:])) if len(shape) > 1 else 0.2
            self[name] = around + scale * torch.randn(shape, generator=self.generator)
        assert self[name].shape == shape, name
        return self[name].double()

    def linear(self, name: str, x: Tensor, out: int, *, bias: bool = True) -> Tensor:
        weight = self.make(f"{name}.weight", out, x.shape[-1])
        return F.linear(x, weight, self.make(f"{name}.bias", out) if bias else None)

    def conv(
        self, name: str, x: Tensor, out: int, side: int = 3, *, stride: int = 1, padding: int | None = None
    ) -> Tensor:
        weight = self.make(f"{name}.weight", out, x.shape[1], side, side)
        bias = self.make(f"{name}.bias", out)
        return F.conv2d(x, weight, bias, stride=stride, padding=side // 2 if padding is None else padding)

    def norm(self, name: str, x: Tensor, groups: int, eps: float) -> Tensor:
        weight, bias = self.make(f"{name}.weight", x.shape[1], around=1.0), self.make(f"{name}.bias", x.shape[1])
        return F.group_norm(x, groups, weight, bias, eps)


@pytest.fixture
def weights() -> Weights:
    return Weights()
