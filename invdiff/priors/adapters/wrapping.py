"""Conversions between another library's network and `TrainedPrior`: units, times, precision (equations in `functions`).

With `u = lo + (hi - lo) x` the network's coordinates are `u = (x - m) / s_d`, `m = -lo / (hi - lo)`, `s_d = 1 / (hi -
lo)`: this is the scaling that the conversions of a network to a denoiser use.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from ...errors import UserError, UserTypeError
from ...registry import unknown
from ...schedules import Chain, Diffusion
from ..conversions import Network, Output, TrainedPrior

Function: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""From noisy images `(B, C, H, W)` and times or noise levels `(B,)` to images; further channels are ignored."""
Precision: TypeAlias = Literal["float32", "bfloat16", "float64"]
Shape: TypeAlias = tuple[int | None, ...]

NATURAL_STD = 0.25
"""Standard deviation of photographs in [0, 1]; on [-1, 1] it is EDM's `sigma_data = 0.5`."""
HIGHEST = 200.0
"""Level, for data on [-1, 1], above which a float32 estimate of the noise carries no information about the image."""


@dataclass(frozen=True)
class OwnLevel:
    """From our noise levels to those of the network, `unit sigma`, clipped to the range of its training.

    Attributes:
        unit: `hi - lo`.
        low: lowest level, in the network's units.
        high: highest such level.
    """

    unit: float
    low: float
    high: float

    def __call__(self, sigma: Tensor) -> Tensor:
        """Return the levels, like `sigma`."""
        return (self.unit * sigma).clamp(self.low, self.high)


@dataclass(frozen=True)
class ChainTime:
    """From our noise levels to the index that a chain's network gets, counted from 0.

    Attributes:
        chain: the chain.
        unit: `hi - lo`.
        nearest: whether the index is rounded to the nearest state in `log sigma`.
        scale: factor of the index; not 1 for networks whose times run to 1000 on a longer chain.
    """

    chain: Chain
    unit: float
    nearest: bool = False
    scale: float = 1.0

    def __call__(self, sigma: Tensor) -> Tensor:
        """Return the times, float64, of the shape of `sigma`."""
        k = self.chain.index(self.unit * sigma) - 1
        return self.scale * (k.round() if self.nearest else k)


