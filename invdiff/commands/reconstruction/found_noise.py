"""Noise that is found in the measurement: `--noise auto`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from ...noise import Noise


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


def find_noise(y: Tensor, known: Tensor | None, *, mosaic: bool = False) -> FoundNoise:
    """Return white Gaussian noise of the level that the measurement has.

    Args:
        y: the measurement, `(1, ...)`.
        known: the known pixels, `(H, W)`; by default all.
        mosaic: whether it is a mosaic of 2 x 2 colours.

    Raises:
        ValueError: an unsuitable measurement.
    """
    from ...noise import Gaussian, measure_noise

    try:
        found = measure_noise(y, known, mosaic=mosaic)
    except ValueError as error:
        raise UserError(f"--noise auto: {str(error).removeprefix('estimate_noise: ')}") from None
    record: dict[str, object] = {"name": "Gaussian", "std": found.recommended, "estimated": True}
    if found.correlated:
        record |= {"correlated": True, "std_at_all_frequencies": found.std}
    return FoundNoise(Gaussian(found.recommended), found.describe(), record)
