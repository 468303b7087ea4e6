"""Operators made of operators, with the closed forms that remain valid.

    (A^T)^+ = (A^+)^T                         A^T = V diag(s) U^T on the coefficients with s > 0
    (a A)^T = a A^T                           a A = (sign(a) U) diag(|a| s) V^T
    (A B)^T = B^T A^T                         Q (U s V^T) = (Q U) s V^T and (U s V^T) Q = U s (Q^T V)^T for isometries Q
    (A + B)^T = A^T + B^T

Two operators that act on each axis separately compose to a third one, `(A1 (x) A2) (B1 (x) B2) = A1 B1 (x) A2 B2`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...errors import UserError, UserTypeError
from ..base import LinearOperator, Operator, Spectrum
from .separable import Separable


def linear_operand(owner: str, name: str, value: object) -> LinearOperator:
    """Return a linear operator, or raise a TypeError."""
    if not isinstance(value, LinearOperator):
        raise UserTypeError(
            f"{owner}: {name}: expected a LinearOperator, got {type(value).__name__}; compose others with Chain"
        )
    return value


def _chained(owner: str, outer: Operator, inner: Operator) -> None:
    if tuple(outer.in_shape) != tuple(inner.out_shape):
        raise UserError(
            f"{owner}: outer: expected an operator on {tuple(inner.out_shape)}, the output of {inner!r}, "
            f"got one on {tuple(outer.in_shape)}; build one of the two for the other's shape"
        )


def _isometry_gain(a: LinearOperator, f: Spectrum | None, *, square: bool) -> float | None:
    """Return `g` if `A = g Q` with `Q^T Q = I` (and, if `square`, `Q Q^T = I`), else `None`."""
    if f is None or f.s.numel() != math.prod(a.in_shape) or (square and f.s.numel() != math.prod(a.out_shape)):
        return None
    low, high = float(f.s.min()), float(f.s.max())
    return high if low > 0 and high - low <= 1e-12 * high else None


class Adjoint(LinearOperator):
    """The adjoint `A^T` of a linear operator, `A.T`.

    Args:
        operator: the operator `A`.

    Example:
        >>> import torch
        >>> from invdiff.operators import Downsample
        >>> A = Downsample((1, 4, 4), factor=2, kernel="average")
        >>> A.T(torch.ones(1, 1, 2, 2)).unique()
        tensor([0.2500])
    """

    def __init__(self, operator: LinearOperator) -> None:
        self.operator = linear_operand("Adjoint", "operator", operator)
        self.in_shape, self.out_shape = tuple(operator.out_shape), tuple(operator.in_shape)

    def forward(self, x: Tensor) -> Tensor:
        """Return `A^T x`."""
        return self.operator.adjoint(x)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return `A y`."""
        return self.operator.forward(y)

    @property
    def T(self) -> LinearOperator:
        """The operator itself."""
        return self.operator

    @property
    def svd(self) -> Spectrum | None:
        """The operator's spectrum with `U` and `V` exchanged, without the zero singular values."""
        f = self.operator.svd
        if f is None:
            return None
        index = (f.s > 0).flatten().nonzero().squeeze(1)
        shape = f.s.shape

        def gather(c: Tensor) -> Tensor:
            return c.flatten(1)[:, index.to(c.device)]

        def scatter(c: Tensor) -> Tensor:
            full = c.new_zeros((c.shape[0], math.prod(shape)))
            return full.index_copy(1, index.to(c.device), c).reshape(c.shape[0], *shape)

        return Spectrum(
            s=f.s.flatten()[index],
            V=lambda c: f.U(scatter(c)),
            Vt=lambda y: gather(f.Ut(y)),
            U=lambda c: f.V(scatter(c)),
            Ut=lambda x: gather(f.Vt(x)),
        )

    def solve(self, b: Tensor, rho: Tensor | float) -> Tensor:
        """Return `(A A^T + rho I)^{-1} b = (b - A (A^T A + rho I)^{-1} A^T b) / rho`."""
        self._check(b, self.in_shape, "an image", "b")
        inner = self.operator.solve(self.operator.adjoint(b), rho)
        r = torch.as_tensor(rho, dtype=b.dtype, device=b.device).reshape(-1, *[1] * (b.ndim - 1))
        return (b - self.operator.forward(inner)) / r

    def __repr__(self) -> str:
        return f"{self.operator!r}.T"


