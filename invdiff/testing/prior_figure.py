"""The figure of a prior's check: denoised images at each level, the error, and the level of the least error."""

from __future__ import annotations

import io
import math

from PIL import Image

from ..figures import Panel, comparison
from .prior import PriorReport

_BLUE, _GRAY, _RED = "#2b6cb0", "#6b7280", "#c53030"


def draw(report: PriorReport) -> Image.Image:
    """Return the figure, RGB.

    Args:
        report: a report of `check_prior` with readings.

    Raises:
        ImportError: no matplotlib.
        ValueError: a report without readings.
    """
    if not report.readings:
        raise ValueError("draw: report: expected readings, got none; the prior does not keep the contract")
    image = report.readings[0].noisy
    parts = []
    if image.shape[0] in (1, 3) and min(image.shape[1:]) >= 8:
        noisy = [Panel(f"sigma {r.sigma:.3g}", r.noisy) for r in report.readings]
        clean = [Panel("denoised", r.denoised, f"error {r.error:.3g}") for r in report.readings]
        title = f"{report.subject}: {'sane' if report.ok else 'something is wrong'}"
        parts.append(comparison([noisy, clean], title=title, subtitle=f"{report.verdict}  ({report.images.origin})"))
    parts.append(_curves(report, width=parts[0].width if parts else 1600))
    width = max(p.width for p in parts)
    page = Image.new("RGB", (width, sum(p.height for p in parts)), "white")
    top = 0
    for part in parts:
        page.paste(part, (0, top))
        top += part.height
    return page


def _curves(report: PriorReport, width: int) -> Image.Image:
    """Return the error and the best level as functions of the level, `width` pixels wide."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as missing:
        raise ImportError("the figure needs matplotlib, which deepinv brings: pip install matplotlib") from missing
    sigmas = [r.sigma for r in report.readings]
    spread = float(report.images.x.double().std())
    figure = Figure(figsize=(14, 5), dpi=width / 14, layout="constrained")
    FigureCanvasAgg(figure)
    error, ratio = figure.subplots(1, 2)
    error.loglog(sigmas, sigmas, "--", color=_GRAY, label="doing nothing")
    error.axhline(spread, linestyle=":", color=_GRAY, label="a flat image")
    error.loglog(sigmas, [r.error for r in report.readings], "o-", color=_BLUE, label="error")
    expected = [r.expected for r in report.readings]
    error.loglog(sigmas, expected, "x", color=_RED, label="error that it predicts, by its divergence")
    error.set_ylabel("root mean square error")
    error.legend(frameon=False, fontsize=9)
    ratio.axhline(1.0, linestyle="--", color=_GRAY)
    values = [r.best_ratio for r in report.readings]
    bars = [
        2 * r.best_ratio * min(r.uncertainty, 1.0) if math.isfinite(r.uncertainty) else 0.0 for r in report.readings
    ]
    ratio.errorbar(sigmas, values, bars, fmt="o-", color=_BLUE, capsize=3)
    ratio.set_xscale("log")
    ratio.set_yscale("log", base=2)
    ratio.set_ylim(min(0.45, *values) / 1.1, max(2.2, *values) * 1.1)
    ticks = [
        t for t in (0.25, 0.5, 0.71, 1.0, 1.41, 2.0, 4.0) if min(0.45, *values) / 1.1 < t < max(2.2, *values) * 1.1
    ]
    ratio.set_yticks(ticks, [f"{t:g}" for t in ticks])
    ratio.set_ylabel("level of the least error / level added")
    for axes in (error, ratio):
        axes.set_xlabel("noise level sigma")
        axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    buffer.seek(0)
    return Image.open(buffer).convert("RGB")
