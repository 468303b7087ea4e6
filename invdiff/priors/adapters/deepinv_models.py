"""deepinv's denoisers as priors: objects by `from_deepinv`, and files of DRUNet's and DnCNN's weights.

They take images and noise levels in the units of this package, so `denoise` is the network itself. Their range of noise
levels is short: they were trained up to a level of 20/255 or 50/255 and do not describe the distribution of images at
higher levels. Outside of their range they get its nearest end. Solvers that begin at high noise (DPS, DDRM, ...) need a
diffusion network; plug-and-play solvers (`pnp`, `diffpir`) work with a denoiser.

References:
    https://deepinv.github.io, "Pretrained weights", for the levels of each file.
    Plug-and-Play Image Restoration with Deep Denoiser Prior (Zhang et al., 2021), https://arxiv.org/abs/2008.13751.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from ...errors import UserError, UserTypeError
from ...schedules import Chain, linear_betas
from ..conversions import TotalNoise, TrainedPrior
from .checkpoint import Checkpoint
from .functions import from_denoiser
from .wrapping import NATURAL_STD, Function, Precision, Shape, given, on_chain

LOWEST = 0.5 / 255
"""Lowest level of networks that were trained from 0 on: noise below half a gray value needs no removal."""
LEVELS = {"DRUNet": (LOWEST, 20 / 255), "GSDRUNet": (LOWEST, 50 / 255), "DnCNN": (1 / 255, 2 / 255)}
"""Noise levels that deepinv's own weights were trained at. DnCNN has one level, 2/255, and no input for it."""
_FILES = {
    "drunet_deepinv": (LOWEST, 20 / 255),
    "drunet_color": (LOWEST, 50 / 255),
    "drunet_gray": (LOWEST, 50 / 255),
    "dncnn_sigma2": LEVELS["DnCNN"],
}
_EDM = ("NCSNpp", "ADMUNet")


def from_deepinv(
    model: Any,
    shape: Shape | None = None,
    *,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
    std: float = NATURAL_STD,
    clip: bool | None = None,
    precision: Precision = "float32",
) -> TrainedPrior:
    """Return the prior of one of deepinv's denoisers.

    Args:
        model: a `deepinv.models.Denoiser`. `DiffUNet` is used as a diffusion network, at real-valued times of its
            chain; all others as `model(x, sigma)`.
        shape: `(C, H, W)` of one image, `None` for any size; by default its channels at any size, or the size for which
            a diffusion network was built.
        sigma_min: lowest level of its training; by default that of deepinv's own weights.
        sigma_max: highest such level.
        std: standard deviation of the data.
        clip: whether estimates are clipped to [0, 1]; by default only those of `DiffUNet`.
        precision: type in which it computes.

    Raises:
        TypeError: no denoiser of deepinv.
        ValueError: no levels or no shape, and this class has no known ones.

    Example:
        >>> from deepinv.models import DRUNet
        >>> prior = from_deepinv(DRUNet(nc=(4, 4, 4, 4), nb=1, pretrained=None))
        >>> prior.shape, round(255 * prior.sigma_max)
        ((3, None, None), 20)
    """
    from deepinv.models import Denoiser

    name = type(model).__name__
    if not isinstance(model, Denoiser):
        raise UserTypeError(f"from_deepinv: model: expected a deepinv.models.Denoiser, got {name}")
    if name == "DiffUNet":
        return on_chain(
            _diffusion(model), TotalNoise, shape or (model.in_channels, 256, 256), Chain(linear_betas()),
            std=std, sigma_min=_twice(sigma_min), sigma_max=_twice(sigma_max), clip=clip is not False,
            precision=precision,
        )  # fmt: skip
    known = (0.001, 40.0) if name in _EDM and model._was_trained_on_minus_one_one else LEVELS.get(name)
    low, high = (known and known[i] if s is None else s for i, s in enumerate((sigma_min, sigma_max)))
    if low is None or high is None:
        raise UserError(
            f"from_deepinv: sigma_min, sigma_max: expected the noise levels (for images in [0, 1]) that {name} was "
            "trained for, which it does not tell; give both"
        )
    sizes = shape or _shape_of(model, name)
    return from_denoiser(
        model, sizes, sigma_min=low, sigma_max=high, value_range=(0, 1), std=std, clip=bool(clip), precision=precision
    )


