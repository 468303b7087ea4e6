"""Checkpoints of score_sde_pytorch, against `NCSNpp.forward` and `get_score_fn` of its code, module by module."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from invdiff.priors import load_prior
from invdiff.priors.conversions import TrainedPrior

SIDE = 32
TIMES = torch.linspace(0.02, 1.0, 10, dtype=torch.float64).tolist()


@dataclass(frozen=True)
class Config:
    """`config.model` of a configuration file."""

    fourier: bool = False
    pyramid: str = "none"  # of the input; with input_skip goes output_skip
    fir: bool = False
    mult: tuple[int, ...] = (1, 2, 2)
    blocks: int = 1
    attention: int = 16
    width: int = 32


DDPMPP = Config(blocks=2)
NCSNPP = Config(fourier=True, pyramid="residual", fir=True)
NCSNPP_256 = Config(fourier=True, pyramid="input_skip", fir=True, mult=(1, 1, 2))


def forward(w: Any, c: Config, x: Tensor, t: Tensor) -> Tensor:
    """The network's output before any division by the noise level, on images in [-1, 1]."""
    count = iter(range(1000))
    row = torch.tensor([1.0, 3.0, 3.0, 1.0] if c.fir else [1.0, 1.0], dtype=torch.float64)

    def module() -> str:
        return f"module.all_modules.{next(count)}"

    def norm(name: str, h: Tensor) -> Tensor:
        out: Tensor = w.norm(name, h, min(h.shape[1] // 4, 32), 1e-6)
        return out

    def inside(name: str, h: Tensor, out: int) -> Tensor:
        """NIN: a matrix for each pixel, stored as inputs by outputs."""
        y = torch.einsum("bchw,cd->bdhw", h, w.make(f"{name}.W", h.shape[1], out))
        done: Tensor = y + w.make(f"{name}.b", out)[:, None, None]
        return done

    def resample(h: Tensor, how: str) -> Tensor:
        """One axis after the other: zeros between and a filter of sum 2, or a filter of sum 1 and every second one."""
        n = len(row)
        for axis in (2, 3):
            h = h.transpose(axis, 3)
            if how == "up":
                h = torch.stack([h, 0 * h], -1).flatten(3)
            h = F.pad(h, (n // 2, n - 1 - n // 2) if how == "up" else ((n - 1) // 2, (n - 1) // 2))
            h = (h.unfold(3, n, 1) * row / row.sum()).sum(-1) * (2 if how == "up" else 1)
            h = (h if how == "up" else h[..., ::2]).transpose(axis, 3)
        return h

    def block(h: Tensor, out: int | None = None, how: str = "") -> Tensor:
        name, out = module(), out or h.shape[1]
        r = F.silu(norm(f"{name}.GroupNorm_0", h))
        if how:
            r, h = resample(r, how), resample(h, how)
        r = w.conv(f"{name}.Conv_0", r, out)
        r = r + w.linear(f"{name}.Dense_0", F.silu(temb), out)[:, :, None, None]
        r = w.conv(f"{name}.Conv_1", F.silu(norm(f"{name}.GroupNorm_1", r)), out)
        if h.shape[1] != out or how:
            h = w.conv(f"{name}.Conv_2", h, out, 1)
        done: Tensor = (h + r) / math.sqrt(2)
        return done

    def attention(h: Tensor) -> Tensor:
        name, width = module(), h.shape[1]
        normed = norm(f"{name}.GroupNorm_0", h)
        q, k, v = (inside(f"{name}.NIN_{i}", normed, width).flatten(2) for i in range(3))
        share = (torch.einsum("bci,bcj->bij", q, k) / math.sqrt(width)).softmax(-1)
        mixed = torch.einsum("bij,bcj->bci", share, v).reshape(h.shape)
        return (h + inside(f"{name}.NIN_3", mixed, width)) / math.sqrt(2)

    if c.fourier:
        name = module()
        features = w.make(f"{name}.W", c.width) if f"{name}.W" in w else 16 * w.make(f"{name}.W", c.width)
        angles = t[:, None] * features * 2 * math.pi
    else:
        half = c.width // 2
        angles = t[:, None] * ((1 / 10000) ** (torch.arange(half, dtype=torch.float32) / (half - 1))).double()
    temb = w.linear(module(), torch.cat([angles.sin(), angles.cos()], 1), 4 * c.width)
    temb = w.linear(module(), F.silu(temb), 4 * c.width)

    picture = x
    h = w.conv(module(), x, c.width)
    skips = [h]
    for level, mult in enumerate(c.mult):
        for _ in range(c.blocks):
            h = block(h, mult * c.width)
            if h.shape[-1] == c.attention:
                h = attention(h)
            skips.append(h)
        if level < len(c.mult) - 1:
            h = block(h, how="down")
            if c.pyramid == "input_skip":
                picture = resample(picture, "down")
                h = w.conv(f"{module()}.Conv_0", picture, h.shape[1], 1) + h
            if c.pyramid == "residual":
                # Filtered with two zeros around, then a convolution of stride 2.
                side, n = module(), picture.shape[1]
                k = (row[:, None] * row / row.sum() ** 2).expand(n, 1, 4, 4)
                wide = F.conv2d(F.pad(picture, (2, 2, 2, 2)), k, groups=n)
                picture = (w.conv(f"{side}.Conv2d_0", wide, h.shape[1], 3, stride=2, padding=0) + h) / math.sqrt(2)
                h = picture
            skips.append(h)
    h = block(attention(block(h)))
    said: Tensor | None = None
    for level in reversed(range(len(c.mult))):
        for _ in range(c.blocks + 1):
            h = block(torch.cat([h, skips.pop()], 1), c.mult[level] * c.width)
        if h.shape[-1] == c.attention:
            h = attention(h)
        if c.pyramid == "input_skip":
            part = F.silu(norm(module(), h))
            part = w.conv(module(), part, x.shape[1])
            said = part if said is None else resample(said, "up") + part
        if level:
            h = block(h, how="up")
    if said is None:
        last = F.silu(norm(module(), h))
        said = w.conv(module(), last, x.shape[1])
    return said


def saved(path: Path, w: Any, c: Config, sigma_max: float = 50.0) -> Path:
    """Write a checkpoint whose weights are not those of its running average, which is what `w` holds."""
    forward(w, c, torch.zeros(1, 3, SIDE, SIDE, dtype=torch.float64), torch.zeros(1).double())
    trained = {k for k in w if k != "module.all_modules.0.W"}
    model = {k: v + 0.01 if k in trained else v for k, v in w.items()}
    sigmas = torch.linspace(math.log(sigma_max), math.log(0.01), 1000, dtype=torch.float64).exp()
    torch.save(
        {
            "optimizer": {"state": {}, "param_groups": []},
            "model": {"module.sigmas": sigmas, **model},
            "ema": {"decay": 0.999, "num_updates": 7, "shadow_params": [v for k, v in w.items() if k in trained]},
            "step": 1300,
        },
        path,
    )
    return path


def states(alpha: float, std: float, centred: bool) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    clean = torch.rand((2, 3, SIDE, SIDE), generator=generator, dtype=torch.float64)
    noise = torch.randn(clean.shape, generator=generator, dtype=torch.float64)
    return alpha * (2 * clean - 1 if centred else clean) + std * noise


@pytest.mark.parametrize(("config", "highest"), [(NCSNPP, 50.0), (NCSNPP_256, 348.0)], ids=["cifar10", "256"])
def test_ve(config: Config, highest: float, weights: Any, tmp_path: Path) -> None:
    """Images in [0, 1]; the score is the output divided by the level, which the network sees as its logarithm."""
    prior = load_prior(saved(tmp_path / "checkpoint_24.pth", weights, config, highest), precision="float64")
    assert prior.shape == (3, SIDE, SIDE)
    assert (prior.sigma_min, prior.sigma_max) == pytest.approx((0.01, highest))
    for t in TIMES:
        sigma = 0.01 * (highest / 0.01) ** t
        x = states(1.0, sigma, False)
        score = forward(weights, config, 2 * x - 1, torch.full((2,), math.log(sigma), dtype=torch.float64)) / sigma
        assert (sigma * score).std() > 0.05
        assert (prior.denoise(x, sigma) - (x + sigma**2 * score)).abs().max() < 1e-5


def vp(t: float) -> tuple[float, float]:
    mean = math.exp(-0.25 * t**2 * 19.9 - 0.05 * t)
    return mean, math.sqrt(1 - mean**2)


def subvp(t: float) -> tuple[float, float]:
    mean = math.exp(-0.25 * t**2 * 19.9 - 0.05 * t)
    return mean, 1 - mean**2


@pytest.mark.parametrize(("sde", "law"), [("vp", vp), ("subvp", subvp)])
def test_vp_and_subvp(sde: str, law: Callable[[float], tuple[float, float]], weights: Any, tmp_path: Path) -> None:
    """Images in [-1, 1]; the score is minus the output divided by the noise's deviation; times run to 999."""
    prior = load_prior(saved(tmp_path / "checkpoint_8.pth", weights, DDPMPP), sde=sde, precision="float64")
    for t in TIMES:
        alpha, std = law(t)
        u = states(alpha, std, True)
        score = -forward(weights, DDPMPP, u, torch.full((2,), 999 * t, dtype=torch.float64)) / std
        clean = (u + std**2 * score) / alpha
        assert (prior.denoise((u / alpha + 1) / 2, std / alpha / 2) - (clean + 1) / 2).abs().max() < 1e-5


def test_vp_in_discrete_time(weights: Any, tmp_path: Path) -> None:
    prior = load_prior(f"{saved(tmp_path / 'c.pth', weights, DDPMPP)}:sde=ddpm,precision=float64")
    abar = (1 - torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64)).cumprod(0)
    for k in torch.linspace(0, 999, 10).long().tolist():
        alpha, std = math.sqrt(float(abar[k])), math.sqrt(1 - float(abar[k]))
        u = states(alpha, std, True)
        clean = (u - std * forward(weights, DDPMPP, u, torch.full((2,), float(k), dtype=torch.float64))) / alpha
        assert (prior.denoise((u / alpha + 1) / 2, std / alpha / 2) - (clean + 1) / 2).abs().max() < 1e-5


def test_the_running_average_is_used(weights: Any, tmp_path: Path) -> None:
    path = saved(tmp_path / "checkpoint_8.pth", weights, DDPMPP)
    prior, raw = load_prior(path, sde="vp"), load_prior(path, sde="vp", average=False)
    assert isinstance(prior, TrainedPrior)
    assert isinstance(raw, TrainedPrior)
    gaps = [
        (a - b).mean().item()
        for a, b in zip(raw.network.parameters(), prior.network.parameters(), strict=True)  # type: ignore[attr-defined]
    ]
    assert gaps == pytest.approx([0.01] * len(gaps), abs=1e-6)
    content = torch.load(path, weights_only=True)
    content["ema"]["shadow_params"].pop()
    torch.save(content, path)
    with pytest.raises(ValueError, match=r"expected a running average of the \d+ weights, got \d+ tensors"):
        load_prior(path, sde="vp")


def test_what_is_refused(weights: Any, tmp_path: Path) -> None:
    path = saved(tmp_path / "checkpoint_8.pth", weights, DDPMPP)
    with pytest.raises(ValueError, match="sde: expected vp, subvp or ddpm, which weights do not tell; got None"):
        load_prior(path)
    with pytest.raises(ValueError, match="sde: expected vp, subvp or ddpm, which weights do not tell; got ve"):
        load_prior(path, sde="ve")
    content = torch.load(path, weights_only=True)
    del content["ema"]
    model = content["model"]
    torch.save({"model": {k: v for k, v in model.items() if ".5." not in k}}, path)
    with pytest.raises(ValueError, match=r"expected NCSN\+\+ or DDPM\+\+ of score_sde_pytorch, got"):
        load_prior(path, sde="vp")
    ddpm = {"module.all_modules.0.weight": torch.zeros(8, 4), "module.all_modules.0.bias": torch.zeros(8)}
    ddpm |= {"module.all_modules.1.NIN_0.W": torch.zeros(8, 8), "module.all_modules.1.Conv_0.weight": torch.zeros(1)}
    torch.save({"model": ddpm}, path)
    with pytest.raises(ValueError, match=r"google/ddpm-\* are in diffusers' format"):
        load_prior(path, sde="vp")
