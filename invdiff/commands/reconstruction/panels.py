"""The panels of the comparison figure of a reconstruction."""

from __future__ import annotations

import torch
from torch import Tensor

from ...figures import Panel
from ...reconstruction import Reconstruction
from .answer import Answer
from .results import is_picture, measurement_white, std_white

LARGE = 2**22  # values of all samples above which no copy of them is made


def panels(answer: Answer) -> list[Panel]:
    """Return the panels of one answer: the truth if known, measurement, baseline, mean, spread and the samples."""
    result, y = answer.result, answer.problem.measurement[0]
    out = [] if answer.truth is None else [Panel("clean", answer.truth[0])]
    if is_picture(y):
        white = measurement_white(y, answer.problem.operator)
        out.append(Panel("measurement", y / white, _caption(answer, "measurement")))
    shown = (answer.problem.measurement, result.mean)
    if answer.baseline is not None and not any(torch.equal(answer.baseline[1], x) for x in shown):
        name, image = answer.baseline
        out.append(Panel(name, image[0], _caption(answer, name)))
    if not has_spread(result):
        return [*out, Panel("reconstruction", result.mean[0], _caption(answer, "mean"))]
    out.append(Panel("posterior mean", result.mean[0], _caption(answer, "mean")))
    if answer.interval is None:
        spread = result.std[0].square().mean(0).sqrt()
        out.append(Panel("posterior std", spread, white=std_white(spread)))
    else:
        half = answer.interval.half_width[0].square().mean(0).sqrt()
        known = "" if answer.interval.calibration is None else "calibrated "
        out.append(Panel(f"half-width, {known}{100 * answer.interval.level:g} %", half, white=std_white(half)))
    return out + [Panel(f"sample {s}", result.samples[0, s]) for s in most_different(result.samples[0])]


def most_different(samples: Tensor) -> tuple[int, int]:
    """Return the indices of the two samples, of `(S, C, H, W)`, with the largest distance."""
    if samples.numel() > LARGE:  # one pair at a time
        rows = [[float((a - b).square_().sum(dtype=torch.float64)) for b in samples] for a in samples]
        distance = torch.tensor(rows)
    else:
        distance = torch.cdist(samples.flatten(1).double(), samples.flatten(1).double())
    a, b = divmod(int(distance.argmax()), len(samples))
    return min(a, b), max(a, b)


def has_spread(result: Reconstruction) -> bool:
    """Return whether there are several samples that differ."""
    return result.samples.shape[1] > 1 and bool(result.std.any())


def _caption(answer: Answer, name: str) -> str:
    scores = answer.metrics.get(name)
    if not scores:
        return ""
    return f"PSNR {scores['psnr']:.2f} dB" + (f"   SSIM {scores['ssim']:.3f}" if "ssim" in scores else "")
