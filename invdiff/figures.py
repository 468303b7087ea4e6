"""Figures of several images, drawn with Pillow: the comparison figure, and the sheet.

The comparison figure has rows of labelled panels. All panels of a figure have the height and width of its first image.
Small images are enlarged by integer factors without interpolation; large ones are reduced with an antialiasing filter.

A sheet is a grid of images in reading order, as close to a square as possible, with one white pixel between them.
Intensities are clipped to [0, 1] and rounded to 8 bits; they are not changed otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .atomic import atomic_path

_MARGIN, _GAP = 28, 16
_TITLE, _LABEL, _CAPTION = 21, 16, 13
_INK, _SOFT, _RULE = (28, 30, 33), (105, 110, 118), (222, 224, 228)
_SMALLEST, _LARGEST = 256, 400
# Anchors of a map from black over violet and orange to pale yellow, equally spaced and of rising lightness.
_HEAT = np.array(
    [
        (0, 0, 4),
        (40, 11, 84),
        (101, 21, 110),
        (159, 42, 99),
        (212, 72, 66),
        (245, 125, 21),
        (250, 193, 39),
        (252, 255, 164),
    ]
)


@dataclass(frozen=True)
class Panel:
    """One image with its labels.

    Attributes:
        title: name of the image.
        image: `(C, H, W)` with 1 or 3 channels in [0, 1], or `(H, W)` where `white` is given.
        caption: a line of small print under it.
        white: value of the brightest colour; if given, the panel is a colour map of magnitudes with a colour bar.
    """

    title: str
    image: Tensor
    caption: str = ""
    white: float | None = None


def comparison(rows: Sequence[Sequence[Panel]], *, title: str = "", subtitle: str = "") -> Image.Image:
    """Draw rows of panels under a title.

    Args:
        rows: panels, row by row; the first one sets the size of all.
        title: the heading, or nothing.
        subtitle: a line of small print under it, or nothing.

    Returns:
        The figure, RGB.

    Raises:
        ValueError: no panel.

    Example:
        >>> import torch
        >>> comparison([[Panel("gray", torch.full((1, 8, 8), 0.5))]]).mode
        'RGB'
    """
    if not rows or not rows[0]:
        raise ValueError("comparison: rows: expected at least one panel, got none")
    width, height = _display_size(rows[0][0].image)
    caption = any(p.caption or p.white is not None for row in rows for p in row)
    label = _LABEL + 8
    cell = label + height + (_CAPTION + 10 if caption else 4)
    columns = max(len(row) for row in rows)
    head = (_TITLE + 10 if title else 0) + (_CAPTION + 8 if subtitle else 0) + (10 if title or subtitle else 0)
    text_width = max(_font(_TITLE).getlength(title), _font(_CAPTION).getlength(subtitle))
    page = (
        2 * _MARGIN + max(columns * width + (columns - 1) * _GAP, int(text_width) + 1),
        2 * _MARGIN + head + len(rows) * cell + (len(rows) - 1) * _GAP,
    )
    figure = Image.new("RGB", page, "white")
    draw = ImageDraw.Draw(figure)
    if title:
        draw.text((_MARGIN, _MARGIN), title, font=_font(_TITLE), fill=_INK)
    if subtitle:
        draw.text((_MARGIN, _MARGIN + (_TITLE + 10 if title else 0)), subtitle, font=_font(_CAPTION), fill=_SOFT)
    for i, row in enumerate(rows):
        for j, panel in enumerate(row):
            corner = (_MARGIN + j * (width + _GAP), _MARGIN + head + i * (cell + _GAP))
            _draw_panel(figure, draw, panel, corner, (width, height))
    return figure


def _draw_panel(
    figure: Image.Image, draw: ImageDraw.ImageDraw, panel: Panel, corner: tuple[int, int], size: tuple[int, int]
) -> None:
    (x, y), (width, height) = corner, size
    draw.text((x, y), _fit(panel.title, _LABEL, width), font=_font(_LABEL), fill=_INK)
    top = y + _LABEL + 8
    picture = _picture(panel)
    shown = _resize(picture, size)
    at = (x + (width - shown.width) // 2, top + (height - shown.height) // 2)
    figure.paste(shown, at)
    draw.rectangle((at[0] - 1, at[1] - 1, at[0] + shown.width, at[1] + shown.height), outline=_RULE)
    below = top + height + 6
    if panel.white is None:
        draw.text((x, below), _fit(panel.caption, _CAPTION, width), font=_font(_CAPTION), fill=_SOFT)
    else:
        _draw_bar(figure, draw, panel.white, panel.caption, (x, below), width)


def _draw_bar(
    figure: Image.Image, draw: ImageDraw.ImageDraw, white: float, caption: str, corner: tuple[int, int], width: int
) -> None:
    """Draw `0 [gradient] white  caption`."""
    (x, y), font = corner, _font(_CAPTION)
    draw.text((x, y), "0", font=font, fill=_SOFT)
    left, length = x + int(font.getlength("0")) + 6, width // 3
    ramp = heat(np.linspace(0, 1, length)[None].repeat(8, axis=0))
    figure.paste(Image.fromarray(ramp), (left, y + 4))
    text = f"{white:.2g}" + (f"   {caption}" if caption else "")
    start = left + length + 6
    draw.text((start, y), _fit(text, _CAPTION, x + width - start), font=font, fill=_SOFT)


def heat(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Map values in [0, 1], `(H, W)`, to colours from black over violet and orange to pale yellow, `(H, W, 3)`."""
    at = np.clip(values, 0, 1) * (len(_HEAT) - 1)
    anchors = np.arange(len(_HEAT))
    return np.stack([np.rint(np.interp(at, anchors, _HEAT[:, c])) for c in range(3)], axis=-1).astype(np.uint8)


