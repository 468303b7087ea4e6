"""Checks of the arguments of operators."""

from __future__ import annotations

import torch
from torch import Tensor

from ..checks import number
from ..errors import UserError, UserTypeError


def a_tensor(where: str, value: object) -> Tensor:
    """Return a tensor, or raise a TypeError."""
    if not isinstance(value, Tensor):
        raise UserTypeError(
            f"{where}: expected a torch tensor, got {type(value).__name__}; convert it with torch.as_tensor"
        )
    return value


def known_pixels(mask: object, channels: int | None) -> tuple[Tensor, int]:
    """Return the known pixels of a mask, `(1, H, W)` or `(C, H, W)`, boolean, and the number of channels of the image.

    Args:
        mask: 1 or True where a pixel is known, 0 or False where it is missing, `(H, W)`, `(1, H, W)` or `(C, H, W)`.
        channels: of the image, for a mask that is the same for all channels; default: those of the mask.

    Raises:
        TypeError: the mask is no tensor.
        ValueError: a mask with a wrong number of axes or channels, or with values other than 0 and 1.
    """
    mask = a_tensor("Inpainting: mask", mask)
    if mask.ndim not in (2, 3):
        raise UserError(f"Inpainting: mask: expected shape (H, W) or (C, H, W), got {tuple(mask.shape)}")
    if mask.numel() == 0:
        raise UserError(f"Inpainting: mask: expected pixels, got an empty mask of shape {tuple(mask.shape)}")
    known = mask.detach() == 1
    if not bool((known | (mask == 0)).all()):
        odd = mask[~(known | (mask == 0))].flatten()[0].item()
        raise UserError(
            f"Inpainting: mask: expected values 0 (missing) and 1 (known), got {odd}; threshold it, mask > 0.5"
        )
    known = known.reshape(-1, *mask.shape[-2:])
    count = len(known) if channels is None else channels
    if count < 1 or len(known) not in (1, count):
        raise UserError(
            f"Inpainting: channels: expected {len(known)}, the mask's, got {channels}; "
            "a mask (H, W) serves any number of channels"
        )
    return known, count


def check_box(size_hw: tuple[int, int], sides: tuple[int, int], corner: tuple[int, int]) -> None:
    """Raise a ValueError unless a box of these sides at that corner lies inside an image."""
    (h, w), (bh, bw), (top, left) = size_hw, sides, corner
    if bh < 1 or bw < 1 or top < 0 or left < 0 or top + bh > h or left + bw > w:
        raise UserError(
            f"box_mask: size, corner: expected a box inside the image {h} x {w}, "
            f"got {bh} x {bw} at ({top}, {left}); make it smaller or move it"
        )


def check_probability(where: str, value: float) -> None:
    """Raise a ValueError unless a number lies in [0, 1]."""
    number(where, value, 0, 1, expected="a probability in [0, 1]", hint="70 % is 0.7")


def point_spread(kernel: object, in_shape: tuple[int, int, int], border: str) -> Tensor:
    """Return a kernel in float64, `(1, h, w)` or `(C, h, w)`.

    Args:
        kernel: `(h, w)` or `(C, h, w)`.
        in_shape: shape of one image, `(C, H, W)`.
        border: extension of the image; with "valid" the kernel must fit into the image.

    Raises:
        TypeError: the kernel is no tensor.
        ValueError: a kernel of a wrong shape or size, or with values that are NaN, infinite or complex.
    """
    kernel = a_tensor("Blur: kernel", kernel)
    if kernel.ndim not in (2, 3) or kernel.numel() == 0 or (kernel.ndim == 3 and len(kernel) not in (1, in_shape[0])):
        raise UserError(
            f"Blur: kernel: expected shape (h, w) or ({in_shape[0]}, h, w) for images {in_shape}, "
            f"got {tuple(kernel.shape)}"
        )
    if kernel.is_complex() or not bool(torch.isfinite(kernel).all()):
        raise UserError("Blur: kernel: expected finite real values, got NaN, infinite or complex ones; check its file")
    h, w = kernel.shape[-2:]
    if border == "valid" and (h > in_shape[1] or w > in_shape[2]):
        raise UserError(
            f"Blur: kernel: expected at most {in_shape[1]} x {in_shape[2]} with border 'valid', got {h} x {w}; "
            "crop the kernel or choose another border"
        )
    return kernel.detach().double().reshape(-1, h, w)
