"""`invdiff reconstruct`: from a corrupted image to samples of its posterior, in files."""

from __future__ import annotations

import dataclasses
import inspect
from datetime import UTC, datetime
from typing import Any

import torch
from torch import Tensor

from ...calibration import Calibration, Setting
from ...errors import UserError
from ...figures import comparison
from ...images import Kept, write_picture
from ...images.camera import Mosaic
from ...interface import DEFAULT_SOLVER, default_prior
from ...metrics import psnr, ssim
from ...noise import Noise
from ...operators import Demosaic, LinearOperator, Operator
from ...operators.builders.factory import make_operator, make_operator_for_measurement
from ...priors import load_prior
from ...priors.base import Prior
from ...problem import Problem, simulate
from ...reconstruction import Reconstruction
from ...registry import operators, solvers
from ...rescaling import in_values
from ...solvers import Auto, Solver, make_solver
from ...specs import Spec
from ...units import find_units
from .. import terminal
from ..devices import select_device
from .answer import Answer
from .channels import gray_for, prior_for
from .compression import with_compression
from .fits import find_fit
from .found_noise import FoundNoise, find_noise, is_found
from .inputs import Input, read_input
from .intervals import LEVEL, find_interval, setting_of
from .kspace import check_centre, mask_note, with_measured_mask
from .noises import check_level, is_approximate, make_noise, noise_record
from .panels import panels
from .parameters import drawn_parameters, fixed, parameter_caption, parameter_lines, parameter_record
from .request import Request
from .results import digest_of, environment, fields, staged, write_arrays, write_json
from .sinograms import sinogram_options, stated_geometry
from .units import check_range, units_notes, units_record

DIVERGED = 3
_PANELS = 4  # in each of the two rows of the figure


def run(request: Request) -> int:
    """Run the request and return the exit code: 0, also for a misfit, or 3 if the solver diverged."""
    started = datetime.now(UTC)
    if request.threads is not None:
        torch.set_num_threads(request.threads)
    device = select_device(request.device)
    chosen = request.solver or Spec(DEFAULT_SOLVER, {"goal": request.goal, "effort": request.effort})
    solver = build_solver(chosen)
    request, compression = with_compression(request)
    given = read_input(request)
    if compression:
        given = dataclasses.replace(given, notes=(*given.notes, f"the file's compression: {compression}"))
    check_range(request, given)
    operator = build_operator(request, given)
    prior_name = request.prior or default_prior(operator.in_shape)
    prior = load_prior(prior_name)
    image_like = request.simulate or operator.photographic
    fitted = gray_for(given, operator.in_shape[0], prior, prior_name, image_like=image_like)
    if fitted is not given:
        given, operator = fitted, build_operator(request, fitted)
    prior, prior_name = prior_for(operator.in_shape[0], prior, prior_name)
    request = dataclasses.replace(request, solver=chosen, prior=prior_name)
    if is_found(request.noise or ""):
        given = dataclasses.replace(given, noise=noise_in(request, given, operator))
    stated, true_values = build_problem(request, operator, given)
    units = None if request.units is None else find_units(request.units, prior.units, prior_name)
    problem = stated if units is None else in_values(stated, units)
    truth = given.image if units is None else units.to_values(given.image)
    if request.calibration is not None and solver.point:
        raise UserError(
            f"--calibration: widens the intervals of samples, but {chosen} gives one estimate; leave it out"
        )
    setting = setting_of(
        str(request.operator), request.mask, request.noise or "", problem, prior_name, prior, solver, request.samples,
        grow=request.mask_grow, invert=request.mask_invert, geometry=stated_geometry(request), units=units,
    )  # fmt: skip
    calibration = None if request.calibration is None else Calibration.load(request.calibration)
    if calibration is not None:
        calibration.check(setting)
    terminal.facts(describe(request, solver, problem, prior, given, device, stated.noise))
    answer = solve(
        problem.to(device),
        solver,
        prior.to(device),
        truth=truth if request.simulate else None,
        samples=request.samples,
        seed=request.seed,
        batch_size=request.batch_size,
        setting=setting,
        calibration=calibration,
        level_known=request.simulate or given.noise is not None,
    )
    answer = dataclasses.replace(answer, units=units, stated=stated, true_values=true_values)
    record = build_record(request, answer, given, started, device) | units_record(request, units, prior)
    write(request, answer, record, given.kept)
    report(request, answer)
    return DIVERGED if answer.result.status == "diverged" else 0


