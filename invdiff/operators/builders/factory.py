"""Operators from a name and options, in the notation of the command line and of task files.

    blur:sigma=3                        blur:kernel=motion,length=15,angle=30      blur:kernel=kernel.png,border=valid
    downsample:factor=4,kernel=average  inpainting:box=true                        inpainting:random=0.7
    tomography:angles=60                tomography:angles=[0,10,25],detectors=128  my_operator.py:Vignette:strength=2

An option that is an `Unknown`, on the command line `sigma=?` or `sigma=?1..5`, makes the family of these operators.

`builders` has the options of the built-in operators. Other names, registered by a package or `path/to/file.py:Name`,
are called with the image's shape first, if they take one, and the options as keyword arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ...errors import UserError
from ...memory import check_fits
from ...recipe import check_real
from ...registry import operators
from ...specs import Where, build
from ...unknowns import Unknown
from ..base import Operator
from ..family import OperatorFamily
from ..shapes import image_shape as _shape
from . import BUILDERS, Builder, Shape
from .checks import Named, check_images, check_measurements, check_operator, check_options
from .values import pair


def make_operator(
    name: str,
    image_shape: tuple[int, ...],
    options: Mapping[str, Any] | None = None,
    *,
    mask: Tensor | None = None,
    seed: int = 0,
) -> Operator:
    """Return the operator of that name for images of that shape.

    Args:
        name: a registered name, or `path/to/file.py:Name`.
        image_shape: `(C, H, W)`.
        options: values by name of option, as on the command line.
        mask: the known pixels, `(H, W)` or `(C, H, W)`, for inpainting.
        seed: seed of random numbers: a random mask, the path of a motion blur.

    Returns:
        An operator with that `in_shape`, or the family of them if an option is unknown.

    Raises:
        ValueError: an unknown name or option (with the nearest known one), or a value that does not fit.
        TypeError: the object of that name makes no operator.

    Example:
        >>> make_operator("downsample", (3, 64, 64), {"factor": 4})
        Downsample((3, 64, 64) -> (3, 16, 16), factor 4, bicubic)
    """
    where, shape = Named(name), _shape("make_operator", image_shape)
    builder = find_builder(name)
    check_options(where, builder, options or {}, mask)
    if _unknown(options):
        return _family(make_operator, where, builder, shape, options or {}, mask, seed)
    built = _build(where, builder, shape, _with_drawn(builder, options, mask, seed))
    check_images(where, built, shape)
    return built


def make_operator_for_measurement(
    name: str,
    measurement_shape: tuple[int, ...],
    options: Mapping[str, Any] | None = None,
    *,
    mask: Tensor | None = None,
    seed: int = 0,
) -> Operator:
    """Return the operator of that name whose measurements have that shape, with the image's shape inferred.

    Downsampling by `f` has an image `f` times as large, a blur with border "valid" one that is larger by the kernel, a
    sinogram a square image as wide as the row of detectors. The option `image_size`, one side or `[height, width]`,
    overrides this.

    Args:
        name: a registered name, or `path/to/file.py:Name`.
        measurement_shape: shape of one measurement, `(C, H, W)`; a sinogram's is `(C, angles, detectors)`.
        options: values by name of option, as on the command line, and `image_size`.
        mask: the known pixels, for inpainting.
        seed: seed of random numbers.

    Returns:
        An operator with that `out_shape`, or the family of them if an option is unknown.

    Raises:
        ValueError: as in `make_operator`; also if no image has a measurement of that shape.
        TypeError: the object of that name makes no operator.

    Example:
        >>> make_operator_for_measurement("downsample", (3, 16, 16), {"factor": 4}).in_shape
        (3, 64, 64)
    """
    where, shape = Named(name), _shape("make_operator_for_measurement", measurement_shape)
    builder = find_builder(name)
    free = dict(options or {})
    size = free.pop("image_size", None)
    check_options(where, builder, free, mask)
    if _unknown(options):
        return _family(make_operator_for_measurement, where, builder, shape, options or {}, mask, seed)
    chosen = {**builder.inferred(shape), **_with_drawn(builder, free, mask, seed)}
    image = builder.image_shape(shape, chosen)
    if size is not None:
        image = (image[0], *pair(name, "image_size", size))
    check_fits(where.at("image"), image, "check the operator's options")
    built = _build(where, builder, image, chosen)
    check_measurements(where, built, shape)
    return built


def find_builder(name: str) -> Builder:
    """Return the builder of the operator of that name.

    Args:
        name: a registered name, or `path/to/file.py:Name`, which may point at a built-in operator.

    Raises:
        ValueError: an unknown name.
    """
    if name in BUILDERS:
        return BUILDERS[name]
    target = operators[name]
    own = vars(target).get("name") if isinstance(target, type) else None
    return BUILDERS[own] if own in BUILDERS and operators[own] is target else Builder.of(target)


def _with_drawn(builder: Builder, options: Mapping[str, Any] | None, mask: Tensor | None, seed: int) -> dict[str, Any]:
    """Return the options, with the mask and the seed if the operator takes these."""
    drawn = {"seed": seed} if "seed" in builder.takes else {}
    return {**drawn, **(options or {}), **({} if mask is None else {"mask": mask})}


def _build(where: Where, builder: Builder, shape: Shape, options: Mapping[str, Any]) -> Operator:
    first = (shape,) if builder.takes_shape else ()
    return check_operator(where, build(builder.build, options, where, first=first))


@dataclass(frozen=True)
class _Maker:
    """A call of `make_operator` or `make_operator_for_measurement` that waits for values of the unknown options."""

    make: Callable[..., Operator]
    name: str
    shape: Shape
    options: Mapping[str, Any]
    mask: Tensor | None
    seed: int

    def __call__(self, **values: float) -> Operator:
        return self.make(self.name, self.shape, {**self.options, **values}, mask=self.mask, seed=self.seed)


def _unknown(options: Mapping[str, Any] | None) -> bool:
    return any(isinstance(value, Unknown) for value in (options or {}).values())


def _family(
    make: Callable[..., Operator],
    where: Named,
    builder: Builder,
    shape: Shape,
    options: Mapping[str, Any],
    mask: Tensor | None,
    seed: int,
) -> OperatorFamily:
    """Return the family of operators for the unknown options."""
    unknowns = {name: value for name, value in options.items() if isinstance(value, Unknown)}
    parameters = builder.options()
    if "kernel" in unknowns:
        raise UserError(
            f"{where.at('kernel')}: a kernel of any shape is estimated by invdiff deblur, which writes kernel.npy; "
            "here give kernel=FILE, or unknown numbers of a named one, as kernel=motion,length=?5..30,angle=?"
        )
    for name in unknowns:
        if name in parameters:
            check_real(where.owner, name, parameters[name].annotation)
    known = {name: value for name, value in options.items() if name not in unknowns}
    maker = _Maker(make, where.name, shape, known, mask, seed)
    return OperatorFamily(maker, ranges=builder.ranges, owner=where.owner, **unknowns)
