"""Names of operators, solvers, priors and tasks, each a class or a factory.

A name resolves, in this order, as

- `path/to/file.py:Name`, an object in a file;
- a built-in name;
- a name that an installed package declares under the entry points `invdiff.operators`, `invdiff.solvers`,
  `invdiff.priors` or
  `invdiff.tasks`.

The tables hold import paths and one-line summaries, not objects, so that listing them imports nothing heavy.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any


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


class Registry(Mapping[str, Any]):
    """A mapping from names to classes or factories, of one kind.

    Names of `also` resolve as well, without being listed: whoever goes through all solvers means ours, not the peers.

    Example:
        >>> operators["blur"].__name__
        'Blur'
        >>> operators["blurr"]
        Traceback (most recent call last):
        ...
        invdiff.registry.UnknownNameError: unknown operator 'blurr'; did you mean 'blur'?
    """

    def __init__(self, kind: str, group: str, table: dict[str, Entry], also: Registry | None = None) -> None:
        self.kind, self.group, self._table, self._also = kind, group, dict(table), also

    def entries(self) -> dict[str, Entry]:
        """Return all entries, built-in ones first, then those of installed packages."""
        found = dict(self._table)
        for point in entry_points(group=self.group):
            dist = point.dist.name if point.dist else "an installed package"
            found.setdefault(point.name, Entry(point.value, f"from {dist}", dist))
        return found

    def register(self, name: str, target: str, summary: str) -> None:
        """Add an entry for this process.

        Args:
            name: the new name.
            target: `module:attribute`.
            summary: one line for listings.

        Raises:
            ValueError: the name is taken.
        """
        if name in self._table:
            raise ValueError(f"{self.kind} {name!r} is registered already; choose another name")
        self._table[name] = Entry(target, summary, "registered")

    def __getitem__(self, name: str) -> Any:
        """Return the object of that name, or of `path/to/file.py:Name`."""
        if ".py:" in name:
            return load_from_file(name)
        found = self.entries() | (self._also.entries() if self._also is not None else {})
        if name not in found:
            raise UnknownNameError(unknown(self.kind, name, found))
        return found[name].load()

    def __contains__(self, name: object) -> bool:
        """Return whether a name is known."""
        return name in self.entries() or (self._also is not None and name in self._also)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self.entries())

    def __len__(self) -> int:
        """Return how many names there are."""
        return len(self.entries())


class UnknownNameError(KeyError, ValueError):
    """A name that no registry knows; its text says which is nearest."""

    def __str__(self) -> str:
        """Return the message without the quotes that KeyError puts around it."""
        return str(self.args[0])


def unknown(kind: str, name: str, known: Any) -> str:
    """Return the message for an unknown name: the nearest known one, or all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names) or 'none'}"
    return f"unknown {kind} {name!r}; {hint}"


WEIGHTS = frozenset({".bin", ".ckpt", ".pkl", ".pt", ".pth", ".safetensors"})
"""Suffixes of files that hold a network's weights."""


def is_weights(spec: str) -> bool:
    """Return whether a spec, with options or without, points at weights: a file of such a suffix, or any folder."""
    path = weights_path(spec)
    return path.suffix.lower() in WEIGHTS or path.is_dir()


def weights_path(spec: str) -> Path:
    """Return the path in `path` or `path:key=value,...`."""
    whole, bare = Path(spec), Path(spec.rpartition(":")[0])
    options = "=" in spec.rpartition(":")[2] and (bare.exists() or bare.suffix.lower() in WEIGHTS)
    return bare if options and not whole.exists() else whole


def load_from_file(spec: str) -> Any:
    """Return the object that `path/to/file.py:Name` points at.

    Raises:
        ValueError: no such file, no such name in it, or the file fails to import.
    """
    path_text, _, name = spec.rpartition(":")
    path = Path(path_text)
    if not path.is_file():
        raise ValueError(f"{spec!r}: no file {path_text!r}; expected path/to/file.py:Name")
    module_name = f"_invdiff_file_{path.stem}_{abs(hash(path.resolve()))}"
    if module_name not in sys.modules:
        module_spec = importlib.util.spec_from_file_location(module_name, path)
        assert module_spec is not None and module_spec.loader is not None
        module = importlib.util.module_from_spec(module_spec)
        sys.modules[module_name] = module
        try:
            module_spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[module_name]
            raise ValueError(f"{path_text}: fails to import: {type(error).__name__}: {error}") from error
    module = sys.modules[module_name]
    if not hasattr(module, name):
        public = [k for k in vars(module) if not k.startswith("_")]
        raise ValueError(f"{path_text}: {unknown('name', name, public)}")
    return getattr(module, name)


