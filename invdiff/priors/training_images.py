"""The images that a prior was trained on, known by their files' bytes.

`NAME.images.txt` beside the weights has a line for each image: the first 16 hexadecimal digits of the BLAKE2b hash of
its file. A judgement of the prior on one of these images, such as a calibration, is too favourable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from .base import Prior

SUFFIX = ".images.txt"


def digest(file: Path) -> str:
    """Return the 16 hexadecimal digits by which an image's file is known."""
    return hashlib.blake2b(file.read_bytes(), digest_size=8).hexdigest()


def read(weights: Path) -> frozenset[str]:
    """Return the images of exported weights; none if no list is beside them."""
    file = weights.with_suffix(SUFFIX)
    return frozenset(file.read_text(encoding="utf-8").split()) if file.is_file() else frozenset()


def write(weights: Path, digests: Iterable[str]) -> None:
    """Write the list beside exported weights."""
    text = "".join(f"{d}\n" for d in sorted(set(digests)))
    weights.with_suffix(SUFFIX).write_text(text, encoding="utf-8")


def add(weights: Path, digests: Iterable[str], init: Path | None = None) -> None:
    """Add images, and those of the weights that a training begins from, to the list beside weights.

    Args:
        weights: exported weights, with or without their suffix.
        digests: of the images.
        init: weights that the training begins from.
    """
    known = {*digests, *read(weights.with_suffix(".safetensors")), *(read(init) if init else ())}
    if known:
        write(weights.with_suffix(".safetensors"), known)


def trained_on(prior: Prior, files: Iterable[Path]) -> list[Path]:
    """Return those of some files that a prior is known to have been trained on."""
    return [f for f in files if digest(f) in prior.training_images] if prior.training_images else []