def build_solver(spec: Spec) -> Solver:
    """Return the solver with its options.

    Raises:
        ValueError: an unknown name or option, or an object that is no solver.
    """
    found = solvers[spec.name]
    if not (inspect.isclass(found) and issubclass(found, Solver)):
        raise UserError(
            f"--solver: expected a subclass of invdiff.solvers.Solver, got {spec.name!r}, which is {found!r}"
        )
    return make_solver(found, spec.options)


def build_operator(request: Request, given: Input) -> Operator:
    """Return the forward operator, for a clean image with `--simulate`, else for a measurement."""
    options = dict(request.operator.options)
    shape = tuple(given.image.shape[1:])
    name = request.operator.name
    if operators.facts(name).sinogram:
        options = sinogram_options(request, options, given.image)
    if given.kept is not None and isinstance(given.kept.header, Mosaic):
        options = _with_pattern(options, given.kept.header.pattern)
    if name == "mri" and not request.simulate:
        check_centre(request, given.image)
    if name == "mri" and not request.simulate and "mask" not in options:
        options = with_measured_mask(request, options, given.image)
    make = make_operator if request.simulate else make_operator_for_measurement
    return make(name, shape, options, mask=given.known, seed=request.seed)


def _with_pattern(options: dict[str, object], pattern: str) -> dict[str, object]:
    """Return the options with the pattern of a raw file's sensor."""
    if options.get("pattern", pattern) != pattern:
        raise UserError(f"demosaic: pattern: the raw file says {pattern}, got {options['pattern']}; leave it out")
    return {**options, "pattern": pattern}


def noise_in(request: Request, given: Input, operator: Operator) -> FoundNoise:
    """Return the noise that is found in the measured pixels."""
    known = given.known
    if known is None and operator.observed is not None and len(operator.out_shape) == 3:
        known = operator.observed.expand(operator.out_shape).all(0)
    return find_noise(request.noise or "", given.image, known, mosaic=isinstance(operator, Demosaic))


def build_problem(request: Request, operator: Operator, given: Input) -> tuple[Problem, dict[str, float]]:
    """Return the problem, and the true values of its unknowns if it is simulated from the clean image."""
    assert request.noise is not None
    if operators.facts(request.operator.name).photographic and request.units is None:
        check_level(request.noise, request.command)
    noise: Noise = make_noise(request.noise, given.image, given.noise)
    drawn = drawn_parameters(operator, noise, request.seed) if request.simulate else {}
    if request.simulate:
        problem = simulate(operator, given.image, noise, request.seed, parameters=drawn)
    else:
        problem = Problem(operator, noise, given.image)
    return problem.gaussian() if is_approximate(request.noise) else problem, drawn


def describe(
    request: Request, solver: Solver, problem: Problem, prior: Prior, given: Input, device: torch.device, law: Noise
) -> list[tuple[str, str]]:
    """Return a description of the run, as lines of a name and a text; `law` is the noise as it was stated."""
    *_, h, w = given.image.shape
    kind = {1: "gray", 3: "colour"}.get(given.image.shape[1], "")
    role = "clean, to be corrupted" if request.simulate else "the measurement"
    image = f"{request.image.name}, {w} x {h} {kind}".rstrip() + f", {role}"
    operator = f"{request.operator}"
    if (observed := problem.operator.observed) is not None:
        missing = 1 - float(observed.double().mean())
        operator += f", {missing:.1%} of the pixels missing"
    noise = f"{law}" + (", estimated from the image" if given.noise is not None else "")
    threads = f"{torch.get_num_threads()} threads" if device.type == "cpu" else torch.cuda.get_device_name(device)
    lines = [
        ("image", image),
        ("operator", operator),
        ("noise", noise),
        ("prior", str(request.prior)),
        ("solver", f"auto: {solver.describe(problem, prior)}" if isinstance(solver, Auto) else str(solver)),
        ("samples", f"{request.samples}, seed {request.seed}"),
        ("device", f"{device}, {threads}"),
    ]
    found = [given.noise.note] if given.noise is not None and given.noise.note else []
    notes = [*given.notes, *found, *mask_note(request), *problem.operator.notes, *units_notes(request, problem, prior)]
    if is_approximate(request.noise or "auto"):
        notes.append(f"{request.noise}: the Gaussian noise nearest to it, by the variance of what was measured")
    elif solver.approximates and not solver.posed(problem).noise.is_gaussian:
        notes.append(f"{type(solver).__name__} weights its squares by the Gaussian noise nearest to this one")
    return lines + [("note", note) for note in notes]


