"""Checks of an operator's contract, also for the classes of third parties.

For a map `A` with vector-Jacobian product `J(x)^T w`, and random `x`, `v`, `w`,

    <w, (A(x + h v) - A(x - h v)) / 2h> = <J(x)^T w, v>           the gradient that the solvers use
    A(a x + b z) = a A x + b A z,   <A x, w> = <x, A^T w>          if A is linear
    A^T A pinv(w) = A^T w,   (A^T A + rho I) solve(x, rho) = x     its inverses
    A = U diag(s) V^T,   V^T V = I,   U^T U = I where s > 0        its spectrum
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from ..errors import UserTypeError
from ..operators.base import LinearOperator, Operator
from .report import Check, Report


def check_operator(operator: Operator, *, seed: int = 0) -> Report:
    """Check the contract of an operator, in float32 and float64.

    Args:
        operator: the operator; a linear one is also checked for the contract of linear operators.
        seed: seed of the random images and measurements.

    Returns:
        A report; `report.ok`, `print(report)` and `report.raise_if_failed()` give its result.

    Raises:
        TypeError: not an operator.

    Example:
        >>> from invdiff.operators import Identity
        >>> check_operator(Identity((1, 4, 4))).ok
        True
    """
    if not isinstance(operator, Operator):
        raise UserTypeError(
            f"check_operator: operator: expected an Operator, got {operator!r}; "
            "derive the class from it, and give an instance"
        )
    checks: list[Check] = []
    for name, test, advice in _plan(operator, _Draw(operator, seed)):
        try:
            ok, detail = test()
        except Exception as error:
            ok, detail = False, f"{type(error).__name__}: {error}"
        checks.append(Check(name, ok, detail, advice))
        if name == "shape" and not ok:  # nothing else can run
            break
    return Report(repr(operator), tuple(checks))


Outcome = tuple[bool, str]
Plan = Iterator[tuple[str, Callable[[], Outcome], str]]


class _Draw:
    """Random images and measurements, the same for the same seed."""

    def __init__(self, operator: Operator, seed: int) -> None:
        self.operator, self.generator = operator, torch.Generator().manual_seed(seed)

    def image(self, count: int = 2, dtype: torch.dtype = torch.float64) -> Tensor:
        """Return images in [0.05, 0.95]."""
        shape = (count, *self.operator.in_shape)
        return (0.05 + 0.9 * torch.rand(shape, generator=self.generator, dtype=torch.float64)).to(dtype)

    def direction(self, count: int = 2) -> Tensor:
        return torch.randn((count, *self.operator.in_shape), generator=self.generator, dtype=torch.float64)

    def measurement(self, count: int = 2) -> Tensor:
        return torch.randn((count, *self.operator.out_shape), generator=self.generator, dtype=torch.float64)


def _plan(a: Operator, draw: _Draw) -> Plan:
    yield "shape", lambda: _shape(a, draw), "set in_shape and out_shape, and return (B, *out_shape) from forward"
    yield "dtype", lambda: _dtype(a, draw), "create tensors with x.new_zeros or .to(x), not in a type of their own"
    yield "finite", lambda: _finite(a, draw), "look for a division by zero, a logarithm or a root of a negative number"
    yield "determinism", lambda: _determinism(a, draw), "draw random numbers in __init__ from a seed, never in forward"
    yield "input unchanged", lambda: _pure(a, draw), "replace operations in place, such as x *= m, by x = x * m"
    yield "wrong shape", lambda: _wrong_shape(a, draw), "call the operator as A(x) and leave __call__ as it is"
    yield (
        "batch = loop",
        lambda: _batch(a, draw),
        "let no image depend on another one in its batch; reduce over axes 1, 2, 3",
    )
    if getattr(a, "exact_gradient", True):
        yield "vjp", lambda: _vjp(a, draw), "keep forward differentiable: no detach, .item() or numpy in it"
    yield (
        "gradient at zero",
        lambda: _at_zero(a, draw),
        "use torch.where or a small constant where 0 / 0 or sqrt(0) occurs",
    )
    yield "observed", lambda: _observed(a, draw), "return a boolean tensor that broadcasts to out_shape, zeros outside"
    yield "device", lambda: _device(a, draw), "keep tensors as attributes, or override `to`"
    yield "pickle", lambda: _pickle(a, draw), "define the class at the top of a module, without lambdas as attributes"
    yield "linearity", lambda: _linearity(a, draw), "derive from Operator instead of LinearOperator, or drop the offset"
    if isinstance(a, LinearOperator):
        yield (
            "adjoint",
            lambda: _adjoint(a, draw),
            "leave adjoint to autograd, or compare it with the transposed matrix",
        )
        yield "normal", lambda: _normal(a, draw), "let normal(x) be adjoint(forward(x))"
        yield "svd", lambda: _svd(a, draw), "return None from svd, or compare U, s, V with a dense decomposition"
        yield "pinv", lambda: _pinv(a, draw), "leave pinv to the base class, or check the adjoint first"
        yield "solve", lambda: _solve(a, draw), "leave solve to the base class, or check the adjoint first"


def _error(got: Tensor, want: Tensor) -> float:
    """Return the largest relative error of any image."""
    scale = want.double().flatten(1).norm(dim=1)
    return float(((got.double() - want.double()).flatten(1).norm(dim=1) / scale.clamp(min=1e-30)).max())


def _below(error: float, bound: float) -> Outcome:
    return error <= bound, f"relative error {error:.1e}, at most {bound:.0e}"


def _shape(a: Operator, draw: _Draw) -> Outcome:
    for name in ("in_shape", "out_shape"):
        shape = getattr(a, name, None)
        if not isinstance(shape, tuple) or not all(isinstance(n, int) and n > 0 for n in shape):
            return False, f"{name}: expected a tuple of positive integers, got {shape!r}"
    for count in (1, 3):
        y = a(draw.image(count, torch.float32))
        if tuple(y.shape) != (count, *a.out_shape):
            return False, f"A(x): expected shape {(count, *a.out_shape)}, got {tuple(y.shape)}"
    return True, f"{a.in_shape} -> {a.out_shape}"


def _dtype(a: Operator, draw: _Draw) -> Outcome:
    x = draw.image()
    one, two = a(x.float()), a(x)
    if one.dtype != torch.float32 or two.dtype != torch.float64:
        return False, f"expected float32 for float32 and float64 for float64, got {one.dtype} and {two.dtype}"
    if not getattr(a, "exact_gradient", True):
        return True, "float32 and float64"  # quantisation inside the operator may round to different sides
    return _below(_error(one, two), 1e-3)


def _finite(a: Operator, draw: _Draw) -> Outcome:
    ok = all(bool(torch.isfinite(a(x)).all()) for x in (draw.image(), torch.zeros_like(draw.image())))
    return ok, "finite on random images and on zero" if ok else "NaN or infinite values"


def _determinism(a: Operator, draw: _Draw) -> Outcome:
    x = draw.image()
    ok = torch.equal(a(x), a(x))
    return ok, "the same bits twice" if ok else f"two calls differ by {float((a(x) - a(x)).abs().max()):.1e}"


def _pure(a: Operator, draw: _Draw) -> Outcome:
    x = draw.image()
    before = x.clone()
    a(x)
    ok = torch.equal(x, before)
    return ok, "x is unchanged" if ok else "forward changes x"


def _wrong_shape(a: Operator, draw: _Draw) -> Outcome:
    for bad in (draw.image()[..., :-1], draw.image()[0]):
        try:
            a(bad)
        except (ValueError, TypeError):
            continue
        return False, f"A(x) takes x of shape {tuple(bad.shape)}"
    return True, "raises"


def _batch(a: Operator, draw: _Draw) -> Outcome:
    x = draw.image(3)
    return _below(_error(a(x), torch.cat([a(x[i : i + 1]) for i in range(3)])), 1e-12)


def _vjp(a: Operator, draw: _Draw) -> Outcome:
    x, v, w, h = draw.image().requires_grad_(), draw.direction(), draw.measurement(), 1e-6
    y = a(x)
    (grad,) = torch.autograd.grad((y * w).sum(), x)
    with torch.no_grad():
        difference = (a(x + h * v) - a(x - h * v)) / (2 * h)
        got, want = (grad * v).flatten(1).sum(1), (difference * w).flatten(1).sum(1)
        scale = (difference.flatten(1).norm(dim=1) * w.flatten(1).norm(dim=1)).clamp(min=1e-30)
        return _below(float(((got - want).abs() / scale).max()), 1e-5)


def _at_zero(a: Operator, draw: _Draw) -> Outcome:
    x = torch.zeros_like(draw.image()).requires_grad_()
    (grad,) = torch.autograd.grad((a(x) * draw.measurement()).sum(), x)
    ok = bool(torch.isfinite(grad).all())
    return ok, "finite" if ok else "NaN or infinite"


def _observed(a: Operator, draw: _Draw) -> Outcome:
    known = a.observed
    if known is None:
        return True, "every entry"
    if known.dtype != torch.bool or np.broadcast_shapes(known.shape, a.out_shape) != tuple(a.out_shape):
        return False, f"expected booleans that broadcast to {a.out_shape}, got {known.dtype} {tuple(known.shape)}"
    outside = a(draw.image()) * ~known
    share = float(known.expand(a.out_shape).double().mean())
    return not bool(outside.any()), f"{share:.0%} of the entries"


def _device(a: Operator, draw: _Draw) -> Outcome:
    x = draw.image()
    devices = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
    for device in devices:
        moved = a.to(device)
        y = moved(x.to(device))
        if y.device.type != device:
            return False, f"A.to({device!r})(x) is on {y.device}"
        if (error := _error(y.cpu(), a(x))) > 1e-6 and getattr(a, "exact_gradient", True):
            return False, f"differs on {device} by {error:.1e}"
    return True, ", ".join(devices)


def _pickle(a: Operator, draw: _Draw) -> Outcome:
    x = draw.image()
    copy = pickle.loads(pickle.dumps(a))
    return torch.equal(copy(x), a(x)), "the same answer from a copy"


def _linearity(a: Operator, draw: _Draw) -> Outcome:
    x, z = draw.image(), draw.image()
    error = _error(a(1.5 * x - 0.7 * z), 1.5 * a(x) - 0.7 * a(z))
    if isinstance(a, LinearOperator):
        return _below(error, 1e-10)
    if error < 1e-12:
        return True, "it is linear; derive from LinearOperator to let more solvers use it"
    return True, "not linear, as declared"


def _adjoint(a: LinearOperator, draw: _Draw) -> Outcome:
    x, w = draw.image(), draw.measurement()
    aty = a.adjoint(w)
    if tuple(aty.shape) != tuple(x.shape):
        return False, f"A^T y: expected shape {tuple(x.shape)}, got {tuple(aty.shape)}"

    def mismatch(x: Tensor, w: Tensor) -> float:
        ax, aty = a(x), a.adjoint(w)
        scale = (ax.double().norm() * w.double().norm()).clamp(min=1e-30)
        return float(((ax * w).sum(dtype=torch.float64) - (x * aty).sum(dtype=torch.float64)).abs() / scale)

    error, single = mismatch(x, w), mismatch(x.float(), w.float())
    ok = error <= 1e-10 and single <= 1e-5 and a.adjoint(w.float()).dtype == torch.float32
    return ok, f"dot test {error:.1e} in float64, {single:.1e} in float32"


def _normal(a: LinearOperator, draw: _Draw) -> Outcome:
    x = draw.image()
    return _below(_error(a.normal(x), a.adjoint(a(x))), 1e-9)


def _svd(a: LinearOperator, draw: _Draw) -> Outcome:
    f = a.svd
    if f is None:
        return True, "none, so solves are iterative"
    if bool((f.s < 0).any()):
        return False, "negative singular values"
    s = f.s.double()
    x, w = draw.image(), draw.measurement()
    c = torch.randn((2, *s.shape), generator=draw.generator, dtype=torch.float64)
    positive = c * (s > 0)
    y = a(x)
    errors = {
        "A = U s V^T": _error(f.U(s * f.Vt(x)), y) if float(y.norm()) else 0.0,
        "A^T = V s U^T": _error(f.V(s * f.Ut(w)), a.adjoint(w)) if float(a.adjoint(w).norm()) else 0.0,
        "V^T V = I": _error(f.Vt(f.V(c)), c),
        "U^T U = I": _error(f.Ut(f.U(positive)) * (s > 0), positive),
    }
    worst = max(errors, key=lambda k: errors[k])
    return _below(errors[worst], 1e-8)[0], f"{worst} up to {errors[worst]:.1e}, {s.numel()} values"


def _pinv(a: LinearOperator, draw: _Draw) -> Outcome:
    w = a(draw.direction())
    target = a.adjoint(w)
    error = _error(a.normal(a.pinv(w)), target) if float(target.norm()) else 0.0
    return _below(error, 2e-3)


def _solve(a: LinearOperator, draw: _Draw) -> Outcome:
    b = draw.direction()
    gain = float((a.normal(b) * b).sum() / (b * b).sum())
    rho = torch.tensor([0.1, 1.0], dtype=b.dtype) * (gain if gain > 0 and math.isfinite(gain) else 1.0)
    x = a.solve(b, rho)
    return _below(_error(a.normal(x) + rho.reshape(-1, *[1] * (b.ndim - 1)) * x, b), 1e-4)
