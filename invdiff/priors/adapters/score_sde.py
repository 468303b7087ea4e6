r"""Checkpoints of score_sde_pytorch: NCSN++ and DDPM++ of the VP, sub-VP and VE SDE.

A file holds the weights as a list of modules in the order of the forward pass, `all_modules.N`, and their running
average `ema`, which is used. The list is parsed into the names of `song`, which has the same network:

    [Fourier features] Linear Linear Conv
    for each level down:     n x (Block [Attention])  Block/2 [skip or residual of the image]
    Block Attention Block
    for each level up:       (n + 1) x Block [Attention] [Norm Conv]  2Block
    [Norm Conv]

A block that changes the resolution keeps the number of channels and yet has a 1x1 convolution. The output of the
network depends on the SDE:

    VE          on images in [0, 1]    score = F(2 u - 1, log sigma) / sigma
    VP, sub-VP  on images in [-1, 1]   score = -F(u_t, 999 t) / std_t
    DDPM        on images in [-1, 1]   noise = F(u_t, k),  k = 0..999

References:
    Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021),
    https://arxiv.org/abs/2011.13456; code https://github.com/yang-song/score_sde_pytorch, `models/ncsnpp.py`,
    `models/utils.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from ...errors import UserError
from ...schedules import VE, VP, Chain, Diffusion, SubVP, linear_betas
from ..conversions import TotalNoise, TrainedPrior
from .checkpoint import Checkpoint
from .functions import from_score
from .song import UNet
from .wrapping import NATURAL_STD, Precision, on_chain

SDE = Literal["ve", "vp", "subvp", "ddpm"]
_FIR = (1.0, 3.0, 3.0, 1.0)
_BOX = (1.0, 1.0)


def recognises(file: Checkpoint) -> bool:
    """Return whether a file has the names of this library's weights."""
    return any(k.startswith("all_modules.") for k in file.tensors)


def load(
    file: Checkpoint,
    *,
    sde: SDE | None = None,
    image_size: int | None = None,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
    beta_min: float = 0.1,
    beta_max: float = 20.0,
    fir: bool | None = None,
    average: bool = True,
    clip: bool = False,
    std: float = NATURAL_STD,
    precision: Precision = "float32",
) -> TrainedPrior:
    """Return the prior of a checkpoint.

    Args:
        file: its tensors.
        sde: "ve", "vp", "subvp" (trained in continuous time) or "ddpm" (VP in 1000 steps); weights with Fourier
            features are "ve"; other weights do not determine it.
        image_size: side of its images; by default such that the first attention of the encoder is at 16 pixels, as in
            all of the authors' configurations.
        sigma_min: lowest level of "ve", on images in [0, 1]; by default that of the file.
        sigma_max: highest such level.
        beta_min: rate of "vp" and "subvp" at time 0.
        beta_max: rate at time 1.
        fir: whether images are resampled with (1, 3, 3, 1), rather than averaged and repeated; by default it is true
            for networks with Fourier features or a pyramid of the image.
        average: whether the running average of the weights is used, as in the authors' sampler.
        clip: whether estimates are clipped to [0, 1].
        std: standard deviation of the data as images in [0, 1].
        precision: type in which the network computes.

    Raises:
        ValueError: another network of that library, or a missing fact that the weights do not contain.
    """
    groups = _groups(averaged(file) if average else file.tensors)
    fourier = groups[0].keys() == {"W"}
    kind: SDE | None = "ve" if fourier else sde
    if kind is None or (fourier and sde not in (None, "ve")) or (kind == "ve" and not fourier):
        expected = (
            "ve, as the network has Fourier features" if fourier else "vp, subvp or ddpm, which weights do not tell"
        )
        raise UserError(f"{file.path}: sde: expected {expected}; got {sde}; it is in the name of its configuration")
    named = _Parser(file, groups).parse(image_size, fir)
    try:
        network = UNet(named)
    except (KeyError, RuntimeError) as error:
        why = " ".join(str(error).split())[:200]
        raise UserError(f"{file.path}: prior: expected NCSN++ or DDPM++ of score_sde_pytorch: {why}") from error
    shape = (network.channels, network.resolution, network.resolution)
    if kind == "ddpm":
        chain = Chain(linear_betas(1000, beta_min / 1000, beta_max / 1000))
        return on_chain(network, TotalNoise, shape, chain, std=std, clip=clip, precision=precision)
    process: Diffusion = VP(beta_min, beta_max) if kind == "vp" else SubVP(beta_min, beta_max)
    if kind == "ve":
        levels = file.tensors.get("sigmas")
        low = float(levels[-1]) if sigma_min is None and levels is not None else sigma_min
        high = float(levels[0]) if sigma_max is None and levels is not None else sigma_max
        if low is None or high is None:
            raise UserError(f"{file.path}: sigma_min, sigma_max: expected those of its configuration; got none")
        process = VE(low, high)
    return from_score(
        ScoreOf(network, process), shape, process, value_range=(0, 1) if kind == "ve" else (-1, 1), std=std, clip=clip,
        precision=precision,
    )  # fmt: skip


