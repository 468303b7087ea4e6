"""Clean images to check a prior with: its own exact samples, photographs, a folder, or samples that it drew.

How sharp a check can be hangs on them. On exact samples of an analytic prior every identity of the posterior mean holds
up to Monte Carlo error. Photographs test a network's noise level, range and channels even where it was trained on
other images, for what noise looks like is the same in all. Only the range needs images of a kind that it knows:
networks of body sections know gray photographs too little (`prior_kind`), and get drawn bodies for it, which have no
grain, and could not show the level. Samples that the prior drew itself share its faults: a network that is told twice
the noise level draws images that are too smooth, and denoises them well.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..images import load_image
from ..phantoms import body
from ..priors import Prior
from ..streams import generator
from .prior_kind import knows_better

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "stereo_motorcycle")
"""Photographs that scikit-image carries within its package."""
SIDE = 64
PIXELS = 15 * SIDE**2
FEWEST, MOST = 4, 32
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class CleanImages:
    """Images that a prior is checked with.

    Attributes:
        x: `(n, C, H, W)`.
        origin: where they come from, in words.
        known: images of a kind that it knows better, for the faults of units; `x` unless given.
        exact: whether they are exact draws of the prior.
        drawn: whether the prior's own reverse diffusion drew them.
    """

    x: Tensor
    origin: str
    exact: bool = False
    drawn: bool = False
    known: Tensor | None = None

    def to(self, device: torch.device | str) -> CleanImages:
        """Return these images on `device`."""
        known = None if self.known is None else self.known.to(device)
        return dataclasses.replace(self, x=self.x.to(device), known=known)


def default_images(
    prior: Prior, shape: Sequence[int] | None = None, *, seed: int = 0, device: torch.device | str = "cpu"
) -> CleanImages:
    """Return exact samples if the prior has a method `sample`, photographs for 1 and 3 channels, else drawn samples.

    A prior of one channel that knows drawn bodies better than photographs gets these, too, for the units.

    Args:
        prior: the prior.
        shape: `(C, H, W)`, where the prior leaves it open; 64 pixels a side, 3 channels where it takes any number.
        seed: of the samples.
        device: where the prior is.

    Raises:
        ValueError: a shape that the prior does not take, or a prior that must be given images.
    """
    exact = exact_samples(prior, image_shape(prior, shape, side=SIDE // 2), seed=seed)
    if exact is not None:
        return exact
    size = image_shape(prior, shape)
    if size[0] not in (1, 3):
        return drawn_samples(prior, size, seed=seed)
    found = photographs(size)
    if size[0] == 1:
        # Whatever the shape asked for, on images of full size: little of a body shows in a small crop.
        full = (1, *image_shape(prior)[1:])
        if knows_better(prior, phantoms(full, 1).x.to(device), photographs(full, 1).x.to(device)):
            known = phantoms(full)
            origin = f"{found.origin}, and {known.origin} for the units"
            return dataclasses.replace(found, known=known.x, origin=origin)
    return found


def image_shape(prior: Prior, shape: Sequence[int] | None = None, *, side: int = SIDE) -> tuple[int, int, int]:
    """Return `(C, H, W)` of the images to check with.

    Raises:
        ValueError: the prior does not take that shape.
    """
    given: tuple[int | None, ...] = (None, None, None) if shape is None else tuple(shape)
    ours: tuple[int | None, ...] = tuple(prior.shape)
    if any(g is not None and s is not None and g != s for g, s in zip(given, ours, strict=True)):
        words = " x ".join("any" if s is None else str(s) for s in ours)
        raise ValueError(f"shape: expected {words}, the prior's own, got {' x '.join(map(str, given))}")
    c, h, w = (g if g is not None else s for g, s in zip(given, ours, strict=True))
    return (3 if c is None else c, side if h is None else h, side if w is None else w)


def exact_samples(prior: Prior, shape: tuple[int, int, int], *, seed: int = 0) -> CleanImages | None:
    """Return draws by the prior's own method `sample`, in float64, or `None` if it has none.

    The method takes `n`, `shape` where the prior leaves that open, `generator` and `dtype`, as ours do.
    """
    draw: Any = getattr(prior, "sample", None)
    if not callable(draw):
        return None
    known = inspect.signature(draw).parameters
    if not {"n", "generator", "dtype"} <= set(known):
        return None
    # Vectors in the guise of small images come in more draws, or a mixture's rare modes would be missing.
    count = min(512, max(24, 2**15 // math.prod(shape)))
    place = {"shape": shape} if "shape" in known else {}
    x = draw(n=count, generator=generator(seed, 77), dtype=torch.float64, **place)
    return CleanImages(x, f"{count} exact samples of the prior", exact=True)


def photographs(shape: tuple[int, int, int], crops: int | None = None) -> CleanImages:
    """Return crops of scikit-image's photographs, `(n, C, H, W)` in [0, 1], gray ones for one channel.

    Args:
        shape: `(C, H, W)`.
        crops: of each photograph; 3 unless given, and 1 of large images.

    Raises:
        ValueError: neither 1 nor 3 channels.
    """
    import skimage.data

    if shape[0] not in (1, 3):
        raise ValueError(f"photographs: expected 1 or 3 channels, got {shape[0]}; give images of the prior's own kind")
    images = []
    for name in PHOTOGRAPHS:
        found: Any = getattr(skimage.data, name)()
        array = np.asarray(found[0] if isinstance(found, tuple) else found, dtype=np.float32)[..., :3] / 255
        images += _some_crops(_channels(torch.from_numpy(array).permute(2, 0, 1)[None], shape[0]), shape[1:], crops)
    kind = "gray photographs" if shape[0] == 1 else "photographs"
    return CleanImages(torch.cat(images), f"{len(images)} crops of scikit-image's {kind}")


def phantoms(shape: tuple[int, int, int], crops: int | None = None) -> CleanImages:
    """Return crops of drawn sections of bodies, `(n, C, H, W)` in [0, 1], all channels alike; see `photographs`."""
    side = min(2 * max(shape[1:]), 256)
    images = []
    for i in range(len(PHOTOGRAPHS)):
        images += _some_crops(body(side, i)[None].expand(-1, shape[0], -1, -1), shape[1:], crops)
    return CleanImages(torch.cat(images), f"{len(images)} crops of drawn bodies")


def folder_images(folder: Path, prior: Prior, shape: Sequence[int] | None = None) -> CleanImages:
    """Return the centres of up to 32 images of a folder, evenly chosen, of one size.

    Raises:
        NotADirectoryError: no folder.
        ValueError: too few images, files that cannot be read, or channels that the prior does not take.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"--images: expected a folder of images, got {str(folder)!r}")
    endings = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".npy", ".npz"}
    files = sorted(f for f in folder.iterdir() if f.suffix.lower() in endings)
    if len(files) < FEWEST:
        raise ValueError(
            f"--images: expected at least {FEWEST} images in {str(folder)!r}, to tell a fault from chance, "
            f"got {len(files)}; add some"
        )
    if len(files) > MOST:
        files = [files[int(i)] for i in np.linspace(0, len(files) - 1, MOST).round()]
    read = [load_image(f) for f in files]
    channels = prior.shape[0] if shape is None else shape[0]
    if channels is None:
        channels = 3 if all(x.shape[1] == 3 for x in read) else 1
    if shape is None and None in prior.shape[1:]:
        h, w = (min(2 * SIDE, *(x.shape[i] for x in read)) for i in (2, 3))
        shape = (channels, prior.shape[1] or h, prior.shape[2] or w)
    size = image_shape(prior, shape)
    images = [torch.cat(_crops(_fit(_channels(x, size[0]), size[1:], spare=2.0), size[1:], 1)) for x in read]
    return CleanImages(torch.cat(images), f"{len(images)} images of {folder.name or folder}")


