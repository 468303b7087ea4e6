r"""The U-Net of OpenAI's improved-diffusion and guided-diffusion (ADM), from its state dict.

The topology is read from the names and shapes of the weights, so that one function loads every size: each of
`input_blocks`, `middle_block` and `output_blocks` lists its layers, and with `n` residual blocks at each of `L`
resolutions

    output_blocks:  L (n + 1) entries, L - 1 of which end with a layer that doubles the sides,
    input_blocks:   1 + L n + (L - 1) entries, each (n + 1)-th of which halves them.

The weights do not contain the number of attention heads, the schedule and the size of the images. These come from a
table of the published checkpoints or from the caller. The layers are deepinv's; its own `DiffUNet` has two fixed sizes.

The network estimates the noise at `t = 0..T-1` on images in [-1, 1]; a second set of channels, the learned variance, is
dropped. It gets real numbers between the chain's indices.

References:
    Diffusion Models Beat GANs on Image Synthesis (Dhariwal, Nichol, 2021), https://arxiv.org/abs/2105.05233; code
    https://github.com/openai/guided-diffusion, `guided_diffusion/unet.py`.
    Improved Denoising Diffusion Probabilistic Models (Nichol, Dhariwal, 2021), https://arxiv.org/abs/2102.09672.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ...errors import UserError
from ...schedules import Chain, cosine_betas, linear_betas
from ..conversions import TotalNoise, TrainedPrior
from .checkpoint import Checkpoint
from .wrapping import NATURAL_STD, Precision, on_chain

Schedule = Literal["linear", "cosine"]


@dataclass(frozen=True)
class Published:
    """The facts about a published checkpoint that its weights do not contain.

    Attributes:
        name: data and size.
        image_size: side of its images.
        head_channels: channels of one attention head, or `None`.
        heads: number of attention heads where `head_channels` is `None`.
        new_order: whether queries, keys and values are split before heads.
        schedule: of the betas.
        steps: length of the chain.
        rescaled: whether the network gets `1000 t / steps`.
    """

    name: str
    image_size: int
    head_channels: int | None = 64
    heads: int = 4
    new_order: bool = False
    schedule: Schedule = "linear"
    steps: int = 1000
    rescaled: bool = False


# By (model channels, residual blocks, channel multipliers, resolutions changed by residual blocks); the flags are those
# of the two repositories' READMEs and of DPS's model_config.yaml.
_DEEP = (1, 1, 2, 2, 4, 4)
PUBLISHED = {
    (128, 1, _DEEP, True): Published("FFHQ-256 (DPS, ILVR)", 256),
    (256, 2, _DEEP, True): Published("ImageNet-256 or LSUN-256", 256),
    (256, 2, (1, 1, 2, 3, 4), True): Published("ImageNet-128", 128, None),
    (256, 2, (0.5, 1, 1, 2, 2, 4, 4), True): Published("ImageNet-512", 512),
    (192, 3, (1, 2, 3, 4), True): Published("ImageNet-64 (ADM)", 64, new_order=True, schedule="cosine"),
    (128, 3, (1, 2, 2, 2), False): Published("CIFAR-10", 32, None, schedule="cosine", steps=4000, rescaled=True),
    (128, 3, (1, 2, 3, 4), False): Published("ImageNet-64", 64, None, schedule="cosine", steps=4000, rescaled=True),
    (192, 3, (1, 2, 3, 4), False): Published("ImageNet-64 (by class)", 64, None, schedule="cosine", steps=4000),
    (128, 2, _DEEP, False): Published("LSUN bedroom", 256, None, 1),
}


@dataclass(frozen=True)
class Layout:
    """The facts about a network that its weights contain.

    Attributes:
        channels: of the image.
        width: channels of the first level and of the embedding.
        blocks: residual blocks of each level.
        multipliers: channels of each level as multiples of `width`.
        resampled_in_blocks: whether residual blocks change the resolution, rather than convolutions.
        classes: number of classes, 0 for none.
    """

    channels: int
    width: int
    blocks: int
    multipliers: tuple[float, ...]
    resampled_in_blocks: bool
    classes: int

    @property
    def stride(self) -> int:
        """Pixels by which the sides of an image must be divisible."""
        return int(2 ** (len(self.multipliers) - 1))


def recognises(file: Checkpoint) -> bool:
    """Return whether a file has the names of this network's weights."""
    return file.has(
        "time_embed.0.weight", "input_blocks.0.0.weight", "middle_block.0.in_layers.2.weight", "out.2.weight"
    )


