"""Entries of the registry, and the table of the solvers.

An entry holds an import path and what listings say, so that listing imports nothing heavy. Of a solver it holds the
paper, what the solver needs of a problem, and its class: exact in the limit, a point estimate, or approximate. The
tests compare these with the solvers themselves.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

NEEDS = {
    "linear": "linear operator", "svd": "closed-form SVD", "gaussian": "Gaussian noise", "vjp": "gradients",
}  # fmt: skip
"""What a solver may need of a problem, in the words of a listing."""


@dataclass(frozen=True)
class Entry:
    """Where a named object stands.

    Attributes:
        target: `module:attribute`.
        summary: one line for `invdiff list`.
        source: "built in", or the distribution that declares it.
    """

    target: str
    summary: str
    source: str = "built in"

    def load(self) -> Any:
        """Import the object."""
        module, _, attribute = self.target.partition(":")
        return getattr(importlib.import_module(module), attribute)


@dataclass(frozen=True)
class SolverEntry(Entry):
    """Where a solver stands, and what must be known to choose it.

    Attributes:
        paper: authors and year; "" for what is no paper's.
        needs: names of `NEEDS` with spaces between.
        limit: the parameter in whose limit the samples are exact; "" for none.
        point: whether it gives one estimate and no samples.

    Example:
        >>> SOLVERS["mcgdiff"].facts
        'Cardoso et al. 2024; needs linear operator, closed-form SVD, Gaussian noise; exact in the limit (particles)'
    """

    paper: str = ""
    needs: str = ""
    limit: str = ""
    point: bool = False

    @property
    def kind(self) -> str:
        """The class of the solver, in words."""
        if self.limit:
            return f"exact in the limit ({self.limit})"
        return "one estimate" if self.point else "approximate"

    @property
    def facts(self) -> str:
        """Paper, needs and class, in one line."""
        needs = ", ".join(NEEDS[n] for n in self.needs.split())
        return "; ".join(t for t in (self.paper, f"needs {needs}" if needs else "any problem", self.kind) if t)


SOLVERS: dict[str, SolverEntry] = {
    "pinv": SolverEntry(
        "invdiff.solvers:PseudoInverse",
        "least squares of least norm, without a prior: the floor",
        needs="linear",
        point=True,
    ),
    "dps": SolverEntry(
        "invdiff.solvers:DPS",
        "diffusion posterior sampling with Tweedie's estimate",
        paper="Chung et al. 2023",
        needs="vjp",
    ),
    "diffpir": SolverEntry(
        "invdiff.solvers:DiffPIR",
        "half-quadratic splitting along the noise levels",
        paper="Zhu et al. 2023",
        needs="gaussian",
    ),
    "daps": SolverEntry(
        "invdiff.solvers:DAPS", "decoupled annealing: draw a clean image, noise it anew", paper="Zhang et al. 2025"
    ),
    "pnpdm": SolverEntry(
        "invdiff.solvers:PnPDM", "split Gibbs sampling with a reverse diffusion", paper="Wu et al. 2024", limit="steps"
    ),
    "mcgdiff": SolverEntry(
        "invdiff.solvers:MCGDiff",
        "particle filter in the singular basis of a linear operator",
        paper="Cardoso et al. 2024",
        needs="linear svd gaussian",
        limit="particles",
    ),
    "pigdm": SolverEntry(
        "invdiff.solvers:PiGDM",
        "diffusion guided by the pseudo-inverse",
        paper="Song et al. 2023",
        needs="linear gaussian vjp",
    ),
    "ddrm": SolverEntry(
        "invdiff.solvers:DDRM",
        "diffusion in the operator's singular vectors, few steps",
        paper="Kawar et al. 2022",
        needs="linear svd gaussian",
    ),
    "ddnm": SolverEntry(
        "invdiff.solvers:DDNM",
        "diffusion in the operator's null space, DDNM+ with time travel",
        paper="Wang et al. 2023",
        needs="linear svd gaussian",
    ),
    "mmps": SolverEntry(
        "invdiff.solvers:MMPS",
        "diffusion guided with Tweedie's covariance, MMPS/TMPD",
        paper="Rozet et al. 2024, Boys et al. 2023",
        needs="gaussian vjp",
    ),
    "sda": SolverEntry(
        "invdiff.solvers:SDA",
        "diffusion guided by a widened likelihood, with corrections",
        paper="Rozet, Louppe 2023",
        needs="gaussian vjp",
    ),
    "ald": SolverEntry(
        "invdiff.solvers:ScoreALD",
        "diffusion by annealed Langevin with a measurement",
        paper="Jalal et al. 2021",
        needs="gaussian vjp",
    ),
    "ilvr": SolverEntry(
        "invdiff.solvers:ILVR",
        "diffusion with what is seen replaced at every step",
        paper="Choi et al. 2021",
        needs="linear",
    ),
    "repaint": SolverEntry(
        "invdiff.solvers:RePaint",
        "diffusion with replacement and resampling, for inpainting",
        paper="Lugmayr et al. 2022",
        needs="linear",
    ),
    "score_sde": SolverEntry(
        "invdiff.solvers:ScoreSDE",
        "diffusion by predictor and corrector with projection on the data",
        paper="Song, Shen et al. 2022",
        needs="linear",
    ),
    "mcg": SolverEntry(
        "invdiff.solvers:MCG",
        "diffusion with manifold constrained gradients",
        paper="Chung et al. 2022",
        needs="linear vjp",
    ),
    "snips": SolverEntry(
        "invdiff.solvers:SNIPS",
        "diffusion by annealed Langevin in the operator's singular vectors",
        paper="Kawar et al. 2021",
        needs="linear svd gaussian",
    ),
    "convolved": SolverEntry(
        "invdiff.solvers:ConvolvedLikelihood",
        "diffusion guided by the convolved likelihood",
        paper="Adam et al. 2022",
        needs="linear gaussian",
    ),
    "tds": SolverEntry(
        "invdiff.solvers:TDS",
        "twisted sequential Monte Carlo, any differentiable operator",
        paper="Wu et al. 2023",
        needs="gaussian vjp",
        limit="particles",
    ),
    "twisted": SolverEntry(
        "invdiff.solvers:TwistedMultistep",
        "TDS on multistep transitions with a moment-matched twist: our own",
        needs="linear gaussian vjp",
        limit="particles",
    ),
    "dip": SolverEntry(
        "invdiff.solvers:DeepImagePrior",
        "deep image prior: an untrained network, stopped early; no prior needed",
        paper="Ulyanov et al. 2018",
        needs="vjp",
    ),
    "tv": SolverEntry(
        "invdiff.solvers:TotalVariation",
        "total variation within the noise, primal-dual; no prior needed",
        paper="Rudin et al. 1992",
        needs="linear gaussian",
        point=True,
    ),
    "pnp": SolverEntry(
        "invdiff.solvers:PlugAndPlay",
        "plug-and-play half-quadratic splitting with the prior as denoiser",
        paper="Zhang et al. 2021",
        needs="gaussian",
        point=True,
    ),
    "reddiff": SolverEntry(
        "invdiff.solvers:REDdiff",
        "regularisation by denoising diffusion, a variational point",
        paper="Mardani et al. 2024",
        needs="vjp",
    ),
    "map": SolverEntry(
        "invdiff.solvers:MAP",
        "most probable image by gradients along falling noise levels",
        paper="Laumont et al. 2023",
        needs="vjp",
        point=True,
    ),
    "mgps": SolverEntry(
        "invdiff.solvers:MGPS", "variational guidance at midpoints", paper="Janati et al. 2025", needs="vjp"
    ),
    "mgdm": SolverEntry(
        "invdiff.solvers:MGDM",
        "mixture guidance: Gibbs sampling with data at random levels",
        paper="Janati et al. 2025",
        needs="vjp",
    ),
    "dcps": SolverEntry(
        "invdiff.solvers:DCPS",
        "divide and conquer: variational steps towards posteriors on the way",
        paper="Janati et al. 2024",
        needs="gaussian vjp",
    ),
    "langevin": SolverEntry(
        "invdiff.solvers:Langevin",
        "annealed Langevin on the posterior",
        paper="Laumont et al. 2022",
        needs="gaussian vjp",
        limit="inner",
    ),
    "fps": SolverEntry(
        "invdiff.solvers:FPS",
        "particle filter along a noised measurement",
        paper="Dou, Song 2024",
        needs="linear svd gaussian",
    ),
}
PEERS: dict[str, SolverEntry] = {
    "deepinv.dps": SolverEntry(
        "invdiff.solvers.peers.deepinv:DeepinvDPS",
        "peer: DPS of deepinv, in the same run",
        paper="Chung et al. 2023",
        needs="vjp",
    ),
    "deepinv.ddrm": SolverEntry(
        "invdiff.solvers.peers.deepinv:DeepinvDDRM",
        "peer: DDRM of deepinv, in the same run",
        paper="Kawar et al. 2022",
        needs="linear svd gaussian",
    ),
    "deepinv.diffpir": SolverEntry(
        "invdiff.solvers.peers.deepinv:DeepinvDiffPIR",
        "peer: DiffPIR of deepinv, in the same run",
        paper="Zhu et al. 2023",
        needs="linear gaussian",
    ),
}