def _picture(panel: Panel) -> Image.Image:
    array = panel.image.detach().cpu().float().numpy()
    if panel.white is not None:
        return Image.fromarray(heat(array.reshape(array.shape[-2:]) / (panel.white or 1.0)))
    levels = np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
    return Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels).convert("RGB")


def _display_size(image: Tensor) -> tuple[int, int]:
    """Return width and height on the page."""
    h, w = image.shape[-2:]
    longest = max(h, w)
    if longest > _LARGEST:
        factor = _LARGEST / longest
    elif longest < _SMALLEST:
        factor = float(_LARGEST // longest)
    else:
        factor = 1.0
    return max(1, round(w * factor)), max(1, round(h * factor))


def _resize(picture: Image.Image, box: tuple[int, int]) -> Image.Image:
    """Return the picture scaled to the box with its aspect ratio."""
    factor = min(box[0] / picture.width, box[1] / picture.height)
    if abs(box[0] / picture.width - box[1] / picture.height) * max(picture.size) < max(1.0, factor):
        size = box  # the same aspect ratio up to rounding
    else:
        size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    if size == picture.size:
        return picture
    return picture.resize(size, Image.Resampling.NEAREST if factor > 1 else Image.Resampling.LANCZOS)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _fit(text: str, size: int, width: float) -> str:
    """Return the text, shortened with an ellipsis if it is wider than the panel."""
    font = _font(size)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text.rstrip() + "..."


def sheet(x: Tensor, gap: int = 1) -> Image.Image:
    """Return a grid of images, as close to a square as possible.

    Args:
        x: images in [0, 1], `(n, C, H, W)`, of 1 or 3 channels.
        gap: white pixels between them.

    Raises:
        ValueError: not images of 1 or 3 channels.

    Example:
        >>> sheet(torch.zeros(5, 1, 4, 4)).size
        (14, 9)
    """
    if x.ndim != 4 or x.shape[1] not in (1, 3) or len(x) == 0:
        raise ValueError(f"sheet: x: expected (n, 1 or 3, H, W), got {tuple(x.shape)}; show the channels one by one")
    n, c, h, w = x.shape
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    grid = np.full((rows * (h + gap) - gap, columns * (w + gap) - gap, c), 255, dtype=np.uint8)
    pixels = (x.detach().cpu().double().clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    for k, image in enumerate(pixels):
        top, left = k // columns * (h + gap), k % columns * (w + gap)
        grid[top : top + h, left : left + w] = image
    return Image.fromarray(grid[..., 0] if c == 1 else grid)


def write_sheet(x: Tensor, path: str | Path, *, pixels: int = 1024) -> None:
    """Write a grid of images atomically; small images are enlarged by integer factors without interpolation.

    Args:
        x: images in [0, 1], `(n, C, H, W)`.
        path: file to write; its suffix names the format.
        pixels: longest side of an enlarged grid.
    """
    image = sheet(x)
    factor = max(1, pixels // max(image.size))
    if factor > 1:
        image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    with atomic_path(path) as temporary:
        image.save(temporary)
