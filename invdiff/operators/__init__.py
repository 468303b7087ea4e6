"""Forward operators: deterministic maps from images to measurements."""

from .algebra import Adjoint, Chain, Composition, NonlinearStack, Scaled, Stack, Sum, stack
from .base import LinearOperator, Operator, Spectrum
from .blur import Blur
from .downsample import Downsample
from .functions import Function, LinearFunction, Matrix
from .identity import Identity
from .inpainting import Inpainting, box_mask, random_mask
from .kernels import gaussian_kernel, motion_kernel, uniform_kernel
from .separable import Separable
from .tomography import Tomography

__all__ = [
    "Adjoint",
    "Blur",
    "Chain",
    "Composition",
    "Downsample",
    "Function",
    "Identity",
    "Inpainting",
    "LinearFunction",
    "LinearOperator",
    "Matrix",
    "NonlinearStack",
    "Operator",
    "Scaled",
    "Separable",
    "Spectrum",
    "Stack",
    "Sum",
    "Tomography",
    "box_mask",
    "gaussian_kernel",
    "motion_kernel",
    "random_mask",
    "stack",
    "uniform_kernel",
]
