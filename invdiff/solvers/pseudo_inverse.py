"""The pseudo-inverse of the measurement, without a prior: the baseline of every comparison.

x = A^+ y
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..operators.base import LinearOperator
from ..operators.numerics.linalg import watch_solves
from .base import Solver
from .common.run import Run


@dataclass(frozen=True, kw_only=True)
class PseudoInverse(Solver):
    """Least squares of least norm; no prior is used, and all samples are equal.

    References:
        A Generalized Inverse for Matrices (Penrose, 1955), https://doi.org/10.1017/S0305004100030401, theorem 2.

    Example:
        >>> PseudoInverse().needs
        frozenset({'linear'})
    """

    name: ClassVar[str] = "pinv"
    summary: ClassVar[str] = "least squares of least norm, without a prior: the baseline"
    needs: ClassVar[frozenset[str]] = frozenset({"linear"})
    point: ClassVar[bool] = True

    def draw(self, run: Run) -> Tensor:
        """Return `A^+ y`."""
        operator = run.problem.operator
        assert isinstance(operator, LinearOperator)
        with watch_solves() as solves:
            x = operator.pinv(run.problem.measurement)
        run.record_solves(solves, "of the pseudo-inverse")
        return x
