"""Names of operators, solvers, samplers, priors and tasks, each a class or a factory.

A name resolves, in this order, as

- `path/to/file.py:Name`, an object in a file;
- a built-in name;
- a name that an installed package declares under the entry points `invdiff.operators`, `invdiff.solvers`,
  `invdiff.samplers`, `invdiff.priors` or `invdiff.tasks`.

The tables hold import paths and one-line summaries, not objects, so that listing them imports nothing heavy.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from .entries import PEERS, SOLVERS, Entry


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

    def __init__(self, kind: str, group: str, table: Mapping[str, Entry], also: Registry | None = None) -> None:
        self.kind, self.group, self._table, self._also = kind, group, dict[str, Entry](table), also

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
        if name in self._table:  # looking at what is installed takes long
            return self._table[name].load()
        found = self.entries() | (self._also.entries() if self._also is not None else {})
        if name not in found:
            raise UnknownNameError(unknown(self.kind, name, found))
        return found[name].load()

    def __contains__(self, name: object) -> bool:
        """Return whether a name is known."""
        return name in self._table or name in self.entries() or (self._also is not None and name in self._also)

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
    if name.endswith(".py"):
        return f"{kind} {name!r}: expected path/to/file.py:Name, got no name behind the file"
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


def in_file_of_user(error: BaseException) -> str:
    """Return `path/to/file.py:line` of the innermost line in a file that `load_from_file` read; "" if there is none.

    Args:
        error: an exception that was caught.
    """
    loaded = {str(m.__file__) for name, m in list(sys.modules.items()) if name.startswith(_MODULE)}
    places = [f for f in traceback.extract_tb(error.__traceback__) if f.filename in loaded]
    if not places:
        return ""
    file, here = Path(places[-1].filename), Path.cwd()
    return f"{file.relative_to(here) if file.is_relative_to(here) else file}:{places[-1].lineno}"


_MODULE = "_invdiff_file_"


def load_from_file(spec: str) -> Any:
    """Return the object that `path/to/file.py:Name` points at.

    Raises:
        ValueError: no such file, no such name in it, or the file fails to import.
    """
    path_text, _, name = spec.rpartition(":")
    path = Path(path_text)
    if not path.is_file():
        raise ValueError(f"{spec!r}: no file {path_text!r}; expected path/to/file.py:Name")
    module_name = f"{_MODULE}{path.stem}_{abs(hash(path.resolve()))}"
    if module_name not in sys.modules:
        module_spec = importlib.util.spec_from_file_location(module_name, path)
        assert module_spec is not None and module_spec.loader is not None
        module = importlib.util.module_from_spec(module_spec)
        sys.modules[module_name] = module
        try:
            module_spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[module_name]
            raise ValueError(f"{path_text}: fails to import: {type(error).__name__}: {error}") from error
    module = sys.modules[module_name]
    if not hasattr(module, name):
        public = [k for k, v in vars(module).items() if getattr(v, "__module__", None) == module_name]
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
peers = Registry("peer", "invdiff.peers", PEERS)
solvers = Registry("solver", "invdiff.solvers", SOLVERS, also=peers)
samplers = Registry(
    "sampler",
    "invdiff.samplers",
    {
        "ancestral": Entry("invdiff.samplers:Ancestral", "ancestral sampling of DDPM (Ho et al. 2020)"),
        "ddim": Entry("invdiff.samplers:DDIM", "denoising diffusion implicit models (Song et al. 2021)"),
        "ula": Entry("invdiff.samplers:ULA", "unadjusted Langevin at one noise level (Roberts, Tweedie 1996)"),
        "annealed": Entry("invdiff.samplers:AnnealedLangevin", "annealed Langevin dynamics (Song, Ermon 2019)"),
        "mala": Entry("invdiff.samplers:AnnealedMALA", "annealed Langevin with Metropolis' test"),
        "sde": Entry("invdiff.samplers:ReverseSDE", "the reverse-time SDE by Euler-Maruyama (Song et al. 2021)"),
        "pc": Entry("invdiff.samplers:PredictorCorrector", "the reverse SDE, corrected by Langevin (Song et al. 2021)"),
        "euler": Entry("invdiff.samplers:Euler", "the probability flow by Euler's method"),
        "heun": Entry(
            "invdiff.samplers:Heun", "the probability flow by Heun's method, with churn (Karras et al. 2022)"
        ),
        "ode": Entry("invdiff.samplers:AdaptiveODE", "the probability flow by a solver that chooses its own steps"),
    },
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
