"""State dicts of NVlabs/edm, against the networks and preconditionings of its paper's table 1 and code."""

from __future__ import annotations

import math
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from invdiff.priors import load_prior

SIDE = 16
LEVELS = torch.logspace(-1.4, 1.7, 10, dtype=torch.float64).tolist()


@dataclass(frozen=True)
class Config:
    """The arguments of `SongUNet`, or with `adm` of `DhariwalUNet`."""

    adm: bool = False
    fourier: bool = False
    encoder: str = "standard"
    decoder: str = "standard"
    row: tuple[float, ...] = (1.0, 1.0)
    mult: tuple[int, ...] = (1, 2)
    blocks: int = 1
    attention: tuple[int, ...] = (8,)
    width: int = 32
    classes: int = 0
    out: int = 3


NCSNPP = Config(fourier=True, encoder="residual", row=(1, 3, 3, 1), blocks=2)
SKIPS = Config(fourier=True, encoder="skip", decoder="skip", row=(1, 3, 3, 1), mult=(1, 1, 2))
ADM = Config(adm=True, width=64)


def kernel(w: Any, name: str, row: tuple[float, ...]) -> Tensor:
    """Return the stored resampling filter."""
    f = torch.tensor(row)
    w.setdefault(f"{name}.resample_filter", (f[:, None] * f / f.sum() ** 2)[None, None])
    return (f[:, None] * f / f.sum() ** 2).double()


