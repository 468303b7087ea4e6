"""The objective of a training run's configuration."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...priors.conversions import OUTPUTS
from ...priors.network import Preconditioning
from . import make_objective
from .noise import EitherOf, LogNormal, LogUniform, NoiseConfig, NoiseLaw


def output_of(name: str) -> str:
    """Return the output of a network trained by the objective `name`, one of `OUTPUTS`."""
    return name if name in OUTPUTS else "edm"


def levels_of(config: NoiseConfig) -> NoiseLaw:
    """Return the distribution of a configuration's noise levels; its log-normal part is not truncated."""
    uniform = LogUniform(config.sigma_min, config.sigma_max)
    return EitherOf(uniform, LogNormal(config.centre, config.spread), config.uniform_share)


def configured_loss(
    name: str,
    network: nn.Module,
    x: Tensor,
    generator: torch.Generator,
    scaling: Preconditioning,
    noise: NoiseConfig,
    autocast: bool,
    sigma: Tensor | None = None,
) -> Tensor:
    """Return the mean loss of a batch.

    Args:
        name: one of `OBJECTIVES`.
        network: `F(z, label)`.
        x: images in [0, 1], `(B, C, H, W)`.
        generator: of noise and noise levels, on the CPU.
        scaling: mean and standard deviation of the data.
        noise: distribution of the levels.
        autocast: whether the network computes in bfloat16.
        sigma: noise levels, `(B,)`, or for `edm` one for each pixel, `(B, 1, H, W)`; by default they are drawn.
    """

    def call(z: Tensor, label: Tensor) -> Tensor:
        with torch.autocast(z.device.type, torch.bfloat16, enabled=autocast):
            out: Tensor = network(z.contiguous(memory_format=torch.channels_last), label)
        return out.to(torch.float32)

    return make_objective(name, scaling.mean, scaling.std, levels_of(noise)).loss(call, x, generator, sigma).mean()
