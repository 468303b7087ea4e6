"""Checks of a request of `invdiff reconstruct` that need no image, prior or solver."""

from __future__ import annotations

from ...checks import number
from ...errors import UserError
from ...images.parts import split_part
from ...registry import is_weights, operators, priors, solvers, unknown
from ...specs import Spec, parse_spec
from ...storage import check_kind
from ...units import parse_units
from ..checks import check_at_least, check_exists, check_name, check_out
from .compression import is_own_file
from .found_noise import is_found
from .noises import check_noise
from .request import Request


def check_request(request: Request) -> None:
    """Raise a ValueError or OSError for invalid options, before any work."""
    check_exists(split_part(request.image)[0])
    check_name(operators, request.operator.name)
    if request.solver is not None:
        check_name(solvers, request.solver.name)
    if request.prior is not None and not is_weights(request.prior):
        check_name(priors, parse_spec(request.prior).name)
    if request.noise is None and not is_own_file(request):
        raise UserError(
            "--noise: expected the noise's standard deviation in the measurement's units (images are in [0, 1]), "
            "got none; give a number such as 0.025, or --noise auto to estimate it"
        )
    if request.noise is not None:
        check_noise(request.noise)
    check_at_least("--samples", request.samples, 1)
    _check_choice(request)
    check_at_least("--seed", request.seed, 0)
    check_at_least("--threads", request.threads, 1)
    check_at_least("--workers", request.workers, 1)
    if request.scheduler is not None and request.workers != 1:
        raise UserError("--workers: goes without --scheduler, whose workers are started by themselves; leave it out")
    check_at_least("--mask-grow", request.mask_grow, 0)
    check_at_least("--batch-size", request.batch_size, 1)
    number("--measurement-scale", request.measurement_scale, positive=True)
    number("--black-level", request.black_level)
    if request.white_level is not None and not number("--white-level", request.white_level) > request.black_level:
        raise UserError(
            f"--white-level: expected more than the black level, {request.black_level:g}, got {request.white_level:g}"
        )
    _check_simulation(request)
    _check_operator(request)
    check_units(request.units, request.operator, request.pixel_size)
    check_kind(request.export)
    check_out(request.out, overwrite=request.overwrite)


def _check_choice(request: Request) -> None:
    """Raise for a goal or an effort of another solver than the default, and for a calibration without samples."""
    for option, value, names, usual in (
        ("--goal", request.goal, ("samples", "estimate"), "samples"),
        ("--effort", request.effort, ("fast", "normal", "best"), "normal"),
    ):
        if value not in names:
            raise UserError(f"{option}: {unknown('value', value, names)}")
        if value != usual and request.solver is not None:
            raise UserError(f"{option}: chooses a solver, got --solver {request.solver} too; leave one out")
    if request.calibration is None:
        return
    check_exists(request.calibration)
    if request.samples < 2 or request.goal == "estimate":
        raise UserError("--calibration: widens the intervals of samples, got one image; take --samples 4")


def _check_simulation(request: Request) -> None:
    """Raise for options of a given measurement, if one is simulated."""
    if not request.simulate:
        return
    if is_found(request.noise or ""):
        raise UserError("--noise auto: estimates the noise of a measurement; with --simulate give a number")
    if request.measurement_scale != 1:
        raise UserError("--measurement-scale: goes with a measurement, got --simulate; leave it out")
    if request.transpose:
        raise UserError("--transpose: goes with a measured sinogram, got --simulate; leave it out")
    if request.missing_color is not None:
        raise UserError("--missing-color: marks pixels of a measurement, got --simulate; use --mask instead")


def _check_operator(request: Request) -> None:
    """Raise for an option of another kind of operator, instead of ignoring it."""
    belong = {
        "inpainting": {
            "--mask": request.mask is not None,
            "--mask-invert": request.mask_invert,
            "--mask-grow": request.mask_grow != 0,
            "--missing-color": request.missing_color is not None,
            "--missing-tolerance": request.missing_tolerance != 0,
        },
        "tomography": {
            "--angles": request.angles is not None,
            "--pixel-size": request.pixel_size is not None,
            "--convention": request.convention is not None,
            "--transpose": request.transpose,
        },
    }
    for kind, options in belong.items():
        for option, on in options.items():
            if on and not _is(request, kind):
                raise UserError(
                    f"{option}: goes with --operator {kind}, got --operator {request.operator.name}; leave it out"
                )
    if request.mask is None and request.mask_invert:
        raise UserError("--mask-invert: goes with --mask, got none; add --mask or leave it out")
    if request.missing_color is None and request.missing_tolerance != 0:
        raise UserError("--missing-tolerance: goes with --missing-color, got none; add --missing-color")
    if request.mask is not None:
        check_exists(split_part(request.mask)[0])
    if request.pixel_size is not None:
        number("--pixel-size", request.pixel_size, positive=True)


def check_units(text: str | None, operator: Spec, pixel_size: float | None = None) -> None:
    """Raise for unknown units, and for a sinogram in them without the side of a pixel."""
    if text is None:
        return
    units = parse_units(text)
    sized = pixel_size is not None or "pixel_size" in operator.options
    if operators.facts(operator.name).sinogram and not sized:
        unit = f" in {units.length}" if units.length else ""
        raise UserError(
            f"--units {text}: a sinogram is in these units times a length, expected the side of a pixel{unit}"
            ", got none; give --pixel-size"
        )


def _is(request: Request, kind: str) -> bool:
    """Return whether the operator is of the kind of a built-in one, by its own facts."""
    facts = operators.facts(request.operator.name)
    return facts.takes_mask if kind == "inpainting" else facts.sinogram
