from __future__ import annotations

import pytest
import torch

from invdiff.operators import (
    Blur,
    Composition,
    Downsample,
    Identity,
    Inpainting,
    NonlinearStack,
    Operator,
    Stack,
    Sum,
    gaussian_kernel,
    random_mask,
    stack,
)

SHAPE = (2, 6, 8)


class Square(Operator):
    in_shape = out_shape = SHAPE

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x**2


BLUR = Blur(SHAPE, kernel=gaussian_kernel(0.8), border="reflect")
DOWN = Downsample(SHAPE, factor=2)
HOLES = Inpainting(random_mask(SHAPE[1:], missing=0.5), channels=2)
X = torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_expressions_mean_what_they_say() -> None:
    torch.testing.assert_close((DOWN @ BLUR)(X), DOWN(BLUR(X)))
    torch.testing.assert_close((BLUR + HOLES)(X), BLUR(X) + HOLES(X))
    torch.testing.assert_close((BLUR - HOLES)(X), BLUR(X) - HOLES(X))
    torch.testing.assert_close((2 * BLUR)(X), 2 * BLUR(X))
    torch.testing.assert_close((BLUR * 0.5)(X), 0.5 * BLUR(X))
    torch.testing.assert_close((-BLUR)(X), -BLUR(X))
    torch.testing.assert_close((Square() @ BLUR)(X), BLUR(X) ** 2)
    torch.testing.assert_close((BLUR @ Square())(X), BLUR(X**2))
    torch.testing.assert_close((DOWN @ BLUR).T(DOWN(X)), BLUR.T(DOWN.T(DOWN(X))))
    assert DOWN.T.T is DOWN


def test_stack_splits_and_joins() -> None:
    a = stack([DOWN, HOLES, BLUR])
    assert isinstance(a, Stack)
    parts = a.split(a(X))
    for got, want in zip(parts, (DOWN(X), HOLES(X), BLUR(X)), strict=True):
        torch.testing.assert_close(got, want)
    assert torch.equal(a.join(parts), a(X))
    torch.testing.assert_close(a.adjoint(a(X)), DOWN.normal(X) + HOLES.normal(X) + BLUR.normal(X))
    assert a.observed is not None
    assert int((~a.observed).sum()) == 2 * int((~HOLES.mask).sum())
    assert isinstance(stack([DOWN, Square()]), NonlinearStack)
    with pytest.raises(ValueError, match="expected 3 measurements"):
        a.join(parts[:2])


def test_observed_is_passed_on() -> None:
    for a in (HOLES @ BLUR, 2 * HOLES, HOLES + HOLES, HOLES @ Square()):
        assert a.observed is not None
        assert torch.equal(a.observed, HOLES.mask)
    assert (HOLES + BLUR).observed is None
    assert (BLUR @ HOLES).observed is None


def test_repr_reads_like_the_expression() -> None:
    assert repr(2 * (Identity((1, 2, 2)) @ Identity((1, 2, 2)))) == (
        "2 * (Identity((1, 2, 2) -> (1, 2, 2)) @ Identity((1, 2, 2) -> (1, 2, 2)))"
    )
    assert repr(stack([Identity((1, 2, 2)).T])) == "stack([Identity((1, 2, 2) -> (1, 2, 2)).T])"


def test_errors() -> None:
    small = Identity((1, 2, 2))
    with pytest.raises(ValueError, match=r"build one of the two"):
        Composition(small, BLUR)
    with pytest.raises(ValueError, match=r"stack\(\[A, B\]\)"):
        Sum(DOWN, BLUR)
    with pytest.raises(ValueError, match="got none"):
        stack([])
    with pytest.raises(ValueError, match="for one image"):
        stack([small, BLUR])
    with pytest.raises(TypeError, match="expected an Operator"):
        stack([small, 3])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="compose others with Chain"):
        Composition(Square(), BLUR)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="finite"):
        BLUR * float("nan")
    for wrong in (lambda: BLUR @ 3, lambda: BLUR + 3, lambda: BLUR * "2", lambda: Square() @ 3):  # type: ignore[operator]
        with pytest.raises(TypeError):
            wrong()  # type: ignore[no-untyped-call]


def test_moving_devices_keeps_what_is_there() -> None:
    assert BLUR.to("cpu") is BLUR
    moved = (DOWN @ BLUR).to("meta")
    assert moved.inner._closed._rows.matrix.value.device.type == "meta"
    assert HOLES.to("meta").observed.device.type == "meta"
