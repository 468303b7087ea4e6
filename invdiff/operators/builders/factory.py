"""Operators from a name and options, in the notation of the command line and of task files.

    blur:sigma=3                        blur:kernel=motion,length=15,angle=30      blur:kernel=kernel.png,border=valid
    downsample:factor=4,kernel=average  inpainting:box=true                        inpainting:random=0.7
    tomography:angles=60                tomography:angles=[0,10,25],detectors=128  my_operator.py:Vignette:strength=2

`builders` has the options of the built-in operators. Other names, registered by a package or `path/to/file.py:Name`,
are called with the image's shape first, if they take one, and the options as keyword arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ...memory import check_fits
from ...registry import operators, unknown
from ..base import Operator
from ..shapes import image_shape as _shape
from . import BUILDERS, Builder, Shape
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
        An operator with that `in_shape`.

    Raises:
        ValueError: an unknown name or option (with the nearest known one), or a value that does not fit.
        TypeError: the object of that name makes no operator.

    Example:
        >>> make_operator("downsample", (3, 64, 64), {"factor": 4})
        Downsample((3, 64, 64) -> (3, 16, 16), factor 4, bicubic)
    """
    shape = _shape("make_operator", image_shape)
    built = _build(name, shape, _checked(name, options, mask, seed))
    if tuple(built.in_shape) != shape:
        raise ValueError(
            f"operator {name!r}: expected one for images {shape}, got {built!r}; "
            "give an image of that size, or let the class take in_shape as its first argument"
        )
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
        An operator with that `out_shape`.

    Raises:
        ValueError: as in `make_operator`; also if no image has a measurement of that shape.
        TypeError: the object of that name makes no operator.

    Example:
        >>> make_operator_for_measurement("downsample", (3, 16, 16), {"factor": 4}).in_shape
        (3, 64, 64)
    """
    shape = _shape("make_operator_for_measurement", measurement_shape)
    free = dict(options or {})
    size = free.pop("image_size", None)
    chosen = _checked(name, free, mask, seed)
    builder = find_builder(name)
    chosen = {**builder.inferred(shape), **chosen}
    image = builder.image_shape(shape, chosen)
    if size is not None:
        image = (image[0], *pair(name, "image_size", size))
    check_fits(f"operator {name!r}: image", image, "check the operator's options")
    built = _build(name, image, chosen)
    if tuple(built.out_shape) != shape:
        made = tuple(built.out_shape)
        if built.sinogram and len(made) == 3 and made[1] != shape[1]:
            hint = f"give {shape[1]} angles, one for each row of the sinogram"
        elif len(made) == 3 and made[0] != shape[0]:
            hint = f"give a measurement of {made[0]} channel{'s' * (made[0] > 1)}{' (gray)' * (made[0] == 1)}; "
            hint += "a clean image is corrupted first by --simulate"
        else:
            hint = "give image_size=[height, width], or a measurement of that shape"
        raise ValueError(
            f"operator {name!r}: expected measurements {shape}, the shape of the given one, "
            f"but {built!r} makes {made}; {hint}"
        )
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


def _checked(name: str, options: Mapping[str, Any] | None, mask: Tensor | None, seed: int) -> dict[str, Any]:
    """Return the options, with the mask and the seed if the operator takes these."""
    chosen = dict(options or {})
    builder = find_builder(name)
    known = builder.options()
    for key in chosen:
        if key not in known and not builder.takes_any:
            raise ValueError(f"operator {name!r}: {unknown('option', key, known)}")
    if "seed" in builder.takes:
        chosen.setdefault("seed", seed)
    if mask is not None:
        if "mask" not in known:
            raise ValueError(f"operator {name!r}: mask: it takes none; leave the mask out or choose 'inpainting'")
        if "mask" in chosen:
            raise ValueError(f"operator {name!r}: mask: given twice; leave out the option or the mask")
        chosen["mask"] = mask
    return chosen


def _build(name: str, shape: Shape, options: dict[str, Any]) -> Operator:
    builder = find_builder(name)
    missing = [n for n, p in builder.options().items() if p.default is p.empty and n not in options]
    if missing:
        raise ValueError(f"operator {name!r}: {missing[0]}: expected a value, got none; write {name}:{missing[0]}=...")
    built = builder.build(*((shape,) if builder.takes_shape else ()), **options)
    if not isinstance(built, Operator):
        raise TypeError(
            f"operator {name!r}: expected an Operator, got {type(built).__name__}; derive the class from it"
        )
    lacking = [a for a in ("in_shape", "out_shape") if not hasattr(built, a)]
    if lacking:
        raise TypeError(f"operator {name!r}: expected in_shape and out_shape, got no {lacking[0]}; set it in __init__")
    return built
