"""From a request to a problem that is ready to be solved."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from ...calibration import Calibration, Setting
from ...errors import UserError
from ...fingerprint import fingerprint
from ...images.camera import Mosaic
from ...interface import default_prior
from ...memory import bounded
from ...newest import Newest
from ...noise import Noise
from ...operators import Demosaic, Operator
from ...operators.builders.factory import make_operator, make_operator_for_measurement
from ...priors import load_prior
from ...priors.base import Prior
from ...problem import Problem, simulate
from ...registry import operators
from ...rescaling import in_values
from ...solvers import Auto, Solver
from ...specs import Spec
from ...units import Units, find_units
from .channels import gray_for, prior_for
from .compression import with_compression
from .found_noise import FoundNoise, find_noise, is_found
from .inputs import Input, read_input
from .intervals import setting_of
from .kspace import check_centre, mask_note, with_measured_mask
from .noises import check_level, is_approximate, make_noise
from .parameters import drawn_parameters
from .request import Request
from .settings import settings_of
from .sinograms import sinogram_options, stated_geometry
from .units import check_range, units_notes

P = TypeVar("P", Operator, Prior)


class Tables:
    """Priors, operators and calibrations that several pictures share; the newest ones are kept."""

    def __init__(self) -> None:
        self._priors, self._operators = Newest[Prior](2), Newest[Operator](8)
        self._fitted = Newest[tuple[Prior, str]](2)
        self._placed = Newest[tuple[Operator | Prior, Operator | Prior]](8)
        self._calibrations = Newest[Calibration](1)

    def prior(self, name: str) -> Prior:
        """Return the prior of a name, loaded once."""
        return self._priors.get(name, lambda: load_prior(name))

    def fitted(self, channels: int, prior: Prior, name: str) -> tuple[Prior, str]:
        """Return the prior for images of so many channels, and its name; see `prior_for`."""
        return self._fitted.get((channels, name), lambda: prior_for(channels, prior, name))

    def operator(self, key: str, make: Callable[[], Operator]) -> Operator:
        """Return the operator of a key, with the tables that it has computed, or make it."""
        return self._operators.get(key, make)

    def placed(self, thing: P, device: torch.device) -> P:
        """Return an operator or a prior on a device: one copy for all pictures, with the tables that it computes."""
        _, moved = self._placed.get((id(thing), device), lambda: (thing, thing.to(device)))  # both stay alive
        return cast("P", moved)

    def calibration(self, request: Request) -> Calibration | None:
        """Return the calibration of the request, if it names one."""
        path = request.calibration
        return None if path is None else self._calibrations.get(path, lambda: Calibration.load(path))


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """One picture, ready to be solved.

    Attributes:
        request: with the prior and the solver that are taken.
        settings: what the result depends on, as `result.json` has it.
        started: when its preparation began.
        given: the content of its files.
        problem: the problem in the values of the prior.
        tables: what it shares with other pictures.
        stated: the problem as it was stated.
        solver: the solver.
        prior: the prior.
        setting: what a calibration must have in common with it.
        operator_key: the same for pictures with the same operator, which they share.
        true_values: of the unknown parameters, if the measurement is simulated.
        calibration: the calibration that is named.
        units: of the arrays that are written, if they are not the values of the prior.
    """

    request: Request
    settings: dict[str, Any]
    started: datetime
    given: Input
    problem: Problem
    tables: Tables
    stated: Problem
    solver: Solver
    prior: Prior
    setting: Setting
    operator_key: str
    true_values: dict[str, float] = field(default_factory=dict)
    calibration: Calibration | None = None
    units: Units | None = None

    def on(self, device: torch.device) -> Problem:
        """Return the problem on a device."""
        p = self.problem
        operator = self.tables.placed(p.operator, device)
        return Problem(operator, p.noise.to(device), p.measurement.to(device), p.image_index)

    def prior_on(self, device: torch.device) -> Prior:
        """Return the prior on a device."""
        return self.tables.placed(self.prior, device)

    @property
    def truth(self) -> Tensor | None:
        """The clean image, `(1, C, H, W)`, if the measurement is simulated."""
        if not self.request.simulate:
            return None
        return self.given.image if self.units is None else self.units.to_values(self.given.image)


def prepare(request: Request, chosen: Spec, solver: Solver, tables: Tables) -> Prepared:
    """Read the files of a request and return its problem.

    Args:
        request: the options.
        chosen: the solver, as the user named it.
        solver: the same as an object.
        tables: the priors and operators that were made before.

    Raises:
        ValueError: files and options that do not go together.
        OSError: files that cannot be read.
    """
    started, settings = datetime.now(UTC), settings_of(request)
    request, compression = with_compression(request)
    given = read_input(request)
    if compression:
        given = dataclasses.replace(given, notes=(*given.notes, f"the file's compression: {compression}"))
    check_range(request, given)
    operator, key = build_operator(request, given, tables)
    prior_name = request.prior or default_prior(operator.in_shape)
    prior = tables.prior(prior_name)
    image_like = request.simulate or operator.photographic
    fitted = gray_for(given, operator.in_shape[0], prior, prior_name, image_like=image_like)
    if fitted is not given:
        given = fitted
        operator, key = build_operator(request, given, tables)
    prior, prior_name = tables.fitted(operator.in_shape[0], prior, prior_name)
    prior = bounded(prior, request.memory, operator.in_shape, request.samples)
    request = dataclasses.replace(request, solver=chosen, prior=prior_name)
    if is_found(request.noise or ""):
        given = dataclasses.replace(given, noise=noise_in(request, given, operator))
    stated, true_values = build_problem(request, operator, given)
    units = None if request.units is None else find_units(request.units, prior.units, prior_name)
    problem = stated if units is None else in_values(stated, units)
    if request.calibration is not None and solver.point:
        raise UserError(
            f"--calibration: widens the intervals of samples, but {chosen} gives one estimate; leave it out"
        )
    setting = setting_of(
        str(request.operator), request.mask, request.noise or "", problem, prior_name, prior, solver, request.samples,
        grow=request.mask_grow, invert=request.mask_invert, geometry=stated_geometry(request), units=units,
    )  # fmt: skip
    calibration = tables.calibration(request)
    if calibration is not None:
        calibration.check(setting)
    return Prepared(
        request=request, settings=settings, started=started, given=given, problem=problem, tables=tables,
        stated=stated, solver=solver, prior=prior, setting=setting, operator_key=key, true_values=true_values,
        calibration=calibration, units=units,
    )  # fmt: skip


def build_operator(request: Request, given: Input, tables: Tables) -> tuple[Operator, str]:
    """Return the forward operator, for a clean image with `--simulate`, else for a measurement, and its key."""
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
    key = fingerprint([name, options, shape, given.known, request.seed, request.simulate])
    return tables.operator(key, lambda: make(name, shape, options, mask=given.known, seed=request.seed)), key


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


def describe(prepared: Prepared, device: torch.device) -> list[tuple[str, str]]:
    """Return a description of the run, as lines of a name and a text."""
    request, solver, problem, prior = prepared.request, prepared.solver, prepared.problem, prepared.prior
    given, law = prepared.given, prepared.stated.noise
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
    return lines + [("note", note) for note in notes_of(prepared)]


def notes_of(prepared: Prepared) -> list[str]:
    """Return what the user should know about the picture and how it is taken."""
    request, solver, problem, given = prepared.request, prepared.solver, prepared.problem, prepared.given
    found = [given.noise.note] if given.noise is not None and given.noise.note else []
    notes = [
        *given.notes,
        *found,
        *mask_note(request),
        *problem.operator.notes,
        *units_notes(request, problem, prepared.prior),
    ]
    if is_approximate(request.noise or "auto"):
        notes.append(f"{request.noise}: the Gaussian noise nearest to it, by the variance of what was measured")
    elif solver.approximates and not solver.posed(problem).noise.is_gaussian:
        notes.append(f"{type(solver).__name__} weights its squares by the Gaussian noise nearest to this one")
    return notes
