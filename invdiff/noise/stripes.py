"""The noise of each column of an image: stripes and hot columns of a sensor.

The level of a column's pixels comes from fourth differences along the column, whose response to white noise has
`sqrt(70)` times its standard deviation; the median absolute value over 0.6745 is robust to edges. A column that is
brighter or darker as a whole than the two on each side has an offset, the median difference from their median. It
counts where it is beyond four times its scatter, by chance or among all columns. Both together are

    std_j^2 = level_j^2 + offset_j^2

The logarithms of the levels scatter by about `1.6 / sqrt(n)` for `n` rows. They are shrunk towards their median as far
as this explains their variance; those beyond four times this scatter are kept.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..errors import UserError
from .base import GaussianMap
from .estimate import ROUNDING

STENCIL = (1.0, -4.0, 6.0, -4.0, 1.0)
SCATTER = 1.6
OUTLIER = 4.0
LEAST_ROWS = 24


def fit_columns(y: Tensor, known: Tensor | None = None, *, rows: bool = False, mosaic: bool = False) -> GaussianMap:
    """Estimate a standard deviation for each column of each channel, of noise that is white within a column.

    Args:
        y: a measurement, `(1, C, H, W)`.
        known: the pixels to use, `(H, W)`; by default all. Columns without enough of them have the median level.
        rows: whether rows differ instead of columns.
        mosaic: whether it is a mosaic of 2 x 2 colours, of which every second pixel is compared.

    Returns:
        The noise, with a map `(C, 1, W)`, or `(C, H, 1)` for rows, of at least the rounding error of 8 bits.

    Raises:
        ValueError: not an image, or one with fewer than 24 pixels in a column.

    Example:
        >>> std = torch.where(torch.arange(64) == 20, 0.2, 0.02)
        >>> y = 0.5 + std * torch.randn(1, 1, 200, 64, generator=torch.Generator().manual_seed(0))
        >>> fit_columns(y).std.argmax().item()
        20
    """
    if y.ndim != 4 or len(y) != 1:
        raise UserError(
            f"fit_columns: expected a picture (1, C, H, W) as measurement, got shape {tuple(y.shape)}; give the "
            "noise's standard deviations"
        )
    x = y.detach()[0].double()
    if known is not None:
        x = torch.where(known.bool().to(x.device), x, torch.nan)
    x = x.mT if rows else x
    step = 2 if mosaic else 1
    if x.shape[-2] < LEAST_ROWS * step or x.shape[-1] < 5 * step:
        raise UserError(
            f"fit_columns: expected at least {LEAST_ROWS * step} pixels along each line and {5 * step} lines, got "
            f"{x.shape[-2]} and {x.shape[-1]}; take --noise auto, one level for all"
        )
    levels, offsets = _levels(x, step), _offsets(x, step)
    std = (levels.square() + offsets.square()).sqrt().clamp(min=ROUNDING)
    return GaussianMap(std[..., None] if rows else std[:, None])


def _levels(x: Tensor, step: int) -> Tensor:
    """Return the level of each column, `(C, W)`."""
    n = x.shape[-2] - 4 * step
    response = sum(c * x[:, k * step : k * step + n] for k, c in enumerate(STENCIL))
    assert isinstance(response, Tensor)
    seen = (~response.isnan()).sum(1).clamp(min=1)
    raw = response.abs().nanmedian(1).values / 0.6745 / math.sqrt(70)
    logs = raw.clamp(min=ROUNDING / 10).log()
    middle = logs.nanmedian(1, keepdim=True).values
    logs, scatter = torch.where(logs.isnan() | (seen < LEAST_ROWS // 2), middle, logs), SCATTER / seen.sqrt()
    t = logs - middle
    usual = t.abs() < OUTLIER * scatter
    spread = torch.where(usual, t.square(), torch.nan).nanmean(1, keepdim=True)
    expected = torch.where(usual, scatter.square(), torch.nan).nanmean(1, keepdim=True)
    keep = (1 - expected / spread.clamp(min=1e-12)).clamp(min=0)
    return (middle + torch.where(usual, keep * t, t)).exp()


def _offsets(x: Tensor, step: int) -> Tensor:
    """Return the offset of each column from its neighbours, `(C, W)`; 0 where chance explains it."""
    width = x.shape[-1]
    j = torch.arange(width, device=x.device)
    ends = ((j + d, j - d) for d in (-step, step, -2 * step, 2 * step))
    sides = [torch.where((near >= 0) & (near < width), near, mirrored) for near, mirrored in ends]
    around = torch.stack([x[..., s] for s in sides]).nanmedian(0).values
    difference = x - around
    offset = difference.nanmedian(1).values
    seen = (~difference.isnan()).sum(1).clamp(min=1)
    chance = (difference - offset[:, None]).abs().nanmedian(1).values / 0.6745 * 1.25 / seen.sqrt()
    among = offset.abs().nanmedian(1, keepdim=True).values / 0.6745
    return torch.where(offset.abs() > OUTLIER * torch.maximum(chance, among), offset, 0.0).nan_to_num()