operators = Registry(
    "operator",
    "invdiff.operators",
    {
        "identity": Entry("invdiff.operators:Identity", "the image itself: denoising"),
        "inpainting": Entry("invdiff.operators:Inpainting", "missing pixels: box, random or any mask"),
        "blur": Entry("invdiff.operators:Blur", "convolution: Gaussian, motion, uniform or any kernel, four borders"),
        "downsample": Entry(
            "invdiff.operators:Downsample", "fewer pixels: average or antialiased bicubic, any integer factor"
        ),
        "tomography": Entry("invdiff.operators:Tomography", "parallel-beam X-ray projections at any angles"),
        "fan_beam": Entry("invdiff.operators:FanBeamTomography", "X-ray projections from a point source"),
        "mri": Entry("invdiff.operators:MRI", "frequencies under a mask, one coil; real or complex images"),
        "grayscale": Entry("invdiff.operators:Grayscale", "the luma of a colour image: colourisation"),
        "demosaic": Entry("invdiff.operators:Demosaic", "one colour for each pixel, Bayer patterns"),
        "space_varying_blur": Entry(
            "invdiff.operators:SpaceVaryingBlur", "Gaussian blur that grows from left to right"
        ),
        "compressed_sensing": Entry("invdiff.operators:CompressedSensing", "random projections, structured or dense"),
        "phase_retrieval": Entry("invdiff.operators:PhaseRetrieval", "magnitude of the oversampled Fourier transform"),
        "high_dynamic_range": Entry("invdiff.operators:HighDynamicRange", "contrast clipped to [0, 1]"),
        "gamma_curve": Entry("invdiff.operators:GammaCurve", "a tone curve"),
        "nonlinear_blur": Entry("invdiff.operators:NonlinearBlur", "blur in linear light behind a camera's tone curve"),
        "jpeg": Entry("invdiff.operators:JPEG", "compression; gradients pass the rounding"),
    },
)
peers = Registry(
    "peer",
    "invdiff.peers",
    {
        "deepinv.dps": Entry("invdiff.solvers.peers:DeepinvDPS", "peer: DPS of deepinv, in the same run"),
        "deepinv.ddrm": Entry("invdiff.solvers.peers:DeepinvDDRM", "peer: DDRM of deepinv, in the same run"),
        "deepinv.diffpir": Entry("invdiff.solvers.peers:DeepinvDiffPIR", "peer: DiffPIR of deepinv, in the same run"),
    },
)
solvers = Registry(
    "solver",
    "invdiff.solvers",
    {
        "pinv": Entry("invdiff.solvers:PseudoInverse", "least squares of least norm, without a prior: the floor"),
        "dps": Entry("invdiff.solvers:DPS", "diffusion posterior sampling with Tweedie's estimate (Chung et al. 2023)"),
        "diffpir": Entry(
            "invdiff.solvers:DiffPIR", "half-quadratic splitting along the noise levels (Zhu et al. 2023)"
        ),
        "daps": Entry(
            "invdiff.solvers:DAPS", "decoupled annealing: draw a clean image, noise it anew (Zhang et al. 2025)"
        ),
        "pnpdm": Entry(
            "invdiff.solvers:PnPDM",
            "split Gibbs sampling with a reverse diffusion, asymptotically exact (Wu et al. 2024)",
        ),
        "mcgdiff": Entry(
            "invdiff.solvers:MCGDiff",
            "particle filter in the singular basis of a linear operator (Cardoso et al. 2024)",
        ),
        "pigdm": Entry("invdiff.solvers:PiGDM", "diffusion guided by the pseudo-inverse (Song et al. 2023)"),
        "ddrm": Entry(
            "invdiff.solvers:DDRM", "diffusion in the operator's singular vectors, few steps (Kawar et al. 2022)"
        ),
        "ddnm": Entry(
            "invdiff.solvers:DDNM", "diffusion in the operator's null space, DDNM+ with time travel (Wang et al. 2023)"
        ),
        "mmps": Entry(
            "invdiff.solvers:MMPS",
            "diffusion guided with Tweedie's covariance, MMPS/TMPD (Rozet et al. 2024, Boys et al. 2023)",
        ),
        "sda": Entry(
            "invdiff.solvers:SDA", "diffusion guided by a widened likelihood, with corrections (Rozet, Louppe 2023)"
        ),
        "ald": Entry(
            "invdiff.solvers:ScoreALD", "diffusion by annealed Langevin with a measurement (Jalal et al. 2021)"
        ),
        "ilvr": Entry("invdiff.solvers:ILVR", "diffusion with what is seen replaced at every step (Choi et al. 2021)"),
        "repaint": Entry(
            "invdiff.solvers:RePaint", "diffusion with replacement and resampling, for inpainting (Lugmayr et al. 2022)"
        ),
        "score_sde": Entry(
            "invdiff.solvers:ScoreSDE",
            "diffusion by predictor and corrector with projection on the data (Song, Shen et al. 2022)",
        ),
        "mcg": Entry("invdiff.solvers:MCG", "diffusion with manifold constrained gradients (Chung et al. 2022)"),
        "snips": Entry(
            "invdiff.solvers:SNIPS",
            "diffusion by annealed Langevin in the operator's singular vectors (Kawar et al. 2021)",
        ),
        "convolved": Entry(
            "invdiff.solvers:ConvolvedLikelihood", "diffusion guided by the convolved likelihood (Adam et al. 2022)"
        ),
        "tds": Entry(
            "invdiff.solvers:TDS", "twisted sequential Monte Carlo, any differentiable operator (Wu et al. 2023)"
        ),
        "twisted": Entry(
            "invdiff.solvers:TwistedMultistep",
            "TDS on multistep transitions with a moment-matched twist: our own, exact as particles grow",
        ),
        "dip": Entry(
            "invdiff.solvers:DeepImagePrior",
            "deep image prior: an untrained network, stopped early; no prior needed (Ulyanov et al. 2018)",
        ),
        "tv": Entry(
            "invdiff.solvers:TotalVariation",
            "total variation within the noise, primal-dual; no prior needed (Rudin et al. 1992)",
        ),
        "pnp": Entry(
            "invdiff.solvers:PlugAndPlay",
            "plug-and-play half-quadratic splitting with the prior as denoiser (Zhang et al. 2021)",
        ),
        "reddiff": Entry(
            "invdiff.solvers:REDdiff",
            "regularisation by denoising diffusion, a variational point (Mardani et al. 2024)",
        ),
        "map": Entry(
            "invdiff.solvers:MAP", "most probable image by gradients along falling noise levels (Laumont et al. 2023)"
        ),
        "mgps": Entry("invdiff.solvers:MGPS", "variational guidance at midpoints (Janati et al. 2025)"),
        "dcps": Entry(
            "invdiff.solvers:DCPS",
            "divide and conquer: variational steps towards posteriors on the way (Janati et al. 2024)",
        ),
        "langevin": Entry("invdiff.solvers:Langevin", "annealed Langevin on the posterior (Laumont et al. 2022)"),
        "fps": Entry("invdiff.solvers:FPS", "particle filter along a noised measurement (Dou, Song 2024)"),
    },
    also=peers,
)
priors = Registry(
    "prior",
    "invdiff.priors",
    {
        "photo": Entry("invdiff.priors.embedded:photo", "network trained on photographs; 3 channels, any size"),
        "photo-gray": Entry("invdiff.priors.gray:photo_gray", "`photo` for gray photographs; 1 channel, any size"),
        "ct": Entry("invdiff.priors.embedded:ct", "network trained on body CT slices; 1 channel, any size"),
        "fashion": Entry("invdiff.priors.embedded:fashion", "network trained on Fashion-MNIST; 1 channel, 28 x 28"),
        "gaussian": Entry(
            "invdiff.priors:photograph_gaussian",
            "stationary Gaussian, spectrum fitted to photographs; any size, 1 or 3 channels",
        ),
    },
)
tasks = Registry(
    "task",
    "invdiff.tasks",
    {
        "denoising": Entry("invdiff.benchmarks.tasks:Denoising", "the image under noise"),
        "box_inpainting": Entry("invdiff.benchmarks.tasks:BoxInpainting", "a box of missing pixels at a random place"),
        "random_inpainting": Entry(
            "invdiff.benchmarks.tasks:RandomInpainting", "pixels missing at random, 70 % of them"
        ),
        "super_resolution": Entry(
            "invdiff.benchmarks.tasks:SuperResolution", "a quarter of the pixels along each side, bicubic"
        ),
        "gaussian_blur": Entry("invdiff.benchmarks.tasks:GaussianBlur", "Gaussian blur, reflected borders"),
        "motion_blur": Entry("invdiff.benchmarks.tasks:MotionBlur", "blur of a moving camera, reflected borders"),
        "sparse_view_ct": Entry("invdiff.benchmarks.tasks:SparseViewCT", "tomography from 23 views"),
        "limited_angle_ct": Entry("invdiff.benchmarks.tasks:LimitedAngleCT", "tomography from a quarter of a turn"),
        "phase_retrieval": Entry(
            "invdiff.benchmarks.tasks:PhaseRetrievalTask", "magnitude of the oversampled Fourier transform"
        ),
        "high_dynamic_range": Entry("invdiff.benchmarks.tasks:HighDynamicRangeTask", "contrast doubled and clipped"),
    },
)
