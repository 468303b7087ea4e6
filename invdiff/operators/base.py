"""The contract of a forward operator: a deterministic map from images to measurements.

    y = A(x) + noise,        A: (B, *in_shape) -> (B, *out_shape)

A linear operator has an adjoint, `<A x, y> = <x, A^T y>`, by autograd unless it defines its own. These follow from the
adjoint by conjugate gradients, or in closed form if the singular value decomposition `A = U diag(s) V^T` is a fast
transform:

    pinv(y)      = A^+ y                          least squares of least norm
    solve(b, r)  = (A^T A + r I)^{-1} b           the proximal step of 1/2 ||A x - y||^2
    tikhonov(y, r) = (A^T A + r I)^{-1} A^T y     least squares with a penalty
"""

from __future__ import annotations

import abc
import copy
from collections.abc import Callable
from functools import cached_property
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from ..errors import UserTypeError
from ..unknowns import FamilyType, Unknowns
from .numerics.constants import device_of, followed, linear, moved
from .numerics.linalg import conjugate_gradients, least_squares
from .numerics.norms import derivative_norm, largest_singular_value
from .spectrum import Spectrum as Spectrum  # the name by which operators import it


class Operator(metaclass=FamilyType):
    """A deterministic, immutable map from images to measurements; it holds no noise.

    A subclass sets `in_shape` and `out_shape` (without the batch axis) and defines `forward`. A call checks the input.

    Attributes:
        in_shape: shape of one image, `(C, H, W)`.
        out_shape: shape of one measurement.
        exact_gradient: False if autograd gives a surrogate, because the map is piecewise constant.
        name: under which the registry lists the class; "" for one that is not listed.
        summary: one line for listings.
        photographic: whether a measurement is a picture, with intensities in [0, 1].
        sinogram: whether a measurement has a row of detectors for each angle, `(C, angles, detectors)`; the class then
            takes the arguments `angles`, degrees or how many, and `pixel_size`.
        complex_valued: whether a measurement is complex, its first axis real and imaginary part.
        takes_mask: whether the class takes an argument `mask`, `(H, W)`, True where pixels of the picture are known.
        ranges: of arguments that are unknown and state none, by name.
        notes: what the user should know about how this operator was built from options and files, one line each.

    Example:
        >>> import torch
        >>> class Square(Operator):
        ...     in_shape = out_shape = (1, 2, 2)
        ...     def forward(self, x): return x ** 2
        >>> Square()(torch.full((1, 1, 2, 2), 3.0)).unique()
        tensor([9.])
    """

    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    exact_gradient: ClassVar[bool] = True
    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    photographic: ClassVar[bool] = False
    sinogram: ClassVar[bool] = False
    complex_valued: ClassVar[bool] = False
    takes_mask: ClassVar[bool] = False
    ranges: ClassVar[Unknowns] = {}
    notes: tuple[str, ...] = ()

    @abc.abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Map images `(B, *in_shape)` to measurements `(B, *out_shape)`; must be differentiable by autograd."""

    @staticmethod
    def from_function(
        f: Callable[[Tensor], Tensor], in_shape: tuple[int, ...], *, out_shape: tuple[int, ...] | None = None
    ) -> Operator:
        """Return the operator defined by a function.

        Args:
            f: maps images `(B, *in_shape)` to measurements, differentiable by autograd; a lambda cannot be pickled.
            in_shape: shape of one image.
            out_shape: shape of one measurement; default: found by calling `f` on zeros.

        Raises:
            TypeError: `f` cannot be called, or returns no tensor.

        Example:
            >>> import torch
            >>> Operator.from_function(lambda x: x.clamp(max=0.5), (1, 2, 2))(torch.ones(1, 1, 2, 2)).max()
            tensor(0.5000)
        """
        from .composed import Function

        return Function(f, in_shape, out_shape=out_shape)

    def __call__(self, x: Tensor) -> Tensor:
        """Return `A(x)`, `(B, *out_shape)`, after checking shape and type of `x`, `(B, *in_shape)`."""
        self._check(x, self.in_shape, "an image", "x")
        return self.forward(x)

    def differentiable(self, like: Tensor) -> bool:
        """Return whether the output has a gradient in the input; one image is mapped to find out.

        Args:
            like: a tensor in the type and on the device of an image.
        """
        with torch.inference_mode(False), torch.enable_grad():
            x = torch.full((1, *self.in_shape), 0.5, dtype=like.dtype, device=like.device, requires_grad=True)
            return followed(self.forward, x) is not None

    @cached_property
    def spectral_norm(self) -> float:
        """The largest singular value of the derivative at a gray image, see `numerics.norms.derivative_norm`."""
        like = torch.zeros((), dtype=torch.float64, device=device_of(self) or torch.device("cpu"))
        return derivative_norm(self.forward, tuple(self.in_shape), like)

    @property
    def observed(self) -> Tensor | None:
        """Which entries are measured, and enter a likelihood: boolean, broadcasts to `out_shape`; `None` for all."""
        return None

    def to(self, device: torch.device | str) -> Self:
        """Return this operator with its tensors on `device`; operators that hold none return themselves."""
        state = vars(self)
        there = {k: moved(v, device) for k, v in state.items()}
        if all(there[k] is state[k] for k in state):
            return self
        new = copy.copy(self)
        vars(new).update(there)  # bypasses the guard of frozen dataclasses: `new` is not shared yet
        return new

    def __matmul__(self, other: Any) -> Any:
        """Return the composition `x -> self(other(x))` of two operators, of which at least one is not linear."""
        from .composed import Chain

        return Chain(self, other) if isinstance(other, Operator) else NotImplemented

    def _check(self, t: Tensor, shape: tuple[int, ...], what: str, name: str) -> None:
        if not isinstance(t, Tensor):
            raise TypeError(
                f"{type(self).__name__}: {name}: expected a torch tensor, got {type(t).__name__}; "
                "convert it with torch.as_tensor"
            )
        if tuple(t.shape[1:]) != tuple(shape) or t.ndim != len(shape) + 1:
            want = ", ".join(map(str, ("B", *shape)))
            raise ValueError(
                f"{type(self).__name__}: {name}: expected {what} batch of shape ({want}), got {tuple(t.shape)}; "
                + (
                    "add the batch axis with x[None]"
                    if tuple(t.shape) == tuple(shape)
                    else "build the operator for this size"
                )
            )
        if not t.is_floating_point():
            raise TypeError(
                f"{type(self).__name__}: {name}: expected a floating-point tensor, got {t.dtype}; "
                "scale images to [0, 1] first"
            )

    def __repr__(self) -> str:
        """Return the class with its two shapes and its own description."""
        about = self._describe()
        return f"{type(self).__name__}({self.in_shape} -> {self.out_shape}{', ' if about else ''}{about})"

    def _describe(self) -> str:
        return ""


class LinearOperator(Operator):
    """A linear forward operator; the adjoint comes from autograd unless a subclass defines a faster one.

    Example:
        >>> import torch
        >>> class FlipGain(LinearOperator):
        ...     in_shape = out_shape = (1, 2, 2)
        ...     def forward(self, x): return 2 * x.flip(-1)
        >>> FlipGain().adjoint(torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])).squeeze()
        tensor([[0., 2.],
                [0., 0.]])
    """

    diagonal_in_cosines: bool = False  # whether `cosine_power` is all of `A^T A` in that basis

    @staticmethod
    def from_function(
        f: Callable[[Tensor], Tensor],
        in_shape: tuple[int, ...],
        *,
        out_shape: tuple[int, ...] | None = None,
        adjoint: Callable[[Tensor], Tensor] | None = None,
    ) -> LinearOperator:
        """Return the linear operator defined by a function.

        Args:
            f: maps batches of images `(B, *in_shape)` to measurements, linear, differentiable by autograd unless
                `adjoint` is given.
            in_shape: shape of one image.
            out_shape: shape of one measurement; default: found by calling `f` on zeros.
            adjoint: maps measurements to images; default: by autograd.

        Raises:
            TypeError: `f` cannot be called, or returns no tensor.

        Example:
            >>> import torch
            >>> LinearOperator.from_function(lambda x: x.sum(1, keepdim=True), (3, 2, 2)).out_shape
            (1, 2, 2)
        """
        from .composed import LinearFunction

        return LinearFunction(f, in_shape, out_shape=out_shape, adjoint=adjoint)

    @staticmethod
    def from_matrix(
        matrix: Any, in_shape: tuple[int, ...] | None = None, *, out_shape: tuple[int, ...] | None = None
    ) -> LinearOperator:
        """Return the operator of a matrix that acts on flattened images.

        Args:
            matrix: `(m, n)`: a tensor, an array, or a sparse matrix of scipy.
            in_shape: shape of one image, with `n` entries; default: `(n,)`.
            out_shape: shape of one measurement, with `m` entries; default: `(m,)`.

        Raises:
            ValueError: no matrix, or shapes that do not fit.

        Example:
            >>> import torch
            >>> LinearOperator.from_matrix(torch.ones(1, 4), (1, 2, 2))(torch.ones(1, 1, 2, 2))
            tensor([[4.]])
        """
        from .composed import Matrix

        return Matrix(matrix, in_shape, out_shape=out_shape)

    def __call__(self, x: Tensor) -> Tensor:
        """Return `A x`, `(B, *out_shape)`, after checking shape and type of `x`, `(B, *in_shape)`.

        Where autograd cannot follow `forward`, a hand-written adjoint is the derivative.
        """
        self._check(x, self.in_shape, "an image", "x")
        if not (self._writes_adjoint and x.requires_grad and torch.is_grad_enabled()):
            return self.forward(x)
        y = followed(self.forward, x)
        return linear(x, lambda z: self.forward(z.detach()), self.adjoint) if y is None else y

    def differentiable(self, like: Tensor) -> bool:
        """Return whether the output has a gradient in the input, by autograd or by a hand-written adjoint."""
        return self._writes_adjoint or super().differentiable(like)

    @property
    def _writes_adjoint(self) -> bool:
        return type(self).adjoint is not LinearOperator.adjoint

    def adjoint(self, y: Tensor) -> Tensor:
        """Return `A^T y`, `(B, *in_shape)`, for measurements `y`, `(B, *out_shape)`.

        A linear map is its own derivative, so the vector-Jacobian product at any point is the adjoint.

        Raises:
            TypeError: autograd cannot follow `forward`.
        """
        with torch.inference_mode(False), torch.enable_grad():
            y = y.clone() if y.is_inference() else y  # autograd does not accept tensors of inference mode
            x = torch.zeros((y.shape[0], *self.in_shape), dtype=y.dtype, device=y.device, requires_grad=True)
            if (out := followed(self.forward, x)) is None:
                raise UserTypeError(
                    f"{type(self).__name__}: forward: expected torch operations, whose gradient is the adjoint, got an "
                    "output without a gradient; write forward without detach and numpy, or define adjoint(self, y)"
                )
            (grad,) = torch.autograd.grad(out, x, y, create_graph=y.requires_grad)
        return grad

    @property
    def pixel_gains(self) -> Tensor | None:
        """`g` of an operator that acts on each pixel by itself, `A x = g * x`; broadcasts to images. Else `None`."""
        return None

    @property
    def svd(self) -> Spectrum | None:
        """The singular value decomposition as fast transforms, or `None` without a closed form."""
        return None

    @property
    def factors(self) -> tuple[Tensor, Tensor] | None:
        """Matrices `R`, `(H', H)`, and `C`, `(W', W)`, if `A x = R x C^T` for each channel, else `None`."""
        return None

    @property
    def cosine_power(self) -> Tensor | None:
        """The diagonal of `A^T A` in the cosine transform of images, `(C or 1, H, W)`, or `None`."""
        return None

    @property
    def T(self) -> LinearOperator:
        """The adjoint as an operator."""
        from .composed import Adjoint

        return Adjoint(self)

    def normal(self, x: Tensor) -> Tensor:
        """Return `A^T A x`, `(B, *in_shape)`."""
        return self.adjoint(self.forward(x))

    def pinv(self, y: Tensor) -> Tensor:
        """Return `A^+ y`, the least-squares solution of least norm, `(B, *in_shape)`.

        Closed form with a spectrum (singular values below 1e-6 of the largest count as zero), else conjugate gradients
        for least squares from zero, up to a relative residual of 1e-6 or 1000 iterations. `watch_solves` reports how
        they ended.
        """
        self._check(y, self.out_shape, "a measurement", "y")
        if (f := self.svd) is not None:
            return f.pinv(y)
        return least_squares(self.forward, self.adjoint, y).x

    def norm(self) -> float:
        """Return the largest singular value.

        In closed form with a spectrum; else by Lanczos' process on `A^T A`, from below, with a relative error of at
        most 1e-3, except with a probability of one in a million, for every operator; see `numerics.norms`.
        """
        if (f := self.svd) is not None:
            return float(f.s.max()) if f.s.numel() else 0.0
        device = device_of(self) or torch.device("cpu")
        return largest_singular_value(self.normal, tuple(self.in_shape), device=device).value

    @cached_property
    def spectral_norm(self) -> float:
        """The largest singular value, `norm()`, found once: operators do not change."""
        return self.norm()

    def solve(self, b: Tensor, rho: Tensor | float) -> Tensor:
        """Return `(A^T A + rho I)^{-1} b`, `(B, *in_shape)`.

        Closed form with a spectrum, else conjugate gradients from zero, up to a relative residual of 1e-6 or 1000
        iterations. `watch_solves` reports how they ended.

        Args:
            b: right-hand sides, `(B, *in_shape)`.
            rho: positive weights, a scalar or one for each image, `(B,)`.
        """
        self._check(b, self.in_shape, "an image", "b")
        r = torch.as_tensor(rho, dtype=b.dtype, device=b.device)
        if not bool((r > 0).all()):
            raise ValueError(
                f"{type(self).__name__}.solve: rho: expected positive numbers, got {rho}; use pinv for rho = 0"
            )
        if (f := self.svd) is not None:
            return f.solve(b, r)
        rb = r.reshape(-1, *[1] * (b.ndim - 1))
        return conjugate_gradients(lambda v: self.normal(v) + rb * v, b).x

    def tikhonov(self, y: Tensor, rho: Tensor | float) -> Tensor:
        """Return `(A^T A + rho I)^{-1} A^T y`, the minimiser of `||A x - y||^2 + rho ||x||^2`, `(B, *in_shape)`.

        Closed form with a spectrum, which keeps all digits for small weights, else `solve` of `A^T y`.

        Args:
            y: measurements, `(B, *out_shape)`.
            rho: positive weights, a scalar or one for each image, `(B,)`.
        """
        self._check(y, self.out_shape, "a measurement", "y")
        if (f := self.svd) is not None:
            return f.tikhonov(y, torch.as_tensor(rho, dtype=y.dtype, device=y.device))
        return self.solve(self.adjoint(y), rho)

    def __matmul__(self, other: Any) -> Any:
        """Return the composition `x -> self(other(x))`, linear if `other` is."""
        from .composed import Composition

        return Composition(self, other) if isinstance(other, LinearOperator) else super().__matmul__(other)

    def __add__(self, other: LinearOperator) -> LinearOperator:
        """Return the sum `x -> self(x) + other(x)`."""
        from .composed import Sum

        return Sum(self, other) if isinstance(other, LinearOperator) else NotImplemented

    def __sub__(self, other: LinearOperator) -> LinearOperator:
        """Return the difference `x -> self(x) - other(x)`."""
        return self + (-1.0) * other if isinstance(other, LinearOperator) else NotImplemented

    def __neg__(self) -> LinearOperator:
        """Return the operator `x -> -self(x)`."""
        return self * -1.0

    def __mul__(self, factor: float) -> LinearOperator:
        """Return the scaled operator `x -> factor * self(x)`."""
        from .composed import Scaled

        return Scaled(self, factor) if isinstance(factor, (int, float)) else NotImplemented

    __rmul__ = __mul__
