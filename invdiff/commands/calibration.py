"""`invdiff calibrate`: clean images are corrupted, reconstructed, and compared with their intervals."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..calibration import Calibration, Misses, Setting, misses
from ..calibration.bounds import check_images, check_probabilities, images_for_groups
from ..calibration.entrywise import Widening, fit_widening
from ..calibration.misses import append_misses, append_pixels, inside, pixels_of, read_rows
from ..checks import integer
from ..errors import UserError
from ..images import load_mask, middle_square, open_image
from ..images.folders import picture_files
from ..images.parts import split_part
from ..interface import DEFAULT_SOLVER, default_prior
from ..operators.builders.factory import make_operator
from ..priors import Prior, load_prior
from ..priors.training_images import trained_on
from ..problem import Problem, simulate
from ..registry import operators, solvers
from ..rescaling import in_values
from ..spacing import evenly_spaced
from ..specs import Spec
from ..units import Units, find_units
from . import terminal
from .checks import check_at_least, check_exists, check_name, check_writable
from .devices import select_device
from .endings import DIVERGED, INTERRUPTED
from .reconstruction.checks import check_units
from .reconstruction.found_noise import is_found
from .reconstruction.intervals import setting_of
from .reconstruction.noises import check_noise, make_noise
from .reconstruction.run import build_solver
from .reconstruction.units import check_hounsfield


@dataclass(frozen=True, kw_only=True)
class Order:
    """The options of `invdiff calibrate`; see its help."""

    images: Path
    operator: Spec
    noise: str
    out: Path
    level: float
    confidence: float | None
    size: int
    count: int | None
    groups: int
    gray: bool
    mask: Path | None
    mask_invert: bool = False
    mask_grow: int = 0
    units: str | None = None
    solver: Spec | None
    prior: str | None
    samples: int
    seed: int
    device: str
    threads: int | None
    overwrite: bool


def check_order(order: Order) -> None:
    """Raise a ValueError or OSError for invalid options, before any work."""
    check_probabilities(order.level, order.confidence)
    check_name(operators, order.operator.name)
    if order.solver is not None:
        check_name(solvers, order.solver.name)
    if is_found(order.noise):
        raise UserError("--noise auto: estimates the noise of a measurement; clean images need a number")
    check_noise(order.noise)
    if order.mask is not None:
        if not operators.facts(order.operator.name).takes_mask:
            raise UserError(f"--mask: goes with --operator inpainting, got --operator {order.operator.name}")
        check_exists(split_part(order.mask)[0])
    elif order.mask_grow or order.mask_invert:
        option = "--mask-grow" if order.mask_grow else "--mask-invert"
        raise UserError(f"{option}: goes with --mask, got none; add --mask or leave it out")
    check_units(order.units, order.operator)
    check_at_least("--mask-grow", order.mask_grow, 0)
    check_at_least("--samples", order.samples, 2)
    check_at_least("--seed", order.seed, 0)
    check_at_least("--threads", order.threads, 1)
    check_at_least("--count", order.count, 1)
    integer("--size", order.size, 8)
    check_at_least("--groups", order.groups, 1)
    check_images(len(_files(order)), order.level, order.confidence, order.groups)
    if order.out.exists() and not order.overwrite:
        raise FileExistsError(f"--out: {str(order.out)!r} is there already; add --overwrite, or choose another name")
    if not order.out.parent.is_dir():
        raise FileNotFoundError(f"--out: no folder {str(order.out.parent)!r}; make it first")
    check_writable(order.out.parent)


def run(order: Order) -> int:
    """Calibrate, and return the exit code: 0, or 3 if the solver diverged on an image."""
    if order.threads is not None:
        torch.set_num_threads(order.threads)
    device = select_device(order.device)
    solver = build_solver(order.solver or Spec(DEFAULT_SOLVER))
    if solver.point:
        raise UserError(f"--solver: expected one that gives samples, got {order.solver}; its estimates have no spread")
    shape = (1 if order.gray else 3, order.size, order.size)
    prior_name = order.prior or default_prior(shape)
    prior = load_prior(prior_name).to(device)
    files = _files(order)
    _check_unseen(files, prior_name, prior)
    units = None if order.units is None else find_units(order.units, prior.units, prior_name)
    known = None if order.mask is None else load_mask(order.mask, invert=order.mask_invert, grow=order.mask_grow)
    partial = order.out.with_name(order.out.name + ".partial")
    kept: dict[str, Misses] = {}
    pixels: dict[str, NDArray[np.float32]] = {}
    first = images_for_groups(len(files)) if order.groups > 1 else 0
    files = files[::4] + [f for k, f in enumerate(files) if k % 4] if first else files
    widening: Widening | None = None
    setting: Setting | None = None
    try:
        for number, (file, image) in enumerate(_images(files, order)):
            problem = _posed(order, image, known, units, number).to(device)
            truth = image if units is None else units.to_values(image)
            if setting is None:
                setting = setting_of(
                    str(order.operator), order.mask, order.noise, problem, prior_name, prior, solver, order.samples,
                    grow=order.mask_grow, invert=order.mask_invert, units=units,
                )  # fmt: skip
                terminal.facts([("note", note) for note in problem.operator.notes])
                kept, pixels = _resumed(partial, setting, order)
                if done := len(kept) + len(pixels):
                    terminal.facts([("resumed", f"{done} images of an earlier run")])
            if number == first > 0:
                widening = fit_widening(np.concatenate(list(pixels.values()), 1), order.level, order.groups)
            if file.name in kept or file.name in pixels:
                continue
            result = solver(problem, prior, samples=order.samples, seed=order.seed + number)
            if result.status == "diverged":
                terminal.error(f"{file.name}: {result.message}; no calibration was written")
                return DIVERGED
            if number < first:
                pixels[file.name] = pixels_of(result, truth.to(device), order.level)[0]
                append_pixels(partial, file.name, pixels[file.name])
            else:
                kept[file.name] = misses(result, truth.to(device), order.level, widening)[0]
                append_misses(partial, file.name, kept[file.name])
            terminal.facts([(f"{number + 1}/{len(files)}", f"{file.name}  {result.seconds:.1f} s")])
    except KeyboardInterrupt:
        terminal.error(
            f"interrupted: {len(kept) + len(pixels)} of {len(files)} images are in {partial}; the same command goes on"
        )
        raise SystemExit(INTERRUPTED) from None
    assert setting is not None
    found = [kept[f.name] for f in files[first:]]
    made = Calibration.from_misses(
        found, level=order.level, confidence=order.confidence, setting=setting, widening=widening
    )
    made.save(order.out)
    partial.unlink(missing_ok=True)
    if widening is not None:
        parts = ", ".join(f"{f:.3f}" for f in widening.factors)
        terminal.line(f"Factors of the groups, from small to large half-widths, on {first} images: {parts}.")
    terminal.line(
        f"Uncalibrated {order.level:g} intervals hold {100 * inside(found, 1.0):.1f} % of the pixels of these images."
    )
    terminal.line(f"Factor {made.factor:.3f}: {100 * made.covered:.1f} %, mean half-width {made.width:.4f}.")
    terminal.line(f"Guarantee: {made.statement}.")
    terminal.line(f"Use it: invdiff reconstruct ... --calibration {order.out}")
    return 0


def _check_unseen(files: list[Path], name: str, prior: Prior) -> None:
    """Raise a ValueError if the prior was trained on some of the images: its errors are too small there."""
    if seen := trained_on(prior, files):
        raise UserError(
            f"--images: expected images that the prior {name} was not trained on; it was trained on {len(seen)} of "
            f"these {len(files)}, {seen[0].name} among them; remove them: calibrated on them, intervals are too narrow"
        )


def _posed(order: Order, image: Tensor, known: Tensor | None, units: Units | None, number: int) -> Problem:
    """Return the problem of an image; random parts of operator and noise have a seed of their own."""
    seed, shape = order.seed + number, tuple(image.shape[1:])
    operator = make_operator(order.operator.name, shape, dict(order.operator.options), mask=known, seed=seed)
    problem = simulate(operator, image, make_noise(order.noise, image), seed)
    return problem if units is None else in_values(problem, units)


def _files(order: Order) -> list[Path]:
    """Return the image files, evenly spaced if a count is given."""
    if not order.images.is_dir():
        raise NotADirectoryError(f"--images: expected a folder of images, got {str(order.images)!r}")
    files = picture_files(order.images)
    if order.count is not None and order.count > len(files):
        raise UserError(f"--count: expected at most {len(files)}, the images in {order.images}, got {order.count}")
    return evenly_spaced(files, order.count)


def _images(files: list[Path], order: Order) -> Iterator[tuple[Path, Tensor]]:
    """Yield each file with the square in the middle of its image, `(1, C, size, size)`."""
    for file in files:
        image = open_image(file, mode="gray" if order.gray else "rgb", bounded=order.units is None).image.float()
        check_hounsfield(order.units, image, file)
        h, w = image.shape[-2:]
        if min(h, w) < order.size:
            raise UserError(
                f"{file}: expected at least {order.size} x {order.size} pixels, got {w} x {h}; choose a smaller "
                "--size, or remove it"
            )
        yield file, middle_square(image, order.size)


def _resumed(partial: Path, setting: Setting, order: Order) -> tuple[dict[str, Misses], dict[str, NDArray[np.float32]]]:
    """Return what an interrupted run of the same setting has kept; begin a new file otherwise."""
    head = json.dumps({**dataclasses.asdict(setting), "level": order.level, "seed": order.seed, "groups": order.groups})
    lines = partial.read_text(encoding="utf-8").splitlines() if partial.is_file() else []
    if not lines or lines[0] != head:
        partial.write_text(head + "\n", encoding="utf-8")
        return {}, {}
    return read_rows(lines[1:])