def load(
    file: Checkpoint,
    *,
    image_size: int | None = None,
    num_heads: int | None = None,
    num_head_channels: int | None = None,
    new_attention_order: bool | None = None,
    schedule: Schedule | None = None,
    steps: int | None = None,
    rescale_timesteps: bool | None = None,
    class_label: int | None = None,
    nearest: bool = False,
    clip: bool = True,
    std: float = NATURAL_STD,
    precision: Precision = "float32",
) -> TrainedPrior:
    """Return the prior of a checkpoint.

    Args:
        file: its tensors.
        image_size: side of its images; this and the next six arguments are known for published checkpoints.
        num_heads: attention heads.
        num_head_channels: channels of one attention head, instead of `num_heads`.
        new_attention_order: whether queries, keys and values are split before heads.
        schedule: "linear" or "cosine".
        steps: length of the chain.
        rescale_timesteps: whether the network gets `1000 t / steps`.
        class_label: the class, for a network that is conditional on one.
        nearest: whether `t` is the nearest integer.
        clip: whether estimates are clipped to [0, 1], as the authors' samplers and DPS do.
        std: standard deviation of the data as images in [0, 1].
        precision: type in which the network computes.

    Raises:
        ValueError: a fact that the weights do not contain is missing, or they are not a U-Net of this family.
    """
    layout = read_layout(file)
    key = (layout.width, layout.blocks, layout.multipliers, layout.resampled_in_blocks)
    known = PUBLISHED.get(key)
    if known is None:
        heads_given = num_heads is not None or num_head_channels is not None
        missing = [
            name
            for name, absent in (
                ("image_size", image_size is None),
                ("num_heads or num_head_channels", not heads_given),
                ("schedule", schedule is None),
            )
            if absent
        ]
        if missing:
            raise UserError(
                f"{file.path}: prior: a guided-diffusion network of {layout.width} channels x {layout.multipliers}, "
                f"which is none of the published ones; the weights do not tell {', '.join(missing)}: give them as "
                "options, from the flags of its training"
            )
        known = Published("", 0)
    heads = (num_heads, num_head_channels) if num_heads or num_head_channels else (known.heads, known.head_channels)
    order = known.new_order if new_attention_order is None else new_attention_order
    side = image_size or known.image_size
    if side % layout.stride:
        raise UserError(f"{file.path}: image_size: expected a multiple of {layout.stride}, got {side}")
    if layout.classes and (class_label is None or not 0 <= class_label < layout.classes):
        raise UserError(
            f"{file.path}: class_label: the network is conditional on one of {layout.classes} classes; "
            f"give class_label=0..{layout.classes - 1}, got {class_label}"
        )
    if not layout.classes and class_label is not None:
        raise UserError(f"{file.path}: class_label: the network is conditional on no class; leave it out")
    length = steps or known.steps
    rates = {"linear": lambda: linear_betas(length, 0.1 / length, 20 / length), "cosine": lambda: cosine_betas(length)}
    rescaled = known.rescaled if rescale_timesteps is None else rescale_timesteps
    try:
        network = UNet(file.tensors, layout, heads=heads, new_order=order, label=class_label)
    except (KeyError, RuntimeError, AssertionError) as error:
        why = " ".join(str(error).split())[:200]
        raise UserError(f"{file.path}: prior: expected the weights of guided-diffusion's U-Net: {why}") from error
    return on_chain(
        network,
        TotalNoise,
        (layout.channels, side, side),
        Chain(rates[schedule or known.schedule]()),
        std=std,
        nearest=nearest,
        time_scale=1000 / length if rescaled else 1.0,
        clip=clip,
        precision=precision,
    )


def read_layout(file: Checkpoint) -> Layout:
    """Return the network's layout.

    Raises:
        ValueError: it has other inputs or outputs than images, or other blocks than the family's.
    """
    w = file.tensors
    if "out.2.weight" not in w or not any(k.startswith("output_blocks.") for k in w):
        raise UserError(f"{file.path}: prior: a guided-diffusion classifier, which estimates no image; give its U-Net")
    width, channels = w["time_embed.0.weight"].shape[1], w["input_blocks.0.0.weight"].shape[1]
    out = w["out.2.weight"].shape[0]
    # An upsampler takes two colour images and returns three channels of noise and three of variance.
    if out not in (channels, 2 * channels) or channels == out == 6:
        raise UserError(
            f"{file.path}: prior: a network from {channels} to {out} channels is no prior of images but conditional "
            "on another image, as upsamplers are"
        )
    ups = [i for i in _indices(w, "output_blocks.") if len(_indices(w, f"output_blocks.{i}.")) > 1 and _doubles(w, i)]
    levels, entries = len(ups) + 1, len(_indices(w, "output_blocks."))
    blocks = entries // levels - 1
    if entries % levels or blocks < 1 or len(_indices(w, "input_blocks.")) != levels * (blocks + 1):
        raise UserError(
            f"{file.path}: prior: expected the blocks of guided-diffusion's U-Net, got "
            f"{len(_indices(w, 'input_blocks.'))} on the way down and {entries} up; is the file whole?"
        )
    firsts = [1 + level * (blocks + 1) for level in range(levels)]
    multipliers = tuple(w[f"input_blocks.{i}.0.in_layers.2.weight"].shape[0] / width for i in firsts)
    inside = not any(k.startswith("input_blocks.") and ".op." in k for k in w)
    classes = w["label_emb.weight"].shape[0] if "label_emb.weight" in w else 0
    return Layout(channels, width, blocks, multipliers, inside, classes)


