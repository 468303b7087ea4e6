"""The contract of a prior: the denoiser of a distribution of images.

In variance-exploding coordinates `x_sigma = x_0 + sigma n` with `n ~ N(0, I)`, a prior `p(x_0)` is known through

    denoise(x, sigma) = E[x_0 | x_sigma = x],        score(x, sigma) = grad log p_sigma(x) = (denoise(x, sigma) - x) /
    sigma^2,

where the second equation is Tweedie's formula. Intensities are in [0, 1].
"""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Prior(abc.ABC):
    """A distribution of images, given by its minimum mean-square-error denoiser.

    A subclass sets four attributes and defines `denoise`; `score` follows.

    Attributes:
        shape: `(C, H, W)` of one image; `None` for any size.
        std: standard deviation of the data; published step sizes are scaled by it.
        sigma_min: lowest noise level at which `denoise` can be trusted.
        sigma_max: highest such level; samplers begin there.
        analytic: whether the denoiser is a closed form, so its Jacobian is exact and cheap; false unless set.
        noise_maps: whether `denoise` also takes a level for each pixel, `(B or 1, 1, H, W)`; false unless set.
        training_images: what identifies the images it was trained on, where that is known: see `training_images`.
        memory: bytes that an evaluation takes at most, beside the images, where `within` has set it.
        units: what the values of an image stand for, as "(HU + 1000) / 2000" (see `invdiff.units`); "" if not stated.

    Example:
        >>> import torch
        >>> class Gauss(Prior):
        ...     shape, std, sigma_min, sigma_max = (1, None, None), 1.0, 0.01, 50.0
        ...     def denoise(self, x, sigma): return x / (1 + expand_sigma(sigma, x) ** 2)
        >>> Gauss().score(torch.ones(1, 1, 2, 2), 1.0).unique()
        tensor([-0.5000])

    References:
        Tweedie's Formula and Selection Bias (Efron, 2011), https://doi.org/10.1198/jasa.2011.tm11181, equation 1.4.
    """

    shape: tuple[int | None, ...]
    std: float
    sigma_min: float
    sigma_max: float
    noise_maps: bool = False
    analytic: bool = False
    training_images: frozenset[str] = frozenset()
    units: str = ""
    memory: float | None = None

    @abc.abstractmethod
    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Return `E[x_0 | x_sigma = x]`, differentiable in `x`.

        Args:
            x: noisy images, `(B, C, H, W)`.
            sigma: noise level in units of the images, a scalar or one for each image, `(B,)`; where `noise_maps` is
                true also one for each pixel, `(B or 1, 1, H, W)`, for `x = x_0 + sigma n` pixel by pixel.

        Returns:
            The denoised images, `(B, C, H, W)`, in the type of `x`.
        """

    def score(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """Return `grad log p_sigma(x)`, `(B, C, H, W)`, by Tweedie's formula."""
        return (self.denoise(x, sigma) - x) / expand_sigma(sigma, x, maps=self.noise_maps) ** 2

    def to(self, device: torch.device | str) -> Prior:
        """Return this prior on `device`; priors that hold no tensors return themselves."""
        return self

    @property
    def least_memory(self) -> float:
        """Bytes that an evaluation takes at least, beside the images; 0 if `within` has no effect."""
        return 0.0

    def within(self, memory: float) -> Prior:
        """Return this prior, with evaluations that take at most `memory` bytes beside the images, if it can do so.

        The numbers stay the same up to rounding.
        """
        return self


ATTRIBUTES = ("shape", "std", "sigma_min", "sigma_max", "denoise")


def attribute_fault(prior: object) -> str:
    """Return what is wrong with the attributes of a prior, "" if nothing is.

    Args:
        prior: any object.
    """
    missing = [a for a in ATTRIBUTES if not hasattr(prior, a)]
    if missing:
        return f"expected a Prior, got {type(prior).__name__} without {', '.join(missing)}"
    p: Any = prior
    shape = p.shape
    if not isinstance(shape, Sequence) or isinstance(shape, str) or not all(_is_size(n) for n in shape) or not shape:
        return f"shape: expected (C, H, W), each a positive integer, or None for any size, got {shape!r}"
    try:
        std, low, high = float(p.std), float(p.sigma_min), float(p.sigma_max)
    except (TypeError, ValueError):
        return f"std, sigma_min, sigma_max: expected numbers, got {p.std!r}, {p.sigma_min!r} and {p.sigma_max!r}"
    if not 0 < std < math.inf:
        return f"std: expected a positive number, the standard deviation of its images, got {std:g}"
    if not 0 < low < high < math.inf:
        return f"sigma_min, sigma_max: expected 0 < sigma_min < sigma_max, got {low:g} and {high:g}"
    return ""


def _is_size(n: object) -> bool:
    return n is None or (isinstance(n, int) and not isinstance(n, bool) and n > 0)


def check_images(prior: Prior, x: Tensor) -> None:
    """Raise unless `x` are images of the prior's shape.

    Args:
        prior: the prior, for its name and shape.
        x: the images that it got.

    Raises:
        ValueError: `x` is not `(B, C, H, W)` with the sizes of the prior.
    """
    if x.ndim == 4 and all(n is None or n == m for n, m in zip(prior.shape, x.shape[1:], strict=True)):
        return
    wanted = ", ".join("any" if n is None else str(n) for n in prior.shape)
    raise ValueError(
        f"{type(prior).__name__}.denoise: x: expected (B, {wanted}), got {tuple(x.shape)}; convert the images "
        "or load a prior for this shape"
    )


def expand_sigma(sigma: Tensor | float, x: Tensor, *, maps: bool = False) -> Tensor:
    """Return the noise level as a tensor that broadcasts against `x`, in its type and on its device.

    Args:
        sigma: a scalar, one value for each image `(B,)`, or with `maps` one for each pixel, `(B or 1, 1, H, W)`.
        x: images, `(B, ...)`.
        maps: whether a level for each pixel is taken.

    Returns:
        A tensor of shape `()`, `(B, 1, ..., 1)` or `(B or 1, 1, H, W)`.

    Raises:
        ValueError: another shape.
    """
    s = torch.as_tensor(sigma, dtype=x.dtype, device=x.device)
    if s.ndim == 0:
        return s
    if maps and s.ndim == x.ndim and s.shape[0] in (1, x.shape[0]) and s.shape[1:] == (1, *x.shape[2:]):
        return s
    if s.shape != (x.shape[0],):
        pixelwise = f", or {(x.shape[0], 1, *x.shape[2:])} for the pixels" if maps else ""
        advice = "give one noise level for each image"
        if s.ndim == x.ndim and not maps:
            advice += "; a level for each pixel needs a prior whose noise_maps is true"
        raise ValueError(
            f"sigma: expected a scalar or shape ({x.shape[0]},){pixelwise}, got {tuple(s.shape)}; {advice}"
        )
    return s.reshape(-1, *[1] * (x.ndim - 1))
