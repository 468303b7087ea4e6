"""The sources of a suite's images.

    photographs    squares of the colour photographs in scikit-image's wheel; no embedded prior was trained on them
    validation     other images of that wheel, for tuning; no suite scores them
    phantoms       synthetic sections of a body, for computed tomography: 0 is air, 0.5 water, 1 is dense bone
    prior          draws of the suite's own prior; only for these is the posterior exactly the target
    FOLDER         the image files in a folder, in the order of their names

An image does not depend on the number of images: its index, its pixels and so its measurements stay the same when a
longer run extends a shorter one.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image as PillowImage
from torch import Tensor

from ..errors import UserError
from ..images import load_image, middle_square
from ..images.folders import picture_files
from ..phantoms import body
from ..priors import GaussianPrior, MixturePrior, Prior, StationaryGaussianPrior
from ..registry import unknown
from ..samplers import Heun
from ..streams import generator

PHOTOGRAPHS = ("astronaut", "coffee", "chelsea", "rocket")
VALIDATION = ("motorcycle_left", "hubble_deep_field", "ihc", "retina")
BUILT_IN = ("photographs", "validation", "phantoms", "prior")
_BOXES = ((0.0, 0.0, 1.0), (0.0, 0.0, 0.5), (0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.5))  # top, left, side


@dataclass(frozen=True)
class Picture:
    """One clean image.

    Attributes:
        name: of the image; for a file it includes the first digits of its pixels' hash, so another file of that name is
            another image.
        number: index, for its random streams.
        pixels: `(C, H, W)` in [0, 1], float32.
    """

    name: str
    number: int
    pixels: Tensor


def load_pictures(source: str, count: int | None, *, size: int | None, channels: int, prior: Prior) -> list[Picture]:
    """Return the first images of a source.

    Args:
        source: see the module.
        count: number of images; by default all files of a folder. Other sources need it.
        size: side of the square to which each is cropped and resized; `None` keeps the files of a folder unchanged.
        channels: 1 or 3.
        prior: for the source "prior".

    Raises:
        ValueError: an unknown source, too many images, or a size that does not fit.
        FileNotFoundError: a folder without images.
    """
    if source not in BUILT_IN and not Path(source).is_dir():
        raise UserError(f"data: {unknown('source', source, BUILT_IN)}, or name a folder of images")
    if source not in BUILT_IN:
        return _folder(Path(source), count, size, channels)
    if count is None or size is None:
        raise UserError(f"data: source {source!r}: expected the options images and size, got none")
    if source == "prior":
        return [Picture(f"draw-{i:03d}", i, draw(prior, (channels, size, size), i)) for i in range(count)]
    if source == "phantoms":
        return [Picture(f"phantom-{i:03d}", i, body(size, i).expand(channels, -1, -1)) for i in range(count)]
    names = PHOTOGRAPHS if source == "photographs" else VALIDATION
    if count > (most := len(names) * len(_BOXES)):
        raise UserError(f"data: images: expected at most {most} {source}, got {count}; give a folder of images")
    return [_wheel(names[i % len(names)], i // len(names), i, size, channels) for i in range(count)]


def draw(prior: Prior, shape: tuple[int, int, int], index: int) -> Tensor:
    """Return one draw of a prior, `(C, H, W)`; exact for the analytic priors, else by Heun's method in 50 steps."""
    g = generator(20261122, index)
    if isinstance(prior, StationaryGaussianPrior):
        return prior.sample(1, shape, g)[0]
    if isinstance(prior, GaussianPrior | MixturePrior):
        return prior.sample(1, g)[0]
    return Heun(steps=50)(prior, 1, seed=index, shape=shape).samples[0]


def _wheel(name: str, box: int, number: int, size: int, channels: int) -> Picture:
    """Return a square of one of scikit-image's images: first the largest one in the middle, then its quarters."""
    import skimage.data

    folder = Path(skimage.data.__file__).parent
    file = next(f for f in picture_files(folder) if f.stem == name)
    image = load_image(file, mode="gray" if channels == 1 else "rgb")[0]
    square = middle_square(image)
    top, left, side = (round(v * square.shape[1]) for v in _BOXES[box])
    if side < size:
        raise UserError(f"data: size: expected at most {side}, the pixels of {name!r} there, got {size}; choose fewer")
    cut = square[:, top : top + side, left : left + side]
    return Picture(name if box == 0 else f"{name}-{box}", number, _resized(cut, size))


def _folder(folder: Path, count: int | None, size: int | None, channels: int) -> list[Picture]:
    files = picture_files(folder)
    if not files:
        raise FileNotFoundError(f"{folder}: expected image files such as .png or .jpg, found none")
    if count is not None and count > len(files):
        raise UserError(f"{folder}: expected at least {count} images, found {len(files)}; ask for fewer")
    out = []
    for file in files[:count]:
        image = load_image(file, mode="gray" if channels == 1 else "rgb")[0].float()
        if size is not None:
            image = _resized(middle_square(image), size)
        digest = hashlib.sha256(image.contiguous().numpy().tobytes()).hexdigest()[:8]
        name = f"{file.name}@{digest}"
        out.append(Picture(name, zlib.crc32(name.encode()), image))
    return out


def _resized(image: Tensor, size: int) -> Tensor:
    """Return `(C, size, size)` by Lanczos' filter, channel by channel in floating point."""
    if image.shape[1] == size:
        return image.clone()

    def resize(channel: Tensor) -> Tensor:
        picture = PillowImage.fromarray(channel.numpy().astype(np.float32))
        pixels = np.asarray(picture.resize((size, size), PillowImage.Resampling.LANCZOS), dtype=np.float32)
        return torch.from_numpy(pixels.copy())

    return torch.stack([resize(channel) for channel in image]).clamp(0, 1)
