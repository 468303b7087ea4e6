"""Posterior solvers, one paper a file: `solver(problem, prior, samples=4, seed=0)` gives a `Reconstruction`."""

if __name__ != "invdiff.solvers":  # by the link of that name at the top of the repository
    raise ImportError("solvers: the folder here is a link into the package; import invdiff.solvers")

from .ald import ScoreALD
from .auto import Auto
from .base import Solver, make_solver, parameters
from .common.run import Run
from .convolved import ConvolvedLikelihood
from .daps import DAPS
from .dcps import DCPS
from .ddnm import DDNM
from .ddrm import DDRM
from .diffpir import DiffPIR
from .dip import DeepImagePrior
from .dps import DPS
from .evidence import Evidence
from .fast_em import FastEM
from .fps import FPS
from .ilvr import ILVR
from .iterative import IterativeSolver
from .langevin import Langevin
from .map import MAP
from .mcg import MCG
from .mcgdiff import MCGDiff
from .mgdm import MGDM
from .mgps import MGPS
from .mmps import MMPS
from .pigdm import PiGDM
from .pixelwise import Pixelwise
from .pnp import PlugAndPlay
from .pnpdm import PnPDM
from .pseudo_inverse import PseudoInverse
from .reddiff import REDdiff
from .repaint import RePaint
from .rmps import RMPS
from .score_sde import ScoreSDE
from .sda import SDA
from .snips import SNIPS
from .tds import TDS
from .tv import TotalVariation
from .twisted import TwistedMultistep

__all__ = [
    "DAPS",
    "DCPS",
    "DDNM",
    "DDRM",
    "DPS",
    "FPS",
    "ILVR",
    "MAP",
    "MCG",
    "MGDM",
    "MGPS",
    "MMPS",
    "RMPS",
    "SDA",
    "SNIPS",
    "TDS",
    "Auto",
    "ConvolvedLikelihood",
    "DeepImagePrior",
    "DiffPIR",
    "Evidence",
    "FastEM",
    "IterativeSolver",
    "Langevin",
    "MCGDiff",
    "PiGDM",
    "Pixelwise",
    "PlugAndPlay",
    "PnPDM",
    "PseudoInverse",
    "REDdiff",
    "RePaint",
    "Run",
    "ScoreALD",
    "ScoreSDE",
    "Solver",
    "TotalVariation",
    "TwistedMultistep",
    "make_solver",
    "parameters",
]
