from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from invdiff.metrics import coverage, psnr, ssim, ssim_gaussian


def pair(b: int, c: int, h: int, w: int) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(3)
    ref = torch.rand(b, c, h, w, generator=g)
    noise = torch.randn(b, c, h, w, generator=g)
    return ref + torch.linspace(0.02, 0.2, b).reshape(-1, 1, 1, 1) * noise, ref


@pytest.mark.parametrize("shape", [(3, 1, 33, 47), (2, 3, 7, 7), (2, 3, 20, 9)])
def test_equal_to_scikit_image(shape: tuple[int, int, int, int]) -> None:
    x, ref = pair(*shape)
    a, b = x.double().numpy(), ref.double().numpy()
    for i in range(shape[0]):
        assert psnr(x, ref)[i].item() == pytest.approx(peak_signal_noise_ratio(b[i], a[i], data_range=1), abs=1e-9)
        theirs = structural_similarity(b[i], a[i], data_range=1, channel_axis=0)
        assert ssim(x, ref)[i].item() == pytest.approx(theirs, abs=1e-9)


PAPER = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}


@pytest.mark.parametrize("shape", [(3, 1, 33, 47), (2, 3, 11, 11), (2, 3, 40, 12)])
def test_ssim_of_papers_is_that_of_scikit_image(shape: tuple[int, int, int, int]) -> None:
    x, ref = pair(*shape)
    a, b = x.double().numpy(), ref.double().numpy()
    for i in range(shape[0]):
        theirs = structural_similarity(b[i], a[i], data_range=1, channel_axis=0, **PAPER)
        assert ssim_gaussian(x, ref)[i].item() == pytest.approx(theirs, abs=1e-9)
    theirs = structural_similarity(255 * b[0], 255 * a[0], data_range=255, channel_axis=0, **PAPER)
    assert ssim_gaussian(255 * x, 255 * ref, data_range=255)[0].item() == pytest.approx(theirs, abs=1e-6)


def test_ssim_of_papers_is_equation_13() -> None:
    """One window: the means, variances and covariance of its 121 pixels under the normalised weights."""
    x, ref = (t[0, 0].double() for t in pair(1, 1, 11, 11))
    i = torch.arange(-5, 6, dtype=torch.float64)
    w = torch.exp(-(i[:, None] ** 2 + i**2) / 4.5)
    w = w / w.sum()
    mx, my = (w * x).sum(), (w * ref).sum()
    sx, sy, sxy = (w * (x - mx) ** 2).sum(), (w * (ref - my) ** 2).sum(), (w * (x - mx) * (ref - my)).sum()
    want = (2 * mx * my + 1e-4) * (2 * sxy + 9e-4) / ((mx**2 + my**2 + 1e-4) * (sx + sy + 9e-4))
    assert ssim_gaussian(x[None, None], ref[None, None]).item() == pytest.approx(want.item(), abs=1e-12)


def test_data_range() -> None:
    x, ref = pair(1, 1, 16, 16)
    a, b = (255 * t[0, 0].double().numpy() for t in (x, ref))
    assert ssim(255 * x, 255 * ref, data_range=255).item() == pytest.approx(
        structural_similarity(b, a, data_range=255), abs=1e-6
    )
    assert psnr(255 * x, 255 * ref, data_range=255).item() == pytest.approx(psnr(x, ref).item(), abs=1e-5)


def test_equal_images() -> None:
    x = torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    assert torch.isinf(psnr(x, x)).all()
    assert torch.allclose(ssim(x, x), torch.ones(2, dtype=torch.float64))
    wide = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(ssim_gaussian(wide, wide), torch.ones(2, dtype=torch.float64))


def test_an_image_does_not_depend_on_its_batch() -> None:
    x, ref = pair(3, 3, 12, 15)
    for metric in (psnr, ssim, ssim_gaussian):
        alone = torch.cat([metric(x[i : i + 1], ref[i : i + 1]) for i in range(3)])
        assert torch.allclose(metric(x, ref), alone, rtol=1e-12)


def test_coverage_of_honest_samples_is_the_level() -> None:
    # Binomial: the standard error over 40000 pixels is below 0.0025.
    for count in (2, 4, 16):
        draws = torch.randn(1, count + 1, 1, 200, 200, generator=torch.Generator().manual_seed(count))
        for level in (0.5, 0.9):
            got = coverage(draws[:, :count], draws[:, count], level=level).item()
            assert got == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 40000))


def test_coverage_of_overconfident_samples_is_low() -> None:
    draws = torch.randn(1, 9, 1, 100, 100, generator=torch.Generator().manual_seed(0))
    assert coverage(0.2 * draws[:, :8], draws[:, 8]).item() < 0.4


def test_bad_input() -> None:
    x = torch.zeros(1, 1, 8, 8)
    with pytest.raises(ValueError, match=r"psnr: x, ref: .* got \(1, 1, 8, 8\), \(1, 3, 8, 8\)"):
        psnr(x, torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match=r"ssim: x: expected at least 7 x 7 pixels, got 6 x 8"):
        ssim(x[:, :, :6], x[:, :, :6])
    with pytest.raises(ValueError, match=r"ssim_gaussian: x: expected at least 11 x 11 pixels, got 8 x 8"):
        ssim_gaussian(x, x)
    with pytest.raises(ValueError, match="with at least 2 samples"):
        coverage(x[:, None], x)
    with pytest.raises(ValueError, match="level"):
        coverage(x[:, None].expand(1, 2, 1, 8, 8), x, level=1.0)