def recognises(file: Checkpoint) -> bool:
    """Return whether a file has the names of DRUNet's or DnCNN's weights."""
    return file.has("m_head.weight", "m_tail.weight", "m_down1.0.res.0.weight") or file.has(
        "in_conv.weight", "out_conv.weight", "conv_list.0.weight"
    )


def load(
    file: Checkpoint,
    *,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
    std: float = NATURAL_STD,
    precision: Precision = "float32",
) -> TrainedPrior:
    """Return the prior of a file of weights.

    Args:
        file: its tensors.
        sigma_min: lowest level of its training; by default that of the published file with the same name.
        sigma_max: highest such level.
        std: standard deviation of the data.
        precision: type in which the network computes.

    Raises:
        ValueError: no levels, and the file's name is no published one.
    """
    w = file.tensors
    known = next((v for k, v in _FILES.items() if file.path.name.startswith(k)), None)
    low = given(sigma_min, known[0] if known else LOWEST)
    high = known[1] if sigma_max is None and known else sigma_max
    if high is None:
        raise UserError(
            f"{file.path}: sigma_max: expected the highest noise level of its training (for images in [0, 1]), which "
            f"the weights do not tell; known are files named {', '.join(_FILES)}...: give sigma_max, such as 0.196"
        )
    model = _drunet(file) if "m_head.weight" in w else _dncnn(file)
    channels = w["m_tail.weight" if "m_tail.weight" in w else "out_conv.weight"].shape[0]
    return from_deepinv(model, (channels, None, None), sigma_min=low, sigma_max=high, std=std, precision=precision)


def _drunet(file: Checkpoint) -> Any:
    from deepinv.models import DRUNet

    w = file.tensors
    widths = tuple(w[f"{part}.0.res.0.weight"].shape[0] for part in ("m_down1", "m_down2", "m_down3", "m_body"))
    blocks = sum(k.startswith("m_body.") and k.endswith(".res.0.weight") for k in w)
    channels = w["m_tail.weight"].shape[0]
    return _filled(DRUNet(channels, channels, nc=widths, nb=blocks, pretrained=None), file)


def _dncnn(file: Checkpoint) -> Any:
    from deepinv.models import DnCNN

    w = file.tensors
    depth = 2 + sum(k.startswith("conv_list.") and k.endswith(".weight") for k in w)
    width, channels = w["in_conv.weight"].shape[:2]
    bias = "in_conv.bias" in w
    return _filled(DnCNN(channels, channels, depth=depth, bias=bias, nf=width, pretrained=None), file)


def _filled(model: Any, file: Checkpoint) -> Any:
    try:
        model.load_state_dict(dict(file.tensors))
    except RuntimeError as error:
        why = str(error).splitlines()[-1].strip()
        raise UserError(f"{file.path}: prior: expected weights of deepinv's {type(model).__name__}: {why}") from error
    return model


def _diffusion(model: Any) -> Function:
    """Return `eps(u_t, t)` of a `DiffUNet`: its own `forward` takes noise levels, rounded to its chain."""

    class Diffusion(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, u: Any, t: Any) -> Any:
            return self.model.forward_diffusion(u, t)

    return Diffusion()


def _shape_of(model: Any, name: str) -> Shape:
    if name in _EDM:
        side = max(int(k.split("x")[0]) for k in model.enc)
        first = next(iter(model.enc.values()))
        return first.in_channels, side, side
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    if name not in LEVELS or not convolutions:
        raise UserError(f"from_deepinv: shape: expected (C, H, W), None for any size, for {name}; give it")
    return convolutions[-1].out_channels, None, None


def _twice(sigma: float | None) -> float | None:
    return None if sigma is None else 2 * sigma
