"""Fit the power spectrum of photographs, for the stationary Gaussian prior.

The variances of cosine coefficients, averaged over photographs and over rings of equal frequency, are fitted by `a /
(f^2 + f_0^2)^(p/2)` in the logarithm. The fit is invariant under permutations of the colour channels, so that it does
not depend on the colours of the folder: there is one spectrum for the luminance and one for the two opponent colours.

    python -m invdiff.training.spectrum FOLDER OUT.json
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.optimize import curve_fit

from ..dct import dct2
from ..errors import UserError

SIDE = 96
OPPONENT = [
    [1 / math.sqrt(3)] * 3,
    [1 / math.sqrt(2), -1 / math.sqrt(2), 0.0],
    [1 / math.sqrt(6), 1 / math.sqrt(6), -2 / math.sqrt(6)],
]


def _crops(folder: Path) -> torch.Tensor:
    """Return the central crop of each photograph that is large enough, `(N, 3, SIDE, SIDE)`."""
    out = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in (".jpg", ".jpeg", ".png"):
            continue
        a = np.asarray(Image.open(path).convert("RGB"), dtype=np.float64) / 255
        top, left = (a.shape[0] - SIDE) // 2, (a.shape[1] - SIDE) // 2
        if min(top, left) >= 0:
            out.append(a[top : top + SIDE, left : left + SIDE].transpose(2, 0, 1))
    if not out:
        raise UserError(f"{folder}: expected photographs of at least {SIDE}x{SIDE} pixels, found none")
    return torch.from_numpy(np.stack(out))


def _power(x: torch.Tensor) -> np.ndarray:
    """Return the mean square of each cosine coefficient of centred images, `(SIDE, SIDE)`."""
    return np.asarray((dct2(x) ** 2).flatten(0, -3).mean(0))


def _fit_power_law(power: np.ndarray) -> dict[str, float]:
    """Fit the three numbers of a `PowerLaw` to mean squares, averaged over rings of equal frequency."""
    f = np.arange(SIDE) / (2 * SIDE)
    radius = np.sqrt(f[:, None] ** 2 + f[None] ** 2)
    ring = np.digitize(radius, np.concatenate([[0], np.geomspace(0.9 / (2 * SIDE), 0.5, 24)]))
    rings = [ring == i for i in np.unique(ring)]

    def model(f: np.ndarray, log_a: float, log_corner: float, p: float) -> np.ndarray:
        return np.asarray(log_a - p / 2 * np.log(f**2 + np.exp(2 * log_corner)))

    at = np.array([radius[r].mean() for r in rings])
    log_power = np.log(np.array([power[r].mean() for r in rings]))
    (log_a, log_corner, p), _ = curve_fit(model, at, log_power, p0=(-6.0, -5.0, 2.2))
    return {"amplitude": float(np.exp(log_a)), "corner": float(np.exp(log_corner)), "exponent": float(p)}


def fit_spectrum(folder: Path) -> dict[str, Any]:
    """Return the spectra of the colour and of the gray photographs of a folder, in JSON form."""
    x = _crops(folder)
    mean = float(x.mean())
    gray = x.mean(1, keepdim=True) - mean
    luma, opponent = _fit_power_law(_power(gray * math.sqrt(3))), _fit_power_law(_power(x - mean - gray) * 3 / 2)
    colour = {"side": SIDE, "mean": [mean] * 3, "basis": OPPONENT, "powers": [luma, opponent, opponent]}
    gray_power = {**luma, "amplitude": luma["amplitude"] / 3}
    plain = {"side": SIDE, "mean": [mean], "basis": [[1.0]], "powers": [gray_power]}
    return {"photographs": len(x), "spectra": [colour, plain]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    arguments.out.write_text(json.dumps(fit_spectrum(arguments.folder), indent=1) + "\n")