def resample(x: Tensor, k: Tensor, how: str) -> Tensor:
    """Filter and keep every second pixel, or put zeros between pixels and filter."""
    c, low = x.shape[1], len(k) // 2
    weight = k.expand(c, 1, *k.shape)
    if how == "down":
        return F.conv2d(x, weight, groups=c, padding=(len(k) - 1) // 2)[..., ::2, ::2]
    spread = x.new_zeros(len(x), c, 2 * x.shape[2], 2 * x.shape[3])
    spread[..., ::2, ::2] = x
    return F.conv2d(F.pad(spread, (low, len(k) - 1 - low) * 2), 4 * weight, groups=c)


def forward(w: Any, c: Config, x: Tensor, noise: Tensor, label: int | None = None) -> Tensor:
    """The published networks, `SongUNet.forward` and `DhariwalUNet.forward`."""
    labels = c.width * (2 if c.fourier else 1)
    if c.fourier:
        w.setdefault("map_noise.freqs", 4 * torch.randn(labels // 2, generator=w.generator))
        freqs = 2 * math.pi * w["map_noise.freqs"]
    else:
        half = labels // 2
        freqs = (1 / 10000) ** (torch.arange(half, dtype=torch.float32) / (half if c.adm else half - 1))
    angles = noise[:, None] * freqs.double()
    e = torch.cat([angles.cos(), angles.sin()] if c.adm else [angles.sin(), angles.cos()], 1)
    width = 4 * c.width
    chosen = torch.eye(c.classes, dtype=torch.float64)[label][None] if c.classes else None
    if c.adm:
        e = w.linear("map_layer1", F.silu(w.linear("map_layer0", e, width)), width)
        e = F.silu(e if chosen is None else e + w.linear("map_label", chosen, width, bias=False))
    else:
        if chosen is not None:
            e = e + w.linear("map_label", math.sqrt(c.classes) * chosen, labels)
        e = F.silu(w.linear("map_layer1", F.silu(w.linear("map_layer0", e, width)), width))
    w.make("map_augment.weight", labels, 9)  # for augmented training; without labels it takes no part
    eps, shrink = (1e-5, 1.0) if c.adm else (1e-6, math.sqrt(0.5))

    def norm(name: str, h: Tensor) -> Tensor:
        out: Tensor = w.norm(name, h, min(32, h.shape[1] // 4), eps)
        return out

    def resampled(name: str, h: Tensor, how: str) -> Tensor:
        if not how:
            return h
        return resample(h, kernel(w, name, c.row), how)

    def block(name: str, h: Tensor, out: int, how: str = "", *, attention: bool = False) -> Tensor:
        r = w.conv(f"{name}.conv0", resampled(f"{name}.conv0", F.silu(norm(f"{name}.norm0", h)), how), out)
        emb = w.linear(f"{name}.affine", e, 2 * out if c.adm else out)[:, :, None, None]
        if c.adm:
            scale, shift = emb.chunk(2, 1)
            r = F.silu(shift + norm(f"{name}.norm1", r) * (scale + 1))
        else:
            r = F.silu(norm(f"{name}.norm1", r + emb))
        r = w.conv(f"{name}.conv1", r, out)
        if how:
            h = resampled(f"{name}.skip", h, how)
        if h.shape[1] != out or (how and not c.adm):
            h = w.conv(f"{name}.skip", h, out, 1)
        h = (r + h) * shrink
        if not attention:
            return h
        heads = out // 64 if c.adm else 1
        qkv = w.conv(f"{name}.qkv", norm(f"{name}.norm2", h), 3 * out, 1).reshape(len(h), heads, out // heads, 3, -1)
        q, k, v = qkv.unbind(3)
        share = torch.einsum("bhcq,bhck->bhqk", q, k / math.sqrt(out // heads)).softmax(-1)
        mixed = torch.einsum("bhqk,bhck->bhcq", share, v).reshape(h.shape)
        done: Tensor = (w.conv(f"{name}.proj", mixed, out, 1) + h) * shrink
        return done

    aux, side, skips = x, SIDE, []
    h = w.conv(f"enc.{side}x{side}_conv", x, c.width)
    skips.append(h)
    for level, mult in enumerate(c.mult):
        if level:
            side //= 2
            at = f"enc.{side}x{side}"
            h = block(f"{at}_down", h, h.shape[1], "down")
            if c.encoder == "skip":
                aux = resampled(f"{at}_aux_down", aux, "down")
                h = h + w.conv(f"{at}_aux_skip", aux, h.shape[1], 1)
            if c.encoder == "residual":
                # A convolution of the filtered image, zeros around it, at every second pixel.
                k = kernel(w, f"{at}_aux_residual", c.row)
                wide = F.conv2d(aux, k.expand(aux.shape[1], 1, 4, 4), groups=aux.shape[1], padding=2)
                aux = h = (h + w.conv(f"{at}_aux_residual", wide, h.shape[1], 3, stride=2, padding=0)) / math.sqrt(2)
            skips.append(h)
        for i in range(c.blocks):
            h = block(f"enc.{side}x{side}_block{i}", h, c.width * mult, attention=side in c.attention)
            skips.append(h)
    out: Tensor | None = None
    for level in reversed(range(len(c.mult))):
        at = f"dec.{side}x{side}"
        if level == len(c.mult) - 1:
            h = block(f"{at}_in1", block(f"{at}_in0", h, h.shape[1], attention=True), h.shape[1])
        else:
            h = block(f"{at}_up", h, h.shape[1], "up")
        for i in range(c.blocks + 1):
            look = side in c.attention and (c.adm or i == c.blocks)
            h = block(f"{at}_block{i}", torch.cat([h, skips.pop()], 1), c.width * c.mult[level], attention=look)
        if not c.adm and (c.decoder == "skip" or level == 0):
            if out is not None:
                out = resampled(f"{at}_aux_up", out, "up")
            say = w.conv(f"{at}_aux_conv", F.silu(norm(f"{at}_aux_norm", h)), c.out)
            out = say if out is None else out + say
        side *= 2
    if c.adm:
        out = w.conv("out_conv", F.silu(norm("out_norm", h)), c.out)
    assert out is not None
    return out


def saved(path: Path, w: Any, c: Config, prefix: str = "model.", **buffers: Tensor) -> Path:
    label = 0 if c.classes else None
    forward(w, c, torch.zeros(1, 3, SIDE, SIDE, dtype=torch.float64), torch.zeros(1).double(), label)
    torch.save({f"{prefix}{k}": v for k, v in w.items()} | buffers, path)
    return path


def noisy(s: float) -> Tensor:
    """Return images on [-1, 1] with noise of level `s`."""
    generator = torch.Generator().manual_seed(round(1000 * s))
    clean = 2 * torch.rand((2, 3, SIDE, SIDE), generator=generator, dtype=torch.float64) - 1
    return clean + s * torch.randn(clean.shape, generator=generator, dtype=torch.float64)


def at(value: float) -> Tensor:
    return torch.full((2,), value, dtype=torch.float64)


@pytest.mark.parametrize(
    ("config", "label"),
    [
        (Config(), None),
        (NCSNPP, None),
        (SKIPS, None),
        (ADM, None),
        (Config(classes=7), 4),
        (Config(adm=True, width=64, classes=7), 4),
    ],
    ids=["ddpm++", "ncsn++", "skips", "adm", "ddpm++ by class", "adm by class"],
)
def test_edm_preconditioning(config: Config, label: int | None, weights: Any, tmp_path: Path) -> None:
    options = {} if label is None else {"class_label": label}
    prior = load_prior(saved(tmp_path / "net.pt", weights, config), precision="float64", **options)
    assert prior.shape == (3, SIDE, SIDE)
    assert (prior.std, prior.sigma_min, prior.sigma_max) == pytest.approx((0.25, 0.001, 40.0))
    for s in LEVELS:
        u = noisy(s)
        says = forward(weights, config, u / math.sqrt(s**2 + 0.25), at(math.log(s) / 4), label)
        assert says.std() > 0.05
        clean = 0.25 / (s**2 + 0.25) * u + 0.5 * s / math.sqrt(s**2 + 0.25) * says
        assert (prior.denoise((u + 1) / 2, s / 2) - (clean + 1) / 2).abs().max() < 1e-5


def test_vp_preconditioning(weights: Any, tmp_path: Path) -> None:
    prior = load_prior(saved(tmp_path / "net.pt", weights, Config()), precision="float64", preconditioning="vp")
    for s in LEVELS:
        t = (math.sqrt(0.1**2 + 2 * 19.9 * math.log(1 + s**2)) - 0.1) / 19.9
        u = noisy(s)
        clean = u - s * forward(weights, Config(), u / math.sqrt(s**2 + 1), at(999 * t))
        assert (prior.denoise((u + 1) / 2, s / 2) - (clean + 1) / 2).abs().max() < 1e-5


def test_ve_preconditioning(weights: Any, tmp_path: Path) -> None:
    prior = load_prior(f"{saved(tmp_path / 'n.pt', weights, NCSNPP)}:preconditioning=ve,precision=float64")
    assert (prior.sigma_min, prior.sigma_max) == pytest.approx((0.01, 50.0))
    for s in LEVELS:
        u = noisy(s)
        clean = u + s * forward(weights, NCSNPP, u, at(math.log(s / 2)))
        assert (prior.denoise((u + 1) / 2, s / 2) - (clean + 1) / 2).abs().max() < 1e-5


def test_iddpm_preconditioning_is_known_by_its_levels(weights: Any, tmp_path: Path) -> None:
    """Levels of the cosine chain, the nearest of which the network receives."""
    steps, u = 1000, torch.zeros(1001, dtype=torch.float64)
    abar = [math.sin(0.5 * math.pi * j / steps / 1.008) ** 2 for j in range(steps + 1)]
    for j in range(steps, 0, -1):
        u[j - 1] = math.sqrt((u[j] ** 2 + 1) / max(abar[j - 1] / abar[j], 0.001) - 1)
    config = Config(adm=True, width=64, out=6)
    prior = load_prior(saved(tmp_path / "net.pt", weights, config, u=u.float()), precision="float64")
    assert (prior.sigma_min, prior.sigma_max) == pytest.approx((float(u[-2]) / 2, 100.0))
    for s in LEVELS:
        j = int((u.float().double() - s).abs().argmin())
        x = noisy(s)
        clean = x - s * forward(weights, config, x / math.sqrt(s**2 + 1), at(float(steps - 1 - j)))[:, :3]
        assert (prior.denoise((x + 1) / 2, s / 2) - (clean + 1) / 2).abs().max() < 1e-5


def test_safetensors_and_deepinvs_names_say_the_same(weights: Any, tmp_path: Path) -> None:
    """Without the prefix of the preconditioning, as deepinv publishes them, and with names out of order."""
    first = load_prior(saved(tmp_path / "net.pt", weights, NCSNPP))
    save_file(dict(sorted(weights.items(), reverse=True)), tmp_path / "net.safetensors")
    second = load_prior(tmp_path / "net.safetensors")
    x = (noisy(0.5) + 1) / 2
    assert torch.equal(first.denoise(x, 0.25), second.denoise(x, 0.25))


def test_what_is_refused(weights: Any, tmp_path: Path) -> None:
    path = saved(tmp_path / "baseline-cifar10-32x32-uncond-vp.pt", weights, Config())
    with pytest.raises(ValueError, match="preconditioning: expected vp, ve or iddpm for a baseline network"):
        load_prior(path)
    with pytest.raises(ValueError, match="preconditioning: iddpm needs its levels"):
        load_prior(path, preconditioning="iddpm")
    with pytest.raises(ValueError, match="class_label: expected none, the network knows no classes, got 1"):
        load_prior(path, preconditioning="vp", class_label=1)
    torch.save({k: v for k, v in weights.items() if "norm1" not in k}, tmp_path / "part.pt")
    with pytest.raises(ValueError, match=r"expected the weights of SongUNet or DhariwalUNet: .*norm1"):
        load_prior(tmp_path / "part.pt")
    released = tmp_path / "edm-cifar10-32x32-uncond-vp.pkl"
    released.write_bytes(pickle.dumps({"ema": Config()}))
    with pytest.raises(
        ValueError, match=r"runs code when it is read, which invdiff refuses; .*torch.save\(net.state_dict\(\)"
    ):
        load_prior(released)
