r"""Calibrated intervals: the factor by which a solver's intervals must be widened for a guaranteed coverage.

The interval of a pixel is `centre +- lambda h`, with the half-width `h` from the samples. On clean images `i = 1..n`,
corrupted like the new one, the fraction of the pixels outside,

    L_i(lambda) = mean over pixels of [|x_i - centre_i| > lambda h_i],

decreases with `lambda`. Two rules choose `lambda` for a level `1 - alpha`:

    risk control with a confidence      the least lambda with  R^+(lambda') <= alpha  for all lambda' >= lambda,
                                        R^+ an upper bound of E L that holds with probability 1 - delta;
    control on average (no confidence)  the least lambda with  (sum_i L_i(lambda) + 1) / (n + 1) <= alpha.

The first rule guarantees: with probability `1 - delta` over the images of the calibration, the expected fraction of
pixels outside for a new image is at most `alpha`. The second rule: this fraction is at most `alpha` on average over
calibrations. Both hold for every solver, prior and distribution of images, if the new image is drawn from the
distribution of the calibration images. `entrywise` has factors for groups of pixels, found on other images.

The bound is that of Waudby-Smith and Ramdas (`bounds`).

References:
    Distribution-Free, Risk-Controlling Prediction Sets (Bates et al., 2021), https://arxiv.org/abs/2101.02703,
    section 3.1 and proposition 5.
    Conformal Risk Control (Angelopoulos et al., 2022), https://arxiv.org/abs/2208.02814, equation 4.
    Image-to-Image Regression with Distribution-Free Uncertainty Quantification (Angelopoulos et al., 2022),
    https://arxiv.org/abs/2202.05265, algorithm 1.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..atomic import atomic_path
from ..errors import UserError
from ..reconstruction import Reconstruction
from .bounds import check_images, images_for_groups, images_needed, upper_bound
from .entrywise import Widening, fit_widening
from .misses import Misses, half_width, misses, pixels_of
from .settings import Setting

FORMAT = "invdiff.calibration/1"


@dataclass(frozen=True)
class Calibration:
    """The factor of a solver's intervals, and its guarantee.

    Attributes:
        factor: `lambda`.
        level: guaranteed fraction of the pixels inside, `1 - alpha`.
        confidence: probability of the guarantee over the images of the calibration, `1 - delta`; `None` for control on
            average.
        images: number of calibration images.
        covered: fraction of their pixels inside the calibrated intervals, on average.
        width: mean half-width of those intervals, in units of the images.
        setting: the setting for which it is valid; `None` if unknown.
        widening: factors of groups of pixels, by which half-widths are multiplied first; `None` for one group.

    Example:
        >>> losses = np.array([[0.3, 0.1, 0.02, 0.0]] * 40)  # of 40 images, at factors 1 to 4
        >>> Calibration.from_losses(losses, np.arange(1.0, 5.0), level=0.9, confidence=0.9).factor
        3.0
    """

    factor: float
    level: float
    confidence: float | None
    images: int
    covered: float
    width: float = math.nan
    setting: Setting | None = None
    widening: Widening | None = None

    @classmethod
    def fit(
        cls,
        results: Sequence[Reconstruction],
        truths: Sequence[Tensor],
        *,
        level: float = 0.9,
        confidence: float | None = 0.9,
        setting: Setting | None = None,
        groups: int = 1,
    ) -> Calibration:
        """Return the calibration of reconstructions whose truth is known.

        Args:
            results: one for each image or batch, with two samples or more.
            truths: clean images, `(B, C, H, W)` for each of them.
            level: fraction of the pixels to be inside, in (0, 1).
            confidence: probability of the guarantee, in (0, 1); `None` for control on average.
            setting: of the reconstructions.
            groups: number of groups of pixels with a factor of their own; with more than one, the first quarter of
                the images serves to find these factors and has no part in the guarantee, see `entrywise`.

        Raises:
            ValueError: too few images (the message gives the least number), or numbers out of range.
        """
        count = sum(len(t) for t in truths)
        check_images(count, level, confidence, groups)
        pairs = list(zip(results, truths, strict=True))
        widening, rest = None, 0
        if groups > 1:
            kept: list[NDArray[np.float32]] = []
            while len(kept) < images_for_groups(count):
                kept += pixels_of(*pairs[rest], level)
                rest += 1
            widening = fit_widening(np.concatenate(kept, 1), level, groups)
        found = [m for r, x in pairs[rest:] for m in misses(r, x, level, widening)]
        return cls.from_misses(found, level=level, confidence=confidence, setting=setting, widening=widening)

    @classmethod
    def from_misses(
        cls,
        found: Sequence[Misses],
        *,
        level: float = 0.9,
        confidence: float | None = 0.9,
        setting: Setting | None = None,
        widening: Widening | None = None,
    ) -> Calibration:
        """Return the calibration of images of which `misses` were kept; see `fit` for the arguments."""
        check_images(len(found), level, confidence)
        grid = np.unique(np.concatenate([m.factors for m in found]))
        # A factor between two quantiles counts as the lower one, so that no loss is too small.
        inside = [np.searchsorted(m.factors, grid, side="right") - 1 for m in found]
        losses = np.stack([1 - np.maximum(k, 0) / (len(m.factors) - 1) for k, m in zip(inside, found, strict=True)])
        made = cls.from_losses(losses, grid, level=level, confidence=confidence)
        width = made.factor * float(np.mean([m.width for m in found]))
        return dataclasses.replace(made, width=width, setting=setting, widening=widening)

    @classmethod
    def from_losses(
        cls, losses: NDArray[np.float64], factors: NDArray[np.float64], *, level: float, confidence: float | None
    ) -> Calibration:
        """Return the least factor that the losses allow.

        Args:
            losses: fraction outside of each image for each factor, `(n, len(factors))`, decreasing in the second axis.
            factors: in ascending order.
            level: `1 - alpha`.
            confidence: `1 - delta`, or `None`.

        Raises:
            ValueError: no factor is large enough.
        """
        alpha, n = 1 - level, len(losses)

        def enough(k: int) -> bool:
            column = losses[:, k]
            if confidence is None:
                return bool((column.sum() + 1) / (n + 1) <= alpha)
            return upper_bound(column, 1 - confidence) <= alpha

        low, high = 0, len(factors)  # bisection for the first one that is enough: losses decrease
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if enough(middle) else (middle + 1, high)
        if low == len(factors):
            raise UserError(
                f"calibration: expected a factor of at most {factors[-1]:g} to be enough for level {level:g}, none "
                f"is with {n} images; give more of them (at least {images_needed(level, confidence)})"
            )
        return cls(float(factors[low]), level, confidence, n, float(1 - losses[:, low].mean()))

    def interval(self, result: Reconstruction) -> tuple[Tensor, Tensor]:
        """Return the calibrated interval of a reconstruction, lower and upper ends, `(B, C, H, W)` each."""
        half = half_width(result, self.level)
        half = self.factor * (half if self.widening is None else self.widening(half))
        return result.mean - half, result.mean + half

    def check(self, setting: Setting) -> None:
        """Raise unless the calibration holds for a setting.

        Raises:
            ValueError: another operator, noise, prior, solver, number of samples, size or version.
        """
        if self.setting is not None and (found := self.setting.differences(setting)):
            raise UserError(
                f"calibration: expected the setting that it was made for, got another one: {'; '.join(found)}; "
                "calibrate anew (invdiff calibrate)"
            )

    @property
    def statement(self) -> str:
        """What is guaranteed, and under which assumption, in one line."""
        sure = "on average" if self.confidence is None else f"with confidence {self.confidence:g}"
        return (
            f"{sure}, at least {100 * self.level:g} % of the pixels of a new image lie inside, if it is like the "
            f"{self.images} images of the calibration"
        )

    def save(self, path: str | Path) -> None:
        """Write the calibration as JSON, atomically."""
        record = {"format": FORMAT, **dataclasses.asdict(self)}
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Return the calibration that `save` wrote.

        Raises:
            FileNotFoundError: no such file.
            ValueError: it is not a calibration.
        """
        file = Path(path)
        if not file.is_file():
            raise FileNotFoundError(f"calibration: no file {str(file)!r}; make one with invdiff calibrate")
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
            if record.pop("format") != FORMAT:
                raise UserError("another format")
            setting = record.pop("setting")
            if setting is not None:
                setting = Setting(**{**setting, "shape": tuple(setting["shape"])})
            if widening := record.pop("widening", None):
                widening = Widening(tuple(widening["edges"]), tuple(widening["factors"]))
            return cls(**record, setting=setting, widening=widening)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            why = " ".join(str(error).split())[:120]
            raise UserError(f"calibration: {file.name}: expected what invdiff calibrate writes: {why}") from error


@cache
def embedded() -> tuple[Calibration, ...]:
    """Return the calibrations that come with the package."""
    folder = Path(__file__).parent / "embedded"
    return tuple(Calibration.load(file) for file in sorted(folder.glob("*.json")))
