"""`invdiff reconstruct`: from a corrupted image to samples of its posterior, in files."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ...calibration import Calibration, Setting
from ...errors import UserError
from ...figures import comparison
from ...images import Kept, write_picture
from ...interface import DEFAULT_SOLVER
from ...journal import Journal
from ...metrics import psnr, ssim
from ...operators import LinearOperator
from ...pools.base import Pool
from ...pools.open import open_pool
from ...priors.base import Prior
from ...problem import Problem
from ...reconstruction import Reconstruction
from ...registry import solvers
from ...remote import Named, Workers
from ...solvers import Solver, make_solver
from ...solvers.base import BATCH_VALUES
from ...solvers.common.drawing import drawing
from ...specs import Spec
from .. import terminal
from ..devices import select_device
from ..endings import DIVERGED, INTERRUPTED
from .answer import Answer
from .fits import find_fit
from .intervals import LEVEL, find_interval
from .noises import noise_record
from .panels import panels
from .parameters import fixed, parameter_caption, parameter_lines, parameter_record
from .prepare import Prepared, Tables, describe, notes_of, prepare
from .request import Request
from .results import RESUME, digest_of, environment, fields, staged, write_arrays, write_json
from .settings import key_of
from .units import units_record

RESUMED = "goes on from the state that an earlier run of this command has left"
_PANELS = 4  # in each of the two rows of the figure
LARGE = 2**22  # pixel values above which figures without a closed form are left out


def run(request: Request) -> int:
    """Run the request and return the exit code: 0, also for a misfit, or 3 if the solver diverged."""
    if request.threads is not None:
        torch.set_num_threads(request.threads)
    device = select_device(request.device)
    chosen = chosen_solver(request)
    prepared = prepare(request, chosen, build_solver(chosen), Tables())
    journal = Journal(request.out / RESUME, key_of(prepared.settings))
    terminal.facts(describe(prepared, device) + ([("note", RESUMED)] if journal.resumed else []))
    prior = prepared.prior_on(device)
    try:
        with journal, workers(prepared, prior, device) as batch_size:
            result = prepared.solver(
                prepared.on(device), prior, samples=request.samples, seed=request.seed, batch_size=batch_size,
                progress=True,
            )  # fmt: skip
        answer = conclude(prepared, result, device)
    except KeyboardInterrupt:
        if not journal.written:
            raise
        terminal.error(f"interrupted: the state of the run is in {journal.folder}; the same command goes on")
        raise SystemExit(INTERRUPTED) from None
    journal.discard()
    report(prepared.request, answer)
    return DIVERGED if answer.result.status == "diverged" else 0


@contextmanager
def workers(prepared: Prepared, prior: Prior, device: torch.device) -> Iterator[int | None]:
    """Let the workers that the request names draw the batches; yield how many samples a batch has."""
    request = prepared.request
    if request.is_local:
        yield request.batch_size
        return
    named = Named.of(str(request.prior), prepared.prior)
    with open_workers(request, device) as pool, drawing(Workers(pool, prior, named)):
        each = max(1, BATCH_VALUES // math.prod(prepared.problem.operator.in_shape))
        yield request.batch_size or min(each, -(-request.samples // pool.size))


def open_workers(request: Request, device: torch.device) -> Pool:
    """Return the workers that the request names; this process takes as many threads as one of them."""
    pool = open_pool(workers=request.workers, scheduler=request.scheduler, device=device.type, threads=request.threads)
    torch.set_num_threads(pool.threads)
    return pool


def conclude(prepared: Prepared, result: Reconstruction, device: torch.device) -> Answer:
    """Write the files of a picture that is solved, and return all that is known of it."""
    request, given, units = prepared.request, prepared.given, prepared.units
    answer = assess(
        prepared.on(device), prepared.solver, result, truth=prepared.truth, setting=prepared.setting,
        calibration=prepared.calibration, level_known=request.simulate or given.noise is not None,
    )  # fmt: skip
    answer = dataclasses.replace(answer, units=units, stated=prepared.stated, true_values=prepared.true_values)
    record = build_record(prepared, answer, device)
    write(request, answer, record | units_record(request, units, prepared.prior), given.kept)
    return answer


def chosen_solver(request: Request) -> Spec:
    """Return the solver of the request, by default the one of its goal and effort."""
    return request.solver or Spec(DEFAULT_SOLVER, {"goal": request.goal, "effort": request.effort})


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


def solve(
    problem: Problem, solver: Solver, prior: Prior, *, samples: int, seed: int, truth: Tensor, setting: Setting
) -> Answer:
    """Run the solver with a progress bar, and compute the metrics of its result."""
    result = solver(problem, prior, samples=samples, seed=seed, progress=True)
    return assess(problem, solver, result, truth=truth, setting=setting)


def assess(
    problem: Problem,
    solver: Solver,
    result: Reconstruction,
    *,
    truth: Tensor | None = None,
    setting: Setting,
    calibration: Calibration | None = None,
    level_known: bool = True,
) -> Answer:
    """Return a result with its intervals, its fit and, if the truth is known, its metrics."""
    known = fixed(problem, result)
    baseline = find_baseline(known, quick=truth is None)
    interval = find_interval(result, setting, calibration)
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
        quick: whether to omit it where it takes iterations, instead of minutes for one panel of the figure; it always
            is for a large picture.
    """
    operator = problem.operator
    if not isinstance(operator, LinearOperator):
        return None
    filtered = getattr(operator, "fbp", None)
    if callable(filtered):
        return "filtered back-projection", filtered(problem.measurement)
    if operator.svd is None and (quick or math.prod(operator.in_shape) > LARGE):
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


def build_record(prepared: Prepared, answer: Answer, device: torch.device) -> dict[str, Any]:
    """Return the content of `result.json`, without the list of files."""
    request, given, result, problem = prepared.request, prepared.given, answer.result, answer.problem
    return {
        "status": result.status,
        "message": result.message,
        "command": request.command,
        "settings": prepared.settings,
        "started": prepared.started.isoformat(timespec="seconds"),
        "notes": notes_of(prepared),
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
        "memory": request.memory,
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
            scale=request.measurement_scale, units=answer.units, export=request.export,
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
    arrays = {"npz": "result.npz (arrays), ", "zarr": "result.zarr (arrays), ", "tiff": "result_*.tif (arrays), "}
    terminal.line(
        "Also written: mean.png, std.png, lower.png, upper.png, sample_*.png, "
        f"{arrays.get(request.export, '')}result.json (record)"
    )
    if result.status == "misfit":
        terminal.warning(f"{result.status}: {result.message}")
    elif result.status != "ok":
        terminal.error(f"{result.status}: {result.message}")
    elif result.message:
        terminal.line(f"Note: {result.message}")
