"""guided-diffusion and improved-diffusion checkpoints, against the forward pass that their papers and code define."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from invdiff.priors import load_prior
from invdiff.priors.adapters.adm import PUBLISHED, Layout
from invdiff.priors.conversions import TrainedPrior
from invdiff.schedules import cosine_betas, linear_betas

SIDE = 16


@dataclass(frozen=True)
class Config:
    """The flags of a training, as guided-diffusion's `create_model` takes them."""

    mult: tuple[int, ...] = (1, 2)
    blocks: int = 1
    attention: tuple[int, ...] = (8,)
    heads: int = 2
    head_channels: int | None = None
    updown: bool = True
    scale_shift: bool = True
    new_order: bool = False
    learned: bool = True
    classes: int = 0
    width: int = 32


def forward(w: Any, c: Config, x: Tensor, t: Tensor, label: int | None = None) -> Tensor:
    """The published network, `UNetModel.forward`, level by level."""
    half = c.width // 2
    angles = t[:, None].float() * torch.exp(-math.log(10000) * torch.arange(half).float() / half)
    e = w.linear("time_embed.0", torch.cat([angles.cos(), angles.sin()], 1).double(), 4 * c.width)
    e = w.linear("time_embed.2", F.silu(e), 4 * c.width)
    if c.classes:
        e = e + w.make("label_emb.weight", c.classes, 4 * c.width)[label]

    def block(name: str, h: Tensor, out: int, resample: str = "") -> Tensor:
        def turn(v: Tensor) -> Tensor:
            return {"": v, "down": F.avg_pool2d(v, 2) if resample == "down" else v, "up": twice(v)}[resample]

        r = w.conv(f"{name}.in_layers.2", turn(F.silu(w.norm(f"{name}.in_layers.0", h, 32, 1e-5))), out)
        emb = w.linear(f"{name}.emb_layers.1", F.silu(e), 2 * out if c.scale_shift else out)[:, :, None, None]
        normed = w.norm(f"{name}.out_layers.0", r if c.scale_shift else r + emb, 32, 1e-5)
        if c.scale_shift:
            scale, shift = emb.chunk(2, 1)
            normed = normed * (1 + scale) + shift
        r = w.conv(f"{name}.out_layers.3", F.silu(normed), out)
        h = turn(h)
        done: Tensor = r + (h if h.shape[1] == out else w.conv(f"{name}.skip_connection", h, out, 1))
        return done

    def attention(name: str, h: Tensor) -> Tensor:
        b, width = h.shape[:2]
        heads = width // c.head_channels if c.head_channels else c.heads
        each = width // heads
        flat = w.norm(f"{name}.norm", h, 32, 1e-5).reshape(b, width, -1)
        qkv = w.make(f"{name}.qkv.weight", 3 * width, width, 1)[:, :, 0] @ flat
        qkv = qkv + w.make(f"{name}.qkv.bias", 3 * width)[:, None]
        if c.new_order:
            q, k, v = (part.reshape(b, heads, each, -1) for part in qkv.chunk(3, 1))
        else:
            q, k, v = qkv.reshape(b, heads, 3, each, -1).unbind(2)
        share = torch.einsum("bhct,bhcs->bhts", q, k).div(math.sqrt(each)).softmax(-1)
        mixed = torch.einsum("bhts,bhcs->bhct", share, v).reshape(b, width, -1)
        mixed = w.make(f"{name}.proj_out.weight", width, width, 1)[:, :, 0] @ mixed
        done: Tensor = h + (mixed + w.make(f"{name}.proj_out.bias", width)[:, None]).reshape(h.shape)
        return done

    h = w.conv("input_blocks.0.0", x, c.mult[0] * c.width)
    skips, side, number = [h], x.shape[-1], 1
    for level, mult in enumerate(c.mult):
        for _ in range(c.blocks):
            h = block(f"input_blocks.{number}.0", h, mult * c.width)
            if side in c.attention:
                h = attention(f"input_blocks.{number}.1", h)
            skips.append(h)
            number += 1
        if level < len(c.mult) - 1:
            name = f"input_blocks.{number}.0"
            h = block(name, h, h.shape[1], "down") if c.updown else w.conv(f"{name}.op", h, h.shape[1], stride=2)
            skips.append(h)
            number, side = number + 1, side // 2
    h = block("middle_block.2", attention("middle_block.1", block("middle_block.0", h, h.shape[1])), h.shape[1])
    number = 0
    for level in reversed(range(len(c.mult))):
        for i in range(c.blocks + 1):
            name = f"output_blocks.{number}"
            h = block(f"{name}.0", torch.cat([h, skips.pop()], 1), c.mult[level] * c.width)
            place = 1
            if side in c.attention:
                h, place = attention(f"{name}.1", h), 2
            if level and i == c.blocks:
                name = f"{name}.{place}"
                h = block(name, h, h.shape[1], "up") if c.updown else w.conv(f"{name}.conv", twice(h), h.shape[1])
                side *= 2
            number += 1
    out: Tensor = w.conv("out.2", F.silu(w.norm("out.0", h, 32, 1e-5)), x.shape[1] * (2 if c.learned else 1))
    return out


