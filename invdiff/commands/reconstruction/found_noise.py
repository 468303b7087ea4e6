"""Noise that is found in the measurement.

auto                    white Gaussian noise, one level for all
auto:poisson_gaussian   photon counts and Gaussian readout noise, by the growth of the variance with the value
auto:columns, auto:rows Gaussian noise with a level for each column or row
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...errors import UserError
from ...registry import unknown

if TYPE_CHECKING:
    from torch import Tensor

    from ...noise import GaussianMap, Noise
    from ...noise.estimate import NoiseEstimate


@dataclass(frozen=True)
class FoundNoise:
    """Noise that was found in a measurement.

    Attributes:
        noise: the model.
        note: a line for the user, or "".
        record: the entry of `result.json`.
    """

    noise: Noise
    note: str = ""
    record: dict[str, object] = field(default_factory=dict)


FORMS = {
    "auto": "one level for all",
    "auto:poisson_gaussian": "photon counts and Gaussian readout noise",
    "auto:columns": "a level for each column",
    "auto:rows": "a level for each row",
}


def is_found(text: str) -> bool:
    """Return whether the noise is to be found in the measurement.

    Raises:
        ValueError: "auto" with another model.
    """
    if text.partition(":")[0] != "auto":
        return False
    if text not in FORMS:
        raise UserError(f"--noise: {unknown('form of auto', text, FORMS)}")
    return True


def find_noise(text: str, y: Tensor, known: Tensor | None, *, mosaic: bool = False) -> FoundNoise:
    """Return the noise that a measurement has.

    Args:
        text: one of `FORMS`.
        y: the measurement, `(1, ...)`.
        known: the known pixels, `(H, W)`; by default all.
        mosaic: whether it is a mosaic of 2 x 2 colours.

    Raises:
        ValueError: an unsuitable measurement.
    """
    from ...noise import GaussianMap, fit_columns, fit_photons, measure_noise

    try:
        if text == "auto:poisson_gaussian":
            law = fit_photons(y, known, mosaic=mosaic)
            return FoundNoise(law, record=_record(law, photons=law.photons, std=law.std))
        if text in ("auto:columns", "auto:rows"):
            lines = fit_columns(y, known, rows=text == "auto:rows", mosaic=mosaic)
            return _lines(GaussianMap(lines.std.to(y.dtype)), text.partition(":")[2])
        return _white(measure_noise(y, known, mosaic=mosaic))
    except ValueError as error:
        raise UserError(f"--noise {text}: {str(error).partition(': ')[2]}") from None


def _white(found: NoiseEstimate) -> FoundNoise:
    from ...noise import Gaussian

    law = Gaussian(found.recommended)
    more = {"correlated": True, "std_at_all_frequencies": found.std} if found.correlated else {}
    return FoundNoise(law, found.describe(), _record(law, std=law.std, **more))


def _lines(law: GaussianMap, kind: str) -> FoundNoise:
    std = law.std
    hot = int((std > 2 * std.median()).sum())
    note = f"{kind}: std {float(std.median()):.3g} in the median, {hot} of {std.numel()} have more than twice as much"
    levels = [[float(f"{v:.3g}") for v in plane.flatten().tolist()] for plane in std]
    return FoundNoise(law, note, _record(law, std=levels, along=kind))


def _record(law: Noise, **options: object) -> dict[str, object]:
    return {"name": type(law).__name__, **options, "estimated": True}
