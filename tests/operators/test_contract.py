"""Every public operator keeps the contract; one that is missing from the table fails the suite."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable

import pytest
import torch
from operator_examples import EXAMPLES
from torch import Tensor

import invdiff.operators
from invdiff.operators import Identity, LinearOperator, Operator, Projection, Tomography
from invdiff.operators.numerics.norms import largest_singular_value
from invdiff.testing.operator import check_operator

CONTRACTS = {"Operator", "LinearOperator", "OperatorFamily"}


def test_every_public_class_has_an_example() -> None:
    public = {
        n
        for n in invdiff.operators.__all__
        if inspect.isclass(c := getattr(invdiff.operators, n)) and issubclass(c, Operator)
    }
    covered = {type(make()).__name__ for make in EXAMPLES.values()}
    assert public - covered == CONTRACTS


@pytest.mark.parametrize("name", EXAMPLES)
def test_contract(name: str) -> None:
    check_operator(EXAMPLES[name](), seed=3).raise_if_failed()


def dense(a: LinearOperator) -> Tensor:
    n = torch.Size(a.in_shape).numel()
    return a(torch.eye(n, dtype=torch.float64).reshape(n, *a.in_shape)).reshape(n, -1).T


LINEAR = [n for n, make in EXAMPLES.items() if isinstance(make(), LinearOperator)]


@pytest.mark.parametrize("name", LINEAR)
def test_inverses_against_dense_linear_algebra(name: str) -> None:
    a = EXAMPLES[name]()
    assert isinstance(a, LinearOperator)
    m = dense(a)
    generator = torch.Generator().manual_seed(5)
    b = torch.randn(2, *a.in_shape, generator=generator, dtype=torch.float64)
    rho = torch.tensor([0.3, 2.0], dtype=torch.float64)
    got = a.solve(b, rho).flatten(1)
    for i in range(2):
        want = torch.linalg.solve(m.T @ m + rho[i] * torch.eye(len(m.T), dtype=torch.float64), b[i].flatten())
        assert (got[i] - want).norm() <= 1e-5 * want.norm()
    y = torch.randn(2, *a.out_shape, generator=generator, dtype=torch.float64)
    got = a.tikhonov(y, rho).flatten(1)
    for i in range(2):
        want = torch.linalg.solve(m.T @ m + rho[i] * torch.eye(len(m.T), dtype=torch.float64), m.T @ y[i].flatten())
        assert (got[i] - want).norm() <= (1e-4 if a.svd is None else 1e-9) * want.norm()
    # Iterative solves of ill-conditioned systems have converged in A x, not in x: compare there.
    want = torch.linalg.pinv(m, rtol=1e-6) @ y.flatten(1).T
    early = isinstance(a, Projection)  # whose default stops early
    got = (a.pinv(y, tolerance=1e-8) if early else a.pinv(y)).flatten(1).T  # type: ignore[call-arg]
    assert (m @ got - m @ want).norm() <= 1e-4 * y.norm()
    if a.svd is not None:
        assert (got - want).norm() <= 1e-6 * want.norm().clamp(min=1e-12)
        s = torch.linalg.svdvals(m)
        mine = a.svd.s.double().flatten().sort(descending=True).values
        count = min(len(s), len(mine))
        assert torch.allclose(s[:count], mine[:count], atol=1e-9 * float(s.max() + 1))
        assert float(s[count:].sum() + mine[count:].sum()) < 1e-8


@pytest.mark.parametrize("name", LINEAR)
def test_norm_is_the_largest_singular_value(name: str) -> None:
    a = EXAMPLES[name]()
    assert isinstance(a, LinearOperator)
    largest = float(torch.linalg.svdvals(dense(a)).max())
    assert a.norm() == pytest.approx(largest, rel=1e-3, abs=1e-300)
    found = largest_singular_value(a.normal, a.in_shape)  # also where there is a closed form
    assert found.status == "converged"
    assert found.value == pytest.approx(largest, rel=1e-3, abs=1e-300)


CLOSED = {
    "identity", "inpainting shared mask", "blur circular", "blur circular one per channel", "blur gaussian reflect",
    "blur reflect symmetric",
    "blur gaussian zero", "blur gaussian valid", "downsample bicubic", "downsample average", "separable", "adjoint",
    "scaled", "gain", "matrix", "grayscale", "demosaic", "mri", "mri, real image", "compressed sensing",
    "composition separable", "composition isometry outside", "composition isometry inside",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(CLOSED))
def test_closed_forms_survive(name: str) -> None:
    a = EXAMPLES[name]()
    assert isinstance(a, LinearOperator)
    assert a.svd is not None


ROUNDS = {"jpeg", "jpeg, gray", "jpeg, 4:2:0"}  # their gradient is one by declaration, with nothing to compare it with


def test_only_what_rounds_has_no_exact_gradient() -> None:
    assert {name for name in EXAMPLES if not EXAMPLES[name]().exact_gradient} == ROUNDS


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in ROUNDS])
@pytest.mark.filterwarnings("ignore::FutureWarning")  # from inside torch.func
def test_higher_derivatives_and_functional_transforms(name: str) -> None:
    a = EXAMPLES[name]()
    generator = torch.Generator().manual_seed(7)
    x = torch.rand(2, *a.in_shape, generator=generator, dtype=torch.float64)
    v = torch.randn(2, *a.in_shape, generator=generator, dtype=torch.float64)
    forward = torch.func.jvp(a, (x,), (v,))[1]
    h = 1e-6
    assert torch.allclose(forward, (a(x + h * v) - a(x - h * v)) / (2 * h), atol=1e-5 * float(forward.abs().max() + 1))
    x.requires_grad_()
    (grad,) = torch.autograd.grad(0.5 * (a(x) ** 2).sum(), x, create_graph=True)
    (hvp,) = torch.autograd.grad((grad * v).sum(), x)
    if isinstance(a, LinearOperator):
        assert torch.allclose(hvp, a.normal(v), atol=1e-8 * float(hvp.abs().max() + 1))
    many = torch.func.vmap(lambda z: a.forward(z[None])[0])(x.detach())
    assert torch.allclose(many, a(x.detach()), atol=1e-12 * float(many.abs().max() + 1))


@pytest.mark.parametrize("name", EXAMPLES)
def test_first_use_in_inference_mode_does_no_harm(name: str) -> None:
    a = EXAMPLES[name]()
    x = torch.rand(1, *a.in_shape, dtype=torch.float64)
    with torch.inference_mode():
        y = a(x)
        if isinstance(a, LinearOperator):
            a.solve(x, 1.0)
    x.requires_grad_()
    z = a(x)
    if isinstance(a, LinearOperator):
        z = a(a.solve(x, 1.0)) + z
    (grad,) = torch.autograd.grad(z.sum(), x)
    assert bool(torch.isfinite(grad).all())
    assert y.shape == z.shape


def test_the_check_names_what_is_wrong() -> None:
    class Wrong(LinearOperator):
        in_shape = out_shape = (1, 3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return x + 1

        def adjoint(self, y: Tensor) -> Tensor:
            return 2 * y

    report = check_operator(Wrong())
    failed = {c.name for c in report.checks if not c.ok}
    assert {"linearity", "adjoint", "pickle"} <= failed
    assert "derive from Operator" in str(report)
    with pytest.raises(AssertionError, match="checks failed"):
        report.raise_if_failed()


class Noisy(Operator):
    in_shape = out_shape = (1, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x)


class Coupled(Operator):
    in_shape = out_shape = (1, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x / x.pow(2).sum().sqrt()


class InPlace(LinearOperator):
    in_shape = out_shape = (1, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        x *= 2
        return x


class Single(LinearOperator):
    in_shape = out_shape = (1, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x.float().clone()


@pytest.mark.parametrize(
    ("make", "name"),
    [(Noisy, "determinism"), (Coupled, "batch = loop"), (InPlace, "input unchanged"), (Single, "dtype")],
)
def test_each_check_catches_its_own_bug(make: Callable[[], Operator], name: str) -> None:
    assert name in {c.name for c in check_operator(make()).checks if not c.ok}


def test_check_takes_operators_only() -> None:
    with pytest.raises(TypeError, match="give an instance"):
        check_operator(Identity)  # type: ignore[arg-type]


def test_pickles_are_small() -> None:
    a = Tomography((1, 32, 32), angles_deg=torch.arange(180.0))
    a(torch.rand(1, 1, 32, 32))
    assert len(pickle.dumps(a)) < 1_000_000
