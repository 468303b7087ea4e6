"""The kernel of a blur from options.

sigma=3    kernel=gaussian,sigma=3    kernel=uniform,size=9      kernel=motion,length=15,angle=30
kernel=disk,radius=3                  kernel=moffat,fwhm=3,beta=2.5    kernel=airy,radius=4
kernel=shake,size=25
kernel=psf.fits                       kernel=psf.tif#3,center=peak,normalize=false
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ...checks import integer, number
from ...errors import UserError
from ...images.parts import split_part
from ...registry import unknown
from ..base import Operator
from ..blurs.centres import centered_kernel, even_note, is_even
from ..blurs.kernels import gaussian_kernel, motion_kernel, shake_kernel, uniform_kernel
from ..blurs.optics import airy_kernel, disk_kernel, moffat_kernel
from .base import Shape, noted
from .files import kernel_from_file
from .values import pair


@dataclass(frozen=True)
class Kernel:
    """A kernel.

    Attributes:
        values: `(h, w)`, or as a tensor was given.
        notes: what the user should know about it.
    """

    values: Tensor
    notes: tuple[str, ...] = ()


def blur_kernel(
    *,
    sigma: float | Sequence[float] | None = None,
    kernel: str | Tensor | None = None,
    size: int | None = None,
    length: float | None = None,
    angle: float | None = None,
    intensity: float | None = None,
    radius: float | None = None,
    fwhm: float | None = None,
    beta: float | None = None,
    normalize: bool = True,
    center: str | Sequence[float] | None = None,
    seed: int = 0,
) -> Kernel:
    """Return the kernel of a blur.

    Args:
        sigma: standard deviation of a Gaussian in pixels.
        kernel: "gaussian" (with `sigma`, `size`), "uniform" (with `size`), "motion" (with `size`, `length`, `angle`,
            `intensity`), "shake" (with `size`), "disk" (with `radius`, `size`), "moffat" (with `fwhm`, `beta`, `size`),
            "airy" (with `radius`, `size`), or a file: an array, or an image, converted to gray.
        size: side in pixels; default: 4 sigma each way, the motion's length and a margin, or as `blurs.optics` says.
        length: length of the motion in pixels.
        angle: direction of the motion in degrees; default: random.
        intensity: curvature of the path, in [0, 1].
        radius: of the disk, or of the first dark ring of an Airy pattern, in pixels.
        fwhm: full width at half maximum of a Moffat function in pixels.
        beta: its exponent.
        normalize: whether a kernel from a file is divided by its sum.
        center: the centre of a kernel from a file, as in `centered_kernel`; default: pixel `n // 2` of each axis.
        seed: seed of the motion's path.
    """
    kind = ("gaussian" if sigma is not None else None) if kernel is None else kernel
    if kind is None:
        raise UserError(
            "blur: expected the option sigma or kernel, as in blur:sigma=3 or blur:kernel=motion, got neither"
        )
    if isinstance(kind, str) and kind not in KINDS and not _is_file(kind):
        raise UserError(f"blur: {unknown('kernel', kind, KINDS)}, or name a file")
    given = {
        "sigma": sigma, "size": size, "length": length, "angle": angle, "intensity": intensity, "radius": radius,
        "fwhm": fwhm, "beta": beta, "center": center,
    }  # fmt: skip
    named = KINDS.get(kind) if isinstance(kind, str) else None
    allowed = {"center"} if named is None else {"size", *named[1]}
    for option, value in given.items():
        if value is not None and option not in allowed:
            raise UserError(f"blur: {option}: does not go with kernel={kind}; leave one of the two out")
    if named is not None:
        made = named[0]({k: v for k, v in given.items() if v is not None} | {"seed": seed})
        if is_even(made):
            return Kernel(made, (even_note(made, f"the kernel {kind}", "take an odd size"),))
        return Kernel(made)
    found = Kernel(kind) if isinstance(kind, Tensor) else Kernel(*kernel_from_file(str(kind), normalize=normalize))
    values = found.values
    if center is not None:
        return Kernel(centered_kernel(values, center), found.notes)
    if is_even(values):
        remedy = "center=middle, peak, centroid or [row, column] takes another one"
        where = "the kernel" if isinstance(kind, Tensor) else f"the kernel in {kind}"
        return Kernel(values, (*found.notes, even_note(values, where, remedy)))
    return found


def with_kernel(make: Callable[..., Operator]) -> Callable[..., Operator]:
    """Return a builder with the options of `blur_kernel` and those of `make(shape, kernel, *, ...)`."""
    shape, _, *own = inspect.signature(make).parameters.values()
    *kernels, seed = inspect.signature(blur_kernel).parameters.values()
    named = {p.name for p in (*kernels, seed)}

    @functools.wraps(make)
    def build(shape: Shape, **options: Any) -> Operator:
        made = blur_kernel(**{k: v for k, v in options.items() if k in named})
        rest = {k: v for k, v in options.items() if k not in named}
        return noted(make(shape, made.values, **rest), made.notes)

    build.__signature__ = inspect.Signature([shape, *kernels, *own, seed])  # type: ignore[attr-defined]
    return build


def _is_file(name: str) -> bool:
    """Return whether a name is that of a file, which need not exist if it has a suffix."""
    file = split_part(name)[0]
    return file.exists() or bool(file.suffix)


def _gaussian(given: Mapping[str, Any]) -> Tensor:
    if "sigma" not in given:
        raise UserError("blur: sigma: expected with kernel=gaussian, as in blur:sigma=3")
    std = pair("blur", "sigma", given["sigma"], float)
    for s in std:
        number("blur: sigma", s, positive=True, expected="a positive number of pixels")
    size = given.get("size")
    if size is not None:
        integer("blur: size", size, 1, expected="a positive number of pixels")
    return gaussian_kernel((float(std[0]), float(std[1])), size)


def _uniform(given: Mapping[str, Any]) -> Tensor:
    if "size" not in given:
        raise UserError("blur: size: expected with kernel=uniform, as in blur:kernel=uniform,size=9")
    return uniform_kernel(integer("blur: size", given["size"]))


def _motion(given: Mapping[str, Any]) -> Tensor:
    length, size = given.get("length"), given.get("size")
    side = (math.ceil(length or 30) // 2 * 2 + 1) if size is None else integer("blur: size", size)
    intensity = given.get("intensity") or 0.0
    return motion_kernel(side, length=length, angle=given.get("angle"), intensity=intensity, seed=given["seed"])


def _shake(given: Mapping[str, Any]) -> Tensor:
    return shake_kernel(integer("blur: size", given.get("size", 25), 1), seed=given["seed"])


def _disk(given: Mapping[str, Any]) -> Tensor:
    return disk_kernel(_needed("disk", "radius", 3, given), given.get("size"))


def _moffat(given: Mapping[str, Any]) -> Tensor:
    beta = {"beta": number("blur: beta", given["beta"])} if "beta" in given else {}
    return moffat_kernel(_needed("moffat", "fwhm", 3, given), size=given.get("size"), **beta)


def _airy(given: Mapping[str, Any]) -> Tensor:
    return airy_kernel(_needed("airy", "radius", 4, given), given.get("size"))


def _needed(kind: str, option: str, example: int, given: Mapping[str, Any]) -> float:
    if option not in given:
        raise UserError(f"blur: {option}: expected with kernel={kind}, as in blur:kernel={kind},{option}={example}")
    return number(f"blur: {option}", given[option], positive=True, expected="a positive number of pixels")


KINDS: dict[str, tuple[Callable[[Mapping[str, Any]], Tensor], frozenset[str]]] = {
    "gaussian": (_gaussian, frozenset({"sigma"})),
    "uniform": (_uniform, frozenset()),
    "motion": (_motion, frozenset({"length", "angle", "intensity"})),
    "shake": (_shake, frozenset()),
    "disk": (_disk, frozenset({"radius"})),
    "moffat": (_moffat, frozenset({"fwhm", "beta"})),
    "airy": (_airy, frozenset({"radius"})),
}
"""Kernels by name: the function of the given options, and those that go with it besides `size`."""
