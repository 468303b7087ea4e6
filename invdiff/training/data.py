"""The images of a folder, decoded once into one file of bytes, and batches from it.

Decoding costs more than a training step of a small network, so the folder is packed: `images.u8` holds the pixels
of all images one after the other, `images.json` their sizes and a signature of the folder. The pack is memory-mapped.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..errors import UserError
from ..priors.training_images import digest
from .augment import AugmentConfig, draw_crop, recolour

FORMAT = 2
"""Of `images.json`; a cache of another format is made anew."""
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".gif"})


@dataclasses.dataclass(frozen=True)
class Pack:
    """Decoded images.

    Attributes:
        pixels: all pixels, flat.
        offsets: index of the first byte of each image.
        sizes: `(N, 2)`, height and width.
        channels: channels of every image.
        skipped: names of the files that could not be read.
        digests: what identifies the file of each image, for a folder; see `priors.training_images`.
    """

    pixels: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    channels: int
    skipped: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """Return image `index`, `(H, W, C)`."""
        h, w = (int(v) for v in self.sizes[index])
        start = int(self.offsets[index])
        return self.pixels[start : start + h * w * self.channels].reshape(h, w, self.channels)

    def subset(self, indices: NDArray[np.int64]) -> Pack:
        """Return the images `indices`, sharing the pixels."""
        digests = tuple(self.digests[i] for i in indices) if self.digests else ()
        return dataclasses.replace(self, offsets=self.offsets[indices], sizes=self.sizes[indices], digests=digests)


def load_pack(source: Path, channels: int, cache: Path) -> Pack:
    """Return the images of `source`, from `cache` if it has them.

    Args:
        source: a folder of images (searched with its subfolders), or one IDX file (`*-idx3-ubyte`, also gzipped).
        channels: 1 (grey) or 3 (colour); images are converted.
        cache: folder for the decoded pixels.

    Raises:
        FileNotFoundError: if `source` does not exist.
        ValueError: if it holds no readable image.
    """
    if not source.exists():
        raise FileNotFoundError(f"training data: expected a folder of images, {source} does not exist")
    files = [source] if source.is_file() else sorted(p for p in source.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not files:
        raise UserError(
            f"training data: expected images in {source}, found none; supported: {', '.join(sorted(SUFFIXES))}"
        )
    signature = hashlib.sha256(
        json.dumps([FORMAT, channels, [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files]]).encode()
    ).hexdigest()
    index_file = cache / "images.json"
    if not (index_file.is_file() and json.loads(index_file.read_text())["signature"] == signature):
        _write_pack(files, channels, cache, signature)
    index = json.loads(index_file.read_text())
    sizes = np.asarray(index["sizes"], dtype=np.int64).reshape(-1, 2)
    if not len(sizes):
        raise UserError(f"training data: none of the {len(files)} images in {source} could be read; check the files")
    lengths = sizes.prod(axis=1) * channels
    offsets = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
    pixels = np.memmap(cache / "images.u8", dtype=np.uint8, mode="r")
    return Pack(pixels, offsets, sizes, channels, tuple(index["skipped"]), tuple(index["digests"]))


def _write_pack(files: list[Path], channels: int, cache: Path, signature: str) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    sizes: list[tuple[int, int]] = []
    skipped: list[str] = []
    digests: list[str] = []
    partial = cache / "images.u8.part"
    with partial.open("wb") as out:
        for file in files:
            try:
                decoded = _decode(file, channels)
                for pixels in decoded:
                    out.write(pixels.tobytes())
                    sizes.append(pixels.shape[:2])
                digests += [digest(file)] * len(decoded)
            except (OSError, ValueError, SyntaxError) as error:  # Pillow's errors for broken files
                skipped.append(f"{file.name}: {error}")
    os.replace(partial, cache / "images.u8")
    index = {"signature": signature, "sizes": sizes, "skipped": skipped, "digests": digests}
    write_atomic(cache / "images.json", json.dumps(index).encode())


def _decode(file: Path, channels: int) -> list[NDArray[np.uint8]]:
    if "idx3-ubyte" in file.name:
        return _read_idx(file, channels)
    with Image.open(file) as image:
        array = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return [array.reshape(*array.shape[:2], channels)]


def _read_idx(file: Path, channels: int) -> list[NDArray[np.uint8]]:
    raw = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    magic, count, height, width = (int(v) for v in np.frombuffer(raw, dtype=">i4", count=4))
    if magic != 2051 or channels != 1:
        raise UserError(f"expected an IDX file of grey images, channels = 1; got magic {magic}, channels {channels}")
    return list(np.frombuffer(raw, dtype=np.uint8, offset=16).reshape(count, height, width, 1))


def split_pack(pack: Pack, share: float) -> tuple[Pack, Pack]:
    """Return `(train, held_out)`; the held-out images are evenly spaced in the order of the pack."""
    index = np.arange(len(pack))
    held = np.floor((index + 1) * share) > np.floor(index * share)
    if held.all() or not held.any():
        held = index >= max(1, len(pack) - 1)
    if len(pack) == 1:
        return pack, pack
    return pack.subset(index[~held]), pack.subset(index[held])


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The configuration of batches.

    Attributes:
        channels: 1 or 3.
        crop: side of the square crops, in pixels.
        batch: crops in a step.
        area_power: an image is drawn with probability proportional to its area to this power.
        held_out: fraction of the images for evaluation, if there is no folder of held-out images.
    """

    channels: int = 3
    crop: int = 64
    batch: int = 32
    area_power: float = 0.75
    held_out: float = 0.05


class Batches:
    """Batches of crops in [0, 1]; batch `k`, of which the part `mine` is drawn, depends on the seed and `k` only."""

    def __init__(
        self, pack: Pack, data: DataConfig, augment: AugmentConfig, seed: int, mine: slice | None = None
    ) -> None:
        self.pack, self.data, self.augment, self.seed = pack, data, augment, seed
        self.mine = mine if mine is not None else slice(0, data.batch)
        weight = pack.sizes.prod(axis=1).astype(np.float64) ** data.area_power
        self.cumulative = np.cumsum(weight / weight.sum())

    def __call__(self, step: int) -> Tensor:
        """Return batch `step`, `(B, C, crop, crop)`, float32, channels last in memory."""
        rng = np.random.default_rng((self.seed, 1, step, self.mine.start))
        count = self.mine.stop - self.mine.start
        chosen = np.searchsorted(self.cumulative, rng.random(count)).clip(max=len(self.pack) - 1)
        crops = [draw_crop(self.pack[int(i)], self.data.crop, self.augment, rng) for i in chosen]
        batch = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).to(torch.float32).div_(255.0)
        return recolour(batch, self.augment, rng).contiguous(memory_format=torch.channels_last)


def write_atomic(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically: a kill leaves the old file or the new one."""
    partial = path.with_name(path.name + ".part")
    with partial.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    os.replace(partial, path)