class UNet(nn.Module):
    """The network of deepinv's layers, with its weights.

    Args:
        weights: by name.
        layout: what was read from them.
        heads: number of attention heads, and channels of each; one of them.
        new_order: whether queries, keys and values are split before heads.
        label: the class, or `None`.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        layout: Layout,
        *,
        heads: tuple[int | None, int | None],
        new_order: bool = False,
        label: int | None = None,
    ) -> None:
        super().__init__()
        self.width, self.label, self._heads, self._new_order = layout.width, label, heads, new_order
        with torch.device("meta"):  # the file has all weights, so none are initialised
            embedding = weights["time_embed.2.weight"].shape[0]
            self.time_embed = nn.Sequential(
                nn.Linear(layout.width, embedding), nn.SiLU(), nn.Linear(embedding, embedding)
            )
            if layout.classes:
                self.label_emb = nn.Embedding(layout.classes, embedding)
            self.input_blocks = nn.ModuleList(
                self._block(weights, f"input_blocks.{i}.", down=i > 0 and i % (layout.blocks + 1) == 0)
                for i in _indices(weights, "input_blocks.")
            )
            self.middle_block = self._block(weights, "middle_block.")
            self.output_blocks = nn.ModuleList(
                self._block(weights, f"output_blocks.{i}.", up=True) for i in _indices(weights, "output_blocks.")
            )
            last = weights["out.2.weight"]
            self.out = nn.Sequential(
                nn.GroupNorm(32, last.shape[1]), nn.SiLU(), nn.Conv2d(last.shape[1], last.shape[0], 3, padding=1)
            )
        self.load_state_dict({k: v.float() for k, v in weights.items()}, assign=True)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the noise in `x` `(B, C, H, W)` at times `t` `(B,)`, followed by channels of further estimates."""
        from deepinv.models.diffunet import timestep_embedding

        e = self.time_embed(timestep_embedding(t, self.width).to(self.time_embed[0].weight.dtype))
        if self.label is not None:
            e = e + self.label_emb.weight[self.label]
        h, skips = x, []
        for block in self.input_blocks:
            h = block(h, e)
            skips.append(h)
        h = self.middle_block(h, e)
        for block in self.output_blocks:
            h = block(torch.cat([h, skips.pop()], 1), e)
        out: Tensor = self.out(h)
        return out

    def _block(self, w: Mapping[str, Tensor], prefix: str, *, down: bool = False, up: bool = False) -> nn.Module:
        from deepinv.models.diffunet import TimestepEmbedSequential

        layers = [self._layer(w, f"{prefix}{j}.", down, up and j > 0) for j in _indices(w, prefix)]
        return TimestepEmbedSequential(*layers)  # type: ignore[no-any-return]

    def _layer(self, w: Mapping[str, Tensor], p: str, down: bool, up: bool) -> nn.Module:
        from deepinv.models.diffunet import AttentionBlock, Downsample, ResBlock, Upsample

        layer: Any
        if f"{p}in_layers.2.weight" in w:
            first, time = w[f"{p}in_layers.2.weight"], w[f"{p}emb_layers.1.weight"]
            layer = ResBlock(
                first.shape[1], time.shape[1], 0.0, out_channels=first.shape[0], down=down, up=up,
                use_scale_shift_norm=time.shape[0] == 2 * first.shape[0],
            )  # fmt: skip
            layer.in_layers[0], layer.out_layers[0] = _norm(first.shape[1]), _norm(first.shape[0])
        elif f"{p}qkv.weight" in w:
            width = w[f"{p}qkv.weight"].shape[1]
            number, each = self._heads
            layer = AttentionBlock(
                width, num_heads=number or 1, num_head_channels=each or -1, use_new_attention_order=self._new_order
            )
            layer.norm = _norm(width)
        elif f"{p}op.weight" in w:
            layer = Downsample(w[f"{p}op.weight"].shape[1], True)
        elif f"{p}conv.weight" in w:
            layer = Upsample(w[f"{p}conv.weight"].shape[1], True)
        else:
            kernel = w[f"{p}weight"]
            layer = nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=1)
        module: nn.Module = layer
        return module


def _norm(channels: int) -> nn.GroupNorm:
    # deepinv's own casts to float32, which a network in float64 cannot follow.
    return nn.GroupNorm(32, channels)


def _indices(w: Mapping[str, Tensor], prefix: str) -> list[int]:
    """Return the numbers that follow a prefix in the names, in order."""
    found = {k.removeprefix(prefix).split(".")[0] for k in w if k.startswith(prefix)}
    return sorted(int(n) for n in found if n.isdigit())


def _doubles(w: Mapping[str, Tensor], i: int) -> bool:
    """Return whether a block of the decoder ends with a layer that doubles the sides."""
    last = f"output_blocks.{i}.{_indices(w, f'output_blocks.{i}.')[-1]}."
    return f"{last}conv.weight" in w or f"{last}in_layers.2.weight" in w
