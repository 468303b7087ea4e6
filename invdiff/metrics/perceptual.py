"""Perceptual distance: LPIPS, a weighted distance between the activations of a classification network.

    d(x, x') = sum_l mean_hw || w_l * (phi_l(x) - phi_l(x')) ||^2,   phi_l unit vectors along the channels

The metric is torchmetrics' (extra `lpips`), which holds the weights `w_l`. Those of AlexNet itself come from
torchvision, which would download them; this module does not. They must be in torch's folder of weights.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import first_line
from .shapes import check_pair

ALEXNET = "alexnet-owt-7be5be79.pth"
"""File of torchvision's weights of AlexNet, in `hub/checkpoints` of TORCH_HOME."""
SMALLEST = 32


class LPIPSUnavailable(ValueError):
    """LPIPS cannot be computed here: its library or its weights are absent."""


def lpips(x: Tensor, ref: Tensor) -> Tensor:
    """Return the perceptual distance LPIPS with AlexNet of each image, 0 for equal ones.

    Args:
        x: estimates, `(B, C, H, W)`, C = 1 or 3, at least 32 x 32, clipped to [0, 1].
        ref: true images, like `x`.

    Returns:
        `(B,)`, float64.

    Raises:
        ValueError: the shapes differ, or cannot be used.
        LPIPSUnavailable: the extra `lpips` is not installed, or the weights are missing.

    References:
        The Unreasonable Effectiveness of Deep Features as a Perceptual Metric (Zhang et al., 2018),
        https://arxiv.org/abs/1801.03924, equation 1, version 0.1 of the weights.
    """
    check_pair("lpips", x, ref)
    if x.shape[1] not in (1, 3) or min(x.shape[-2:]) < SMALLEST:
        raise ValueError(
            f"lpips: x: expected 1 or 3 channels of at least {SMALLEST} x {SMALLEST} pixels, got {tuple(x.shape[1:])}"
        )
    metric = _metric(str(weights_path())).to(x.device)
    a, b = (t.float().clamp(0, 1).expand(-1, 3, -1, -1) for t in (x, ref))
    with torch.no_grad():
        distances = [metric(a[i : i + 1], b[i : i + 1]) for i in range(len(x))]
    metric.reset()  # the metric sums over calls
    return torch.stack(distances).double() if distances else torch.zeros(0, dtype=torch.float64)


def check_lpips() -> None:
    """Raise `LPIPSUnavailable` unless LPIPS can be computed here."""
    _metric(str(weights_path()))


def weights_path() -> Path:
    """Return the path at which AlexNet's weights are expected."""
    return Path(torch.hub.get_dir()) / "checkpoints" / ALEXNET


@functools.lru_cache(maxsize=1)
def _metric(path: str) -> Any:
    try:
        import torchvision  # noqa: F401
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
    except ImportError as error:
        raise LPIPSUnavailable(f"lpips: {error}; pip install 'invdiff[lpips]'") from error
    if not os.path.isfile(path):  # or torchvision would download it
        raise LPIPSUnavailable(
            f"lpips: expected torchvision's weights of AlexNet at {path}, found none, and nothing is downloaded; put "
            f"{ALEXNET} there, or set TORCH_HOME to a folder that has it in hub/checkpoints"
        )
    try:
        return LearnedPerceptualImagePatchSimilarity(net_type="alex", reduction="sum", normalize=True)
    except Exception as error:
        raise LPIPSUnavailable(f"lpips: {path}: cannot be read as weights of AlexNet: {first_line(error)}") from error