def twice(h: Tensor) -> Tensor:
    return h.repeat_interleave(2, -1).repeat_interleave(2, -2)


def predicted(w: Any, c: Config, u: Tensor, abar: float, t: float, label: int | None = None) -> Tensor:
    """Return the image in [0, 1] that the noise stands for."""
    noise = forward(w, c, u, torch.full((len(u),), t, dtype=torch.float64), label)[:, : u.shape[1]]
    return ((u - math.sqrt(1 - abar) * noise) / math.sqrt(abar) + 1) / 2


def noisy(abar: float, seed: int) -> Tensor:
    """Return states of the chain, on [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    clean = 2 * torch.rand((2, 3, SIDE, SIDE), generator=generator, dtype=torch.float64) - 1
    noise = torch.randn(clean.shape, generator=generator, dtype=torch.float64)
    return math.sqrt(abar) * clean + math.sqrt(1 - abar) * noise


def in_ours(u: Tensor, abar: float) -> tuple[Tensor, float]:
    """Return a state of the chain as an image in [0, 1] with noise, and its level."""
    return (u / math.sqrt(abar) + 1) / 2, math.sqrt(1 / abar - 1) / 2


CONFIGS: dict[str, tuple[Config, dict[str, Any]]] = {
    "learned variance": (Config(mult=(1, 1, 2), attention=(8, 4)), {"num_heads": 2}),
    "64-channel heads": (Config(head_channels=32, blocks=2), {"num_head_channels": 32}),
    "improved-diffusion": (
        Config(updown=False, blocks=2, learned=False),
        {"num_heads": 2, "schedule": "cosine", "steps": 400, "rescale_timesteps": True},
    ),
    "by class": (Config(new_order=True, classes=5), {"num_heads": 2, "new_attention_order": True, "class_label": 3}),
    "no scale and shift": (Config(scale_shift=False, updown=False, heads=1, attention=()), {"num_heads": 1}),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_published_prediction(name: str, weights: Any, tmp_path: Path) -> None:
    c, options = CONFIGS[name]
    label = options.get("class_label")
    forward(weights, c, torch.zeros(1, 3, SIDE, SIDE, dtype=torch.float64), torch.zeros(1), label)
    torch.save(dict(weights), tmp_path / "model.pt")
    prior = load_prior(
        tmp_path / "model.pt",
        **{"schedule": "linear", "image_size": SIDE, "clip": False, "precision": "float64"} | options,
    )
    assert prior.shape == (3, SIDE, SIDE)
    steps = 400 if "steps" in options else 1000
    betas = cosine_betas(steps) if options.get("schedule") == "cosine" else linear_betas()
    abar = (1 - betas).cumprod(0)
    for k in torch.linspace(0, steps - 5, 10).long().tolist():
        u = noisy(float(abar[k]), k)
        x, sigma = in_ours(u, float(abar[k]))
        t = 1000 / steps * k
        want = predicted(weights, c, u, float(abar[k]), t, label)
        assert ((want - x) / sigma).std() > 0.05, "a network that says nothing would prove nothing"
        assert (prior.denoise(x, sigma) - want).abs().max() < 1e-5, k


def test_between_two_states_time_is_interpolated(weights: Any, tmp_path: Path) -> None:
    c = Config()
    forward(weights, c, torch.zeros(1, 3, SIDE, SIDE, dtype=torch.float64), torch.zeros(1))
    torch.save(dict(weights), tmp_path / "model.pt")
    options = {"schedule": "linear", "image_size": SIDE, "num_heads": 2, "clip": False, "precision": "float64"}
    continuous, nearest = (load_prior(tmp_path / "model.pt", nearest=n, **options) for n in (False, True))
    log_s = 0.5 * (1 / (1 - linear_betas()).cumprod(0) - 1).log()
    s = math.exp(0.7 * float(log_s[300]) + 0.3 * float(log_s[301]))
    abar = 1 / (1 + s**2)
    u = noisy(abar, 0)
    x, sigma = in_ours(u, abar)
    assert (continuous.denoise(x, sigma) - predicted(weights, c, u, abar, 300.3)).abs().max() < 1e-5
    assert (nearest.denoise(x, sigma) - predicted(weights, c, u, abar, 300.0)).abs().max() < 1e-5
    assert (continuous.denoise(x, sigma) - nearest.denoise(x, sigma)).abs().max() > 1e-4


def test_estimates_are_clipped_unless_told_otherwise(weights: Any, tmp_path: Path) -> None:
    forward(weights, Config(), torch.zeros(1, 3, SIDE, SIDE, dtype=torch.float64), torch.zeros(1))
    # The published file of FFHQ-256 holds parameters, not tensors.
    torch.save({k: torch.nn.Parameter(v) for k, v in weights.items()}, tmp_path / "model.pt")
    prior = load_prior(f"{tmp_path}/model.pt:image_size={SIDE},num_heads=2,schedule=linear")
    assert isinstance(prior, TrainedPrior)
    out = prior.denoise(5 * torch.randn(2, 3, SIDE, SIDE), 5.0)
    assert (float(out.min()), float(out.max())) == (0, 1)


def test_published_checkpoints_are_known_by_their_shapes() -> None:
    """Flags of DPS's two configurations, and of one of improved-diffusion's."""
    faces = PUBLISHED[128, 1, (1, 1, 2, 2, 4, 4), True]
    assert (faces.image_size, faces.head_channels, faces.new_order, faces.schedule) == (256, 64, False, "linear")
    imagenet = PUBLISHED[256, 2, (1, 1, 2, 2, 4, 4), True]
    assert (imagenet.image_size, imagenet.head_channels) == (256, 64)
    cifar = PUBLISHED[128, 3, (1, 2, 2, 2), False]
    assert (cifar.image_size, cifar.heads, cifar.schedule, cifar.steps, cifar.rescaled) == (32, 4, "cosine", 4000, True)
    assert Layout(3, 128, 1, (1, 1, 2, 2, 4, 4), True, 0).stride == 32


@pytest.mark.slow
def test_the_shape_of_ffhq_256_needs_no_options(weights: Any, tmp_path: Path) -> None:
    """Computed on images of a quarter of the side, where its attention at 16 pixels is at 4."""
    c = Config(mult=(1, 1, 2, 2, 4, 4), attention=(4,), head_channels=64, width=128)
    with torch.no_grad():
        forward(weights, c, torch.zeros(1, 3, 64, 64, dtype=torch.float64), torch.zeros(1))
        torch.save(dict(weights), tmp_path / "ffhq_10m.pt")
        assert load_prior(tmp_path / "ffhq_10m.pt").shape == (3, 256, 256)
        prior = load_prior(tmp_path / "ffhq_10m.pt", image_size=64, precision="float64", clip=False)
        abar = float((1 - linear_betas()).cumprod(0)[500])
        u = torch.randn(1, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        x, sigma = in_ours(u, abar)
        assert (prior.denoise(x, sigma) - predicted(weights, c, u, abar, 500)).abs().max() < 1e-5


def test_what_the_weights_do_not_tell_is_asked_for(weights: Any, tmp_path: Path) -> None:
    c = Config(classes=4)
    forward(weights, c, torch.zeros(1, 3, SIDE, SIDE, dtype=torch.float64), torch.zeros(1), 0)
    path = tmp_path / "model.pt"
    torch.save(dict(weights), path)
    with pytest.raises(ValueError, match="do not tell image_size, num_heads or num_head_channels, schedule"):
        load_prior(path)
    options = {"image_size": SIDE, "num_heads": 2, "schedule": "linear"}
    with pytest.raises(ValueError, match=r"class_label: the network is conditional on one of 4 classes"):
        load_prior(path, **options)
    with pytest.raises(ValueError, match=r"image_size: expected a multiple of 2, got 17"):
        load_prior(path, **options | {"image_size": 17})
    with pytest.raises(ValueError, match=r"schedule: expected linear or cosine, got 'quadratic'"):
        load_prior(path, **options | {"schedule": "quadratic"})
    with pytest.raises(ValueError, match=r"unknown option .* 'num_head'; did you mean 'num_heads'\?"):
        load_prior(path, num_head=4)
    with pytest.raises(
        ValueError, match=r"expected the weights of guided-diffusion's U-Net: .*not divisible by num_head"
    ):
        load_prior(path, image_size=SIDE, num_head_channels=48, schedule="linear", class_label=0)
    torch.save({k: v for k, v in weights.items() if k != "middle_block.1.norm.bias"}, path)
    with pytest.raises(ValueError, match=r"guided-diffusion's U-Net: .*Missing key.*middle_block.1.norm.bias"):
        load_prior(path, **options, class_label=0)
    upsampler = dict(weights) | {"input_blocks.0.0.weight": torch.zeros(32, 6, 3, 3)}
    torch.save(upsampler, path)
    with pytest.raises(ValueError, match="conditional on another image, as upsamplers are"):
        load_prior(path, **options)
    torch.save({k: v for k, v in weights.items() if not k.startswith("output_blocks.3")}, path)
    with pytest.raises(ValueError, match="is the file whole"):
        load_prior(path, **options)
    torch.save({k: v for k, v in weights.items() if not k.startswith("output_blocks.")}, path)
    with pytest.raises(ValueError, match="a guided-diffusion classifier"):
        load_prior(path, **options)
