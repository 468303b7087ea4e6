"""Gray and colour: an image and a prior of different numbers of channels."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from ...errors import UserError
from ...priors.base import Prior
from ...priors.gray import GrayPrior
from .inputs import Input

ONE_GRAY = "three equal channels, taken as one gray channel for the gray prior"


def is_gray(image: Tensor) -> bool:
    """Return whether `(1, C, H, W)` is a gray image in three equal channels."""
    return image.shape[1] == 3 and bool((image == image[:, :1]).all())


def gray_for(given: Input, channels: int, prior: Prior, name: str, *, image_like: bool) -> Input:
    """Return the input with one channel if the prior is of gray images and the image is gray in three channels.

    Args:
        given: the input.
        channels: of the image that is sought.
        prior: the prior.
        name: its name, for messages.
        image_like: whether the input is an image.

    Raises:
        ValueError: a colour image and a prior of gray ones.
    """
    if channels != 3 or prior.shape[0] != 1 or not image_like:
        return given
    if not is_gray(given.image):
        raise UserError(
            f"--prior {name}: is of gray images, got a colour image; take a colour prior such as photo, or add --gray"
        )
    return dataclasses.replace(given, image=given.image[:, :1], notes=(*given.notes, ONE_GRAY))


def prior_for(channels: int, prior: Prior, name: str) -> tuple[Prior, str]:
    """Return a prior of colour images for gray ones if the image has one channel, and its name."""
    if channels != 1 or prior.shape[0] != 3:
        return prior, name
    return GrayPrior(prior), "photo-gray" if name == "photo" else name
