"""What a reconstruction is judged by: closeness to the truth, honesty of the uncertainty, distance of distributions."""

from .calibration import coverage
from .distortion import psnr, ssim
from .distributions import sliced_wasserstein

__all__ = ["coverage", "psnr", "sliced_wasserstein", "ssim"]
