"""Random crops of packed images, and their augmentation.

A crop is drawn at a random scale (an antialiased bicubic resize of a larger or smaller square of the source), turned
by one of the eight symmetries of the square, and recoloured by a random affine map of its channels

    x' = clip(1/2 + a (M x - 1/2) + b),     M = P (1 + s (H - 1)),

with a permutation `P` of the channels and a rotation `H` of the hue with a random saturation (0 gives a grey image).
Everything is a function of one `numpy` generator, so batch `k` of a run can be drawn again after a restart.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

_LUMA = np.array([0.299, 0.587, 0.114])


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """The augmentation of crops.

    Attributes:
        scale_min: smallest number of source pixels for one pixel of the crop (below 1 enlarges).
        scale_max: largest such number.
        scale_share: fraction of the crops with a random scale; the others are not resized.
        mirror: whether crops are mirrored left to right.
        rotate: whether crops are rotated by multiples of 90 degrees and mirrored top to bottom.
        colour: fraction of the crops of three channels with permuted channels and a changed hue and saturation.
        grey: fraction of those with saturation 0.
        contrast: the contrast `a` is log-uniform in `[1 - contrast, 1 / (1 - contrast)]`; 0 for none.
        brightness: the shift `b` is uniform in `[-brightness, brightness]`.
    """

    scale_min: float = 0.7
    scale_max: float = 2.0
    scale_share: float = 0.5
    mirror: bool = True
    rotate: bool = True
    colour: float = 0.5
    grey: float = 0.15
    contrast: float = 0.3
    brightness: float = 0.1


def draw_crop(
    image: NDArray[np.uint8], size: int, config: AugmentConfig, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Return one crop `(size, size, C)` of `image` `(H, W, C)`, at a random place, scale and orientation."""
    height, width = image.shape[:2]
    scale = 1.0
    if rng.random() < config.scale_share:
        scale = math.exp(rng.uniform(math.log(config.scale_min), math.log(config.scale_max)))
    side = max(1, min(round(scale * size), height, width))
    top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
    crop = image[top : top + side, left : left + side]
    if side != size:
        crop = _resize(crop, size)
    if config.mirror and rng.random() < 0.5:
        crop = crop[:, ::-1]
    if config.rotate:
        crop = np.rot90(crop, int(rng.integers(4)))
    return crop


def _resize(crop: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    squeezed = np.ascontiguousarray(crop[..., 0] if crop.shape[2] == 1 else crop)
    resized = np.asarray(Image.fromarray(squeezed).resize((size, size), Image.Resampling.BICUBIC))
    return resized.reshape(size, size, crop.shape[2])


def recolour(batch: Tensor, config: AugmentConfig, rng: np.random.Generator) -> Tensor:
    """Return `batch` `(B, C, H, W)` in [0, 1] with each image's channels mixed, its contrast and brightness changed."""
    b, c = batch.shape[:2]
    matrix = np.stack([_colour_matrix(config, rng) if c == 3 else np.eye(c) for _ in range(b)])
    low = math.log(1.0 - config.contrast)
    gain = np.exp(rng.uniform(low, -low, size=b)) if config.contrast else np.ones(b)
    shift = rng.uniform(-config.brightness, config.brightness, size=b) if config.brightness else np.zeros(b)
    offset = 0.5 * (1.0 - gain) + shift
    m = torch.from_numpy(gain[:, None, None] * matrix).to(batch.dtype)
    o = torch.from_numpy(offset).to(batch.dtype)[:, None, None]
    flat = torch.baddbmm(o, m, batch.reshape(b, c, -1))
    return flat.clamp_(0.0, 1.0).reshape(batch.shape)


def _colour_matrix(config: AugmentConfig, rng: np.random.Generator) -> NDArray[np.float64]:
    if rng.random() >= config.colour:
        return np.eye(3)
    angle, saturation = rng.uniform(-np.pi, np.pi), rng.uniform(0.4, 1.5)
    if rng.random() < config.grey:
        saturation = 0.0
    permutation = np.eye(3)[rng.permutation(3)]
    grey = np.tile(_LUMA, (3, 1))
    # Rotation of the chroma (x - luma) about the grey axis (1, 1, 1): Rodrigues' formula.
    cross = np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3.0)
    turn = np.eye(3) * math.cos(angle) + cross * math.sin(angle) + (1 - math.cos(angle)) / 3.0 * np.ones((3, 3))
    mixed: NDArray[np.float64] = permutation @ (grey + saturation * turn @ (np.eye(3) - grey))
    return mixed
