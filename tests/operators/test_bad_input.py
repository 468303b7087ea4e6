"""What may come in by mistake, one by one: an error that says what to do, or a definition where it is no mistake."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.ndimage
import torch

from invdiff import Problem, simulate
from invdiff.noise import Gaussian
from invdiff.operators import (
    MRI,
    Blur,
    CompressedSensing,
    Demosaic,
    Downsample,
    FanBeamTomography,
    Gain,
    Grayscale,
    Identity,
    Inpainting,
    LinearOperator,
    Tomography,
    gaussian_kernel,
    stack,
)

SHAPE = (3, 8, 9)
A = Identity(SHAPE)
CASES: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "no batch axis": (lambda: A(torch.ones(SHAPE)), ValueError, "add the batch axis with x"),
    "another size": (lambda: A(torch.ones(1, 3, 9, 8)), ValueError, "build the operator for this size"),
    "an array": (lambda: A(np.ones((1, *SHAPE))), TypeError, "convert it with torch.as_tensor"),  # type: ignore[arg-type]
    "bytes": (lambda: A(torch.ones((1, *SHAPE), dtype=torch.uint8)), TypeError, r"scale images to \[0, 1\] first"),
    "measurement of another size": (lambda: A.pinv(torch.ones(1, 1, 8, 9)), ValueError, "a measurement batch of shape"),
    "right-hand side of another size": (lambda: A.solve(torch.ones(1, 1, 8, 9), 1.0), ValueError, "an image batch"),
    "weight of zero": (lambda: A.solve(torch.ones(1, *SHAPE), 0.0), ValueError, "use pinv for rho = 0"),
    "shape with a batch axis": (lambda: Identity((1, *SHAPE)), ValueError, "without the batch axis"),
    "shape of floats": (lambda: Identity((3, 8.0, 9)), ValueError, "three positive integers"),  # type: ignore[arg-type]
    "kernel of other channels": (
        lambda: Blur(SHAPE, kernel=torch.ones(2, 3, 3)), ValueError, r"\(h, w\) or \(3, h, w\)"),
    "kernel as an array": (
        lambda: Blur(SHAPE, kernel=np.ones((3, 3))), TypeError, "convert it with torch.as_tensor"),  # type: ignore[arg-type]
    "kernel with NaN": (lambda: Blur(SHAPE, kernel=torch.full((3, 3), torch.nan)), ValueError, "check its file"),
    "kernel larger than what stays": (
        lambda: Blur(SHAPE, kernel=torch.ones(9, 9), border="valid"), ValueError, "choose another border"),
    "angles without their unit": (
        lambda: Tomography((1, 8, 8), angles=[0.0]), TypeError, "unexpected keyword argument 'angles'"),  # type: ignore[call-arg]
    "angles in a table": (
        lambda: Tomography((1, 8, 8), angles_deg=[[0.0, 1.0]]), ValueError, "angles_deg: expected a row of finite"),
    "no angles": (lambda: Tomography((1, 8, 8), angles_deg=[]), ValueError, "angles_deg: expected a row of finite"),
    "angles with NaN": (
        lambda: FanBeamTomography((1, 8, 8), angles_deg=[torch.nan], source_distance=9), ValueError, "angles_deg"),
    "pixels of no size": (
        lambda: Tomography((1, 8, 8), angles_deg=[0], pixel_size=0), ValueError, "pixel_size: expected a positive"),
    "a source inside the image": (
        lambda: FanBeamTomography((1, 8, 8), angles_deg=[0.0], source_distance=1), ValueError, "move the source away"),
    "mask of grays": (lambda: Inpainting(torch.full((8, 9), 0.5)), ValueError, "threshold it, mask > 0.5"),
    "mask of 255": (lambda: Inpainting(torch.full((8, 9), 255.0)), ValueError, "got 255.0; threshold it"),
    "mask of frequencies with grays": (
        lambda: MRI((1, 8, 8), mask=torch.full((8, 8), 0.5)), ValueError, "threshold it, mask > 0.5"),
    "mask of nothing": (lambda: Inpainting(torch.ones(0, 9)), ValueError, "got an empty mask"),
    "an empty stack": (lambda: stack([]), ValueError, "got none; list what measures the image"),
    "a stack of different images": (lambda: stack([A, Identity((1, 8, 9))]), ValueError, "build all of them for one"),
    "no operator in a stack": (lambda: stack([A, 3]), TypeError, "expected an Operator, got int"),  # type: ignore[list-item]
    "operators that do not follow": (lambda: A @ Identity((1, 8, 9)), ValueError, "build one of the two"),
    "sum of different measurements": (lambda: A + Grayscale(SHAPE), ValueError, r"stack\(\[A, B\]\)"),
    "infinite factor": (lambda: float("inf") * A, ValueError, "expected a finite number"),
    "factor of no size": (lambda: Downsample(SHAPE, factor=0), ValueError, "factor: expected a positive"),
    "factor of a half": (lambda: Downsample(SHAPE, factor=1.5), ValueError, "integer, got 1.5"),  # type: ignore[arg-type]
    "colour of gray images": (lambda: Demosaic((1, 8, 8)), ValueError, "expected three channels"),
    "weights of other channels": (lambda: Grayscale((2, 8, 8)), ValueError, "expected 2 of them"),
    "more measurements than asked": (lambda: CompressedSensing((1, 4, 4), ratio=2), ValueError, "expected a number in"),
    "gain of another shape": (lambda: Gain(SHAPE, gain=torch.ones(2, 8, 9)), ValueError, "broadcasts to"),
    "gain with NaN": (lambda: Gain(SHAPE, gain=torch.tensor(torch.nan)), ValueError, "0 marks what is not seen"),
    "gain of integers": (lambda: Gain(SHAPE, gain=torch.ones(8, 9).int()), TypeError, "floating-point"),
    "matrix of other columns": (
        lambda: LinearOperator.from_matrix(torch.ones(2, 5), SHAPE), ValueError, "expected 5 entries"),
    "no function": (lambda: LinearOperator.from_function(3, SHAPE), TypeError, "expected a function of a batch"),  # type: ignore[arg-type]
    "measurement with NaN": (
        lambda: Problem(A, Gaussian(0.1), torch.full((1, *SHAPE), torch.nan)), ValueError, "with a mask instead"),
    "a number for an operator": (
        lambda: Problem(3, Gaussian(0.1), torch.ones(1)), TypeError, "Operator.from_function"),  # type: ignore[arg-type]
    "a text for noise": (
        lambda: simulate(A, torch.ones(1, *SHAPE), "0.1"), TypeError, "expected a Noise or a standard"),  # type: ignore[arg-type]
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_mistakes_are_named(name: str) -> None:
    make, kind, message = CASES[name]
    with pytest.raises(kind, match=message) as caught:
        make()
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("border", ["circular", "reflect", "zero", "valid"])
@pytest.mark.parametrize("total", [0.0, -2.0])
def test_kernels_of_zero_or_negative_sum_are_as_written(border: str, total: float) -> None:
    """No normalisation: a derivative, or an inverted picture."""
    k = torch.tensor([[1.0, 2.0, 0.0], [0.0, 3.0, -1.0]], dtype=torch.float64)
    k[0, 2] = total - k.sum()
    x = torch.rand(1, 1, 8, 9, dtype=torch.float64)
    got = Blur((1, 8, 9), kernel=k, border=border)(x)  # type: ignore[arg-type]
    mode = {"circular": "wrap", "reflect": "reflect"}.get(border, "constant")
    want = scipy.ndimage.convolve(x[0, 0].numpy(), k.numpy(), mode=mode)
    want = want if border != "valid" else want[:-1, 1:-1]
    np.testing.assert_allclose(got[0, 0].numpy(), want, atol=1e-12)


def test_results_stay_where_the_input_is() -> None:
    """An operator made on the CPU takes what lives elsewhere: its constants follow. "meta" is such a place."""
    for a in (
        Blur(SHAPE, kernel=gaussian_kernel(1.0)),
        Inpainting(torch.ones(8, 9), channels=3),
        Gain(SHAPE, gain=torch.ones(8, 9)),
    ):
        x = torch.empty((2, *SHAPE), device="meta")
        assert a(x).device.type == a.adjoint(a(x)).device.type == "meta"


def test_dot_tests_at_the_precision_asked_for() -> None:
    """Of the issue: 1e-6 in float32 and 1e-12 in float64, relative to both norms."""
    operators: list[LinearOperator] = [
        Tomography((1, 64, 64), angles_deg=torch.arange(0, 180, 3.0), pixel_size=0.1),
        FanBeamTomography((1, 64, 64), angles_deg=torch.arange(0, 360, 9.0), source_distance=100),
        Blur((3, 64, 65), kernel=gaussian_kernel(3.0, 31), border="reflect"),
        Blur((3, 64, 65), kernel=torch.rand(14, 9), border="circular"),
        Blur((3, 64, 65), kernel=torch.rand(14, 9), border="reflect"),
        Downsample((3, 64, 64), factor=4),
    ]
    g = torch.Generator().manual_seed(0)
    for a in operators:
        x, y = (torch.randn((1, *s), generator=g, dtype=torch.float64) for s in (a.in_shape, a.out_shape))
        for dtype, limit in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
            u, v = x.to(dtype), y.to(dtype)
            au, atv = a(u), a.adjoint(v)
            gap = (au * v).sum(dtype=torch.float64) - (u * atv).sum(dtype=torch.float64)
            assert float(gap.abs() / (au.double().norm() * v.double().norm())) < limit, (a, dtype)