class Composition(LinearOperator):
    """The composition `x -> A(B(x))` of linear operators, `A @ B`.

    Args:
        outer: the operator `A`.
        inner: the operator `B`, whose output shape is the input shape of `A`.

    Raises:
        TypeError: one of the two is not linear.
        ValueError: the shapes do not fit.

    Example:
        >>> from invdiff.operators import Blur, Downsample, gaussian_kernel
        >>> blur = Blur((3, 64, 64), kernel=gaussian_kernel(1.0), border="reflect")
        >>> (Downsample((3, 64, 64), factor=4) @ blur).svd.s.shape
        torch.Size([3, 16, 16])
    """

    def __init__(self, outer: LinearOperator, inner: LinearOperator) -> None:
        self.outer, self.inner = linear_operand("Composition", "outer", outer), inner
        linear_operand("Composition", "inner", inner)
        _chained("Composition", outer, inner)
        self.in_shape, self.out_shape = tuple(inner.in_shape), tuple(outer.out_shape)
        a, b = outer.factors, inner.factors
        self._closed = Separable(self.in_shape, rows=a[0] @ b[0], columns=a[1] @ b[1]) if a and b else None

    def forward(self, x: Tensor) -> Tensor:
        """Return `A(B(x))`."""
        return self.outer.forward(self.inner.forward(x))

    def adjoint(self, y: Tensor) -> Tensor:
        """Return `B^T(A^T(y))`."""
        return self.inner.adjoint(self.outer.adjoint(y))

    @property
    def observed(self) -> Tensor | None:
        """The observed entries of the outer operator."""
        return self.outer.observed

    @property
    def factors(self) -> tuple[Tensor, Tensor] | None:
        """The products of the operators' factors, if both have them."""
        return self._closed.factors if self._closed else None

    @property
    def svd(self) -> Spectrum | None:
        """The spectrum, if both act on each axis separately, or one of them is a scaled isometry."""
        if self._closed:
            return self._closed.svd
        f, g = self.outer.svd, self.inner.svd
        if g is not None and (c := _isometry_gain(self.outer, f, square=False)) is not None:
            q = Scaled(self.outer, 1 / c)
            return Spectrum(c * g.s, g.V, g.Vt, lambda z: q.forward(g.U(z)), lambda y: g.Ut(q.adjoint(y)))
        if f is not None and (c := _isometry_gain(self.inner, g, square=True)) is not None:
            q = Scaled(self.inner, 1 / c)
            return Spectrum(c * f.s, lambda z: q.adjoint(f.V(z)), lambda x: f.Vt(q.forward(x)), f.U, f.Ut)
        return None

    def __repr__(self) -> str:
        return f"({self.outer!r} @ {self.inner!r})"


class Chain(Operator):
    """The composition `x -> A(B(x))` of operators, of which at least one is not linear.

    Args:
        outer: the operator `A`.
        inner: the operator `B`, whose output shape is the input shape of `A`.

    Raises:
        ValueError: the shapes do not fit.

    Example:
        >>> from invdiff.operators import Chain, Identity
        >>> Chain(Identity((1, 2, 2)), Identity((1, 2, 2))).out_shape
        (1, 2, 2)
    """

    def __init__(self, outer: Operator, inner: Operator) -> None:
        _chained("Chain", outer, inner)
        self.outer, self.inner = outer, inner
        self.in_shape, self.out_shape = tuple(inner.in_shape), tuple(outer.out_shape)

    def forward(self, x: Tensor) -> Tensor:
        """Return `A(B(x))`."""
        return self.outer.forward(self.inner.forward(x))

    @property
    def observed(self) -> Tensor | None:
        """The observed entries of the outer operator."""
        return self.outer.observed

    def __repr__(self) -> str:
        return f"({self.outer!r} @ {self.inner!r})"


