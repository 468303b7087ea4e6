"""Posterior solvers, one paper a file: `solver(problem, prior, samples=4, seed=0)` gives a `Reconstruction`."""

from .base import Run, Solver
from .dps import DPS
from .options import make_solver, parameters
from .pseudo_inverse import PseudoInverse

__all__ = ["DPS", "PseudoInverse", "Run", "Solver", "make_solver", "parameters"]
