"""Priors that are no good description of images, which several tests of solvers share."""

from __future__ import annotations

import dataclasses

from invdiff.priors import StationaryGaussianPrior, photograph_gaussian


def wide_gaussian() -> StationaryGaussianPrior:
    """The photographs' spectrum taken at its word for any size: small images vary far more than `std` says.

    A pixel's deviation is 1.3 at 8 x 8 and 2.6 at 4 x 4, for a `std` of 0.24.
    """
    return StationaryGaussianPrior(*(dataclasses.replace(s, side=1) for s in photograph_gaussian().spectra.values()))
