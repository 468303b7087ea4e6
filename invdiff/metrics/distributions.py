"""Distances between two sets of samples.

Over directions `u`, uniform on the unit sphere, and with the one-dimensional distance `W_1` between quantiles,

    SW_1(p, q) = E_u W_1(u . p, u . q)
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..streams import generator


def sliced_wasserstein(a: Tensor, b: Tensor, *, slices: int = 10_000, seed: int = 0) -> float:
    """Return the sliced Wasserstein-1 distance between two sets of samples.

    The mean over random unit vectors `u` of the Wasserstein-1 distance between `{u . a_i}` and `{u . b_j}`, which in
    one dimension is the mean distance between sorted values (between quantiles, for sets of different sizes).

    Args:
        a: samples, `(N, ...)`; the axes after the first are flattened.
        b: samples, `(M, ...)`, of the same size each.
        slices: number of directions.
        seed: non-negative integer, of the directions.

    Raises:
        ValueError: samples of different sizes, or no samples.

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
