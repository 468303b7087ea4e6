"""Noise models in the notation of the command line.

    0.025                                   white Gaussian noise of that standard deviation
    ?, ?0.005..0.1                          white Gaussian noise of an unknown level, which is inferred
    auto                                    white Gaussian noise with an estimated level, and other forms of it
    gaussian:std=map.npy                    Gaussian noise with a standard deviation for each entry, in a file
    poisson:photons=100                     photon counts, 100 for a value of 1
    poisson_gaussian:photons=100,std=0.01   photon counts and Gaussian readout noise
    transmission:photons=10000              X-rays: logarithms of transmitted photon counts
    quantized:levels=16,std=0.01            Gaussian noise, then quantisation to 16 levels

`approximate=true` selects the Gaussian approximation, for solvers that need Gaussian noise. Parsing imports no heavy
module.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from ...checks import number
from ...errors import UserError
from ...registry import noises, unknown
from ...specs import Spec, Where, build, parse_spec
from ...unknowns import Unknown
from .found_noise import FoundNoise, find_noise, is_found

if TYPE_CHECKING:
    from torch import Tensor

    from ...noise import Noise

APPROXIMATE = "approximate"
"""Additional parameter of all models; Gaussian noise does not need it."""


def parse_noise(text: str) -> Spec | None:
    """Return the noise model of a text, with all its parameters, or `None` for noise that is to be found.

    Args:
        text: a standard deviation, "auto", "?" or a range such as "?0.005..0.1", or a name of `registry.noises` with
            its parameters.

    Raises:
        ValueError: anything else, or a negative standard deviation.
        FileNotFoundError: no such file of standard deviations.
    """
    if is_found(text):
        return None
    if text.strip().startswith("?"):
        return Spec("gaussian", {"std": Unknown.parse(text)}, text)
    try:
        std = float(text)
    except ValueError:
        return _parse_model(text)
    return Spec("gaussian", {"std": number("--noise", std, 0)}, text)


def _parse_model(text: str) -> Spec:
    spec = parse_spec(text)
    if ".py:" not in spec.name and spec.name not in noises:
        raise UserError(f"--noise: {unknown('noise', spec.name, ['auto', *noises])}; or give a number")
    facts = noises.facts(spec.name)
    allowed = [*facts.parameters, *([] if spec.name == "gaussian" else [APPROXIMATE])]
    for key in spec.options:
        if key not in allowed:
            raise UserError(f"--noise: {unknown(f'parameter of {spec.name}', key, allowed)}")
    for key, default in facts.parameters.items():
        if default is None and spec.options.get(key) is None:
            raise UserError(f"--noise: {spec.name} needs a number, as in {spec.name}:{facts.example}, got None")
    if not isinstance(approximate := spec.options.get(APPROXIMATE, False), bool):
        raise UserError(f"--noise: approximate: expected true or false, got {approximate!r}")
    if spec.name == "gaussian" and isinstance(std := spec.options["std"], str):
        _check_map(std)
    return Spec(spec.name, {**facts.parameters, **spec.options}, text)


def _check_map(file: str) -> None:
    if Path(file).suffix.lower() not in (".npy", ".npz"):
        raise UserError(f"--noise: std: expected a number, or an array of them (.npy, .npz), got {file!r}")
    if not Path(file).is_file():
        raise FileNotFoundError(f"--noise: std: {file}: no such file")


def check_noise(text: str) -> None:
    """Raise an error unless the noise is valid; a model with parameters is built for that, which imports torch.

    Raises:
        ValueError: an unknown model, or an invalid parameter.
        FileNotFoundError: no such file of standard deviations.
    """
    spec = parse_noise(text)
    if spec is not None and spec.text.partition(":")[2] and not isinstance(spec.options.get("std"), str):
        _build(spec)


def _build(spec: Spec) -> Noise:
    """Return the model with its parameters; messages name a parameter if there are several."""
    law = noises[spec.name]
    options = {k: v for k, v in spec.options.items() if k != APPROXIMATE}
    try:
        built: Noise = build(law, options, Where(spec.name), types=False)
    except (TypeError, ValueError) as error:
        said = str(error).removeprefix(f"{law.__name__}: ")
        if len(options) == 1:
            said = said.removeprefix(f"{next(iter(options))}: ")
        raise UserError(f"--noise: {said}") from None
    return built


def is_approximate(text: str) -> bool:
    """Return whether the Gaussian approximation is requested."""
    spec = parse_noise(text)
    return spec is not None and bool(spec.options.get(APPROXIMATE))


def make_noise(text: str, y: Tensor, found: FoundNoise | None = None) -> Noise:
    """Return the requested noise model.

    Args:
        text: as on the command line.
        y: the measurement, `(1, ...)`.
        found: what was found in the measurement, for "auto".

    Raises:
        ValueError: an unsuitable measurement or file.
    """
    from ... import noise

    spec = parse_noise(text)
    if spec is None:
        return (found or find_noise(text, y, None)).noise
    if isinstance(file := spec.options.get("std"), str):
        return noise.GaussianMap(_read_map(Path(file), y))
    if spec.options.get("std") == Unknown() and spec.name == "gaussian":
        declared = Unknown().within(noise.Gaussian.ranges["std"])
        scale = max(1.0, float(y.abs().max()))
        low, high = declared.ends
        spec = Spec("gaussian", {"std": Unknown(low * scale, high * scale, declared.prior)}, text)
    return _build(spec)


def check_level(text: str, command: str) -> None:
    """Raise a ValueError for a noise level above the whole range of a picture in [0, 1], as of one in 0 to 255.

    Args:
        text: as on the command line.
        command: the command line, for the message.
    """
    spec = parse_noise(text)
    std = None if spec is None else spec.options.get("std")
    if not isinstance(std, int | float) or std <= 1:
        return
    least = f"{std / 255:.4g}"
    right = re.sub(r"std=[^,]*", f"std={least}", text) if ":" in text else least
    raise UserError(
        f"--noise {text}: expected the noise's standard deviation for pictures in [0, 1], got {std:g}, more than their "
        f"whole range; a level of {std:g} on 0 to 255 is {_with_noise(command, right)}"
    )


def _with_noise(command: str, noise: str) -> str:
    """Return a command line with another noise, or the option alone if there is no command line."""
    words, option = shlex.split(command), "--noise"
    for i, word in enumerate(words):
        if word == option and i + 1 < len(words):
            return shlex.join([*words[: i + 1], noise, *words[i + 2 :]])
        if word.startswith(f"{option}="):
            return shlex.join([*words[:i], f"{option}={noise}", *words[i + 1 :]])
    return f"{option} {noise}"


def _read_map(path: Path, y: Tensor) -> Tensor:
    import torch

    from ...images import check_finite, load_array

    array = load_array(path)
    check_finite(array, path)
    return torch.from_numpy(array).to(y.dtype)


def noise_record(text: str, found: FoundNoise | None) -> dict[str, object]:
    """Return the entry of the noise in `result.json`: the model, its parameters or their file, and their origin."""
    spec = parse_noise(text)
    if spec is None:
        return {} if found is None else found.record
    options = {k: v for k, v in spec.options.items() if k != APPROXIMATE}
    name = "GaussianMap" if isinstance(options.get("std"), str) else noises.facts(spec.name).target.rpartition(":")[2]
    approximate = {"gaussian_approximation": True} if is_approximate(text) else {}
    return {"name": name, **options, **approximate, "estimated": False}
