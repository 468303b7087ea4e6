"""Colour, MRI, compressed sensing, space-varying blur, and the operators that are not linear."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from invdiff.operators import (
    JPEG,
    MRI,
    Blur,
    CompressedSensing,
    Demosaic,
    GammaCurve,
    Grayscale,
    HighDynamicRange,
    LinearOperator,
    NonlinearBlur,
    PhaseRetrieval,
    SpaceVaryingBlur,
    cartesian_mask,
    gaussian_kernel,
    tile_weights,
)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_grayscale() -> None:
    x = random(2, 3, 4, 5)
    want = 0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:]
    torch.testing.assert_close(Grayscale((3, 4, 5))(x), want)
    with pytest.raises(ValueError, match="expected 4 of them"):
        Grayscale((4, 4, 5))
    with pytest.raises(ValueError, match="finite numbers"):
        Grayscale((3, 4, 5), weights=(0.0, 0.0, 0.0))


@pytest.mark.parametrize("pattern", ["rggb", "BGGR", "grbg", "gbrg"])
def test_demosaic(pattern: str) -> None:
    x = random(1, 3, 5, 7)
    y = Demosaic((3, 5, 7), pattern=pattern)(x)
    for i in range(5):
        for j in range(7):
            assert y[0, 0, i, j] == x[0, "rgb".index(pattern.lower()[2 * (i % 2) + j % 2]), i, j]


def test_bad_demosaic() -> None:
    with pytest.raises(ValueError, match="'rggb'"):
        Demosaic((3, 4, 4), pattern="rgb")
    with pytest.raises(ValueError, match="three channels"):
        Demosaic((1, 4, 4))


def test_mri_is_numpys_transform_with_the_centre_in_the_middle() -> None:
    x, mask = random(1, 2, 6, 8), random(6, 8, seed=1) > 0.5
    z = (x[0, 0] + 1j * x[0, 1]).numpy()
    want = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(z), norm="ortho")) * mask.numpy()
    y = MRI((2, 6, 8), mask=mask)(x)
    np.testing.assert_allclose((y[0, 0] + 1j * y[0, 1]).numpy(), want, atol=1e-12)
    real = MRI((1, 6, 8), mask=mask)(x[:, :1])
    zero = MRI((2, 6, 8), mask=mask)(torch.stack([x[:, 0], torch.zeros_like(x[:, 0])], 1))
    torch.testing.assert_close(real, zero)
    full = MRI((2, 6, 8), mask=torch.ones(6, 8))
    torch.testing.assert_close(full.pinv(full(x)), x)


def test_mri_coils() -> None:
    x = random(1, 2, 6, 8)
    s = torch.complex(random(3, 6, 8, seed=1), random(3, 6, 8, seed=2))
    y = MRI((2, 6, 8), mask=torch.ones(8), sensitivities=s)(x)
    z = torch.complex(x[:, 0], x[:, 1]) * s[1]
    want = MRI((2, 6, 8), mask=torch.ones(8))(torch.stack([z.real, z.imag], 1))
    torch.testing.assert_close(y[:, :, 1], want)


def test_cartesian_mask() -> None:
    m = cartesian_mask((5, 64), acceleration=4, center_fraction=0.125, seed=3)
    assert int(m[0].sum()) == 16
    assert bool(m[:, 28:36].all())
    assert bool((m == m[0]).all())
    assert not torch.equal(m, cartesian_mask((5, 64), acceleration=4, center_fraction=0.125, seed=4))
    with pytest.raises(ValueError, match="acceleration"):
        cartesian_mask((5, 64), acceleration=0.5)
    with pytest.raises(ValueError, match="center_fraction"):
        cartesian_mask((5, 64), acceleration=2, center_fraction=8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_shape": (3, 4, 4), "mask": torch.ones(4, 4)}, "real and imaginary"),
        ({"in_shape": (2, 4, 4), "mask": torch.ones(4, 5)}, "mask: expected a tensor of shape"),
        ({"in_shape": (2, 4, 4), "mask": torch.full((4, 4), 0.5)}, "threshold"),
        ({"in_shape": (2, 4, 4), "mask": torch.ones(4, 4), "sensitivities": torch.ones(4, 4)}, "sensitivities"),
        ({"in_shape": (2, 4, 4), "mask": torch.ones(4), "sensitivities": torch.full((1, 4, 4), math.nan)}, "finite"),
    ],
)
def test_bad_mri(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MRI(**options)  # type: ignore[arg-type]


def test_compressed_sensing() -> None:
    a, same, other = (CompressedSensing((1, 8, 8), measurements=20, seed=s) for s in (1, 1, 2))
    x = random(3, 1, 8, 8)
    assert torch.equal(a(x), same(x))
    assert not torch.equal(a(x), other(x))
    y = a(x)
    torch.testing.assert_close(a(a.adjoint(y)), y)  # A A^T = I
    spread = CompressedSensing((1, 32, 32), ratio=0.5)
    spike = torch.zeros(1, 1, 32, 32)
    spike[0, 0, 3, 7] = 1
    assert float(spread(spike).abs().max()) < 0.1  # no projection sees one pixel alone
    dense = CompressedSensing((1, 32, 32), ratio=0.5, kind="dense")
    assert float(dense(spike).square().sum()) == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "one of the two"),
        ({"measurements": 3, "ratio": 0.5}, "one of the two"),
        ({"ratio": 1.5}, "ratio"),
        ({"measurements": 65}, "from 1 to 64"),
        ({"ratio": 0.5, "kind": "fourier"}, "kind"),
    ],
)
def test_bad_compressed_sensing(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CompressedSensing((1, 8, 8), **options)  # type: ignore[arg-type]


def test_space_varying_blur() -> None:
    kernels = torch.stack([gaussian_kernel(0.5, 7), gaussian_kernel(1.5, 7)])
    weights = tile_weights((9, 11), (1, 2))
    torch.testing.assert_close(weights.sum(0), torch.ones(9, 11, dtype=torch.float64))
    x = random(2, 3, 9, 11)
    a = SpaceVaryingBlur((3, 9, 11), kernels=kernels, weights=weights, border="zero")
    want = sum(Blur((3, 9, 11), kernel=k, border="zero")(x * w) for k, w in zip(kernels, weights, strict=True))
    torch.testing.assert_close(a(x), want)
    with pytest.raises(ValueError, match="one for each kernel"):
        SpaceVaryingBlur((3, 9, 11), kernels=kernels, weights=weights[:1])
    with pytest.raises(ValueError, match="tiles"):
        tile_weights((9, 11), (0, 2))


def test_phase_retrieval() -> None:
    x = random(1, 1, 16, 24)
    a = PhaseRetrieval((1, 16, 24))
    assert a.out_shape == (1, 24, 36)
    padded = np.pad(x[0, 0].numpy(), ((4, 4), (6, 6)))
    want = np.fft.fftshift(np.abs(np.fft.fft2(padded, norm="ortho")))
    np.testing.assert_allclose(a(x)[0, 0].numpy(), want, atol=1e-12)
    torch.testing.assert_close(a(x.flip((-1, -2))), a(x))  # what it cannot tell apart
    with pytest.raises(ValueError, match="oversampling"):
        PhaseRetrieval((1, 16, 24), oversampling=-1)


def test_high_dynamic_range_is_the_published_one() -> None:
    x = random(1, 3, 4, 4)
    published = (2 * (2 * x - 1)).clamp(-1, 1)  # on [-1, 1]
    torch.testing.assert_close(HighDynamicRange((3, 4, 4))(x), (published + 1) / 2)


def test_gamma_curve() -> None:
    x = random(1, 1, 4, 4) * 2 - 0.5
    for gamma in (0.45, 1.0, 2.2):
        a = GammaCurve((1, 4, 4), gamma=gamma)
        torch.testing.assert_close(a.inverse(a(x)), x)
        ends = a(
            torch.tensor([0.0, 1.0], dtype=torch.float64).reshape(1, 1, 1, 2).expand(1, 1, 4, 2).repeat(1, 1, 1, 2)
        )
        torch.testing.assert_close(ends[0, 0, 0, :2], torch.tensor([0.0, 1.0], dtype=torch.float64))
        assert float((a(x.abs()) - x.abs() ** gamma).abs().max()) < 0.06
    for bad in (0, -1, float("nan"), True):
        with pytest.raises(ValueError, match="gamma"):
            GammaCurve((1, 4, 4), gamma=bad)


def test_nonlinear_blur() -> None:
    k = gaussian_kernel(1.0)
    x = random(1, 1, 12, 12)
    linear = NonlinearBlur((1, 12, 12), kernel=k, gamma=1.0)
    torch.testing.assert_close(linear(x), Blur((1, 12, 12), kernel=k)(x))
    bright = NonlinearBlur((1, 12, 12), kernel=k, gamma=2.2)(x)
    assert float(bright.mean()) > float(x.mean())  # light adds up before the curve: bright pixels win


@pytest.mark.parametrize("quality", [10, 50, 75, 95])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_pillows(quality: int, channels: int) -> None:
    from skimage.data import astronaut

    image = astronaut()[100:228, 150:270]  # 120 columns: 15 blocks
    image = image if channels == 3 else image[..., 1]
    file = io.BytesIO()
    Image.fromarray(image).save(file, "jpeg", quality=quality, subsampling=0)
    want = np.asarray(Image.open(file)).reshape(128, 120, channels) / 255
    x = torch.from_numpy(image / 255).reshape(128, 120, channels).permute(2, 0, 1)[None]
    got = JPEG((channels, 128, 120), quality=quality)(x)[0].permute(1, 2, 0).clamp(0, 1).numpy()
    # libjpeg rounds colours to integers before and after, and a coefficient at a half may fall to the other side.
    assert np.abs(got - want).mean() < (0.6 if channels == 1 else 1.0) / 255
    assert np.quantile(np.abs(got - want), 0.99) < (3 if channels == 1 else 7) / 255


def test_jpeg_gradient_passes_the_rounding() -> None:
    x = random(1, 3, 16, 16).requires_grad_()
    w = random(1, 3, 16, 16, seed=1)
    (grad,) = torch.autograd.grad((JPEG((3, 16, 16), quality=10)(x) * w).sum(), x)
    torch.testing.assert_close(grad, w)  # the transforms undo each other where rounding is the identity
    for bad in (0, 101, 50.5, True):
        with pytest.raises(ValueError, match="quality"):
            JPEG((3, 16, 16), quality=bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="1 or 3 channels"):
        JPEG((2, 16, 16), quality=50)


class Tripled(LinearOperator):
    """Counts how often it is applied."""

    in_shape = out_shape = (1, 4, 4)
    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return 3 * x


def test_the_largest_singular_value_is_found_once() -> None:
    operator = Tripled()
    assert operator.spectral_norm == pytest.approx(3, rel=1e-3)
    calls = operator.calls
    assert calls > 0
    assert operator.spectral_norm == operator.to("cpu").spectral_norm
    assert operator.calls == calls
    assert operator.norm() == operator.spectral_norm
    assert operator.calls == 2 * calls  # `norm` itself keeps nothing