class ScoreOf(nn.Module):
    """The score from a network's output.

    Args:
        network: the U-Net.
        sde: its diffusion, `VE` on images in [0, 1], the others on [-1, 1].
    """

    def __init__(self, network: nn.Module, sde: Diffusion) -> None:
        super().__init__()
        self.network, self.sde = network, sde

    def forward(self, u: Tensor, t: Tensor) -> Tensor:
        """Return `grad log p_t(u)`, `(B, C, H, W)`, for times `(B,)`."""
        std = self.sde.std(t).to(u)
        if isinstance(self.sde, VE):
            out: Tensor = self.network(2 * u - 1, std.log())
            return out / std[:, None, None, None]
        out = self.network(u, 999 * t)
        return -out / std[:, None, None, None]


def averaged(file: Checkpoint) -> Mapping[str, Tensor]:
    """Return the weights, those that take gradients replaced by their running average where the file has it.

    Raises:
        ValueError: an average of other tensors.
    """
    ema = file.content.get("ema")
    values = ema.get("shadow_params") if isinstance(ema, Mapping) else None
    if values is None:
        return file.tensors
    features = "all_modules.0.W"  # random and never trained, like the buffer of levels
    names = [k for k in file.tensors if k not in ("sigmas", features)]
    fits = len(names) == len(values) and all(
        file.tensors[k].shape == v.shape for k, v in zip(names, values, strict=True)
    )
    if not fits:
        raise UserError(
            f"{file.path}: prior: expected a running average of the {len(names)} weights, got {len(values)} tensors of "
            "other shapes; give average=false to use the weights themselves"
        )
    return {**file.tensors, **dict(zip(names, values, strict=True))}