def solve(
    problem: Problem,
    solver: Solver,
    prior: Prior,
    *,
    samples: int,
    seed: int,
    truth: Tensor | None = None,
    batch_size: int | None = None,
    setting: Setting | None = None,
    calibration: Calibration | None = None,
    level_known: bool = True,
) -> Answer:
    """Run the solver with a progress bar and, if the truth is known, compute its metrics."""
    result = solver(problem, prior, samples=samples, seed=seed, batch_size=batch_size, progress=True)
    known = fixed(problem, result)
    baseline = find_baseline(known, quick=truth is None)
    interval = None if setting is None else find_interval(result, setting, calibration)
    fit = find_fit(solver.posed(known), result, level_known=level_known)
    if truth is None:
        return Answer(problem, solver, result, baseline, interval=interval, fit=fit)
    truth = truth.to(result.samples)
    metrics = grade(problem, result, truth, baseline)
    if interval is not None:
        metrics["mean"]["coverage_90" if interval.level == LEVEL else "coverage"] = float(interval.coverage(truth)[0])
    return Answer(problem, solver, result, baseline, truth, metrics, interval, fit=fit)


def find_baseline(problem: Problem, *, quick: bool) -> tuple[str, Tensor] | None:
    """Return the name and the image of the estimate without a prior.

    Args:
        problem: the problem.
        quick: whether to omit it for a large image, instead of iterating for minutes for one panel of the figure.
    """
    operator = problem.operator
    if not isinstance(operator, LinearOperator):
        return None
    filtered = getattr(operator, "fbp", None)
    if callable(filtered):
        return "filtered back-projection", filtered(problem.measurement)
    if quick and operator.svd is None:
        return None
    return "pseudo-inverse", operator.pinv(problem.measurement)


def grade(
    problem: Problem, result: Reconstruction, truth: Tensor, baseline: tuple[str, Tensor] | None
) -> dict[str, dict[str, float]]:
    """Return PSNR and SSIM of the measurement, the baseline, the mean and the average sample, and the coverage.

    Images are clipped to [0, 1] first, as in the written files.
    """
    samples = result.samples[0]
    table: dict[str, dict[str, float]] = {}
    same_shape = problem.measurement.shape == truth.shape
    if same_shape:
        table["measurement"] = _scores(problem.measurement, truth)
    if baseline is not None and not (same_shape and torch.equal(baseline[1], problem.measurement)):
        table[baseline[0]] = _scores(baseline[1], truth)
    table["mean"] = _scores(result.mean, truth)
    table["average sample"] = _scores(samples, truth)
    if result.samples.shape[1] > 1:
        table["mean"]["coverage_90"] = float(result.coverage(truth)[0])
    return table


def _scores(x: Tensor, truth: Tensor) -> dict[str, float]:
    x, ref = x.clamp(0, 1), truth.clamp(0, 1).expand(x.shape)
    scores = {"psnr": float(psnr(x, ref).mean())}
    if min(x.shape[-2:]) >= 7:
        scores["ssim"] = float(ssim(x, ref).mean())
    return scores


