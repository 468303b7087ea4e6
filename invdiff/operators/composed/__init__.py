"""Operators made of operators: sums, products and stacks, functions, separable maps.

`invdiff.operators.base` takes from here what its operators and its constructors from functions and matrices return.
"""

from .algebra import Adjoint, Chain, Composition, Scaled, Sum
from .functions import Function, LinearFunction, Matrix
from .separable import Separable
from .stack import NonlinearStack, Stack, stack

__all__ = [
    "Adjoint",
    "Chain",
    "Composition",
    "Function",
    "LinearFunction",
    "Matrix",
    "NonlinearStack",
    "Scaled",
    "Separable",
    "Stack",
    "Sum",
    "stack",
]
