"""Evaluation during a run: denoising of held-out images, and a sheet of images."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..priors.network import NetworkPrior
from ..spacing import evenly_spaced
from .config import TrainConfig
from .data import Pack

LEVELS = (15, 25, 50)


def held_out_batch(pack: Pack, config: TrainConfig) -> Tensor:
    """Return the central squares of evenly spaced held-out images, `(N, C, S, S)` in [0, 1].

    `S` is the side of the crops for a prior of whole images, else the largest multiple of the network's stride, up to
    256 pixels, that fits all images.
    """
    chosen = evenly_spaced(range(len(pack)), config.run.evaluate_images)
    smallest = int(min(pack.sizes[chosen].min(), 256))
    stride = config.network.stride
    side = config.data.crop if config.run.whole_image else max(stride, smallest // stride * stride)
    crops = []
    for i in chosen:
        image = pack[i]
        top, left = (max(0, (n - side) // 2) for n in image.shape[:2])
        crop = np.zeros((side, side, image.shape[2]), np.uint8)
        part = image[top : top + side, left : left + side]
        crop[: part.shape[0], : part.shape[1]] = part
        crops.append(crop)
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).to(torch.float32) / 255.0


@torch.no_grad()
def denoising_table(prior: NetworkPrior, images: Tensor) -> dict[str, float]:
    """Return the mean PSNR in dB of denoised `images` for noise of each of `LEVELS` of 255, with fixed noise."""
    device = next(prior.network.parameters()).device
    table: dict[str, float] = {}
    for level in LEVELS:
        noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(level))
        total = 0.0
        for clean, n in zip(images, noise, strict=True):
            noisy = (clean + level / 255 * n)[None].to(device)
            error = prior.denoise(noisy, level / 255).clamp(0.0, 1.0)[0].cpu() - clean
            total += -10.0 * math.log10(max(float(error.square().mean()), 1e-12))
        table[str(level)] = total / len(images)
    return table


@torch.no_grad()
def write_sheet(prior: NetworkPrior, images: Tensor, config: TrainConfig, path: Path) -> None:
    """Write a sheet: samples of the prior above (whole-image priors: 18 Heun steps), denoised images below."""
    device = next(prior.network.parameters()).device
    shown = images[:: max(1, len(images) // 8)][:8]
    rows = [shown]
    for sigma in (0.1, 0.2, 0.5):
        noise = torch.randn(shown.shape, generator=torch.Generator().manual_seed(1))
        noisy = shown + sigma * noise
        rows += [noisy, prior.denoise(noisy.to(device), sigma).cpu()]
    start = torch.randn(shown.shape, generator=torch.Generator().manual_seed(2))
    rows.insert(0, sample(prior, start.to(device), config.noise.sigma_max).cpu())
    sheet = torch.cat([torch.cat(list(row), dim=-1) for row in rows], dim=-2).clamp(0, 1)
    pixels = (sheet.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    partial = path.with_name(path.stem + ".part.png")
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(partial)
    partial.replace(path)


def sample(prior: NetworkPrior, start: Tensor, sigma_max: float, steps: int = 18) -> Tensor:
    """Return samples by Heun's method on Karras' noise levels, from standard normal `start` `(B, C, H, W)`."""
    t = np.linspace(0.0, 1.0, steps)
    rho = 7.0
    levels = (sigma_max ** (1 / rho) + t * (prior.sigma_min ** (1 / rho) - sigma_max ** (1 / rho))) ** rho
    x = prior.scaling.mean + sigma_max * start
    for s, r in zip(levels, [*levels[1:], 0.0], strict=True):
        d = (x - prior.denoise(x, float(s))) / s
        y = x + (r - s) * d
        if r > 0:
            y = x + (r - s) * 0.5 * (d + (y - prior.denoise(y, float(r))) / r)
        x = y
    return x
