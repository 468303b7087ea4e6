"""Reconstruction in one call, with prior and solver by name or as objects."""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from pathlib import Path

from .errors import UserError
from .fingerprint import fingerprint
from .journal import Journal
from .memory import bounded
from .priors import load_prior
from .priors.base import Prior
from .problem import Problem
from .reconstruction import Reconstruction
from .registry import solvers
from .rescaling import in_units, in_values
from .solvers import Solver, make_solver
from .solvers.common.progress import Progress
from .units import find_units

DEFAULT_PRIOR = "photo"
GRAY_PRIOR = "photo-gray"
DEFAULT_SOLVER = "auto"


def default_prior(in_shape: tuple[int, ...]) -> str:
    """Return the default prior of images `(C, H, W)`: the network of photographs, colour or gray."""
    return {3: DEFAULT_PRIOR, 1: GRAY_PRIOR}.get(in_shape[0], "gaussian")


def reconstruct(
    problem: Problem,
    prior: Prior | str | None = None,
    solver: Solver | str = DEFAULT_SOLVER,
    *,
    samples: int = 1,
    seed: int = 0,
    batch_size: int | None = None,
    progress: bool | Progress = False,
    units: str | None = None,
    resume: str | Path | None = None,
    memory: str | float | None = None,
    **options: object,
) -> Reconstruction:
    """Draw samples of the posterior `p(x | y)`.

    Args:
        problem: operator, noise and measurements.
        prior: a `Prior`, or an argument of `load_prior`; by default `photo` for three channels and `photo-gray` for
            one.
        solver: a `Solver`, or a name of `invdiff.registry.solvers`; by default `auto`, which takes the solvers
            that were measured to be best for the kind of problem.
        samples: number of samples of each image.
        seed: non-negative integer.
        batch_size: number of samples that are drawn at once.
        progress: whether to show a progress bar.
        units: of the images that the measurement is of, and of the result: "1/cm", "1/mm", "1/m" or "HU", the former
            with the attenuation of water if needed, as "1/cm:mu_water=0.19"; by default the values of the prior. The
            noise is in the units of the measurement, and so are lengths of the operator such as `pixel_size`.
        resume: folder for the state of the run, written once a minute and removed at the end. A run that was killed
            goes on from it when it is started again with the same arguments, to the same bits on a CPU.
        memory: bound on the peak memory, bytes or text such as "4GB"; the network of a large picture then goes through
            it in tiles, with the same numbers up to rounding. By default a quarter of the machine's memory.
        **options: hyper-parameters of a solver that is given by name.

    Returns:
        Samples `(B, S, C, H, W)`, their mean and standard deviation, and how they were made.

    Raises:
        ValueError: unknown names or options, a problem that the solver cannot do, or units that
            the prior does not have.

    Example:
        >>> import torch
        >>> from invdiff import simulate
        >>> from invdiff.operators import Identity
        >>> problem = simulate(Identity((1, 8, 8)), torch.full((1, 1, 8, 8), 0.5), noise=0.1)
        >>> reconstruct(problem, "gaussian", "dps", steps=5).samples.shape
        torch.Size([1, 1, 1, 8, 8])
    """
    if isinstance(solver, str):
        cls = solvers[solver]
        if not (inspect.isclass(cls) and issubclass(cls, Solver)):
            raise UserError(f"{solver!r}: expected a subclass of invdiff.solvers.Solver, got {cls!r}")
        solver = make_solver(cls, options)
    elif options:
        raise UserError(
            f"reconstruct: {sorted(options)[0]!r}: options go with a solver given by name; "
            f"set them on the {type(solver).__name__} object"
        )
    if prior is None:
        prior = default_prior(problem.operator.in_shape)
    p = load_prior(prior) if isinstance(prior, str) else prior
    p = bounded(p.to(problem.measurement.device), memory, problem.operator.in_shape, samples * len(problem))
    unit = None if units is None else find_units(units, p.units, prior if isinstance(prior, str) else type(p).__name__)
    solved = problem if unit is None else in_values(problem, unit)
    journal = None if resume is None else Journal(resume, fingerprint([solved, p, repr(solver), samples, seed]))
    with journal or nullcontext():
        result = solver(solved, p, samples=samples, seed=seed, batch_size=batch_size, progress=progress)
    if journal is not None:
        journal.discard()
    return result if unit is None else in_units(result, unit, problem, solved)