def drawn_samples(prior: Prior, shape: tuple[int, int, int], *, seed: int = 0, n: int = 12) -> CleanImages:
    """Return samples that the prior's reverse diffusion draws.

    Raises:
        ValueError: the prior does not reach levels at which its images are lost in noise, or its samples diverge.
    """
    if prior.sigma_max < 3 * prior.std:
        raise ValueError(
            f"images: expected some, for this prior cannot draw its own: its highest level {prior.sigma_max:.3g} is "
            f"not far above the deviation {prior.std:.3g} of its images; give --images FOLDER"
        )
    from ..samplers import Heun

    with torch.no_grad():
        result = Heun(steps=18)(prior, n, shape=shape, seed=seed)
    if result.status != "ok":
        raise ValueError(f"images: the prior's own samples {result.message}; give --images FOLDER")
    return CleanImages(result.samples, f"{n} samples that the prior drew itself", drawn=True)


def _channels(x: Tensor, channels: int) -> Tensor:
    """Return images `(1, c, H, W)` with the number of channels asked for: gray of colour by luma."""
    if x.shape[1] == channels:
        return x
    if x.shape[1] == 3 and channels == 1:
        return (x * torch.tensor(_LUMA).reshape(1, 3, 1, 1)).sum(1, keepdim=True)
    raise ValueError(
        f"--images: expected images of {channels} channels, which the prior takes, got {x.shape[1]}; convert them"
    )


def _fit(x: Tensor, size: Sequence[int], spare: float = 1.0) -> Tensor:
    """Shrink an image, where it is larger, to `spare` times the size that covers `size`; enlarge it to that size."""
    h, w = x.shape[-2:]
    cover = max(size[0] / h, size[1] / w)
    factor = max(cover, min(1.0, spare * cover))
    if factor == 1.0:
        return x
    new = (max(size[0], math.ceil(h * factor - 1e-6)), max(size[1], math.ceil(w * factor - 1e-6)))
    return interpolate(x, new, mode="bilinear", antialias=True, align_corners=False)


def _some_crops(x: Tensor, size: tuple[int, int], count: int | None) -> list[Tensor]:
    """Return crops of an image that is shrunk to twice their size, where there are many crops, or to one."""
    few = 3 * len(PHOTOGRAPHS) * size[0] * size[1] > PIXELS
    return _crops(_fit(x, size, spare=1.0 if few else 2.0), size, count or (1 if few else 3))


def _crops(x: Tensor, size: Sequence[int], count: int) -> list[Tensor]:
    """Return `count` crops, side by side along the middle of the image."""
    top = (x.shape[-2] - size[0]) // 2
    free = x.shape[-1] - size[1]
    lefts = [free // 2] if count == 1 else [round(free * i / (count - 1)) for i in range(count)]
    return [x[..., top : top + size[0], left : left + size[1]] for left in lefts]