def build_record(
    request: Request, answer: Answer, given: Input, started: datetime, device: torch.device
) -> dict[str, Any]:
    """Return the content of `result.json`, without the list of files."""
    result, problem = answer.result, answer.problem
    return {
        "status": result.status,
        "message": result.message,
        "command": request.command,
        "started": started.isoformat(timespec="seconds"),
        "image": {
            "path": str(request.image),
            "sha256": digest_of(request.image),
            "shape": list(given.image.shape[1:]),
            "role": "clean" if request.simulate else "measurement",
            "measurement_scale": request.measurement_scale,
            "gray": request.gray,
            "white_level": request.white_level,
            "black_level": request.black_level,
        },
        "operator": {
            "name": request.operator.name,
            "options": request.operator.options,
            "mask": request.mask,
            "mask_invert": request.mask_invert,
            "mask_grow": request.mask_grow,
            "missing_color": request.missing_color,
            "missing_tolerance": request.missing_tolerance,
            "angles": request.angles,
            "pixel_size": request.pixel_size,
            "convention": request.convention,
            "transpose": request.transpose,
            "in_shape": list(problem.operator.in_shape),
            "out_shape": list(problem.operator.out_shape),
        },
        "noise": noise_record(request.noise or "", given.noise),
        "prior": request.prior,
        "solver": {
            "name": request.solver.name if request.solver else DEFAULT_SOLVER,
            "class": type(answer.solver).__name__,
            "options": fields(answer.solver),
            "method": result.method,
        },
        "parameters": parameter_record(result, answer.true_values),
        "fit": None if answer.fit is None else answer.fit.record(),
        "interval": None if answer.interval is None else answer.interval.record(),
        "samples": request.samples,
        "seed": request.seed,
        "batch_size": request.batch_size,
        "nfe_per_sample": result.nfe,
        "vjps_per_sample": result.vjps,
        "seconds": round(result.seconds, 3),
        "metrics": answer.metrics,
        **environment(device),
    }


def write(request: Request, answer: Answer, record: dict[str, Any], kept: Kept | None = None) -> None:
    """Write all files atomically."""
    shown = panels(answer)
    rows = [shown[i : i + _PANELS] for i in range(0, min(len(shown), 2 * _PANELS), _PANELS)]
    noise = (answer.stated or answer.problem).noise
    subtitle = f"{noise}   prior {request.prior}   {answer.result.nfe} evaluations per sample"
    subtitle += f"   {caption}" if (caption := parameter_caption(answer.result)) else ""
    subtitle += "" if answer.fit is None else f"   fit {answer.fit.mean:.3g}, samples {answer.fit.samples:.3g}"
    figure = comparison(rows, title=f"{request.operator}  |  {request.solver}", subtitle=subtitle)
    with staged(request.out) as folder:
        white = write_arrays(
            folder, answer.problem, answer.result, answer.truth, answer.interval, kept,
            scale=request.measurement_scale, units=answer.units,
            measured=None if answer.stated is None else answer.stated.measurement,
        )  # fmt: skip
        write_picture(figure, folder / "comparison.png")
        write_json(folder, {**record, "white_level": white})


def report(request: Request, answer: Answer) -> None:
    """Print the table, the time and the place of the files."""
    result = answer.result
    if answer.metrics:
        terminal.scores({"": answer.metrics})
    for line in parameter_lines(result, answer.true_values):
        terminal.line(line)
    if answer.interval is not None:
        terminal.line(f"Intervals: {answer.interval.statement}.")
    if answer.fit is not None:
        terminal.line(answer.fit.describe())
        if answer.fit.note:
            terminal.line(f"Note: {answer.fit.note}.")
    if result.samples.shape[1] == 1:
        terminal.line("A single sample has no spread, so std.png is black. Draw more with --samples.")
    elif not bool(result.std.any()):
        terminal.line("All samples are equal, because this solver gives one estimate; std.png is black.")
    terminal.line(f"{result.seconds:.1f} s, {result.nfe} network evaluations for each sample.")
    terminal.line(f"Figure: {request.out / 'comparison.png'}")
    terminal.line(
        "Also written: mean.png, std.png, lower.png, upper.png, sample_*.png, result.npz (arrays), result.json (record)"
    )
    if result.status == "misfit":
        terminal.warning(f"{result.status}: {result.message}")
    elif result.status != "ok":
        terminal.error(f"{result.status}: {result.message}")
    elif result.message:
        terminal.line(f"Note: {result.message}")
