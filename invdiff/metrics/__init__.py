"""Figures of merit of a reconstruction: distortion, calibration of the uncertainty, distances of distributions."""

from .calibration import coverage, coverage_curve, crps, rank_histogram, spread_skill_curve, spread_skill_ratio
from .data import data_residual
from .distortion import psnr, ssim, ssim_gaussian
from .distributions import sliced_wasserstein
from .perceptual import LPIPSUnavailable, check_lpips, lpips

__all__ = [
    "LPIPSUnavailable",
    "check_lpips",
    "coverage",
    "coverage_curve",
    "crps",
    "data_residual",
    "lpips",
    "psnr",
    "rank_histogram",
    "sliced_wasserstein",
    "spread_skill_curve",
    "spread_skill_ratio",
    "ssim",
    "ssim_gaussian",
]