class InPrecision(nn.Module):
    """A network that computes in one precision for inputs of any type.

    Args:
        network: a module, put into `eval` mode, its weights without gradients; or a function, called unchanged.
        precision: "float32", "float64", or "bfloat16": weights in float32, products in bfloat16.
        integers: whether times are passed as integers, for a network that looks them up in a table.
    """

    def __init__(self, network: Function, precision: Precision = "float32", *, integers: bool = False) -> None:
        super().__init__()
        if precision not in get_args(Precision):
            raise UserError(f"prior: {unknown('precision', str(precision), get_args(Precision))}")
        if not callable(network):
            raise UserTypeError(
                "prior: network: expected a module or function of noisy images and times or noise levels, got "
                f"{type(network).__name__}"
            )
        self.precision, self.integers = precision, integers
        self.dtype = torch.float64 if precision == "float64" else torch.float32
        self.network: Any = network
        if isinstance(network, nn.Module):
            network.eval().requires_grad_(False).to(self.dtype)

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        """Return the network's output in the type of `z`."""
        label_in = label.round().long() if self.integers else label
        if not isinstance(self.network, nn.Module):
            out: Tensor = self.network(z, label_in)
            return out
        label_in = label_in if self.integers else label_in.to(self.dtype)
        with torch.autocast(z.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            out = self.network(z.to(self.dtype), label_in)
        return out.to(z.dtype)


class ScoreAsNoise(nn.Module):
    """The estimate of the noise from a score, `-std_t score(alpha_t x, t)`, in variance-exploding coordinates.

    Args:
        score: `score(u_t, t)`.
        sde: the diffusion of the score.
    """

    def __init__(self, score: nn.Module, sde: Diffusion) -> None:
        super().__init__()
        self.score, self.sde = score, sde

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """Return the noise in `x` `(B, C, H, W)`, `u` plus noise of `level` `(B,)`, in the network's units."""
        t = self.sde.time(level)
        alpha, std = (k(t).to(x).reshape(-1, 1, 1, 1) for k in (self.sde.alpha, self.sde.std))
        noise: Tensor = -std * self.score(alpha * x, t.to(x))[:, : x.shape[1]]
        return noise


def on_chain(
    network: Function,
    estimates: type[Output],
    shape: Shape,
    chain: Chain,
    *,
    value_range: tuple[float, float] = (-1.0, 1.0),
    std: float = NATURAL_STD,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
    nearest: bool = False,
    time_scale: float = 1.0,
    clip: bool | float = False,
    precision: Precision = "float32",
) -> TrainedPrior:
    """Return the prior of a network on a chain, for any kind of output; see `from_epsilon`.

    Args:
        network: `F(u_t, t)`.
        estimates: the class of `invdiff.priors.conversions` of its output.
        shape: `(C, H, W)`.
        chain: the chain.
        value_range: values of black and white in the network's images.
        std: standard deviation of the data as images in [0, 1].
        sigma_min: lowest level, in the units of `value_range`, or `None`.
        sigma_max: highest such level, or `None`.
        nearest: whether `t` is the nearest integer.
        time_scale: factor of the index that the network gets.
        clip: whether estimates are clipped to [0, 1]; a number `r` clips them to `[-r, r]` in the network's units.
        precision: type in which a module computes.
    """
    mean, scale = affine(value_range)
    low = given(sigma_min, float(chain.sigma[1]))
    high = given(sigma_max, min(float(chain.sigma[-1]), HIGHEST / (2 * scale)))
    label = ChainTime(chain, 1 / scale, nearest, time_scale)
    whole = nearest and time_scale == 1
    return make(
        network, estimates(mean=mean, std=scale, label=label), shape, (low, high), unit=scale, std=std, clip=clip,
        precision=precision, integers=whole,
    )  # fmt: skip


def given(value: float | None, otherwise: float) -> float:
    """Return a value that is not `None`, or else the other one."""
    return otherwise if value is None else value


def affine(value_range: tuple[float, float]) -> tuple[float, float]:
    """Return `(m, s_d)` with `u = (x - m) / s_d` for `u = lo + (hi - lo) x`."""
    try:
        low, high = map(float, value_range)
        ordered = -math.inf < low < high < math.inf
    except (TypeError, ValueError):
        ordered = False
    if not ordered:
        raise UserError(f"value_range: expected (black, white), two numbers with black < white, got {value_range!r}")
    return -low / (high - low), 1 / (high - low)


def make(
    network: Network,
    output: Output,
    shape: Shape,
    levels: tuple[float, float],
    *,
    unit: float,
    std: float,
    clip: bool | float,
    precision: Precision | None,
    integers: bool = False,
) -> TrainedPrior:
    """Return the prior of a network.

    Args:
        network: `F`.
        output: kind of its output.
        shape: `(C, H, W)`.
        levels: lowest and highest noise level to trust, in the network's units.
        unit: the network's unit in ours, `1 / (hi - lo)`.
        std: standard deviation of the data as images in [0, 1].
        clip: as in `on_chain`.
        precision: type in which a module computes; `None` if the network already handles it.
        integers: whether times are passed as integers.
    """
    low, high = levels
    if not 0 < low < high < math.inf:
        raise UserError(
            f"sigma_min, sigma_max: expected 0 < sigma_min < sigma_max in the network's units, got {low} and {high}"
        )
    limits = (0.0, 1.0) if clip is True else None
    if clip is not True and clip:
        limits = (output.mean - float(clip) * unit, output.mean + float(clip) * unit)
    wrapped = network if precision is None else InPrecision(network, precision, integers=integers)
    return TrainedPrior(wrapped, output, shape, unit * low, unit * high, std=std, limits=limits)
