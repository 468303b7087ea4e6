"""Posterior solvers, one paper a file: `solver(problem, prior, samples=4, seed=0)` gives a `Reconstruction`."""

from .base import Run, Solver
from .daps import DAPS
from .diffpir import DiffPIR
from .dps import DPS
from .mcgdiff import MCGDiff
from .options import make_solver, parameters
from .pnpdm import PnPDM
from .pseudo_inverse import PseudoInverse

__all__ = ["DAPS", "DPS", "DiffPIR", "MCGDiff", "PnPDM", "PseudoInverse", "Run", "Solver", "make_solver", "parameters"]