def _groups(tensors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """Return the tensors of each module of the list, in order."""
    found: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("all_modules."):
            _, number, rest = name.split(".", 2)
            found.setdefault(int(number), {})[rest] = value
    return [found[i] for i in sorted(found)]


@dataclass
class _Parser:
    """Parser of the list of modules.

    Attributes:
        file: for messages.
        groups: the modules that are not yet parsed.
        out: weights under the names of `song`.
    """

    file: Checkpoint
    groups: list[dict[str, Tensor]]
    out: dict[str, Tensor] = field(default_factory=dict)

    def parse(self, image_size: int | None, fir: bool | None) -> dict[str, Tensor]:
        """Return the weights under the names of `song`.

        Args:
            image_size: side of the images, or `None`.
            fir: see `load`.
        """
        if any({"NIN_0.W", "Conv_0.weight"} <= g.keys() or g.keys() == {"Conv_0.weight"} for g in self.groups):
            raise self._wrong("its 'ddpm' network, which google/ddpm-* are in diffusers' format")
        fourier = self.groups[0].keys() == {"W"}
        if fourier:
            self.out["map_noise.freqs"] = self.groups.pop(0)["W"]
        for name in ("map_layer0", "map_layer1"):
            self._put(name, self._take("weight", "bias"))
        stem = self._take("weight", "bias")
        blocks, levels, attention = self._count()
        side = image_size or (16 << attention if attention is not None else 0)
        if not side:
            raise UserError(f"{self.file.path}: image_size: expected the side of its images; the weights do not tell")
        pyramid = any(
            g.keys() in ({"Conv_0.weight", "Conv_0.bias"}, {"Conv2d_0.weight", "Conv2d_0.bias"}) for g in self.groups
        )
        row = torch.tensor(_FIR if (fourier or pyramid if fir is None else fir) else _BOX)
        kernel = (row[:, None] * row / row.sum() ** 2)[None, None]
        self._put(f"enc.{side}x{side}_conv", stem)
        for level in range(levels):
            here = f"enc.{side >> level}x{side >> level}_"
            if level:
                self._block(f"{here}down", kernel)
                if self._next("Conv_0.weight", "Conv_0.bias"):
                    self.out[f"{here}aux_down.resample_filter"] = kernel
                    self._put(f"{here}aux_skip", _strip(self.groups.pop(0), "Conv_0."))
                elif self._next("Conv2d_0.weight", "Conv2d_0.bias"):
                    self._put(f"{here}aux_residual", _strip(self.groups.pop(0), "Conv2d_0."))
                    self.out[f"{here}aux_residual.resample_filter"] = kernel
            for i in range(blocks):
                self._block(f"{here}block{i}")
        for level in reversed(range(levels)):
            here = f"dec.{side >> level}x{side >> level}_"
            for name in ("in0", "in1") if level == levels - 1 else ("up",):
                self._block(f"{here}{name}", kernel if name == "up" else None)
            for i in range(blocks + 1):
                self._block(f"{here}block{i}")
            if self._next("weight", "bias"):
                if (
                    level < levels - 1
                    and f"dec.{side >> (levels - 1)}x{side >> (levels - 1)}_aux_norm.weight" in self.out
                ):
                    self.out[f"{here}aux_up.resample_filter"] = kernel
                self._put(f"{here}aux_norm", self._take("weight", "bias"))
                self._put(f"{here}aux_conv", self._take("weight", "bias"))
        if self.groups:
            raise self._wrong(f"{len(self.groups)} modules more than its blocks")
        return self.out

    def _count(self) -> tuple[int, int, int | None]:
        """Return blocks for each level, number of levels, and the first level with attention, in the encoder."""
        blocks, levels, attention = [0], 1, None
        for before, group in zip([{}, *self.groups], self.groups, strict=False):
            if "Dense_0.weight" in group:
                out, into = group["Conv_0.weight"].shape[:2]
                if out == into and "Conv_2.weight" in group:
                    levels += 1
                    blocks.append(0)
                elif out < into:  # the first block of the decoder, which also gets a skip
                    break
                else:
                    blocks[-1] += 1
            elif "NIN_3.W" in group and attention is None and "Dense_0.weight" in before:
                attention = levels - 1
        # The last level was counted with the two blocks in the middle.
        if levels < 2 or len({*blocks[:-1], blocks[-1] - 2}) != 1:
            raise self._wrong(f"{blocks} blocks in its levels")
        # Attention on the last level may be the one in the middle, which does not determine the size.
        return blocks[0], levels, None if attention == levels - 1 else attention

    def _block(self, name: str, kernel: Tensor | None = None) -> None:
        """Parse a residual block and the attention after it; `kernel` is that of blocks that change the resolution."""
        block = self._take(
            "GroupNorm_0.weight", "Conv_0.weight", "Dense_0.weight", "GroupNorm_1.weight", "Conv_1.weight"
        )
        if kernel is not None and "Conv_2.weight" not in block:
            raise self._wrong(f"a block without a 1x1 convolution where {name} should be")
        parts = {
            "GroupNorm_0": "norm0",
            "Conv_0": "conv0",
            "Dense_0": "affine",
            "GroupNorm_1": "norm1",
            "Conv_1": "conv1",
        }
        for theirs, ours in {**parts, "Conv_2": "skip"}.items():
            self._put(f"{name}.{ours}", _strip(block, f"{theirs}."))
        if kernel is not None:
            self.out[f"{name}.conv0.resample_filter"] = self.out[f"{name}.skip.resample_filter"] = kernel
        if self.groups and "NIN_3.W" in self.groups[0]:
            a = self.groups.pop(0)
            self._put(f"{name}.norm2", _strip(a, "GroupNorm_0."))
            # One convolution for all three, channel by channel: q_0, k_0, v_0, q_1, ...
            weight = torch.stack([a[f"NIN_{i}.W"].T for i in range(3)], 1).flatten(0, 1)
            bias = torch.stack([a[f"NIN_{i}.b"] for i in range(3)], 1).flatten()
            self._put(f"{name}.qkv", {"weight": weight[..., None, None], "bias": bias})
            self._put(f"{name}.proj", {"weight": a["NIN_3.W"].T[..., None, None], "bias": a["NIN_3.b"]})

    def _next(self, *names: str) -> bool:
        return bool(self.groups) and self.groups[0].keys() == set(names)

    def _take(self, *names: str) -> dict[str, Tensor]:
        if not self.groups or not set(names) <= self.groups[0].keys():
            got = ", ".join(self.groups[0]) if self.groups else "its end"
            raise self._wrong(f"{got} where {', '.join(names)} should be")
        return self.groups.pop(0)

    def _put(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        self.out |= {f"{name}.{k}": v for k, v in tensors.items()}

    def _wrong(self, what: str) -> ValueError:
        return UserError(f"{self.file.path}: prior: expected NCSN++ or DDPM++ of score_sde_pytorch, got {what}")


def _strip(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
