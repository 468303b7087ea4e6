r"""State dicts of NVlabs/edm's networks, with the preconditioning that they were trained in.

On images `u` in [-1, 1] and with `s = 2 sigma`, `D(u, s) = c_skip u + c_out F(c_in u, c_noise)` (table 1):

    edm     s_d^2 / (s^2 + s_d^2)   s s_d / sqrt(s^2 + s_d^2)   1 / sqrt(s^2 + s_d^2)   log(s) / 4
    vp      1                       -s                          1 / sqrt(s^2 + 1)       999 t(s)
    ve      1                       s                           1                       log(s / 2)
    iddpm   1                       -s                          1 / sqrt(s^2 + 1)       index of the nearest level

The released files are pickles that contain code, which invdiff refuses to run. `docs/priors.md` has the lines that save
the weights alone.

References:
    Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022),
    https://arxiv.org/abs/2206.00364, table 1; code https://github.com/NVlabs/edm, `training/networks.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from ...errors import UserError
from ...schedules import VP
from ..conversions import EDMOutput, Output, TotalNoise, TrainedPrior
from .checkpoint import Checkpoint
from .song import UNet
from .wrapping import HIGHEST, NATURAL_STD, Precision, given, make

Preconditioning = Literal["edm", "vp", "ve", "iddpm"]
_BUFFERS = frozenset({"u"})


@dataclass(frozen=True)
class NoiseLabel:
    """The label of a noise level that a network gets, `c_noise`.

    Attributes:
        kind: the preconditioning.
        low: lowest level that it gets, for images in [-1, 1].
        high: highest such level.
        levels: of "iddpm", in descending order, `(M + 1,)`, the last one 0; else `None`.
    """

    kind: Preconditioning
    low: float
    high: float
    levels: Tensor | None = None

    def __call__(self, sigma: Tensor) -> Tensor:
        """Return `c_noise` for noise levels of images in [0, 1], like `sigma`."""
        s = (2 * sigma).clamp(self.low, self.high)
        if self.kind == "edm":
            return s.log() / 4
        if self.kind == "vp":
            return 999 * VP(0.1, 20.0).time(s)
        if self.kind == "ve":
            return (s / 2).log()
        assert self.levels is not None
        levels = self.levels.to(s)
        return len(levels) - 2 - (s[..., None] - levels).abs().argmin(-1).to(s)


class Negative(nn.Module):
    """`-F`, for the preconditioning whose `c_out` has the other sign."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Return the network's output with the other sign."""
        out: Tensor = -self.network(x, label)
        return out


def recognises(file: Checkpoint) -> bool:
    """Return whether a file has the names of SongUNet's or DhariwalUNet's weights."""
    names = {k.removeprefix("model.") for k in file.tensors}
    return {"map_layer0.weight", "map_layer1.weight"} <= names and any(k.startswith("enc.") for k in names)


def load(
    file: Checkpoint,
    *,
    preconditioning: Preconditioning | None = None,
    image_size: int | None = None,
    class_label: int | None = None,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
    sigma_data: float = 0.5,
    clip: bool = False,
    std: float | None = None,
    precision: Precision = "float32",
) -> TrainedPrior:
    """Return the prior of a state dict.

    Args:
        file: its tensors.
        preconditioning: by default "edm", or "iddpm" if the file has its levels; the released networks whose names
            begin with "baseline" are "vp", "ve" or "iddpm".
        image_size: side of its images; by default the one in the names of the weights.
        class_label: the class, for a network that is conditional on one.
        sigma_min: lowest level for images in [-1, 1]; by default 0.002, or that of the preconditioning.
        sigma_max: highest such level; by default 80, or that of the preconditioning.
        sigma_data: standard deviation of images in [-1, 1] that "edm" assumes.
        clip: whether estimates are clipped to [0, 1].
        std: standard deviation of the data as images in [0, 1]; by default that of "edm", or that of photographs.
        precision: type in which the network computes.

    Raises:
        ValueError: weights of another network, or a missing fact that they do not contain.
    """
    weights = {k.removeprefix("model."): v for k, v in file.tensors.items() if k not in _BUFFERS}
    kind = preconditioning or ("iddpm" if file.has("u") else None)
    if kind is None and "baseline" in file.path.name:
        raise UserError(
            f"{file.path}: preconditioning: expected vp, ve or iddpm for a baseline network, got none; "
            "its name ends with the one to give"
        )
    kind = kind or "edm"
    try:
        network = UNet(weights, class_label)
    except (KeyError, RuntimeError) as error:
        why = " ".join(str(error).split())[:200]
        raise UserError(f"{file.path}: prior: expected the weights of SongUNet or DhariwalUNet: {why}") from error
    side = image_size or network.resolution
    if side % network.stride:
        raise UserError(f"{file.path}: image_size: expected a multiple of {network.stride}, got {side}")
    if (class_label is None) == bool(network.classes) or (class_label or 0) >= max(1, network.classes):
        expected = f"0..{network.classes - 1}" if network.classes else "none, the network knows no classes"
        raise UserError(f"{file.path}: class_label: expected {expected}, got {class_label}")
    low, high = _levels(kind, file)
    low, high = given(sigma_min, low), given(sigma_max, high)
    label = NoiseLabel(kind, low, high, file.tensors.get("u") if kind == "iddpm" else None)
    output: Output = TotalNoise(mean=0.5, std=0.5, label=label, scaled=kind != "ve")
    if kind == "edm":
        output = EDMOutput(mean=0.5, std=sigma_data / 2, label=label)
    return make(
        Negative(network) if kind == "ve" else network,
        output,
        (network.channels, side, side),
        (low, high),
        unit=0.5,
        std=(sigma_data / 2 if kind == "edm" else NATURAL_STD) if std is None else std,
        clip=clip,
        precision=precision,
    )


def _levels(kind: Preconditioning, file: Checkpoint) -> tuple[float, float]:
    """Return the levels of a network's training, for images in [-1, 1]."""
    if kind == "edm":
        return 0.002, 80.0
    if kind == "vp":
        return float(VP(0.1, 20.0).sigma(1e-3)), float(VP(0.1, 20.0).sigma(1.0))
    if kind == "ve":
        return 0.02, 100.0
    if not file.has("u"):
        raise UserError(f"{file.path}: preconditioning: iddpm needs its levels, the tensor 'u', which the file lacks")
    return float(file.tensors["u"][-2]), min(float(file.tensors["u"][0]), HIGHEST)
