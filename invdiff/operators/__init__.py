"""Forward operators: deterministic maps from images to measurements.

A new operator sets two shapes and defines `forward`. Every solver accepts it, and so does the command line, as
`path/to/file.py:Vignette`:

    >>> import torch
    >>> from invdiff.operators import LinearOperator
    >>> class Vignette(LinearOperator):
    ...     def __init__(self, in_shape, strength=0.5):
    ...         self.in_shape = self.out_shape = in_shape
    ...         h, w = in_shape[1:]
    ...         r2 = torch.linspace(-1, 1, h)[:, None] ** 2 + torch.linspace(-1, 1, w) ** 2
    ...         self.gain = 1 - strength * r2 / 2
    ...     def forward(self, x):
    ...         return self.gain.to(x) * x
    >>> Vignette((1, 3, 3))(torch.ones(1, 1, 3, 3)).squeeze()
    tensor([[0.5000, 0.7500, 0.5000],
            [0.7500, 1.0000, 0.7500],
            [0.5000, 0.7500, 0.5000]])

`invdiff.testing.check_operator` checks its contract. Families of operators, one a file or folder:

- `identity`, `gain`, `inpainting`, `blurs` (with kernels), `downsample`, `color`
- `tomography` (parallel and fan beam), `mri`, `sensing`
- `nonlinear`, `jpeg`
- `composed`: operators made of operators, functions, matrices; `deepinv`: adapters of deepinv's
physics

`builders` makes them from names and options; `numerics` is their linear algebra.
"""

if __name__ != "invdiff.operators":  # by the link of that name at the top of the repository
    raise ImportError("operators: the folder here is a link into the package; import invdiff.operators")

from .base import LinearOperator, Operator, Spectrum
from .blurs.blur import Blur
from .blurs.centres import centered_kernel
from .blurs.kernels import gaussian_kernel, motion_kernel, shake_kernel, uniform_kernel
from .blurs.optics import airy_kernel, disk_kernel, moffat_kernel
from .blurs.space_varying import SpaceVaryingBlur, tile_weights
from .color import Demosaic, Grayscale
from .composed import (
    Adjoint,
    Chain,
    Composition,
    Function,
    LinearFunction,
    Matrix,
    NonlinearStack,
    Scaled,
    Separable,
    Stack,
    Sum,
    stack,
)
from .deepinv.adapters import from_deepinv, to_deepinv
from .downsample import Downsample
from .family import OperatorFamily
from .gain import Gain
from .identity import Identity
from .inpainting import Inpainting, box_mask, random_mask
from .jpeg import JPEG
from .mri import MRI, cartesian_mask
from .nonlinear import GammaCurve, HighDynamicRange, NonlinearBlur, PhaseRetrieval
from .numerics.linalg import Outcome, watch_solves
from .sensing import CompressedSensing
from .tomography.fan_beam import FanBeamTomography
from .tomography.parallel import Projection, Tomography

__all__ = [
    "JPEG",
    "MRI",
    "Adjoint",
    "Blur",
    "Chain",
    "Composition",
    "CompressedSensing",
    "Demosaic",
    "Downsample",
    "FanBeamTomography",
    "Function",
    "Gain",
    "GammaCurve",
    "Grayscale",
    "HighDynamicRange",
    "Identity",
    "Inpainting",
    "LinearFunction",
    "LinearOperator",
    "Matrix",
    "NonlinearBlur",
    "NonlinearStack",
    "Operator",
    "OperatorFamily",
    "Outcome",
    "PhaseRetrieval",
    "Projection",
    "Scaled",
    "Separable",
    "SpaceVaryingBlur",
    "Spectrum",
    "Stack",
    "Sum",
    "Tomography",
    "airy_kernel",
    "box_mask",
    "cartesian_mask",
    "centered_kernel",
    "disk_kernel",
    "from_deepinv",
    "gaussian_kernel",
    "moffat_kernel",
    "motion_kernel",
    "random_mask",
    "shake_kernel",
    "stack",
    "tile_weights",
    "to_deepinv",
    "uniform_kernel",
    "watch_solves",
]
