"""How close a reconstruction is to the truth, and how honest its uncertainty.

    PSNR = 10 log10(R^2 / MSE)
    SSIM = mean over windows and channels of
           (2 mu_x mu_y + c1) (2 s_xy + c2) / ((mu_x^2 + mu_y^2 + c1) (s_x^2 + s_y^2 + c2))

with the data range R = 1, c1 = (0.01 R)^2 and c2 = (0.03 R)^2. Both are scikit-image's `peak_signal_noise_ratio` and
`structural_similarity` with `data_range=1` and their defaults: uniform windows of 7 x 7 inside the image, and sample
covariances (divided by 48, not 49). All is computed in float64, image by image.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from .streams import generator

_WINDOW = 7


def psnr(x: Tensor, ref: Tensor, *, data_range: float = 1.0) -> Tensor:
    """Return the peak signal-to-noise ratio of each image in dB; infinite for equal images.

    Args:
        x: estimates, `(B, C, H, W)`, in [0, 1]; nothing is clipped.
        ref: true images, like `x`.
        data_range: R, from black to white.

    Returns:
        `(B,)`, float64.

    Raises:
        ValueError: the shapes differ.

    Example:
        >>> psnr(torch.full((1, 1, 8, 8), 0.6), torch.full((1, 1, 8, 8), 0.5)).round(decimals=3)
        tensor([20.], dtype=torch.float64)
    """
    _check("psnr", x, ref)
    mse = (x.double() - ref.double()).square().flatten(1).mean(1)
    return 10 * torch.log10(data_range**2 / mse)


def ssim(x: Tensor, ref: Tensor, *, data_range: float = 1.0) -> Tensor:
    """Return the structural similarity of each image, at most 1.

    Args:
        x: estimates, `(B, C, H, W)`, in [0, 1].
        ref: true images, like `x`.
        data_range: R, from black to white.

    Returns:
        `(B,)`, float64.

    Raises:
        ValueError: the shapes differ, or an image is smaller than 7 x 7.

    References:
        Image Quality Assessment: From Error Visibility to Structural Similarity (Wang et al., 2004),
        https://doi.org/10.1109/TIP.2003.819861, equation 13.

    Differs:
        The paper weights windows of 11 x 11 with a Gaussian; this is scikit-image's default, uniform ones of 7 x 7.

    Example:
        >>> ssim(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8))
        tensor([1.], dtype=torch.float64)
    """
    _check("ssim", x, ref)
    if min(x.shape[-2:]) < _WINDOW:
        raise ValueError(f"ssim: x: expected at least {_WINDOW} x {_WINDOW} pixels, got {x.shape[-2]} x {x.shape[-1]}")
    a, b = x.double(), ref.double()

    def mean(t: Tensor) -> Tensor:
        return avg_pool2d(t, _WINDOW, stride=1)

    unbiased = _WINDOW**2 / (_WINDOW**2 - 1)
    mu_a, mu_b = mean(a), mean(b)
    var_a = unbiased * (mean(a * a) - mu_a**2)
    var_b = unbiased * (mean(b * b) - mu_b**2)
    cov = unbiased * (mean(a * b) - mu_a * mu_b)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    local = (2 * mu_a * mu_b + c1) * (2 * cov + c2) / ((mu_a**2 + mu_b**2 + c1) * (var_a + var_b + c2))
    return local.flatten(1).mean(1)


def coverage(samples: Tensor, ref: Tensor, *, level: float = 0.9) -> Tensor:
    """Return the share of pixels whose true value lies in the interval that the samples predict.

    For S samples of a normal law with mean `m` and standard deviation `s` over the samples, the next draw lies in
    `m +- t s sqrt(1 + 1/S)` with probability `level`, where `t` is the quantile of Student's law with S - 1 degrees of
    freedom. So honest samples cover `level` of the pixels, however few they are.

    Args:
        samples: `(B, S, C, H, W)`, S at least 2.
        ref: true images, `(B, C, H, W)`.
        level: probability of the interval, in (0, 1).

    Returns:
        `(B,)`, float64.

    Raises:
        ValueError: a single sample, other shapes, or a level outside (0, 1).

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> draws = torch.randn(1, 9, 1, 100, 100, generator=g)
        >>> coverage(draws[:, :8], draws[:, 8]).round(decimals=1)
        tensor([0.9000], dtype=torch.float64)
    """
    if samples.ndim != 5 or samples.shape[1] < 2:
        raise ValueError(
            f"coverage: samples: expected (B, S, C, H, W) with at least 2 samples, got {tuple(samples.shape)}"
        )
    if not 0 < level < 1:
        raise ValueError(f"coverage: level: expected a probability in (0, 1), got {level}")
    _check("coverage", samples[:, 0], ref)
    from scipy.stats import t

    count = samples.shape[1]
    draws = samples.double()
    width = float(t.ppf((1 + level) / 2, count - 1)) * (1 + 1 / count) ** 0.5 * draws.std(1)
    inside = (draws.mean(1) - ref.double()).abs() <= width
    covered: Tensor = inside.flatten(1).double().mean(1)
    return covered


def sliced_wasserstein(a: Tensor, b: Tensor, *, slices: int = 10_000, seed: int = 0) -> float:
    """Return the sliced Wasserstein-1 distance between two sets of samples.

    The mean over random unit vectors `u` of the Wasserstein-1 distance between `{u . a_i}` and `{u . b_j}`, which in
    one dimension is the mean distance between sorted values (between quantiles, for sets of different sizes).

    Args:
        a: samples, `(N, ...)`; the axes after the first are flattened.
        b: samples, `(M, ...)`, of the same size each.
        slices: how many directions.
        seed: non-negative integer, of the directions.

    Raises:
        ValueError: samples of different sizes, or none.

    References:
        Sliced and Radon Wasserstein Barycenters of Measures (Bonneel et al., 2015),
        https://doi.org/10.1007/s10851-014-0506-3, section 2.

    Example:
        >>> round(sliced_wasserstein(torch.zeros(5, 1), torch.ones(5, 1)), 6)
        1.0
    """
    x, y = a.flatten(1).double(), b.flatten(1).double()
    if x.shape[1] != y.shape[1] or not len(x) or not len(y):
        raise ValueError(
            f"sliced_wasserstein: a, b: expected samples of one size, got {tuple(a.shape)} and {tuple(b.shape)}"
        )
    g = generator(seed)
    total = 0.0
    chunk = max(1, 2**23 // max(len(x), len(y)))
    for start in range(0, slices, chunk):
        u = torch.randn(x.shape[1], min(chunk, slices - start), generator=g, dtype=torch.float64)
        u = (u / u.norm(dim=0)).to(x.device)
        p, q = (x @ u).sort(0).values, (y.to(x.device) @ u).sort(0).values
        if len(p) != len(q):
            # Both quantile functions are steps: compare them on the common refinement of their jumps.
            jumps = [torch.arange(1, len(s) + 1, dtype=torch.float64) / len(s) for s in (p, q)]
            cuts = torch.cat(jumps).sort().values
            middle = cuts - torch.diff(cuts, prepend=cuts.new_zeros(1)) / 2
            width = torch.diff(cuts, prepend=cuts.new_zeros(1)).to(x.device)
            i, j = (
                (middle * len(v)).long().clamp(max=len(v) - 1) for v in (p, q)
            )  # shared jumps end at 1, with no width
            gap = (p[i] - q[j]).abs()
            total += float((gap * width[:, None]).sum())
        else:
            total += float((p - q).abs().mean(0).sum())
    return total / slices


def _check(name: str, x: Tensor, ref: Tensor) -> None:
    if x.ndim != 4 or x.shape != ref.shape:
        raise ValueError(
            f"{name}: x, ref: expected two batches (B, C, H, W) of one shape, got {tuple(x.shape)}, {tuple(ref.shape)}"
        )
