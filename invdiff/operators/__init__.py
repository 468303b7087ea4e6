"""Forward operators: deterministic maps from images to measurements."""

from .adapters import from_deepinv, to_deepinv
from .algebra import Adjoint, Chain, Composition, Scaled, Sum
from .base import LinearOperator, Operator, Spectrum
from .blur import Blur
from .color import Demosaic, Grayscale
from .downsample import Downsample
from .fan_beam import FanBeamTomography
from .functions import Function, LinearFunction, Matrix
from .identity import Identity
from .inpainting import Inpainting, box_mask, random_mask
from .jpeg import JPEG
from .kernels import gaussian_kernel, motion_kernel, uniform_kernel
from .mri import MRI, cartesian_mask
from .nonlinear import GammaCurve, HighDynamicRange, NonlinearBlur, PhaseRetrieval
from .sensing import CompressedSensing
from .separable import Separable
from .space_varying_blur import SpaceVaryingBlur, tile_weights
from .stack import NonlinearStack, Stack, stack
from .tomography import Projection, Tomography

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
    "PhaseRetrieval",
    "Projection",
    "Scaled",
    "Separable",
    "SpaceVaryingBlur",
    "Spectrum",
    "Stack",
    "Sum",
    "Tomography",
    "box_mask",
    "cartesian_mask",
    "from_deepinv",
    "gaussian_kernel",
    "motion_kernel",
    "random_mask",
    "stack",
    "tile_weights",
    "to_deepinv",
    "uniform_kernel",
]
