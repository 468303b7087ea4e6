"""The noise of photographs with known noise, and what is said of it."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import conv2d, interpolate

from invdiff.fit import level_causes
from invdiff.noise import Gaussian, estimate_noise, measure_noise
from invdiff.noise.blocks import Blocks, spectrum
from invdiff.operators import Demosaic, Identity
from invdiff.problem import Problem
from invdiff.streams import generator

D = torch.float64
PHOTOGRAPHS = ("astronaut", "coffee", "cat")


def photograph(name: str) -> Tensor:
    """Return 240 x 240 pixels of an image of scikit-image, `(1, 3, 240, 240)`."""
    x = torch.from_numpy(getattr(skimage.data, name)()[40:280, 60:300].copy())
    return x.permute(2, 0, 1)[None].to(D) / 255


def normal(like: Tensor, seed: int = 0) -> Tensor:
    return torch.randn(like.shape, generator=generator(seed), dtype=D)


def rms(x: Tensor) -> float:
    return float(x.square().mean().sqrt())


def bilinear(mosaic: Tensor) -> Tensor:
    """Return the bilinear interpolation of a mosaic, rggb, `(1, 1, H, W)`: linear in it."""
    size = (3, *mosaic.shape[-2:])
    planes = Demosaic(size).adjoint(mosaic)[0][:, None]
    colour, green = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]), torch.tensor([[0.0, 1, 0], [1, 4, 1], [0, 1, 0]])
    kernels = [k.to(D)[None, None] / 4 for k in (colour, green, colour)]
    return torch.stack([conv2d(p[None], k, padding=1)[0, 0] for p, k in zip(planes, kernels, strict=True)])[None]


def jpeg(x: Tensor, quality: int) -> Tensor:
    pixels = (x[0].permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality, subsampling=0)
    return torch.from_numpy(np.array(Image.open(stream))).permute(2, 0, 1)[None].to(D) / 255


@pytest.mark.parametrize("name", PHOTOGRAPHS)
@pytest.mark.parametrize("std", [0.02, 0.05, 0.1])
def test_white_noise(name: str, std: float) -> None:
    x = photograph(name)
    found = measure_noise(x + std * normal(x))
    assert found.std == pytest.approx(std, rel=0.1)
    assert not found.correlated and found.recommended == found.std == estimate_noise(x + std * normal(x))


@pytest.mark.parametrize("std", [0.02, 0.05, 0.1])
def test_each_plane_of_a_bayer_mosaic(std: float) -> None:
    """The colours of a mosaic differ, which second differences take for noise of .17 where it is .02."""
    x = photograph("astronaut")
    mosaic = Demosaic((3, 240, 240))(x)
    found = measure_noise(mosaic + std * normal(mosaic), mosaic=True)
    assert found.std == pytest.approx(std, rel=0.1) and not found.correlated
    levels = torch.tensor([[2.0, 3.0], [4.0, 6.0]], dtype=D).repeat(120, 120) * std / 4
    uneven = measure_noise(mosaic + levels * normal(mosaic), mosaic=True)
    assert uneven.planes == pytest.approx([std / 2, 3 * std / 4, std, 3 * std / 2], rel=0.2)
    assert "differs between planes" in uneven.describe()


@pytest.mark.parametrize("name", PHOTOGRAPHS[:2])  # the cat's fur counts as noise of 0.015
@pytest.mark.parametrize("step", ["demosaicing", "enlarging"])
@pytest.mark.parametrize("std", [0.02, 0.05, 0.1])
def test_correlated_noise(name: str, step: str, std: float) -> None:
    """Within 25 % of the true standard deviation, where the finest frequencies hold a tenth to a half of it."""
    x = photograph(name)
    if step == "demosaicing":
        mosaic = Demosaic((3, 240, 240))(x)
        clean, error = bilinear(mosaic), bilinear(std * normal(mosaic))
    else:
        clean, error = (interpolate(z, scale_factor=2, mode="bicubic") for z in (x, std * normal(x)))
    found = measure_noise(clean + error)
    assert found.correlated and found.std == pytest.approx(rms(error), rel=0.25)
    assert found.recommended > 1.2 * found.std
    assert found.spectrum is not None and found.spectrum.shape == (8, 8)
    said = found.describe()
    assert "correlated" in said and f"{found.std:g}" in said and f"white noise of {found.recommended:g}" in said


def test_noise_after_jpeg() -> None:
    x = photograph("coffee")
    y = jpeg(x + 0.03 * normal(x), 85)
    found = measure_noise(y)
    assert found.correlated and 0.5 < found.std / rms(y - x) < 1.25 and found.recommended > 0.7 * rms(y - x)


@pytest.mark.parametrize("std", [0.02, 0.05])
@pytest.mark.parametrize("inverted", [False, True])
def test_clipped_night_sky(std: float, inverted: bool) -> None:
    """The sky is darker than the noise, so about half of its pixels are zero."""
    sky = 0.03 * photograph("astronaut") ** 2
    y = (sky + std * normal(sky)).clamp(min=0)
    assert float((y == 0).double().mean()) > 0.3
    assert estimate_noise(1 - y if inverted else y) == pytest.approx(std, rel=0.1)


def test_shadows_are_left_out() -> None:
    """A picture with dark and bright parts: where it was clipped the noise is smaller, and flatter."""
    bright = torch.linspace(0, 0.5, 240, dtype=D).expand(1, 1, 240, 240) * (torch.arange(240) % 120 > 40)
    y = (bright + 0.03 * normal(bright)).clamp(min=0)
    assert estimate_noise(y) == pytest.approx(0.03, rel=0.05)


def test_frames_and_unknown_pixels_are_left_out() -> None:
    x = photograph("cat")
    y = x + 0.05 * normal(x)
    y[..., :50, :] = 0.5
    assert estimate_noise(y) == pytest.approx(0.05, rel=0.1)
    known = torch.ones(240, 240, dtype=torch.bool)
    known[100:140, ::9] = False
    y[..., ~known] = 0
    assert estimate_noise(y, known) == pytest.approx(0.05, rel=0.1)


def test_texture_is_not_correlated_noise() -> None:
    """Fine texture of a picture with little noise: its power grows towards low frequencies, that of noise does not."""
    f = torch.fft.fftfreq(256, dtype=D)
    radius = (f[:, None].square() + f.square()).sqrt().clamp(min=1 / 256)
    texture = torch.fft.ifft2(torch.fft.fft2(normal(torch.empty(1, 1, 256, 256))) / radius**1.5).real
    y = 0.5 + 0.05 * texture / texture.std() + 0.001 * normal(texture)
    found = measure_noise(y)
    assert not found.correlated and found.std < 0.004 < found.largest / 2
    assert f"up to {found.largest:g}" in found.describe()


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_a_clean_photograph_is_no_certain_noise(name: str) -> None:
    """Texture of a photograph without added noise may look like noise, correlated or not, but not beyond doubt."""
    x = photograph(name)
    for picture in (x, jpeg(x, 85), (1.6 * x).clamp(max=1)):
        found = measure_noise(picture)
        assert not found.certain
        if found.correlated:
            said = found.describe()
            assert "look alike here" in said and f"noise of at most {found.finest:g}" in said
    small = Problem(Identity((3, 240, 240)), Gaussian(0.002), x.float())
    assert "too small" not in " ".join(level_causes(small))
    noisy = Problem(Identity((3, 240, 240)), Gaussian(0.01), (x + 0.05 * normal(x)).float())
    assert measure_noise(x + 0.05 * normal(x)).certain and "too small" in " ".join(level_causes(noisy))


def test_what_jpeg_leaves_is_no_certain_level() -> None:
    x = photograph("astronaut")
    for std in (0.01, 0.02):
        found = measure_noise(jpeg(x + std * normal(x), 85))
        assert not found.certain and found.finest < std


def test_spectrum_of_flat_noise() -> None:
    """Every coefficient has the power of the noise, though the flattest blocks are chosen."""
    noise = 0.1 * normal(torch.empty(400, 400))
    found = spectrum(Blocks.of(noise).energies(), 0.03)
    assert float(found.mean().sqrt()) == pytest.approx(0.1, rel=0.05)
    assert bool(((found.sqrt() - 0.1).abs() < 0.02).all())


def test_small_images() -> None:
    """Too few blocks of 8 x 8: the median of second differences."""
    y = 0.5 + 0.1 * normal(torch.empty(1, 1, 14, 14))
    found = measure_noise(y)
    assert found.spectrum is None and found.std == pytest.approx(0.1, rel=4 / math.sqrt(144 / 9))
    assert measure_noise(torch.zeros(1, 1, 64, 64, dtype=D)).std == pytest.approx(1 / 255 / math.sqrt(12), rel=0.01)
