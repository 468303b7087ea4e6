"""How honest the uncertainty of a reconstruction is.

Central intervals: for S samples of a normal law with mean `m` and standard deviation `s`, the next draw lies in
`m +- t s sqrt(1 + 1/S)` with the wanted probability, where `t` is a quantile of Student's law.
"""

from __future__ import annotations

from torch import Tensor

from .shapes import check_pair


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
        >>> import torch
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
    check_pair("coverage", samples[:, 0], ref)
    from scipy.stats import t

    count = samples.shape[1]
    draws = samples.double()
    width = float(t.ppf((1 + level) / 2, count - 1)) * (1 + 1 / count) ** 0.5 * draws.std(1)
    inside = (draws.mean(1) - ref.double()).abs() <= width
    covered: Tensor = inside.flatten(1).double().mean(1)
    return covered
