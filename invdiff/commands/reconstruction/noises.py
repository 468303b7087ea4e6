"""Noise as the command line writes it.

    0.025                                   white Gaussian noise of that standard deviation
    auto                                    the same, its level estimated from the measurement
    gaussian:std=map.npy                    a standard deviation for each entry of the measurement, in a file
    poisson:photons=100                     photons, as many for a value of 1
    poisson_gaussian:photons=100,std=0.01   and the noise of reading them out
    transmission:photons=10000              X-rays: logarithms of photon counts behind the object
    quantized:levels=16,std=0.01            noise, then rounding to 16 levels

`approximate=true` takes the Gaussian noise nearest to such a law, for solvers that know no other. Parsing loads nothing
heavy.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING

from ...registry import unknown
from ...specs import Spec, parse_spec

if TYPE_CHECKING:
    from torch import Tensor

    from ...noise import Noise

NOISES: dict[str, dict[str, float | None]] = {
    "gaussian": {"std": None},
    "poisson": {"photons": None},
    "poisson_gaussian": {"photons": None, "std": None},
    "transmission": {"photons": None},
    "quantized": {"levels": 256, "std": 0.0},
}
"""Parameters of each noise, with their defaults; `None` where one must be given."""

CLASSES = {
    "gaussian": "Gaussian",
    "poisson": "Poisson",
    "poisson_gaussian": "PoissonGaussian",
    "transmission": "TransmissionPoisson",
    "quantized": "Quantized",
}
APPROXIMATE = "approximate"


def parse_noise(text: str) -> Spec | None:
    """Return the noise model that is written, with all its parameters, or `None` for "auto".

    Args:
        text: a standard deviation, "auto", or a name of `NOISES` with its parameters.

    Raises:
        ValueError: anything else, or a number that cannot be.
    """
    if text == "auto":
        return None
    try:
        spec = Spec("gaussian", {"std": float(text)}, text)
    except ValueError:
        spec = parse_spec(text)
        if spec.name not in NOISES:
            raise ValueError(f"--noise: {unknown('noise', spec.name, ['auto', *NOISES])}; or give a number") from None
    known = NOISES[spec.name]
    allowed = [*known, *([] if spec.name == "gaussian" else [APPROXIMATE])]
    for key in spec.options:
        if key not in allowed:
            raise ValueError(f"--noise: {unknown(f'parameter of {spec.name}', key, allowed)}")
    options: dict[str, object] = {k: _value(spec, k, spec.options.get(k, default)) for k, default in known.items()}
    if APPROXIMATE in spec.options:
        if not isinstance(spec.options[APPROXIMATE], bool):
            raise ValueError(f"--noise: approximate: expected true or false, got {spec.options[APPROXIMATE]!r}")
        options[APPROXIMATE] = spec.options[APPROXIMATE]
    return Spec(spec.name, options, text)


def _value(spec: Spec, key: str, value: object) -> object:
    """Return a parameter as a number, or for the standard deviation of Gaussian noise a file.

    Raises:
        ValueError: another value.
        FileNotFoundError: no such file.
    """
    if spec.name == "gaussian" and isinstance(value, str):
        path = Path(value)
        if path.suffix.lower() not in (".npy", ".npz"):
            raise ValueError(f"--noise: std: expected a number, or an array of them (.npy, .npz), got {value!r}")
        if not path.is_file():
            raise FileNotFoundError(f"--noise: std: {value}: no such file")
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        example = ",".join(f"{k}={'1' if d is None else d}" for k, d in NOISES[spec.name].items())
        raise ValueError(f"--noise: {spec.name} needs a number, as in {spec.name}:{example}, got {value!r}")
    positive = key == "photons" or spec.name == "poisson_gaussian"
    if not math.isfinite(value) or value < 0 or (positive and value == 0):
        raise ValueError(f"--noise: expected a finite number {'> 0' if positive else '>= 0'}, got {value}")
    if key == "levels":
        if value != int(value) or value < 2:
            raise ValueError(f"--noise: levels: expected an integer >= 2, got {value}")
        return int(value)
    return float(value)


def is_approximate(text: str) -> bool:
    """Return whether the Gaussian noise nearest to the named one is wanted."""
    spec = parse_noise(text)
    return spec is not None and bool(spec.options.get(APPROXIMATE))


def make_noise(text: str, y: Tensor, known: Tensor | None) -> Noise:
    """Return the noise model that is asked for, its level estimated from the measurement for "auto".

    Args:
        text: as on the command line.
        y: the measurement, `(1, ...)`.
        known: which of its pixels count, `(H, W)`; all unless given.

    Raises:
        ValueError: a measurement or a file that does not do.
    """
    from ... import noise

    spec = parse_noise(text)
    if spec is None:
        try:
            return noise.Gaussian(noise.estimate_noise(y, known))
        except ValueError as error:
            raise ValueError(f"--noise auto: {str(error).removeprefix('estimate_noise: ')}") from None
    options = {k: v for k, v in spec.options.items() if k != APPROXIMATE}
    if isinstance(file := options.get("std"), str):
        return noise.GaussianMap(_read_map(Path(file), y))
    law: Noise = getattr(noise, CLASSES[spec.name])(**options)
    return law


def _read_map(path: Path, y: Tensor) -> Tensor:
    import torch

    from ...images import check_finite, load_array

    array = load_array(path)
    check_finite(array, path)
    return torch.from_numpy(array).to(y.dtype)


def noise_record(text: str, noise: Noise) -> dict[str, object]:
    """Return what `result.json` says of the noise: its law, its parameters or their file, and where they come from."""
    spec = parse_noise(text)
    if spec is None:
        return {"name": "Gaussian", **dataclasses.asdict(noise), "estimated": True}  # type: ignore[call-overload]
    options = {k: v for k, v in spec.options.items() if k != APPROXIMATE}
    name = "GaussianMap" if isinstance(options.get("std"), str) else CLASSES[spec.name]
    approximate = {"gaussian_approximation": True} if is_approximate(text) else {}
    return {"name": name, **options, **approximate, "estimated": False}
