"""The trained priors inside this package: `weights/NAME.safetensors`, metadata `NAME.json`, model card `NAME.md`."""

from __future__ import annotations

import difflib
from importlib import resources
from pathlib import Path

from ..errors import UserError
from .network import NetworkPrior, Precision


def names() -> list[str]:
    """Return the names of the embedded priors."""
    folder = _folder()
    return sorted(f.stem for f in folder.glob("*.safetensors")) if folder.is_dir() else []


def load(name: str, *, precision: Precision = "float32", tile: int | None = 1024) -> NetworkPrior:
    """Return an embedded prior; its weights are checked against the SHA-256 of its metadata.

    Args:
        name: one of `names()`.
        precision: type in which the network computes.
        tile: side of the tiles in which larger images are denoised; see `NetworkPrior`.

    Returns:
        The prior, on the CPU.

    Raises:
        ValueError: if there is no such prior, or its file is damaged.
    """
    available = names()
    if name not in available:
        match = difflib.get_close_matches(name, available, n=1)
        hint = f"; did you mean {match[0]!r}?" if match else ""
        raise UserError(f"prior: no embedded prior {name!r}; there are: {', '.join(available) or 'none'}{hint}")
    return NetworkPrior.load(_folder() / f"{name}.safetensors", precision=precision, tile=tile)


def photo(*, precision: Precision = "float32", tile: int | None = 1024) -> NetworkPrior:
    """Return the prior of photographs: three channels, any size, a noise level for each pixel; options as in `load`."""
    return load("photo", precision=precision, tile=tile)


def ct(*, precision: Precision = "float32", tile: int | None = 1024) -> NetworkPrior:
    """Return the prior of body CT slices: one channel, any size; 0 is -1000 HU, 1 is +1000 HU; options as in `load`."""
    return load("ct", precision=precision, tile=tile)


def kernel(*, precision: Precision = "float32", tile: int | None = 1024) -> NetworkPrior:
    """Return the prior of kernels of blurs, their largest value about 1; options as in `load`."""
    return load("kernel", precision=precision, tile=tile)


def mri(*, precision: Precision = "float32", tile: int | None = 1024) -> NetworkPrior:
    """Return the prior of T1-weighted brain slices: magnitudes, one channel, any size; options as in `load`."""
    return load("mri", precision=precision, tile=tile)


def cells(*, precision: Precision = "float32", tile: int | None = 1024) -> NetworkPrior:
    """Return the prior of fluorescence images of cell nuclei: one channel, any size; options as in `load`."""
    return load("cells", precision=precision, tile=tile)


def fashion(*, precision: Precision = "float32", tile: int | None = 1024) -> NetworkPrior:
    """Return the prior of Fashion-MNIST: one channel, 28x28; options as in `load`."""
    return load("fashion", precision=precision, tile=tile)


def card(name: str) -> str:
    """Return the model card of an embedded prior, in Markdown.

    Raises:
        FileNotFoundError: if there is none.
    """
    file = _folder() / f"{name}.md"
    if not file.is_file():
        raise FileNotFoundError(f"prior: expected a model card {file.name} beside the weights, found none")
    return file.read_text(encoding="utf-8")


def _folder() -> Path:
    return Path(str(resources.files("invdiff.priors"))) / "weights"
