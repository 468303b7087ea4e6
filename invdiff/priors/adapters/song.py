r"""The U-Nets of NVlabs/edm, SongUNet (DDPM++, NCSN++) and DhariwalUNet (ADM), built from the names of their weights.

A block's name gives its place, `enc.RxR_conv | _down | _aux_down | _aux_skip | _aux_residual | _blockN` and
`dec.RxR_in0 | _in1 | _up | _blockN | _aux_up | _aux_norm | _aux_conv`, the shapes of its tensors give its kind, and the
stored filters the kind of resampling. So one function loads every variant, and also score_sde_pytorch's weights under
the same names. The blocks are deepinv's; its `NCSNpp` and `ADMUNet` fix the variant and download weights.

References:
    Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022),
    https://arxiv.org/abs/2206.00364; code https://github.com/NVlabs/edm, `training/networks.py`.
    Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021),
    https://arxiv.org/abs/2011.13456; code https://github.com/yang-song/score_sde_pytorch, `models/ncsnpp.py`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import UserError

_NAME = re.compile(r"^(?P<part>enc|dec)\.(?P<side>\d+)x\d+_(?P<kind>[a-z0-9_]+)\.")
_ORDER = ("conv", "down", "aux_down", "aux_skip", "aux_residual", "in", "up", "block", "aux_up", "aux_norm", "aux_conv")


class UNet(nn.Module):
    """SongUNet or DhariwalUNet with its weights.

    Args:
        weights: by name, as `SongUNet.state_dict()` or `DhariwalUNet.state_dict()` have them.
        label: the class, for a network that is conditional on one, or `None`.
    """

    def __init__(self, weights: Mapping[str, Tensor], label: int | None = None) -> None:
        super().__init__()
        self.adm, self.label = "out_norm.weight" in weights, label
        self.resolution = max(int(m["side"]) for m in map(_NAME.match, weights) if m)
        self.channels = _first(weights, f"enc.{self.resolution}x{self.resolution}_conv.weight").shape[1]
        self.noise_channels = weights["map_layer0.weight"].shape[1]
        if "map_noise.freqs" in weights:
            self.map_noise = nn.Module()
            self.map_noise.register_buffer("freqs", weights["map_noise.freqs"].float())
        with torch.device("meta"):  # the file has all weights, so none are initialised
            self.map_label, self.map_augment = _linear(weights, "map_label"), _linear(weights, "map_augment")
            self.map_layer0, self.map_layer1 = (_affine(weights, f"map_layer{i}") for i in range(2))
            self.enc = nn.ModuleDict({n: self._block(weights, f"enc.{n}.", n) for n in _names(weights, "enc")})
            self.dec = nn.ModuleDict({n: self._block(weights, f"dec.{n}.", n) for n in _names(weights, "dec")})
            if self.adm:
                self.out_norm = _norm(weights["out_norm.weight"], 1e-5)
                self.out_conv = self._conv(weights, "out_conv.")
        self.load_state_dict({k: v.float() for k, v in weights.items()}, assign=True)

    @property
    def stride(self) -> int:
        """Pixels by which the sides of an image must be divisible."""
        return int(2 ** sum(n.endswith("_down") and "aux" not in n for n in self.enc))

    @property
    def classes(self) -> int:
        """Number of classes that the network is conditional on, 0 for none."""
        return 0 if self.map_label is None else self.map_label.in_features

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """Return the network's output, `(B, C', H, W)`.

        Args:
            x: scaled images, `(B, C, H, W)`.
            noise: labels of the noise, `(B,)`.
        """
        e = self._embed(noise.to(x.dtype))
        skips: list[Tensor] = []
        aux = x
        for name, block in self.enc.items():
            if "aux_down" in name:
                aux = block(aux)
            elif "aux_skip" in name:
                x = skips[-1] = x + block(aux)
            elif "aux_residual" in name:
                x = skips[-1] = aux = (x + block(aux)) * math.sqrt(0.5)
            else:
                x = block(x) if name.endswith("_conv") else block(x, e)
                skips.append(x)
        out: Tensor | None = None
        normed = x
        for name, block in self.dec.items():
            if "aux_up" in name:
                out = block(out)
            elif "aux_norm" in name:
                normed = block(x)
            elif "aux_conv" in name:
                say = block(F.silu(normed))
                out = say if out is None else say + out
            else:
                if x.shape[1] != block.in_channels:
                    x = torch.cat([x, skips.pop()], 1)
                x = block(x, e)
        if self.adm:
            out = self.out_conv(F.silu(self.out_norm(x)))
        assert out is not None
        return out

    def _embed(self, noise: Tensor) -> Tensor:
        if hasattr(self, "map_noise"):
            freqs = self.map_noise.freqs
            assert isinstance(freqs, Tensor)
            angles = noise[:, None] * (2 * math.pi * freqs).to(noise)
        else:
            half = self.noise_channels // 2
            ramp = torch.arange(half, dtype=torch.float32, device=noise.device) / (half - (0 if self.adm else 1))
            angles = noise[:, None] * ((1 / 10000) ** ramp).to(noise)
        sine, cosine = angles.sin(), angles.cos()
        e = torch.cat([cosine, sine] if self.adm else [sine, cosine], 1)
        if self.adm:
            e = self.map_layer1(F.silu(self.map_layer0(e)))
            return F.silu(e if self.map_label is None else e + self._class(1.0))
        if self.map_label is not None:
            e = e + self._class(math.sqrt(self.map_label.in_features))
        return F.silu(self.map_layer1(F.silu(self.map_layer0(e))))

    def _class(self, scale: float) -> Tensor:
        assert self.map_label is not None
        chosen = torch.zeros(self.map_label.in_features, dtype=self.map_label.weight.dtype)
        if self.label is not None:
            chosen[self.label] = scale
        out: Tensor = self.map_label(chosen.to(self.map_label.weight.device))
        return out

    def _block(self, w: Mapping[str, Tensor], p: str, name: str) -> nn.Module:
        """Return one block; SongUNet's have one attention head and a factor `sqrt(1/2)`, ADM's 64 channels a head."""
        from deepinv.models.utils import UNetBlock

        if f"{p}conv0.weight" not in w:
            return _norm(w[f"{p}weight"], 1e-6) if name.endswith("aux_norm") else self._conv(w, p, name)
        kernel, affine = w[f"{p}conv0.weight"], w[f"{p}affine.weight"]
        out, into = kernel.shape[:2]
        down, up = name.endswith("_down"), name.endswith("_up")
        block: Any = UNetBlock(
            into, out, affine.shape[1], up=up, down=down,
            attention=f"{p}qkv.weight" in w,
            num_heads=out // 64 if self.adm else 1,
            skip_scale=1.0 if self.adm else math.sqrt(0.5),
            eps=1e-5 if self.adm else 1e-6,
            resample_filter=_filter(w, f"{p}conv0."),
            resample_proj=f"{p}skip.weight" in w,
            adaptive_scale=affine.shape[0] == 2 * out,
        )  # fmt: skip
        for norm in (m for m in block.modules() if isinstance(m, nn.GroupNorm)):
            norm.num_groups = _groups(norm.num_channels)  # deepinv always has 32
        module: nn.Module = block
        return module

    def _conv(self, w: Mapping[str, Tensor], p: str, name: str = "") -> nn.Module:
        from deepinv.models.utils import UpDownConv2d

        kernel = w.get(f"{p}weight")
        out, into, side = (1, 1, 0) if kernel is None else kernel.shape[:3]
        conv: nn.Module = UpDownConv2d(
            into if kernel is not None else self.channels, out, side,
            up=name.endswith("aux_up"), down=name.endswith(("aux_down", "aux_residual")),
            resample_filter=_filter(w, p), fused_resample=name.endswith("aux_residual"),
        )  # fmt: skip
        return conv


def _first(w: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in w:
        raise UserError(f"prior: expected {name} among the weights of SongUNet or DhariwalUNet; is the file whole?")
    return w[name]


def _names(w: Mapping[str, Tensor], part: str) -> list[str]:
    """Return the names of the blocks of the encoder (`enc`) or decoder (`dec`), in the order of the forward pass."""
    found = {(int(m["side"]), m["kind"]) for m in map(_NAME.match, w) if m and m["part"] == part}

    def place(item: tuple[int, str]) -> tuple[int, int, int]:
        side, kind = item
        number = re.search(r"\d+$", kind)
        family = kind if number is None else kind[: number.start()]
        return (-side if part == "enc" else side), _ORDER.index(family), int(number[0]) if number else 0

    return [f"{side}x{side}_{kind}" for side, kind in sorted(found, key=place)]


def _filter(w: Mapping[str, Tensor], p: str) -> tuple[float, ...]:
    """Return the row `f` of a stored filter `f f^T / (sum f)^2`."""
    stored = w.get(f"{p}resample_filter")
    return (1.0, 1.0) if stored is None else tuple(stored[0, 0].double().sum(0).tolist())


def _groups(channels: int) -> int:
    return max(1, min(32, channels // 4))


def _norm(weight: Tensor, eps: float) -> nn.GroupNorm:
    return nn.GroupNorm(_groups(len(weight)), len(weight), eps=eps)


def _linear(w: Mapping[str, Tensor], name: str) -> nn.Linear | None:
    return _affine(w, name) if f"{name}.weight" in w else None


def _affine(w: Mapping[str, Tensor], name: str) -> nn.Linear:
    out, into = w[f"{name}.weight"].shape
    return nn.Linear(into, out, bias=f"{name}.bias" in w)
