"""Clean images for the check of a prior: its exact samples, photographs, a folder, or samples of its reverse diffusion.

The images determine how sharp a check is. On exact samples of an analytic prior every identity of the posterior mean
holds up to Monte Carlo error. Photographs test a network's noise level, range and channels even if it was trained on
other images, because noise looks the same in all images. Only the range needs images of the kind of its training:
networks of body sections are not trained enough for gray photographs (`prior_kind`), so they get synthetic sections for
the range. These have no grain, so they cannot test the level. Samples of the prior's own reverse diffusion share its
faults: a network that gets twice the noise level draws images that are too smooth, and denoises them well.
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

from ..errors import UserError
from ..images import load_image
from ..phantoms import body
from ..priors import Prior
from ..samplers import Heun
from ..spacing import evenly_spaced
from ..streams import generator
from .prior_kind import fits_better

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "stereo_motorcycle")
"""Photographs within the package of scikit-image."""
SIDE = 64
PIXELS = 15 * SIDE**2
FEWEST, MOST = 4, 32
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class CleanImages:
    """Images for the check of a prior.

    Attributes:
        x: `(n, C, H, W)`.
        origin: description of their source.
        known: images closer to its training, for the faults of units; by default `x`.
        exact: whether they are exact samples of the prior.
        drawn: whether they are samples of the prior's own reverse diffusion.
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
    """Return exact samples if the prior has a method `sample`, photographs for 1 and 3 channels, else samples it draws.

    A prior of one channel that denoises synthetic sections better than photographs gets these, too, for the units.

    Args:
        prior: the prior.
        shape: `(C, H, W)`, if the prior does not fix it; by default 64 pixels a side, and 3 channels.
        seed: of the samples.
        device: where the prior is.

    Raises:
        ValueError: a shape that the prior does not accept, or a prior that needs given images.
    """
    exact = exact_samples(prior, image_shape(prior, shape, side=SIDE // 2), seed=seed)
    if exact is not None:
        return exact
    size = image_shape(prior, shape)
    if size[0] not in (1, 3):
        return drawn_samples(prior, size, seed=seed)
    found = photographs(size)
    if size[0] == 1:
        # On images of full size, for every shape: a small crop shows little of a body.
        full = (1, *image_shape(prior)[1:])
        if fits_better(prior, phantoms(full, 1).x.to(device), photographs(full, 1).x.to(device)):
            known = phantoms(full)
            origin = f"{found.origin}, and {known.origin} for the units"
            return dataclasses.replace(found, known=known.x, origin=origin)
    return found


def image_shape(prior: Prior, shape: Sequence[int] | None = None, *, side: int = SIDE) -> tuple[int, int, int]:
    """Return `(C, H, W)` of the images for the check.

    Raises:
        ValueError: the prior does not accept that shape.
    """
    given: tuple[int | None, ...] = (None, None, None) if shape is None else tuple(shape)
    ours: tuple[int | None, ...] = tuple(prior.shape)
    if any(g is not None and s is not None and g != s for g, s in zip(given, ours, strict=True)):
        words = " x ".join("any" if s is None else str(s) for s in ours)
        raise UserError(f"shape: expected {words}, the prior's own, got {' x '.join(map(str, given))}")
    c, h, w = (g if g is not None else s for g, s in zip(given, ours, strict=True))
    return (3 if c is None else c, side if h is None else h, side if w is None else w)


def exact_samples(prior: Prior, shape: tuple[int, int, int], *, seed: int = 0) -> CleanImages | None:
    """Return samples by the prior's method `sample`, in float64, or `None` if it has none.

    The method takes `n`, `shape` if the prior does not fix it, `generator` and `dtype`, as in this package.
    """
    draw: Any = getattr(prior, "sample", None)
    if not callable(draw):
        return None
    known = inspect.signature(draw).parameters
    if not {"n", "generator", "dtype"} <= set(known):
        return None
    # Vectors in the shape of small images get more samples, so that a mixture's rare modes occur.
    count = min(512, max(24, 2**15 // math.prod(shape)))
    place = {"shape": shape} if "shape" in known else {}
    x = draw(n=count, generator=generator(seed, 77), dtype=torch.float64, **place)
    return CleanImages(x, f"{count} exact samples of the prior", exact=True)


def photographs(shape: tuple[int, int, int], crops: int | None = None) -> CleanImages:
    """Return crops of scikit-image's photographs, `(n, C, H, W)` in [0, 1], gray ones for one channel.

    Args:
        shape: `(C, H, W)`.
        crops: of each photograph; by default 3, and 1 for large images.

    Raises:
        ValueError: neither 1 nor 3 channels.
    """
    import skimage.data

    if shape[0] not in (1, 3):
        raise UserError(f"photographs: expected 1 or 3 channels, got {shape[0]}; give images of the prior's own kind")
    images = []
    for name in PHOTOGRAPHS:
        found: Any = getattr(skimage.data, name)()
        array = np.asarray(found[0] if isinstance(found, tuple) else found, dtype=np.float32)[..., :3] / 255
        images += _some_crops(_channels(torch.from_numpy(array).permute(2, 0, 1)[None], shape[0]), shape[1:], crops)
    kind = "gray photographs" if shape[0] == 1 else "photographs"
    return CleanImages(torch.cat(images), f"{len(images)} crops of scikit-image's {kind}")


def phantoms(shape: tuple[int, int, int], crops: int | None = None) -> CleanImages:
    """Return crops of synthetic body sections, `(n, C, H, W)` in [0, 1], with equal channels; see `photographs`."""
    side = min(2 * max(shape[1:]), 256)
    images = []
    for i in range(len(PHOTOGRAPHS)):
        images += _some_crops(body(side, i)[None].expand(-1, shape[0], -1, -1), shape[1:], crops)
    return CleanImages(torch.cat(images), f"{len(images)} crops of drawn bodies")


def folder_images(folder: Path, prior: Prior, shape: Sequence[int] | None = None) -> CleanImages:
    """Return the centres of up to 32 images of a folder, evenly spaced, of one size.

    Raises:
        NotADirectoryError: no folder.
        ValueError: too few images, files that cannot be read, or channels that the prior does not accept.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"--images: expected a folder of images, got {str(folder)!r}")
    endings = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".npy", ".npz"}
    files = sorted(f for f in folder.iterdir() if f.suffix.lower() in endings)
    if len(files) < FEWEST:
        raise UserError(
            f"--images: expected at least {FEWEST} images in {str(folder)!r}, to tell a fault from chance, "
            f"got {len(files)}; add some"
        )
    read = [load_image(f) for f in evenly_spaced(files, MOST)]
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
    """Return samples of the prior's reverse diffusion.

    Raises:
        ValueError: the prior's highest level does not hide its images, or its samples diverge.
    """
    if prior.sigma_max < 3 * prior.std:
        raise UserError(
            f"images: expected some, for this prior cannot draw its own: its highest level {prior.sigma_max:.3g} is "
            f"not far above the deviation {prior.std:.3g} of its images; give --images FOLDER"
        )
    with torch.no_grad():
        result = Heun(steps=18)(prior, n, shape=shape, seed=seed)
    if result.status != "ok":
        raise UserError(f"images: the prior's own samples {result.message}; give --images FOLDER")
    return CleanImages(result.samples, f"{n} samples that the prior drew itself", drawn=True)


def _channels(x: Tensor, channels: int) -> Tensor:
    """Return images `(1, c, H, W)` with that number of channels; gray images of colour ones by luma."""
    if x.shape[1] == channels:
        return x
    if x.shape[1] == 3 and channels == 1:
        return (x * torch.tensor(_LUMA).reshape(1, 3, 1, 1)).sum(1, keepdim=True)
    raise UserError(
        f"--images: expected images of {channels} channels, which the prior takes, got {x.shape[1]}; convert them"
    )


def _fit(x: Tensor, size: Sequence[int], spare: float = 1.0) -> Tensor:
    """Reduce a larger image to `spare` times the size that covers `size`; enlarge a smaller one to that size."""
    h, w = x.shape[-2:]
    cover = max(size[0] / h, size[1] / w)
    factor = max(cover, min(1.0, spare * cover))
    if factor == 1.0:
        return x
    new = (max(size[0], math.ceil(h * factor - 1e-6)), max(size[1], math.ceil(w * factor - 1e-6)))
    return interpolate(x, new, mode="bilinear", antialias=True, align_corners=False)


def _some_crops(x: Tensor, size: tuple[int, int], count: int | None) -> list[Tensor]:
    """Return crops of an image that is reduced to twice their size, or to their size for one crop."""
    few = 3 * len(PHOTOGRAPHS) * size[0] * size[1] > PIXELS
    return _crops(_fit(x, size, spare=1.0 if few else 2.0), size, count or (1 if few else 3))


def _crops(x: Tensor, size: Sequence[int], count: int) -> list[Tensor]:
    """Return `count` crops, side by side along the middle of the image."""
    top = (x.shape[-2] - size[0]) // 2
    free = x.shape[-1] - size[1]
    lefts = [free // 2] if count == 1 else [round(free * i / (count - 1)) for i in range(count)]
    return [x[..., top : top + size[0], left : left + size[1]] for left in lefts]
