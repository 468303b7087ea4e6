"""Kernels and k-space of other packages mean the same here, as docs/conventions.md says."""

import deepinv
import numpy as np
import pytest
import torch
from scipy.signal import convolve2d

from invdiff.operators import MRI, Blur, Operator
from invdiff.operators.builders.factory import make_operator


def _image() -> torch.Tensor:
    return torch.rand(1, 1, 24, 24, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [5, 4])
def test_kernels_of_deepinv(size: int) -> None:
    kernel = torch.rand(size, size, generator=torch.Generator().manual_seed(1))
    kernel, x = kernel / kernel.sum(), _image()
    ours = Blur((1, 24, 24), kernel=kernel, border="circular")(x)
    theirs = deepinv.physics.BlurFFT(img_size=(1, 24, 24), filter=kernel[None, None])
    torch.testing.assert_close(ours, theirs.A(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("size", "options"), [(5, {}), (4, {"center": (1, 1)})])
def test_kernels_of_scipy_and_skimage(size: int, options: dict[str, object]) -> None:
    kernel = np.random.default_rng(0).random((size, size))
    kernel /= kernel.sum()
    x = _image()
    want = torch.from_numpy(convolve2d(x[0, 0].numpy(), kernel, mode="same")).float()
    made: Operator = make_operator(
        "blur", (1, 24, 24), {"kernel": torch.from_numpy(kernel), "border": "zero", **options}
    )
    torch.testing.assert_close(made(x)[0, 0], want, atol=1e-5, rtol=0)


def test_kspace_of_deepinv() -> None:
    x = _image()
    mask = torch.zeros(24, 24)
    mask[:, ::2] = 1
    theirs = deepinv.physics.MRI(mask=mask[None, None], img_size=(2, 24, 24))
    torch.testing.assert_close(MRI((1, 24, 24), mask=mask.bool())(x), theirs.A(torch.cat([x, 0 * x], 1)))
