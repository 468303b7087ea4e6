"""Names of operators, noises, solvers, samplers, priors and tasks, each a class or a factory.

A name resolves, in this order, as

- `path/to/file.py:Name`, an object in a file;
- a built-in name;
- a name that an installed package declares under the entry points `invdiff.operators`, `invdiff.solvers`,
  `invdiff.noises`, `invdiff.samplers`, `invdiff.priors` or `invdiff.tasks`.

The tables hold import paths and one-line summaries, not objects, so listing them imports no heavy module.
"""

from __future__ import annotations

from ..entries import NOISES, OPERATORS, PEERS, SOLVERS
from ..entry import Entry, NoiseEntry, OperatorEntry, SolverEntry
from .files import (
    WEIGHTS,
    in_file_of_user,
    is_foreign,
    is_weights,
    load_files,
    load_from_file,
    loaded_files,
    weights_path,
)
from .mapping import Registry
from .names import UnknownNameError, unknown

__all__ = [
    "WEIGHTS",
    "Registry",
    "UnknownNameError",
    "in_file_of_user",
    "is_foreign",
    "is_weights",
    "load_files",
    "load_from_file",
    "loaded_files",
    "noises",
    "operators",
    "peers",
    "priors",
    "samplers",
    "solvers",
    "tasks",
    "unknown",
    "weights_path",
]

noises = Registry("noise", "invdiff.noises", NOISES, NoiseEntry)
operators = Registry("operator", "invdiff.operators", OPERATORS, OperatorEntry)
peers = Registry("peer", "invdiff.peers", PEERS, SolverEntry)
solvers = Registry("solver", "invdiff.solvers", SOLVERS, SolverEntry, also=peers)
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
    Entry,
)
priors = Registry(
    "prior",
    "invdiff.priors",
    {
        "photo": Entry("invdiff.priors.embedded:photo", "network trained on photographs; 3 channels, any size"),
        "photo-gray": Entry("invdiff.priors.gray:photo_gray", "`photo` for gray photographs; 1 channel, any size"),
        "ct": Entry("invdiff.priors.embedded:ct", "network trained on body CT slices; 1 channel, any size"),
        "kernel": Entry("invdiff.priors.embedded:kernel", "network trained on kernels of blurs; 1 channel, any size"),
        "mri": Entry("invdiff.priors.embedded:mri", "network trained on T1-weighted brain slices; 1 channel, any size"),
        "cells": Entry(
            "invdiff.priors.embedded:cells", "network trained on fluorescent cell nuclei; 1 channel, any size"
        ),
        "fashion": Entry("invdiff.priors.embedded:fashion", "network trained on Fashion-MNIST; 1 channel, 28 x 28"),
        "gaussian": Entry(
            "invdiff.priors:photograph_gaussian",
            "stationary Gaussian, spectrum fitted to photographs; any size, 1 or 3 channels",
        ),
    },
    Entry,
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
    Entry,
)
