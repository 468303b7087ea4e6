"""Masks of known pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from ..checks import integer
from ..errors import UserError


def grow_mask(known: Tensor, pixels: int) -> Tensor:
    """Return a mask whose missing regions are larger: letters and scratches have antialiased edges that a mask leaves.

    A pixel is missing if it lies within `pixels + 1/2` of a missing one, from centre to centre: for 1 these are the
    eight neighbours.

    Args:
        known: boolean, `(..., H, W)`, True where a pixel is known.
        pixels: width of the border, 0 or more.

    Raises:
        ValueError: a negative number, or a border that leaves no known pixel.

    Example:
        >>> known = torch.ones(1, 5, dtype=torch.bool)
        >>> known[0, 0] = False
        >>> grow_mask(known, 2)
        tensor([[False, False, False,  True,  True]])
    """
    integer("grow_mask: pixels", pixels, 0)
    if pixels == 0 or bool(known.all()):
        return known
    from scipy.ndimage import distance_transform_edt

    planes = known.bool().reshape(-1, *known.shape[-2:]).cpu().numpy()
    away = [
        torch.from_numpy(distance_transform_edt(p) > pixels + 0.5) if not p.all() else torch.tensor(p) for p in planes
    ]
    grown = torch.stack(away).reshape(known.shape).to(known.device)
    if not bool(grown.any()):
        raise UserError(f"mask: expected some known pixels, got none after it was grown by {pixels}; grow it by less")
    return grown
