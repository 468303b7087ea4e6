"""From a name or a path to a prior."""

from __future__ import annotations

import inspect
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..registry import is_weights, priors, unknown
from .base import Prior
from .gaussian import ColourSpectrum, PowerLaw, StationaryGaussianPrior
from .network import NetworkPrior


def load_prior(name_or_path: str | Path) -> Prior:
    """Return the prior of that name, of exported weights, or of `path/to/file.py:make_prior`.

    Args:
        name_or_path: a name of `invdiff.registry.priors`; what `invdiff train` exports, a `.safetensors` file or its
            folder; or a Python file and the name of a `Prior`, a subclass of
            it, or a
            function that returns one.

    Raises:
        FileNotFoundError: no weights at that path.
        ValueError: an unknown name (the message says the nearest), or an object that is no prior.

    Example:
        >>> load_prior("gaussian").shape
        (None, None, None)
    """
    spec = str(name_or_path)
    if spec not in priors and is_weights(spec):
        return NetworkPrior.load(spec)
    if ".py:" not in spec and spec not in priors:
        raise ValueError(unknown("prior", spec, priors))
    found = priors[spec]
    made: Any = found() if inspect.isclass(found) or inspect.isroutine(found) else found
    missing = [a for a in ("shape", "std", "sigma_min", "sigma_max", "denoise") if not hasattr(made, a)]
    if missing:
        raise ValueError(f"{spec!r}: expected a Prior, got {type(made).__name__} without {', '.join(missing)}")
    prior: Prior = made
    return prior


def photograph_gaussian() -> StationaryGaussianPrior:
    """Return the stationary Gaussian whose spectrum was fitted to photographs, for 1 or 3 channels of any size.

    `python -m invdiff.training.spectrum FOLDER` makes its file.
    """
    text = files("invdiff.priors").joinpath("photograph_gaussian.json").read_text()
    return StationaryGaussianPrior(*(spectrum_from_json(s) for s in json.loads(text)["spectra"]))


def spectrum_from_json(entry: dict[str, list[float] | list[list[float]] | list[dict[str, float]]]) -> ColourSpectrum:
    """Return a `ColourSpectrum` from its JSON form."""
    return ColourSpectrum(
        mean=tuple(entry["mean"]),  # type: ignore[arg-type]
        basis=tuple(tuple(row) for row in entry["basis"]),  # type: ignore[arg-type]
        powers=tuple(PowerLaw(**p) for p in entry["powers"]),  # type: ignore[arg-type]
    )