class Sum(LinearOperator):
    """The sum `x -> A(x) + B(x)` of linear operators, `A + B`.

    Args:
        first: the operator `A`.
        second: the operator `B`, with the same shapes.

    Raises:
        TypeError: one of the two is not linear.
        ValueError: the shapes differ.

    Example:
        >>> import torch
        >>> from invdiff.operators import Identity
        >>> (Identity((1, 2, 2)) + Identity((1, 2, 2)))(torch.ones(1, 1, 2, 2)).unique()
        tensor([2.])
    """

    def __init__(self, first: LinearOperator, second: LinearOperator) -> None:
        self.first = linear_operand("Sum", "first", first)
        self.second = linear_operand("Sum", "second", second)
        if tuple(first.in_shape) != tuple(second.in_shape) or tuple(first.out_shape) != tuple(second.out_shape):
            raise UserError(
                f"Sum: second: expected an operator from {tuple(first.in_shape)} to {tuple(first.out_shape)}, "
                f"got {second!r}; operators that measure different things go into stack([A, B])"
            )
        self.in_shape, self.out_shape = tuple(first.in_shape), tuple(first.out_shape)

    def forward(self, x: Tensor) -> Tensor:
        """Return `A(x) + B(x)`."""
        return self.first.forward(x) + self.second.forward(x)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return `A^T(y) + B^T(y)`."""
        return self.first.adjoint(y) + self.second.adjoint(y)

    @property
    def observed(self) -> Tensor | None:
        """The entries that at least one of the two observes."""
        a, b = self.first.observed, self.second.observed
        return None if a is None or b is None else a | b.to(a.device)

    def __repr__(self) -> str:
        return f"({self.first!r} + {self.second!r})"


class Scaled(LinearOperator):
    """The operator `x -> a A(x)`, `a * A`.

    Args:
        operator: the operator `A`.
        factor: the finite number `a`.

    Raises:
        ValueError: the factor is NaN or infinite.

    Example:
        >>> import torch
        >>> from invdiff.operators import Identity
        >>> (3 * Identity((1, 2, 2))).pinv(torch.ones(1, 1, 2, 2)).unique()
        tensor([0.3333])
    """

    def __init__(self, operator: LinearOperator, factor: float) -> None:
        self.operator = linear_operand("Scaled", "operator", operator)
        if not math.isfinite(factor):
            raise UserError(f"Scaled: factor: expected a finite number, got {factor}; check what it was computed from")
        self.factor = float(factor)
        self.in_shape, self.out_shape = tuple(operator.in_shape), tuple(operator.out_shape)

    def forward(self, x: Tensor) -> Tensor:
        """Return `a A(x)`."""
        return self.factor * self.operator.forward(x)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return `a A^T(y)`."""
        return self.factor * self.operator.adjoint(y)

    @property
    def observed(self) -> Tensor | None:
        """The observed entries of the operator."""
        return self.operator.observed

    @property
    def pixel_gains(self) -> Tensor | None:
        """The operator's gains, scaled."""
        g = self.operator.pixel_gains
        return None if g is None else self.factor * g

    @property
    def factors(self) -> tuple[Tensor, Tensor] | None:
        """The operator's factors, the first of them scaled."""
        f = self.operator.factors
        return (self.factor * f[0], f[1]) if f else None

    @property
    def svd(self) -> Spectrum | None:
        """The operator's spectrum, scaled."""
        f = self.operator.svd
        if f is None:
            return None
        sign = math.copysign(1.0, self.factor)
        return Spectrum(abs(self.factor) * f.s, f.V, f.Vt, lambda c: sign * f.U(c), lambda y: sign * f.Ut(y))

    def pinv(self, y: Tensor) -> Tensor:
        """Return `A^+ y / a`, zero for `a = 0`."""
        self._check(y, self.out_shape, "a measurement", "y")
        if self.factor == 0:
            return y.new_zeros((y.shape[0], *self.in_shape))
        return self.operator.pinv(y) / self.factor

    def solve(self, b: Tensor, rho: Tensor | float) -> Tensor:
        """Return `(a^2 A^T A + rho I)^{-1} b`."""
        self._check(b, self.in_shape, "an image", "b")
        if self.factor == 0:
            return super().solve(b, rho)
        return self.operator.solve(b / self.factor**2, rho / self.factor**2)

    def __repr__(self) -> str:
        return f"{self.factor:g} * {self.operator!r}"
