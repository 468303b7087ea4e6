"""Posterior solvers, one paper a file: `solver(problem, prior, samples=4, seed=0)` gives a `Reconstruction`."""

from .ald import ScoreALD
from .base import Run, Solver
from .convolved import ConvolvedLikelihood
from .daps import DAPS
from .ddnm import DDNM
from .ddrm import DDRM
from .diffpir import DiffPIR
from .dps import DPS
from .ilvr import ILVR
from .mcg import MCG
from .mcgdiff import MCGDiff
from .mmps import MMPS
from .options import make_solver, parameters
from .pigdm import PiGDM
from .pnpdm import PnPDM
from .pseudo_inverse import PseudoInverse
from .repaint import RePaint
from .score_sde import ScoreSDE
from .sda import SDA
from .snips import SNIPS
from .tds import TDS
from .twisted import TwistedMultistep

__all__ = [
    "DAPS",
    "DDNM",
    "DDRM",
    "DPS",
    "ILVR",
    "MCG",
    "MMPS",
    "SDA",
    "SNIPS",
    "TDS",
    "ConvolvedLikelihood",
    "DiffPIR",
    "MCGDiff",
    "PiGDM",
    "PnPDM",
    "PseudoInverse",
    "RePaint",
    "Run",
    "ScoreALD",
    "ScoreSDE",
    "Solver",
    "TwistedMultistep",
    "make_solver",
    "parameters",
]
