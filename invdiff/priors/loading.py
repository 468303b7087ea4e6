"""Loading a prior by name or path."""

from __future__ import annotations

import inspect
import json
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..registry import is_weights, priors, unknown, weights_path
from ..specs import parse_spec
from .adapters.recognition import call_with_options, load_foreign
from .base import Prior, attribute_fault
from .gaussian import ColourSpectrum, PowerLaw, StationaryGaussianPrior
from .network import NetworkPrior, is_export


def load_prior(name_or_path: str | Path, **options: object) -> Prior:
    """Return the prior of that name, of a file or folder of weights, or of `path/to/file.py:make_prior`.

    Weights are those that `invdiff train` exports (a `.safetensors` file with its `.json`, or their folder), or the
    files and folders of guided-diffusion, diffusers, NVlabs/edm, score_sde_pytorch and deepinv, which are recognised by
    their content. Nothing is downloaded, and no code from a file is run.

    Args:
        name_or_path: a name of `invdiff.registry.priors`; a path to weights; or a Python file and the name of a
            `Prior`, a subclass of it, or a function that returns one. Each may be followed by options, as on the
            command line: `ema.pt:image_size=64,schedule=cosine`.
        options: facts that the weights do not contain, by name; see the loaders in `invdiff.priors.adapters`. All
            weights take `units`, what the values of their images stand for, see `invdiff.units`. The arguments of a
            factory, for a name or a Python file.

    Raises:
        FileNotFoundError: no weights at that path.
        ImportError: the library that the weights need is not installed.
        ValueError: an unknown name or option (the message gives the nearest), weights that are not recognised (the
            message lists what is recognised), or an object that is no prior.

    Example:
        >>> load_prior("gaussian").shape
        (None, None, None)
    """
    text = str(name_or_path)
    if text not in priors and is_weights(text):
        path = weights_path(text)
        written = {} if path == Path(text) else parse_spec(f"weights:{text.rpartition(':')[2]}").options
        return _from_weights(path, {**written, **options})
    spec = parse_spec(text)
    if ".py:" not in spec.name and spec.name not in priors:
        raise UserError(unknown("prior", spec.name, priors))
    found, chosen = priors[spec.name], {**spec.options, **options}
    made: Any = found
    if inspect.isclass(found) or inspect.isroutine(found):
        made = call_with_options(found, chosen, f"prior {spec.name!r}")
    elif chosen:
        raise UserError(f"{text!r}: expected no options for an object, got {', '.join(chosen)}")
    if fault := attribute_fault(made):
        raise UserError(f"{text!r}: {fault}; correct what {spec.name!r} returns")
    if not isinstance(made, Prior):
        raise UserError(
            f"{text!r}: expected a Prior, got {type(made).__name__}; make it a subclass of invdiff.priors.Prior, or "
            "wrap its denoiser with invdiff.priors.from_denoiser"
        )
    return made


def _from_weights(path: Path, options: dict[str, object]) -> Prior:
    """Return the prior of our own export, or of another library's weights, with its units if they are given."""
    rest = {k: v for k, v in options.items() if k != "units"}
    prior: Prior
    if is_export(path):
        prior = call_with_options(partial(NetworkPrior.load, path), rest, "an export of invdiff train")
    else:
        prior = load_foreign(path, rest)
    if "units" not in options:
        return prior
    if isinstance(prior, NetworkPrior):
        prior.card["units"] = str(options["units"])
    else:
        prior.units = str(options["units"])
    return prior


def photograph_gaussian() -> StationaryGaussianPrior:
    """Return the stationary Gaussian whose spectrum was fitted to photographs, for 1 or 3 channels of any size.

    The photographs were crops of 96 x 96 pixels; smaller images count as crops of these. `photograph_gaussian().at(
    (1, 8, 8))` has the standard deviation of images of that shape; see `StationaryGaussianPrior`.

    `python -m invdiff.training.spectrum FOLDER` writes its file.
    """
    text = files("invdiff.priors").joinpath("photograph_gaussian.json").read_text()
    return StationaryGaussianPrior(*(spectrum_from_json(s) for s in json.loads(text)["spectra"]))


def spectrum_from_json(entry: dict[str, Any]) -> ColourSpectrum:
    """Return a `ColourSpectrum` from its JSON form."""
    return ColourSpectrum(
        mean=tuple(entry["mean"]),
        basis=tuple(tuple(row) for row in entry["basis"]),
        powers=tuple(PowerLaw(**p) for p in entry["powers"]),
        side=int(entry.get("side", 1)),
    )
