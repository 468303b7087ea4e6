"""Kernels of any shape from a blurred picture, and photographs deblurred with them."""

from __future__ import annotations

from .estimate import KernelEstimate, estimate_kernel, estimate_with_spread
from .shapes import kernel_similarity
from .solve import deblurred

__all__ = ["KernelEstimate", "deblurred", "estimate_kernel", "estimate_with_spread", "kernel_similarity"]
